/** Whether the module's memory stays as it is, tick after tick. */
import type { Edge } from "../stack/edge.ts";
import type { Contestant } from "./contestant.ts";
import { hold, type Target } from "./figures.ts";
import { startMonitor, triggered } from "./monitor.ts";
import { Parts } from "./parts.ts";
import { residentMb } from "./process.ts";
import { instanceNames, type Settings, startProject } from "./project.ts";
import { startGateway } from "./traffic.ts";

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
export async function measureMemory(ticks: number, settings: Settings): Promise<Memory> {
  const parts = new Parts();
  try {
    const gateway = await parts.add(startGateway());
    await gateway.behave({ latency_ms: 0, one_percent: true });
    const project = await parts.add(startProject(gateway, instanceNames(INSTANCES), settings));
    const edge = await parts.add(startMonitor(project, { entry: "tests/bench/watched.ts" }));
    return await watch(edge, await triggered(edge, project), ticks);
  } finally {
    await parts.stop();
  }
}

async function watch(edge: Edge, contestant: Contestant, ticks: number): Promise<Memory> {
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
}
