/** What the tests of the local stack have in common: its throwaway parts, and databases to try. */
import type { Database } from "../../stack/database.ts";
import type { Keys } from "../../stack/keys.ts";
import { migrate } from "../../stack/migrate.ts";
import { createRest, type Rest } from "../../stack/postgrest.ts";
import { startDatabase } from "../support.ts";

/** In place of the shipped function. */
export const ENTRY = new URL("fixtures/function.ts", import.meta.url).href;
/** In place of the shipped migrations. */
export const MIGRATIONS = new URL("fixtures/migrations/", import.meta.url);

// deno-lint-ignore no-explicit-any -- whatever was answered
type Json = any;

/** A status and a body; "" where there is none. */
export type Answer = [status: number, body: Json];

/** Reads an answer to its end. */
export async function answer(response: Response | Promise<Response>): Promise<Answer> {
  const { status } = await response;
  const text = await (await response).text();
  return [status, text && JSON.parse(text)];
}

/** The status and the code of an error. */
export async function refusal(response: Response | Promise<Response>): Promise<[number, string]> {
  const [status, { code }] = await answer(response);
  return [status, code];
}

/** A request for a function, as the REST interface gets it; the body is JSON text, or will be. */
export function request(fn: string, { body, ...init }: { body?: Json } & RequestInit = {}) {
  return new Request(`http://127.0.0.1/rest/v1/rpc/${fn}`, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
}

/** A database with the schema of these tests, and the REST interface over it. */
export interface Bench {
  readonly database: Database;
  readonly rest: Rest;
  readonly keys: Keys;
  /** Calls a function as the service, or with headers that say otherwise. */
  rpc(
    fn: string,
    body?: Json,
    init?: RequestInit & { headers?: Record<string, string> },
  ): Promise<Response>;
}

/**
 * Runs tests one after the other on one database: the embedded one, or one of
 * its own on the server that DATABASE names.
 */
export function onDatabase(
  suite: string,
  tests: Record<string, (bench: Bench) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const { database, keys, stop } = await startDatabase({ migrated: false });
    const rest = createRest(database, keys);
    const usual = { apikey: keys.service, "content-type": "application/json" };
    const rpc: Bench["rpc"] = (fn, body = {}, init = {}) =>
      rest.handle(request(fn, { ...init, body, headers: { ...usual, ...init.headers } }));
    try {
      await migrate(database, MIGRATIONS);
      for (const [name, test] of Object.entries(tests)) {
        const fn = () => test({ database, rest, keys, rpc });
        // After an SQL error PGlite keeps a timer (Postgres's own, for its statistics) until it
        // is closed: it is the whole suite that must leave nothing behind.
        await t.step({ name, fn, sanitizeOps: false, sanitizeResources: false });
      }
    } finally {
      await stop();
    }
  });
}

/** The same, only where there is a server: what the embedded database cannot do. */
export function onServer(...[suite, tests]: Parameters<typeof onDatabase>): void {
  if (Deno.env.get("DATABASE")) onDatabase(suite, tests);
}
