/** Whether the module's memory stays as it is, tick after tick. */
import { startDatabase } from "../outside/support.ts";
import { fill, type Settings, startOurs, triggered } from "./contestants.ts";
import { hold, type Target } from "./figures.ts";
import { residentMb } from "./process.ts";
import { type Gateway, startFront } from "./traffic.ts";

/** What came of it. */
export interface Memory {
  instances: number;
  ticks: number;
  /** The module's memory after a tenth of the ticks, and after all. */
  wasm_bytes: { first: number; last: number };
  /** The process's memory, V8's garbage included, at the same moments. */
  resident_mb: { first: number; last: number };
  targets: Target[];
}

const INSTANCES = 200;

/** Ticks again and again over as many instances as one tick takes. */
export async function measureMemory(
  gateway: Gateway,
  ticks: number,
  settings: Settings,
): Promise<Memory> {
  const bare = await startDatabase();
  const front = startFront(bare.database, bare.keys);
  try {
    await gateway.behave({ latency_ms: 0, one_percent: true });
    await fill(bare, gateway, INSTANCES, settings);
    const edge = await startOurs(bare, front, { entry: "tests/bench/watched.ts" });
    try {
      const contestant = triggered(edge, bare, INSTANCES, false);
      const look = async () => {
        const { wasm_bytes } = await (await fetch(`${edge.url}/.bench/memory`)).json();
        return { wasm_bytes, resident_mb: residentMb(edge.pid!) };
      };
      let first = await look();
      const settled = Math.max(1, Math.floor(ticks / 10));
      for (let tick = 1; tick <= ticks; tick++) {
        await contestant.prepare();
        await contestant.sweep();
        if (tick === settled) first = await look();
      }
      const last = await look();
      return {
        instances: INSTANCES,
        ticks,
        wasm_bytes: { first: first.wasm_bytes, last: last.wasm_bytes },
        resident_mb: { first: first.resident_mb, last: last.resident_mb },
        targets: [
          hold("wasm memory: growth in bytes", 0, last.wasm_bytes - first.wasm_bytes),
        ],
      };
    } finally {
      await edge.stop();
    }
  } finally {
    await front.stop();
    await bare.stop();
  }
}
