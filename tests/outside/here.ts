/** The function in the test's own process, on a stack: there its clock can be turned. */
import { startWorld, type World } from "./support.ts";

/** A pause that lasts until the test ends it. */
interface Pause {
  id: number;
  ms: number;
  end: () => void;
}

/** Shorter pauses than this, in milliseconds, are left to the real clock. */
const SHORT_MS = 10_000;

let skipped_ms = 0;
const pauses: Pause[] = [];
let begun = Promise.withResolvers<void>();
let last_id = 0;
const { setTimeout, clearTimeout, performance } = globalThis;
const now = performance.now.bind(performance);
performance.now = () => now() + skipped_ms;
globalThis.setTimeout = ((end: () => void, ms = 0, ...rest: unknown[]) => {
  // Others who run in this process, such as the database's client, have timers of their own.
  const isFunctions = new Error().stack?.includes("/whatsapp_monitor.js");
  if (ms < SHORT_MS || !isFunctions) return setTimeout(end, ms, ...rest);
  // No timer of the runtime's has such a number.
  const id = --last_id;
  pauses.push({ id, ms, end });
  begun.resolve();
  begun = Promise.withResolvers();
  return id;
}) as typeof setTimeout;
globalThis.clearTimeout = (id) => {
  const index = pauses.findIndex((pause) => pause.id === id);
  if (index >= 0) pauses.splice(index, 1);
  else clearTimeout(id);
};

/** What the function goes on with behind its answers. */
const background = new Set<Promise<unknown>>();
globalThis.EdgeRuntime = {
  waitUntil(work) {
    background.add(work);
    work.finally(() => background.delete(work));
  },
};

/** A world, and the function in this process beside the one that it has. */
export interface Here extends World {
  /** Sends a request to the function in this process. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  /** Milliseconds that the pauses of now last. */
  pauses(): number[];
  /** Resolves when a pause has begun, or the work behind the answers is done. */
  resting(): Promise<void>;
  /** Turns the clock, and ends all pauses. */
  skip(ms: number): void;
  /** Resolves when the work behind the answers is done. */
  idle(): Promise<void>;
}

/** Starts a world, works in it, and stops it. One for each process. */
export async function here(work: (world: Here) => Promise<void>): Promise<void> {
  const world = await startWorld();
  // The names that win over all others, whatever another test has left in the environment.
  Deno.env.set("RENDIZY_SUPABASE_URL", world.url);
  Deno.env.set("SERVICE_ROLE_KEY", world.serviceKey);
  const { handler } = await import("../../supabase/functions/rendizy-server/index.ts");
  const idle = async () => {
    while (background.size > 0) await Promise.all(background);
  };
  try {
    await work({
      ...world,
      ask: (path, init) =>
        handler(new Request(`http://edge.test/rendizy-server/whatsapp/monitor${path}`, init)),
      pauses: () => pauses.map(({ ms }) => ms),
      async resting() {
        if (pauses.length === 0) await Promise.race([begun.promise, idle()]);
      },
      skip(ms) {
        skipped_ms += ms;
        for (const { end } of pauses.splice(0)) end();
      },
      idle,
    });
  } finally {
    await world.stop();
  }
}
