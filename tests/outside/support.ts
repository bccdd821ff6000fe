/** What the tests from outside have in common. */
import assert from "node:assert/strict";
import type { Database } from "../stack/database.ts";
import { type Edge, startEdge } from "../stack/edge.ts";
import { generateKeys, type Keys } from "../stack/keys.ts";
import { applyStandIns, migrate } from "../stack/migrate.ts";
import { openPglite } from "../stack/pglite.ts";
import { openPostgres } from "../stack/postgres.ts";
import { createRest, type Rest } from "../stack/postgrest.ts";
import type { Gateway } from "../stack/evolution/mod.ts";
import type { Report, ReportedInstance } from "../stack/report.ts";
import { type Stack, type StackOptions, startStack } from "../stack/stack.ts";
import { passTime } from "../stack/time.ts";

/** A stack and what tests do with it again and again. */
export interface World extends Stack {
  /** The simulated gateway, which is always there. */
  readonly gateway: Gateway;
  /** Adds an instance of the simulated gateway and reads the sources; its organization has its name. */
  watch(name: string, options?: { url?: string; key?: string }): Promise<void>;
  /** Changes settings for the rest of the test file. */
  set(settings: Record<string, number | string | null>): Promise<void>;
  /** Makes every instance due, as if its interval had passed. */
  makeDue(): Promise<void>;
  /** The same, keeping the order in which they would become due. */
  makeDueInTurn(): Promise<void>;
  /** Makes every instance due and runs a trigger to its end. */
  tick(): Promise<Report>;
  /** So many seconds pass, and a trigger runs to its end: instances are due as in life. */
  after(seconds: number): Promise<Report>;
  /** One instance as the database has it. */
  row(name: string): Promise<Record<string, unknown>>;
}

/**
 * Starts a stack on an empty database: the embedded one, or one of its own on
 * the server that the variable DATABASE names (a URL without a database).
 */
export async function startWorld(options: StackOptions = {}): Promise<World> {
  const server = Deno.env.get("DATABASE");
  const fresh = server ? await createDatabase(server) : undefined;
  const stack = await startStack({
    ...fresh ? { database: fresh.url, standIns: true, migrate: true } : {},
    ...options,
  });
  const { database } = stack;
  // Webhooks are looked at where a test is about them: elsewhere they would be questions besides.
  await leaveWebhooksAlone(database);
  const gateway = stack.gateway!;
  const readSources = () => database.query("select whatsapp_monitor.sync_sources()");
  const makeDue = async () =>
    void await database.query(
      "update whatsapp_monitor.instances set due_at = '-infinity' where lease_tick is null",
    );
  return {
    ...stack,
    edge: stack.edge,
    gateway,
    makeDue,
    async makeDueInTurn() {
      await database.query(
        `update whatsapp_monitor.instances set due_at = due_at - interval '1 day'
         where lease_tick is null and due_at > '-infinity'`,
      );
    },
    async watch(name, { url = gateway.url, key = gateway.key } = {}) {
      await stack.addInstance({ organization: name, url, name, key });
      await readSources();
    },
    async set(settings) {
      for (const [name, value] of Object.entries(settings)) {
        await database.query(`update whatsapp_monitor.settings set ${name} = $1`, [value]);
      }
    },
    async tick() {
      await makeDue();
      return await (await stack.trigger()).json();
    },
    async after(seconds) {
      await passTime(database, seconds);
      return await (await stack.trigger()).json();
    },
    async row(name) {
      const [row] = await database.query(
        "select * from whatsapp_monitor.instances where name = $1",
        [name],
      );
      return row;
    },
    async stop() {
      await stack.stop();
      await fresh?.drop();
    },
  };
}

/** Turns webhooks off, where this version of the schema knows of them. */
export async function leaveWebhooksAlone(database: Database): Promise<void> {
  await database.exec(`
    do $$
    begin
      update whatsapp_monitor.settings set webhook_policy = 'off';
    exception when undefined_column or undefined_table or invalid_schema_name then
      null;
    end
    $$`);
}

/** Starts a world of its own for a piece of work, and stops it. */
export async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    await work(world);
  } finally {
    await world.stop();
  }
}

/** The function once more, in a process of its own: another isolate. */
export function anotherEdge(stack: Stack): Promise<Edge> {
  const keys = JSON.stringify({ default: stack.serviceKey });
  return startEdge({ env: { SUPABASE_URL: stack.url, SUPABASE_SECRET_KEYS: keys } });
}

/** The leases of all dead or slow ticks run out. */
export async function expireLeases({ database }: Stack): Promise<void> {
  await database.query(`
    update whatsapp_monitor.instances
    set lease_until = now() - interval '1 second', due_at = now() - interval '1 second'
    where lease_tick is not null`);
}

