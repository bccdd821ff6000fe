/**
 * The one view of Postgres the local stack has, whichever Postgres it is.
 *
 * Values come back the same from PGlite and from a server: json and jsonb
 * parsed, bigint as a number (nothing here exceeds 2^53), numeric as a string,
 * timestamps as Date. A string given for a json parameter is JSON text,
 * anything else given for one is turned into JSON.
 */

/** Runs one statement with positional parameters (`$1`) and gives its rows. */
export type Query = <T = Record<string, unknown>>(
  sql: string,
  params?: unknown[],
) => Promise<T[]>;

/** How a transaction runs, apart from its role. */
export interface TransactionOptions {
  /** 8000 if not given, which is what Supabase's `authenticator` has. PGlite never times out. */
  statement_timeout_ms?: number;
  /** Refuse writes (25006), as PostgREST does for GET. */
  read_only?: boolean;
}

/** A Postgres that remembers for the local stack. */
export interface Database {
  /** One statement, as the superuser (or whoever the URL names). */
  query: Query;
  /** Many statements without parameters, all or nothing unless they commit themselves. */
  exec(sql: string): Promise<void>;
  /** Runs `work` in one transaction, under `role` where one is given. A throw rolls back. */
  transaction<T>(
    role: string | null,
    work: (query: Query) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T>;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** What Postgres says about a failed statement. */
export interface SqlError {
  /** The SQLSTATE. */
  code: string;
  message: string;
  detail: string | null;
  hint: string | null;
}

/** The SQL error in what was thrown, or null where it is something else (no connection, a bug). */
export function sqlError(thrown: unknown): SqlError | null {
  if (!(thrown instanceof Error)) return null;
  const { code, detail, hint } = thrown as
    & Error
    & Partial<Record<keyof SqlError, string>>;
  // Every SQLSTATE begins with one of these; the system's own codes (EPIPE, ECONNREFUSED) do not.
  if (typeof code !== "string" || !/^[0-9FHPX][0-9A-Z]{4}$/.test(code)) {
    return null;
  }
  return {
    code,
    message: thrown.message,
    detail: detail ?? null,
    hint: hint ?? null,
  };
}

/** The statement both databases begin a transaction with: its role and limits, gone with its end. */
export function transactionSettings(
  role: string | null,
  { statement_timeout_ms = 8000, read_only = false }: TransactionOptions = {},
): { sql: string; params: string[] } {
  const settings: Record<string, string> = {
    statement_timeout: `${statement_timeout_ms}ms`,
  };
  if (read_only) settings.transaction_read_only = "on";
  if (role !== null) settings.role = role;
  const names = Object.keys(settings);
  return {
    sql: `select ${
      names.map((name, i) => `set_config('${name}', $${i + 1}, true)`).join(
        ", ",
      )
    }`,
    params: Object.values(settings),
  };
}
