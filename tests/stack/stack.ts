/** The whole local stack: database, REST interface, edge function, simulated gateway, one front. */
import type { Database } from "./database.ts";
import { type Edge, startEdge } from "./edge.ts";
import { type Gateway, startGateway } from "./evolution/mod.ts";
import { type Parts, SLUG, startFront } from "./functions.ts";
import { generateKeys, type Keys } from "./keys.ts";
import { applyStandIns, migrate } from "./migrate.ts";
import { openPglite } from "./pglite.ts";
import { openPostgres } from "./postgres.ts";
import { createRest, type Rest } from "./postgrest.ts";

/** What a stack is made of; everything has a default. */
export interface StackOptions {
  /** A URL of a real Postgres, or the embedded one. */
  database?: "pglite" | string;
  /** Where the front listens; any free port if not given. */
  port?: number;
  /** Variables for the function, besides Supabase's own; they win over those. */
  env?: Record<string, string>;
  /** Start the simulated gateway; true if not given. */
  gateway?: boolean;
  /** Apply the migrations; if not given, only to the embedded database. */
  migrate?: boolean;
  /** Make the database look like Supabase first; if not given, only the embedded one. */
  standIns?: boolean;
  /** The migrations' folder; the shipped one if not given. */
  migrations?: URL;
  /** The function's entry point; the shipped one if not given. */
  entry?: string;
  /** Told every line the function writes. */
  log?: (line: string) => void;
}

/** One row of the user's own table. */
export interface NewInstance {
  organization: string;
  /** The gateway's URL. */
  url: string;
  name: string;
  key: string;
}

/** A running stack. */
export interface Stack {
  /** `http://127.0.0.1:<port>`, which the function knows as SUPABASE_URL. */
  readonly url: string;
  /** `…/functions/v1/rendizy-server` */
  readonly functionUrl: string;
  readonly database: Database;
  readonly rest: Rest;
  readonly edge: Edge;
  readonly gateway?: Gateway;
  readonly keys: Keys;
  /** The same as `keys.service`. */
  readonly serviceKey: string;
  /** The same as `keys.anon`. */
  readonly anonKey: string;
  /** A trigger token; its digest is registered in the database. */
  readonly token: string;
  /** Adds an instance to `organization_channel_config`; gives the row's id. */
  addInstance(instance: NewInstance): Promise<string>;
  /** `POST …/whatsapp/monitor/start?wait=true` with the token, as pg_cron does. */
  trigger(
    options?: { body?: unknown; signal?: AbortSignal },
  ): Promise<Response>;
  /** Ends everything; takes its own rows out of a database that is not its own. */
  stop(): Promise<void>;
}

/** What pg_cron's calls are known by. */
const PG_NET = "pg_net/0.20.4";

/** Starts a stack. Where one part fails, the others are ended before this rejects. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const { database: place = "pglite" } = options;
  const embedded = place === "pglite";
  const keys = generateKeys();
  const parts: Parts & { database?: Database; gateway?: Gateway } = {};
  /** What takes our rows out of a database that outlives the run. */
  const undos: (() => Promise<unknown>)[] = [];
  const front = startFront(options.port ?? 0, parts);

  let stopped: Promise<void> | undefined;
  const stop = () =>
    stopped ??= inTurn([
      () => parts.edge?.stop(),
      () => front.stop(),
      () => parts.gateway?.stop(),
      ...embedded ? [] : undos,
      () => parts.database?.close(),
    ]);

  async function prepareDatabase(): Promise<Database> {
    const database = await (embedded ? openPglite() : openPostgres(place));
    parts.database = database;
    parts.rest = createRest(database, keys);
    if (options.standIns ?? embedded) await applyStandIns(database);
    if (options.migrate ?? embedded) {
      await migrate(database, options.migrations);
    }
    return database;
  }
  async function prepareEdge(): Promise<Edge> {
    const env = { ...environment(front.url, keys), ...options.env };
    const { entry, log } = options;
    return parts.edge = await startEdge({ env, entry, log });
  }
  async function prepareGateway(): Promise<void> {
    if (options.gateway !== false) parts.gateway = await startGateway();
  }

  try {
    const preparing = [
      prepareDatabase(),
      prepareEdge(),
      prepareGateway(),
    ] as const;
    // Where one fails the others are waited for all the same: stop() must know them.
    await Promise.allSettled(preparing);
    const [database, edge] = await Promise.all(preparing);
    const token = await registerToken(database, undos);
    const functionUrl = `${front.url}/functions/v1/${SLUG}`;
    return {
      url: front.url,
      functionUrl,
      database,
      rest: parts.rest!,
      edge,
      gateway: parts.gateway,
      keys,
      serviceKey: keys.service,
      anonKey: keys.anon,
      token,
      addInstance: (instance) => addInstance(database, instance, undos),
      trigger: ({ body, signal } = {}) =>
        fetch(`${functionUrl}/whatsapp/monitor/start?wait=true`, {
          method: "POST",
          headers: {
            "x-monitor-token": token,
            "user-agent": PG_NET,
            "content-type": "application/json",
          },
          body: body === undefined ? undefined : JSON.stringify(body),
          signal,
        }),
      stop,
    };
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

/** One after the other; what fails does not keep the rest from ending, and is thrown at the end. */
async function inTurn(steps: (() => unknown)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** What Supabase gives every function. */
function environment(url: string, keys: Keys): Record<string, string> {
  return {
    SUPABASE_URL: url,
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.service }),
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.anon }),
    SUPABASE_SERVICE_ROLE_KEY: keys.legacyService,
    SUPABASE_ANON_KEY: keys.legacyAnon,
  };
}

async function registerToken(
  database: Database,
  undos: (() => Promise<unknown>)[],
): Promise<string> {
  const token = hex(crypto.getRandomValues(new Uint8Array(32)));
  const bytes = new TextEncoder().encode(token);
  const digest = hex(
    new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
  );
  const table = "whatsapp_monitor.trigger_tokens";
  await database.query(`insert into ${table} (digest) values ($1)`, [digest]);
  undos.push(() => database.query(`delete from ${table} where digest = $1`, [digest]));
  return token;
}

async function addInstance(
  database: Database,
  { organization, url, name, key }: NewInstance,
  undos: (() => Promise<unknown>)[],
): Promise<string> {
  const table = "public.organization_channel_config";
  const [{ id }] = await database.query<{ id: string }>(
    `insert into ${table}
       (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name, whatsapp_api_key)
     values ($1, true, $2, $3, $4) returning id`,
    [organization, url, name, key],
  );
  undos.push(() => database.query(`delete from ${table} where id = $1`, [id]));
  return id;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
