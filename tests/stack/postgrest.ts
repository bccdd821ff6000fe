/**
 * Stands in for PostgREST behind Supabase's gateway, for `/rest/v1/rpc/<fn>`.
 *
 * Unlike PostgREST it looks at `pg_proc` on every call, so there is no schema
 * cache to reload. Tables, `Prefer` and `Accept` variants are not there.
 */
import type { Database } from "./database.ts";
import { type Behaviour, dropConnection, faultAnswer, Faults } from "./faults.ts";
import { identify, type Keys } from "./keys.ts";
import { databaseError, restError } from "./postgrest_errors.ts";
import { type Arguments, resolve } from "./routine.ts";

/** One call that arrived, as `rest.calls` keeps it. */
export interface RestCall {
  fn: string;
  /** What was answered; null where the connection was closed instead. */
  status: number | null;
  /** When it arrived, in milliseconds since 1970. */
  at: number;
}

/** The REST interface of one stack. */
export interface Rest {
  /** Answers a request whose path begins with `/rest/v1/`. */
  handle(request: Request): Promise<Response>;
  /** Every call to a function so far, in order of arrival: the round trips. */
  readonly calls: RestCall[];
  /** Resolves when the next call (to `fn`, if given) has been dealt with. */
  nextCall(fn?: string): Promise<RestCall>;
  /** Makes coming calls misbehave; faults given earlier come first. */
  behave(behaviour: Behaviour): void;
  /** Takes back all faults, `down()` included. */
  heal(): void;
  /** From now on every connection to `/rest/v1/` is closed without an answer. */
  down(): void;
  /** Ends `down()`. */
  up(): void;
}

const DELAY_MS = 1000;
/** What Supabase sets for `anon`, and for `authenticator` (which all others run under). */
const STATEMENT_TIMEOUT_MS: Record<string, number> = { anon: 3000 };
const DEFAULT_STATEMENT_TIMEOUT_MS = 8000;

/** A REST interface over a database, for these keys. */
export function createRest(database: Database, keys: Keys): Rest {
  const faults = new Faults();
  const calls: RestCall[] = [];
  const waiting: { fn?: string; resolve: (call: RestCall) => void }[] = [];
  let isDown = false;

  function finished(call: RestCall): void {
    for (
      const waiter of waiting.filter(({ fn }) => fn === undefined || fn === call.fn)
    ) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.resolve(call);
    }
  }

  async function answer(
    request: Request,
    fn: string,
  ): Promise<Response | null> {
    if (isDown) return null;
    const fault = faults.take(fn);
    if (fault?.how === "refuse") return null;
    if (fault?.how === "error") return faultAnswer(fault);
    if (fault?.how === "delay") {
      await new Promise((done) => setTimeout(done, fault.delay_ms ?? DELAY_MS));
    }
    const response = await callFunction(database, keys, request, fn);
    return fault?.how === "lose_answer" ? null : response;
  }

  return {
    calls,
    async handle(request) {
      const fn = functionName(request);
      if (fn === null) {
        return isDown ? dropConnection() : unknownPath(request, keys);
      }
      const call: RestCall = { fn, status: null, at: Date.now() };
      calls.push(call);
      const response = await answer(request, fn);
      call.status = response?.status ?? null;
      finished(call);
      return response ?? dropConnection();
    },
    nextCall: (fn) => new Promise((resolve) => waiting.push({ fn, resolve })),
    behave: (behaviour) => faults.add(behaviour),
    heal() {
      faults.clear();
      isDown = false;
    },
    down: () => void (isDown = true),
    up: () => void (isDown = false),
  };
}

function functionName(request: Request): string | null {
  const match = new URL(request.url).pathname.match(
    /^\/rest\/v1\/rpc\/([^/]+)$/,
  );
  return match && decodeURIComponent(match[1]);
}

function unknownPath(request: Request, keys: Keys): Response {
  const identity = identify(request.headers, keys);
  if ("refusal" in identity) return identity.refusal;
  return restError(404, "PGRST125", "Invalid path specified in request URL");
}

/** One RPC, from the request to the committed answer. */
async function callFunction(
  database: Database,
  keys: Keys,
  request: Request,
  fn: string,
): Promise<Response> {
  const identity = identify(request.headers, keys);
  if ("refusal" in identity) return identity.refusal;
  const { role } = identity;

  const reads = request.method === "GET" || request.method === "HEAD";
  if (!reads && request.method !== "POST") {
    return restError(
      405,
      "PGRST101",
      `Cannot use the ${request.method} method on RPC`,
    );
  }
  const profile = request.headers.get(
    reads ? "accept-profile" : "content-profile",
  );
  if (profile !== null && profile !== "public") {
    return restError(406, "PGRST106", `Invalid schema: ${profile}`, {
      hint: "Only the following schemas are exposed: public",
    });
  }
  const args = reads ? queryArguments(request) : await bodyArguments(request);
  if (args instanceof Response) return args;

  try {
    const call = await resolve(database.query, fn, args);
    if (call instanceof Response) return call;
    const statement_timeout_ms = call.statement_timeout
      ? milliseconds(call.statement_timeout)
      : STATEMENT_TIMEOUT_MS[role] ?? DEFAULT_STATEMENT_TIMEOUT_MS;
    const body = await database.transaction(role, async (query) => {
      await query(
        `select set_config('search_path', '"public", "extensions"', true),
                set_config('request.method', $1, true),
                set_config('request.path', $2, true),
                set_config('request.jwt.claims', $3, true)`,
        [request.method, `/rpc/${fn}`, JSON.stringify({ role })],
      );
      const [row] = await query<{ body: string | null }>(call.sql, call.params);
      return row?.body ?? "null";
    }, { read_only: reads, statement_timeout_ms });
    if (call.returns === "void") return new Response(null, { status: 204 });
    return new Response(request.method === "HEAD" ? null : body, {
      headers: { "content-type": "application/json; charset=utf-8" },
    });
  } catch (error) {
    return databaseError(error, role);
  }
}

function queryArguments(request: Request): Arguments {
  const named = Object.fromEntries(new URL(request.url).searchParams);
  return { named, body: undefined, unnamedAllowed: false };
}

async function bodyArguments(request: Request): Promise<Arguments | Response> {
  const type = request.headers.get("content-type") ?? "application/json";
  const text = await request.text();
  if (!/^application\/(json|vnd\.pgrst\.object\+json)\b/i.test(type)) {
    return restError(400, "PGRST102", `Content-Type not acceptable: ${type}`);
  }
  let body: unknown = {};
  try {
    // No body at all means no arguments.
    if (text !== "") body = JSON.parse(text);
  } catch {
    return restError(400, "PGRST102", "Empty or invalid json");
  }
  const isObject = typeof body === "object" && body !== null &&
    !Array.isArray(body);
  const named = isObject ? body as Record<string, unknown> : {};
  return { named, body, unnamedAllowed: true };
}

/** Postgres's own notation: a bare number is milliseconds; 0 means no limit there too. */
function milliseconds(setting: string): number {
  const units: Record<string, number> = {
    ms: 1,
    s: 1000,
    min: 60_000,
    h: 3_600_000,
  };
  const match = setting.match(/^'?(\d+)\s*(ms|s|min|h)?'?$/);
  return match ? Number(match[1]) * units[match[2] ?? "ms"] : DEFAULT_STATEMENT_TIMEOUT_MS;
}
