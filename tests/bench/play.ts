/** How the cells are played. */
import { type Cell, cellName, checksPerSweep } from "./cells.ts";
import type { Contestant } from "./contestant.ts";
import { type Field, startField } from "./field.ts";
import { type Name, type Outcome, outcome, type Sweep } from "./outcome.ts";
import { cpuMsSince, cpuTimes, peakMb, resetPeak } from "./process.ts";
import type { Settings } from "./project.ts";
import type { Gateway } from "./traffic.ts";

/** Plays the cells of one number of instances, so many rounds each after some that do not count. */
export async function playCells(
  names: readonly Name[],
  cells: Cell[],
  rounds: number,
  settings: Settings,
  tell: (text: string) => void,
): Promise<Outcome[]> {
  const field = await startField(names, cells[0].instances, settings);
  try {
    const outcomes = [];
    for (const cell of cells) {
      tell(`${cellName(cell)} …`);
      outcomes.push(outcome(cell, rounds, await play(field, cell, rounds)));
    }
    return outcomes;
  } finally {
    await field.stop();
  }
}

/** Sweeps without latency before any counts, in each new process: V8 optimizes what runs often. */
const WARM_UP_CHECKS = 2_000;
/** Whoever is not ready after so many sweeps more never will be. */
const MAX_WARM_UPS = 10;
/** Sweeps over few instances are repeated within a round, and count by their mean. */
const CHECKS_PER_ROUND = 200;

async function play(
  { contestants, gateway }: Field,
  cell: Cell,
  rounds: number,
): Promise<Map<Name, Sweep[]>> {
  const { instances, latency_ms, one_percent } = cell;
  // The original waits 5 s for each instance that is not open.
  const waits = (name: Name) => name === "original" && one_percent;
  // A single round is but a trial.
  const warmUps = rounds === 1 ? 1 : Math.min(Math.ceil(WARM_UP_CHECKS / instances), 100);
  await gateway.behave({ latency_ms: 0, one_percent });
  for (const [name, contestant] of contestants) {
    const least = waits(name) ? 1 : warmUps;
    for (let n = 0; n < least || !await contestant.isSettled(); n++) {
      if (n > least + MAX_WARM_UPS) throw new Error(`${name} does not come to rest`);
      await measure(contestant, gateway);
    }
  }
  await gateway.behave({ latency_ms, one_percent });
  const checks = checksPerSweep(cell);
  const some = checks < instances ? checks : undefined;
  const repeats = latency_ms > 50 ? 1 : Math.min(Math.ceil(CHECKS_PER_ROUND / instances), 20);
  const all = [...contestants];
  const sweeps = new Map<Name, Sweep[]>(all.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each has its turn at each place.
    const order = all.map((_, place) => all[(place + round) % all.length]);
    for (const [name, contestant] of order) {
      const measured = [];
      const times = waits(name) ? 1 : repeats;
      for (let n = 0; n < times; n++) measured.push(await measure(contestant, gateway, some));
      sweeps.get(name)!.push(mean(measured));
    }
  }
  return sweeps;
}

/** One sweep of one contestant. */
async function measure(
  contestant: Contestant,
  gateway: Gateway,
  some?: number,
): Promise<Sweep> {
  await contestant.prepare();
  await gateway.traffic();
  contestant.stored();
  resetPeak(contestant.pid);
  const before = cpuTimes(contestant.pid);
  const started = performance.now();
  const { checks, ticks } = await contestant.sweep(some);
  const wall_ms = performance.now() - started;
  const cpu_ms = cpuMsSince(before, contestant.pid);
  const asked = await gateway.traffic();
  const stored = contestant.stored();
  return {
    checks,
    cpu_ms: cpu_ms / checks,
    wall_ms,
    peak_mb: peakMb(contestant.pid),
    gateway_requests: asked.requests / checks,
    gateway_bytes: asked.bytes / checks,
    database_requests: stored.requests / ticks,
    database_bytes: stored.bytes / checks,
    database_ms: stored.ms,
  };
}

function mean(sweeps: Sweep[]): Sweep {
  const keys = Object.keys(sweeps[0]) as (keyof Sweep)[];
  const total = (key: keyof Sweep) => sweeps.reduce((sum, sweep) => sum + sweep[key], 0);
  return Object.fromEntries(
    keys.map((key) => [key, total(key) / sweeps.length]),
  ) as unknown as Sweep;
}
