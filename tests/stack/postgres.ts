/** A real Postgres server, by URL, through a pool of connections. */
import postgres from "postgres";
import { type Database, transactionSettings } from "./database.ts";

const JSON_OIDS = [114, 3802];
const BIGINT_OID = 20;

/** Opens a pool; fails at once where nobody answers. */
export async function openPostgres(url: string): Promise<Database> {
  const sql = postgres(url, {
    max: 10,
    connect_timeout: 10,
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
  // deno-lint-ignore no-explicit-any -- the library's own parameter type is narrower than what it takes
  const plain = (params: unknown[]) => params as any[];
  try {
    await sql`select 1`;
  } catch (error) {
    await sql.end({ timeout: 0 });
    throw error;
  }
  return {
    query: async <T>(text: string, params: unknown[] = []) =>
      [...await sql.unsafe(text, plain(params))] as T[],
    exec: async (text) => void await sql.unsafe(text).simple(),
    transaction: async <T>(
      ...[role, work, options]: Parameters<Database["transaction"]>
    ) => {
      const answer = await sql.begin(async (tx) => {
        const settings = transactionSettings(role, options);
        await tx.unsafe(settings.sql, settings.params);
        // Wrapped, because the library would await an array of queries for us.
        const value = await work(async <R>(
          text: string,
          params: unknown[] = [],
        ) => [...await tx.unsafe(text, plain(params))] as R[]);
        return { value };
      });
      return answer.value as T;
    },
    close: () => sql.end({ timeout: 5 }),
  };
}