/** Every row of every table of ours and of the user's, as text. */
export async function everything({ database }: Stack): Promise<string> {
  const tables = await database.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('whatsapp_monitor', 'public')`,
  );
  const rows = [];
  for (const { name } of tables) {
    rows.push(await database.query(`select to_jsonb(t)::text from ${name} t`));
  }
  return JSON.stringify(rows);
}

/** The instance of this name in a report. */
export function found(report: Report, name: string): ReportedInstance {
  const instance = report.instances.find((each) => each.instance_name === name);
  if (!instance) throw new Error(`the report does not name ${name}: ${JSON.stringify(report)}`);
  return instance;
}

/** How often the gateway was asked for the live state of an instance. */
export function timesAsked(gateway: Gateway, name: string): number {
  const path = `/instance/connectionState/${encodeURIComponent(name)}`;
  return gateway.requests.filter((request) => request.path === path).length;
}

/** A gateway that answers "open" to everything, each answer only when it is told to. */
export function startHeldGateway() {
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const paths: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    paths.push(new URL(request.url).pathname);
    arrived.resolve();
    await released.promise;
    return Response.json({ instance: { instanceName: "held", state: "open" } });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    /** Resolves with the first request. */
    arrived: arrived.promise,
    /** Lets all answers go. */
    release: released.resolve,
    /** The paths asked for so far. */
    paths,
    async stop() {
      released.resolve();
      await server.shutdown();
    },
  };
}

/** What hangs shall fail, and soon enough: nothing that works takes nearly as long. */
const PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 20;

/** The promise's outcome, or a failure where it has none. */
export async function outcome<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} hangs`)), PATIENCE_MS);
  return await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Waits until something is so that tells nobody of it; fails where it is not in time. */
export async function until(
  what: string,
  is: () => boolean | Promise<boolean>,
  limit_ms = PATIENCE_MS,
): Promise<void> {
  const end = performance.now() + limit_ms;
  while (!await is()) {
    assert.ok(performance.now() < end, `${what}: not within ${limit_ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** A request by hand, for what `fetch` would not send; its body comes when the test says so, or never. */
export async function openRequest(method: string, url: string, headers: Record<string, string>) {
  const { hostname, port, pathname, search, host } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const encoder = new TextEncoder();
  const write = async (piece: string | Uint8Array) => {
    let rest = typeof piece === "string" ? encoder.encode(piece) : piece;
    while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
  };
  const asked = Promise.withResolvers<void>();
  const read = async () => {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(4096);
    let text = "";
    for (let length; (length = await connection.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, length), { stream: true });
      if (/^HTTP\/1\.1 100 .*?\r\n\r\n/s.test(text)) {
        text = text.replace(/^.*?\r\n\r\n/s, "");
        asked.resolve();
      }
      const [, status, fields, body] = text.match(/^HTTP\/1\.1 (\d+) .*?\r\n(.*?)\r\n\r\n(.*)$/s) ??
        [];
      if (status === undefined) continue;
      const headers = new Headers(
        fields.split("\r\n").map((field) => field.split(": ", 2) as [string, string]),
      );
      const whole = method === "HEAD" ? 0 : Number(headers.get("content-length"));
      if (encoder.encode(body).length >= whole) return { status: Number(status), headers, body };
    }
    throw new Error(`the connection ended without an answer: ${JSON.stringify(text)}`);
  };
  const answer = read();
  answer.catch(() => {}).finally(asked.resolve); // where it is not asked for, it never will be
  const all = { host, expect: "100-continue", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  await write(`${method} ${pathname}${search} HTTP/1.1\r\n${lines.join("")}\r\n`);
  return {
    /** Resolves when the function begins to read the body. */
    asked: asked.promise,
    /** Sends a piece of the body, as it stands on the wire. */
    write,
    /** The answer; it may come before the body is sent. */
    answer,
    /** Hangs up. */
    close: () => connection.close(),
  };
}

/** A database like a new Supabase project's, and the REST interface over it; no function, no gateway. */
export interface Bare {
  readonly database: Database;
  readonly keys: Keys;
  /** Whether transactions run side by side; the embedded database runs them in turn. */
  readonly concurrent: boolean;
  /** Calls a function through the REST interface, as the service unless another key is given. */
  rpc(fn: string, args: unknown, key?: string): Promise<{ status: number; body: Json }>;
  stop(): Promise<void>;
}

// deno-lint-ignore no-explicit-any -- whatever a function answers
type Json = any;

/** Starts only a database, migrated unless told otherwise; embedded or real, as {@link startWorld} does. */
export async function startDatabase({ migrated = true } = {}): Promise<Bare> {
  const server = Deno.env.get("DATABASE");
  const fresh = server ? await createDatabase(server) : undefined;
  const database = await (fresh ? openPostgres(fresh.url) : openPglite());
  const keys = generateKeys();
  const rest = createRest(database, keys);
  await applyStandIns(database);
  if (migrated) await migrate(database);
  return {
    database,
    keys,
    concurrent: fresh !== undefined,
    rpc: caller(rest, keys),
    async stop() {
      await database.close();
      await fresh?.drop();
    },
  };
}

/** Calls of functions through a REST interface. */
export function caller(rest: Rest, keys: Keys): Bare["rpc"] {
  return async (fn, args, key = keys.service) => {
    const headers = { apikey: key, "content-type": "application/json" };
    const answer = await rest.handle(
      new Request(`http://127.0.0.1/rest/v1/rpc/${fn}`, {
        method: "POST",
        headers,
        body: JSON.stringify(args),
      }),
    );
    return { status: answer.status, body: await answer.json() };
  };
}

async function createDatabase(server: string) {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = new URL(server);
  const run = async (statement: string) => {
    const admin = await openPostgres(new URL("/postgres", url).href);
    await admin.exec(statement).finally(admin.close);
  };
  await run(`create database ${name}`);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database ${name} with (force)`) };
}
