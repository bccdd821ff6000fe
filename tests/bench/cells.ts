/** What is measured: cells, and how each is played. */
import { type Field, type Name, NAMES, type Settings, startField } from "./contestants.ts";
import { hold, ratio, type Spread, spread, type Target } from "./figures.ts";
import { cpuMsSince, cpuTimes, peakMb, resetPeak } from "./process.ts";
import type { Gateway } from "./traffic.ts";

/** One way for things to be. */
export interface Cell {
  instances: number;
  /** Whether 1 % of them is not `open`. */
  one_percent: boolean;
  latency_ms: number;
}

/** The name by which `--only` knows it, such as `100@50` or `1000@0-1%`. */
export function cellName({ instances, one_percent, latency_ms }: Cell): string {
  return `${instances}@${latency_ms}${one_percent ? "-1%" : ""}`;
}

/** All that make sense: of one instance there is no hundredth. */
export const CELLS: Cell[] = [1, 100, 1_000, 10_000].flatMap((instances) =>
  [false, true].filter((one_percent) => !one_percent || instances > 1).flatMap((one_percent) =>
    [0, 50, 500].map((latency_ms) => ({ instances, one_percent, latency_ms }))
  )
);

/** What the monitor asks a gateway at a time. */
const CONCURRENCY = 16;

/** How long a sweep takes at the least. */
export function idealMs({ instances, latency_ms }: Cell): number {
  return Math.ceil(instances / CONCURRENCY) * latency_ms;
}

/** What one contestant took, each figure for one instance unless it says otherwise. */
export interface Figures {
  cpu_ms: Spread;
  /** For the whole sweep. */
  wall_ms: Spread;
  /** Of the process, in the whole sweep. */
  peak_mb: Spread;
  gateway_requests: Spread;
  gateway_bytes: Spread;
  /** For each tick: of the contestants without ticks, for the sweep. */
  database_requests: Spread;
  database_bytes: Spread;
}

/** What came of a cell. */
export interface Outcome extends Cell {
  name: string;
  rounds: number;
  contestants: Record<Name, Figures>;
  /** CPU of ours divided by that of others, and the wall time without the database's by the ideal one. */
  ratios: {
    naive: Spread;
    floor: Spread;
    original: Spread;
    wall: Spread | null;
  };
  targets: Target[];
}

/** One sweep, measured. */
interface Sweep {
  cpu_ms: number;
  wall_ms: number;
  peak_mb: number;
  gateway_requests: number;
  gateway_bytes: number;
  database_requests: number;
  database_bytes: number;
  database_ms: number;
}

/** Plays the cells of one number of instances, so many rounds each after one that does not count. */
export async function playCells(
  gateway: Gateway,
  cells: Cell[],
  rounds: number,
  settings: Settings,
  told: (text: string) => void,
): Promise<Outcome[]> {
  const field = await startField(gateway, cells[0].instances, settings);
  try {
    const outcomes = [];
    for (const cell of cells) {
      told(`${cellName(cell)} …`);
      outcomes.push(await play(field, gateway, cell, rounds));
    }
    return outcomes;
  } finally {
    await field.stop();
  }
}

/** Sweeps without latency before any counts, in each new process: V8 optimizes what runs often. */
const WARM_UP_CHECKS = 2_000;
/** Sweeps over few instances are repeated within a round, and count by their mean. */
const CHECKS_PER_ROUND = 200;

async function play(
  field: Field,
  gateway: Gateway,
  cell: Cell,
  rounds: number,
): Promise<Outcome> {
  const { instances, latency_ms, one_percent } = cell;
  const sweeps = Object.fromEntries(NAMES.map((name) => [name, []])) as unknown as Record<
    Name,
    Sweep[]
  >;
  // A single round is but a trial.
  const warmUps = rounds === 1 ? 1 : Math.min(Math.ceil(WARM_UP_CHECKS / instances), 100);
  await gateway.behave({ latency_ms: 0, one_percent });
  for (const name of NAMES) {
    for (let n = 0; n < (name === "original" && one_percent ? 1 : warmUps); n++) {
      await measure(field, gateway, name);
    }
  }
  await gateway.behave({ latency_ms, one_percent });
  const repeats = latency_ms > 50 ? 1 : Math.min(Math.ceil(CHECKS_PER_ROUND / instances), 20);
  for (let round = 0; round < rounds; round++) {
    // Each has its turn at each place.
    const order = NAMES.map((_, place) => NAMES[(place + round) % NAMES.length]);
    for (const name of order) {
      const measured = [];
      // The original waits 5 s for each instance that is not open.
      const times = name === "original" && one_percent ? 1 : repeats;
      for (let n = 0; n < times; n++) measured.push(await measure(field, gateway, name));
      sweeps[name].push(mean(measured));
    }
  }
  return outcome(cell, rounds, sweeps);
}

/** One sweep of one contestant. */
async function measure({ contestants, front }: Field, gateway: Gateway, name: Name) {
  const contestant = contestants[name];
  await contestant.prepare();
  await gateway.traffic();
  front.traffic();
  resetPeak(contestant.pid);
  const before = cpuTimes(contestant.pid);
  const started = performance.now();
  const { checks, ticks } = await contestant.sweep();
  const wall_ms = performance.now() - started;
  const cpu_ms = cpuMsSince(before, contestant.pid);
  const asked = await gateway.traffic();
  const stored = front.traffic();
  return {
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

/** How much more than others the monitor may take. */
export const LIMITS = { naive: 1.25, floor: 1.8, original: 0.5, wall: 1.15, round_trips: 2 };

function outcome(cell: Cell, rounds: number, sweeps: Record<Name, Sweep[]>): Outcome {
  const column = (name: Name, key: keyof Sweep) => sweeps[name].map((sweep) => sweep[key]);
  const figures = (name: Name) =>
    Object.fromEntries(
      Object.keys(sweeps[name][0]).map((key) => [key, spread(column(name, key as keyof Sweep))]),
    ) as unknown as Figures;
  const cpu = (name: Name) => column(name, "cpu_ms");
  const ideal = idealMs(cell);
  const wall = sweeps.ours.map(({ wall_ms, database_ms }) => (wall_ms - database_ms) / ideal);
  const ratios = {
    naive: ratio(cpu("ours"), cpu("naive")),
    floor: ratio(cpu("ours"), cpu("floor")),
    original: ratio(cpu("ours"), cpu("original")),
    wall: ideal > 0 ? spread(wall) : null,
  };
  const name = cellName(cell);
  const contestants = Object.fromEntries(
    NAMES.map((each) => [each, figures(each)]),
  ) as unknown as Outcome["contestants"];
  const targets = [];
  if (!cell.one_percent) {
    targets.push(
      hold(`${name}: CPU, ours / naive wasm`, LIMITS.naive, ratios.naive.median),
      hold(`${name}: CPU, ours / floor`, LIMITS.floor, ratios.floor.median),
      hold(`${name}: CPU, ours / original`, LIMITS.original, ratios.original.median),
      hold(
        `${name}: database round trips a tick`,
        LIMITS.round_trips,
        contestants.ours.database_requests.median,
      ),
    );
  }
  if (ratios.wall) {
    targets.push(hold(`${name}: wall time / ideal`, LIMITS.wall, ratios.wall.median));
  }
  return { ...cell, name, rounds, contestants, ratios, targets };
}
