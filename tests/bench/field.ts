/** The contestants over one gateway, each a function in a process of its own, as locked up as a deployed one. */
import { startEdge } from "../stack/edge.ts";
import { CONCURRENCY } from "./cells.ts";
import { type Contestant, sweeping } from "./contestant.ts";
import { startMonitor, triggered } from "./monitor.ts";
import type { Name } from "./outcome.ts";
import { Parts } from "./parts.ts";
import { instanceNames, type Settings, startProject } from "./project.ts";
import { type Gateway, startGateway } from "./traffic.ts";

/** Those who take part. */
export interface Field {
  contestants: Map<Name, Contestant>;
  gateway: Gateway;
  stop(): Promise<void>;
}

/** The monitor's own defaults. */
const TIMEOUT_MS = 8000;
const MAX_BYTES = 256 * 1024;

/** Where `build.sh` puts the naive module. */
const NAIVE = "target/bench/naive/";

/** No look at a webhook, no probe for zombies. */
const PLAIN: Settings = { webhook_policy: "off", zombie_probe_every_s: 0 };

/** Starts those who are named, each with so many instances. */
export async function startField(
  names: readonly Name[],
  instances: number,
  settings: Settings,
): Promise<Field> {
  const parts = new Parts();
  try {
    const gateway = await parts.add(startGateway());
    const loop = async (
      entry: string,
      imports: Record<string, string> = {},
      env: Record<string, string> = {},
    ) => await parts.add(startEdge({ env, imports, entry: `tests/bench/${entry}` }));
    const work = {
      gateway: { url: gateway.url, key: gateway.key },
      names: instanceNames(instances),
      concurrency: CONCURRENCY,
      timeout_ms: TIMEOUT_MS,
      max_bytes: MAX_BYTES,
    };
    const monitor = async (own: Settings) => {
      const all = { ...own, ...settings };
      const project = await parts.add(startProject(gateway, work.names, all));
      return await triggered(await parts.add(startMonitor(project)), project);
    };
    const start: Record<Name, () => Promise<Contestant>> = {
      floor: async () => await sweeping(await loop("floor.ts"), work),
      async naive() {
        const module = { "naive": `${NAIVE}whatsapp_monitor.js`, "naive-wasm": `${NAIVE}wasm.js` };
        return await sweeping(await loop("naive.ts", module), work);
      },
      // With instances of its own, for the webhooks that it sets, and with a database, for its writes.
      async original() {
        const names = instanceNames(instances, "chacara");
        const { front, keys } = await parts.add(startProject(gateway, names, {}));
        const client = { "@supabase/supabase-js": "npm:@supabase/supabase-js" };
        const env = { SUPABASE_URL: front.url, SERVICE_KEY: keys.service };
        return await sweeping(await loop("original.ts", client, env), { ...work, names }, front);
      },
      ours: () => monitor(PLAIN),
      defaults: () => monitor({}),
    };
    const contestants = new Map<Name, Contestant>();
    for (const name of names) contestants.set(name, await start[name]());
    return { contestants, gateway, stop: () => parts.stop() };
  } catch (error) {
    await parts.stop();
    throw error;
  }
}
