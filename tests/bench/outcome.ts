/** What came of a cell: figures, ratios, and the targets that they are held to. Pure. */
import { type Cell, cellName, idealMs } from "./cells.ts";
import { hold, ratio, type Spread, spread, type Target } from "./figures.ts";

/**
 * Who takes part. `ours` asks each instance for its state, as the others do, and nothing else;
 * `defaults` is what a user gets: it looks at webhooks and for zombies as often as in life.
 */
export const NAMES = ["floor", "naive", "original", "ours", "defaults"] as const;
export type Name = typeof NAMES[number];

/** One sweep, measured; each figure for one instance unless it says otherwise. */
export interface Sweep {
  /** How many were made. */
  checks: number;
  cpu_ms: number;
  /** For the whole sweep. */
  wall_ms: number;
  /** Of the process, in the whole sweep. */
  peak_mb: number;
  gateway_requests: number;
  gateway_bytes: number;
  /** For each tick, an empty one's being the others': of the contestants without ticks, for the sweep. */
  database_requests: number;
  database_bytes: number;
  /** For the whole sweep. */
  database_ms: number;
}

/** What one contestant took in all rounds. */
export type Figures = Record<keyof Sweep, Spread>;

/** Those that the monitor is compared with. */
export const RIVALS = ["naive", "floor", "original"] as const;

/** The monitor's CPU divided by that of each rival, and its wall time without the database's by the ideal one. */
export type Ratios = Partial<Record<typeof RIVALS[number] | "wall", Spread>>;

/** The two ways in which the monitor takes part. */
export const MONITORS = ["ours", "defaults"] as const;

/** What came of a cell; of who did not take part, nothing. */
export interface Outcome extends Cell {
  name: string;
  rounds: number;
  contestants: Partial<Record<Name, Figures>>;
  ratios: Partial<Record<typeof MONITORS[number], Ratios>>;
  /** Of `ours`, which does no more than its rivals. */
  targets: Target[];
}

/** How much more than others the monitor may take. */
export const LIMITS = { naive: 1.25, floor: 1.8, original: 0.5, wall: 1.15, round_trips: 2 };

/** How targets name the rivals. */
const LABELS = { naive: "naive wasm", floor: "floor", original: "original" };

/** What came of all sweeps, of each contestant one for each round. */
export function outcome(cell: Cell, rounds: number, sweeps: Map<Name, Sweep[]>): Outcome {
  const contestants: Outcome["contestants"] = {};
  for (const [name, each] of sweeps) contestants[name] = figures(each);
  const ratios: Outcome["ratios"] = {};
  for (const name of MONITORS) {
    if (sweeps.has(name)) ratios[name] = compare(cell, name, sweeps);
  }
  const name = cellName(cell);
  const { ours } = ratios;
  const targets: Target[] = [];
  const aim = (what: string, limit: number, measured?: Spread) => {
    if (measured) targets.push(hold(`${name}: ${what}`, limit, measured.median));
  };
  if (!cell.one_percent) {
    for (const rival of RIVALS) {
      aim(`CPU, ours / ${LABELS[rival]}`, LIMITS[rival], ours?.[rival]);
    }
    aim("database round trips a tick", LIMITS.round_trips, contestants.ours?.database_requests);
  }
  aim("wall time / ideal", LIMITS.wall, ours?.wall);
  return { ...cell, name, rounds, contestants, ratios, targets };
}

function figures(sweeps: Sweep[]): Figures {
  const keys = Object.keys(sweeps[0]) as (keyof Sweep)[];
  const column = (key: keyof Sweep) => spread(sweeps.map((sweep) => sweep[key]));
  return Object.fromEntries(keys.map((key) => [key, column(key)])) as Figures;
}

function compare(cell: Cell, name: Name, sweeps: Map<Name, Sweep[]>): Ratios {
  const own = sweeps.get(name)!;
  const cpu = (of: Sweep[]) => of.map(({ cpu_ms }) => cpu_ms);
  const ratios: Ratios = {};
  for (const rival of RIVALS) {
    const others = sweeps.get(rival);
    if (others) ratios[rival] = ratio(cpu(own), cpu(others));
  }
  if (cell.latency_ms > 0) {
    ratios.wall = spread(
      own.map(({ wall_ms, database_ms, checks }) =>
        (wall_ms - database_ms) / idealMs(cell, checks)
      ),
    );
  }
  return ratios;
}
