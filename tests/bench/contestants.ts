/** The contestants, each a function in a process of its own, as locked up as a deployed one. */
import { type Bare, startDatabase } from "../outside/support.ts";
import { type Edge, startEdge } from "../stack/edge.ts";
import { passTime } from "../stack/time.ts";
import type { Work } from "./sweeper.ts";
import { type Front, type Gateway, startFront } from "./traffic.ts";

/** Who takes part. `report` is `ours` when the caller waits for the report; the cron does not. */
export const NAMES = ["floor", "naive", "original", "ours", "report"] as const;
export type Name = typeof NAMES[number];

/** One contestant, ready to go. */
export interface Contestant {
  readonly pid: number;
  /** Puts into place what a sweep finds: time has passed, and all is due. */
  prepare(): Promise<void>;
  /** Sweeps; gives how many checks were made, and in how many ticks. */
  sweep(): Promise<{ checks: number; ticks: number }>;
}

/** All contestants over the same instances. */
export interface Field {
  contestants: Record<Name, Contestant>;
  front: Front;
  stop(): Promise<void>;
}

/** Time between two ticks in life. */
const INTERVAL_S = 30;
/** A sweep that takes more triggers than this hangs. */
const MAX_TRIGGERS = 20;
/** The monitor's own defaults. */
const CONCURRENCY = 16;
const TIMEOUT_MS = 8000;
const MAX_BYTES = 256 * 1024;

/** Where `build.sh` puts the naive module. */
const NAIVE = "target/bench/naive/";

/** Settings of the monitor that differ from the defaults. */
export type Settings = Record<string, number>;

/** Starts all contestants, over so many instances, on an empty database. */
export async function startField(
  gateway: Gateway,
  instances: number,
  settings: Settings,
): Promise<Field> {
  const bare = await startDatabase();
  const front = startFront(bare.database, bare.keys);
  const edges: Edge[] = [];
  const start = async (options: Parameters<typeof startEdge>[0]) => {
    const edge = await startEdge(options);
    edges.push(edge);
    return edge;
  };
  const stop = async () => {
    for (const edge of edges) await edge.stop();
    await front.stop();
    await bare.stop();
  };
  try {
    const names = await fill(bare, gateway, instances, settings);
    const work: Work = {
      gateway: { url: gateway.url, key: gateway.key },
      names,
      concurrency: CONCURRENCY,
      timeout_ms: TIMEOUT_MS,
      max_bytes: MAX_BYTES,
    };
    const floor = await start({ env: {}, entry: "tests/bench/floor.ts" });
    const naive = await start({
      env: {},
      entry: "tests/bench/naive.ts",
      imports: { "naive": `${NAIVE}whatsapp_monitor.js`, "naive-wasm": `${NAIVE}wasm.js` },
    });
    const original = await start({
      env: { SUPABASE_URL: front.url, SERVICE_KEY: bare.keys.service },
      entry: "tests/bench/original.ts",
      imports: { "@supabase/supabase-js": "npm:@supabase/supabase-js" },
    });
    const ours = await startOurs(bare, front);
    edges.push(ours);
    const contestants = {
      floor: await sweeping(floor, work),
      naive: await sweeping(naive, work),
      original: await sweeping(original, work),
      ours: triggered(ours, bare, instances, false),
      report: triggered(ours, bare, instances, true),
    };
    return { contestants, front, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The real function over a database. */
export function startOurs(
  { keys }: Bare,
  front: Front,
  more: Partial<Parameters<typeof startEdge>[0]> = {},
): Promise<Edge> {
  const secrets = JSON.stringify({ default: keys.service });
  return startEdge({ env: { SUPABASE_URL: front.url, SUPABASE_SECRET_KEYS: secrets }, ...more });
}

/** Adds instances to the user's table; gives their names, which are their organizations' too. */
export async function fill(
  { database }: Bare,
  gateway: Gateway,
  instances: number,
  settings: Settings,
): Promise<string[]> {
  await database.query(
    `insert into public.organization_channel_config
       (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name, whatsapp_api_key)
     select name, true, $1, name, $2
       from generate_series(0, $3::integer - 1) i, format('pousada-%s', lpad(i::text, 5, '0')) name`,
    [gateway.url, gateway.key, instances],
  );
  for (const [name, value] of Object.entries(settings)) {
    await database.query(`update whatsapp_monitor.settings set "${name}" = $1`, [value]);
  }
  await database.query("select whatsapp_monitor.sync_sources()");
  const rows = await database.query<{ name: string }>(
    "select name from whatsapp_monitor.instances order by name",
  );
  return rows.map(({ name }) => name);
}

async function sweeping(edge: Edge, work: Work): Promise<Contestant> {
  await demand(fetch(`${edge.url}/prepare`, { method: "POST", body: JSON.stringify(work) }));
  return {
    pid: edge.pid!,
    prepare: () => Promise.resolve(),
    async sweep() {
      await demand(fetch(`${edge.url}/run`, { method: "POST" }));
      return { checks: work.names.length, ticks: 1 };
    },
  };
}

/** The real function: a sweep ends when the last tick is committed and nothing goes on behind it. */
export function triggered(
  edge: Edge,
  { database, keys }: Bare,
  instances: number,
  wait: boolean,
): Contestant {
  const url = `${edge.url}/rendizy-server/whatsapp/monitor/start${wait ? "?wait=true" : ""}`;
  const done = async () => {
    const [row] = await database.query<{ checks: number; ticks: number }>(
      `select coalesce(sum(claimed), 0)::integer as checks, count(*)::integer as ticks
         from whatsapp_monitor.ticks where finished_at is not null and claimed > 0`,
    );
    return row;
  };
  return {
    pid: edge.pid!,
    prepare: () => passTime(database, INTERVAL_S),
    async sweep() {
      const before = await done();
      for (let trigger = 0; trigger < MAX_TRIGGERS; trigger++) {
        await demand(fetch(url, { method: "POST", headers: { apikey: keys.service } }));
        await edge.idle();
        const after = await done();
        const checks = after.checks - before.checks;
        if (checks >= instances) return { checks, ticks: after.ticks - before.ticks };
      }
      throw new Error(`the monitor did not come to an end:\n${edge.logs.slice(-20).join("\n")}`);
    },
  };
}

/** The answer's text, of an answer that must be 200. */
async function demand(asked: Promise<Response>): Promise<string> {
  const answer = await asked;
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.url} answered ${answer.status}: ${text}`);
  return text;
}
