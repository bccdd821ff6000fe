/** A real Postgres server, by URL, through a pool of connections. */
import postgres from "postgres";
import { type Database, type Query, transactionSettings } from "./database.ts";

const JSON_OIDS = [114, 3802];
const BIGINT_OID = 20;
const CONNECTIONS = 10;

/** Opens a pool; fails at once where nobody answers. */
export async function openPostgres(url: string): Promise<Database> {
  const pool = new Pool(url);
  const query: Query = (text, params) => pool.with((connection) => connection.query(text, params));
  try {
    await query("select 1");
  } catch (error) {
    await pool.close();
    throw error;
  }
  return {
    query,
    exec: (text) => pool.with((connection) => connection.exec(text)),
    transaction: (role, work, options) =>
      pool.with(async (connection) => {
        await connection.exec("begin");
        try {
          const settings = transactionSettings(role, options);
          await connection.query(settings.sql, settings.params);
          const answer = await work((text, params) => connection.query(text, params));
          await connection.exec("commit");
          return answer;
        } catch (error) {
          await connection.rollback();
          throw error;
        }
      }),
    close: () => pool.close(),
  };
}

// Where a backend is killed, the library writes to the socket that is gone, or loses a question of
// its own, and throws where nobody can catch it (https://github.com/porsager/postgres/issues/1154).
// By then what it was asked for has failed as it should, or is tried again.
addEventListener("error", (event) => {
  const { stack } = event.error ?? {};
  const write = /^TypeError: .*'write'.*\n.* nextWrite .*\/postgres\/src\/connection\.js/;
  if (write.test(stack)) event.preventDefault();
});
addEventListener("unhandledrejection", (event) => {
  if (/^\s*select b\.oid, b\.typarray\s/.test(event.reason?.query)) event.preventDefault();
});

/**
 * Our own, because the library's own pool goes on using a connection to which
 * that has happened.
 */
class Pool {
  #closed = false;
  #busy = 0;
  readonly #free: Connection[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(readonly url: string) {}

  /** Does the work with a connection that nobody else has meanwhile. */
  async with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    while (this.#busy === CONNECTIONS) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#busy++;
    const connection = this.#take();
    try {
      return await work(connection);
    } finally {
      if (this.#closed) await connection.close();
      else this.#free.push(connection);
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  #take(): Connection {
    for (let free; (free = this.#free.pop()) !== undefined;) {
      if (free.alive) return free;
    }
    return new Connection(this.url);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#free.splice(0).map((connection) => connection.close()));
  }
}

/** One connection; when it is gone it never comes back. */
class Connection {
  #alive = true;
  readonly #sql: ReturnType<typeof connect>;

  constructor(url: string) {
    this.#sql = connect(url, () => this.#alive = false);
  }

  get alive(): boolean {
    return this.#alive;
  }

  async query<T>(text: string, params: unknown[] = []): Promise<T[]> {
    this.#demandLife();
    // deno-lint-ignore no-explicit-any -- the library's own parameter type is narrower than what it takes
    return [...await this.#sql.unsafe(text, params as any[])] as T[];
  }

  async exec(text: string): Promise<void> {
    this.#demandLife();
    await this.#sql.unsafe(text).simple();
  }

  /** Ends a transaction in any case: with the connection, where there is no other way. */
  async rollback(): Promise<void> {
    try {
      await this.exec("rollback");
    } catch {
      this.#alive = false;
      await this.close();
    }
  }

  close(): Promise<void> {
    return this.#sql.end({ timeout: 0 });
  }

  #demandLife(): void {
    if (!this.#alive) throw new Error("the connection to Postgres is gone");
  }
}

function connect(url: string, onclose: () => void) {
  return postgres(url, {
    max: 1,
    connect_timeout: 10,
    onclose,
    onnotice: () => {},
    types: {
      // The library would quote a string again; here a string is JSON text already.
      json: {
        to: 3802,
        from: JSON_OIDS,
        serialize: (value: unknown) => typeof value === "string" ? value : JSON.stringify(value),
        parse: (text: string) => JSON.parse(text),
      },
      bigint: {
        to: BIGINT_OID,
        from: [BIGINT_OID],
        serialize: String,
        parse: Number,
      },
    },
  });
}
