/** Which cells are played, how often, and why others are not. Pure. */
import type { BenchArgs } from "./args.ts";
import { type Cell, cellName, CELLS, checksPerSweep, idealMs } from "./cells.ts";
import { type Name, NAMES } from "./outcome.ts";

/** What one run does. */
export interface Plan {
  contestants: readonly Name[];
  /** By their number of instances: each number has processes of its own. */
  groups: { cells: Cell[]; rounds: number }[];
  /** Cells that are not played, and why. */
  left_out: { name: string; why: string }[];
  start_rounds: number;
  memory_ticks: number;
}

/** A round of three times as long as this, for the original, takes minutes. */
const PATIENCE_MS = 5_000;
const ROUNDS = 5;
/** The original alone waits for seconds in these. */
const SLOW_ROUNDS = 3;
const START_ROUNDS = 15;
const MEMORY_TICKS = 200;

/** The plan for a command line. */
export function plan({ quick, full, only, contestants, rounds }: BenchArgs): Plan {
  const named = (name: string) => only.includes(name);
  const left_out: Plan["left_out"] = [];
  const played = CELLS.filter((cell) => {
    const name = cellName(cell);
    if (only.length > 0) return named(name);
    if (quick) return name === "1@0";
    if (full || leastMs(cell) <= PATIENCE_MS) return true;
    left_out.push({ name, why: "takes minutes; with --full" });
    return false;
  });
  const groups = [1, 100, 1_000, 10_000].flatMap((instances) =>
    [true, false].map((slow) => ({
      cells: played.filter((cell) => cell.instances === instances && isSlow(cell) === slow),
      rounds: rounds ?? (quick ? 1 : slow ? SLOW_ROUNDS : ROUNDS),
    }))
  ).filter(({ cells }) => cells.length > 0);
  const all = only.length === 0;
  return {
    contestants: contestants.length > 0 ? contestants : NAMES,
    groups,
    left_out,
    start_rounds: all || named("start") ? quick ? 1 : START_ROUNDS : 0,
    memory_ticks: all && !quick || named("memory") ? MEMORY_TICKS : 0,
  };
}

function leastMs(cell: Cell): number {
  return idealMs(cell, checksPerSweep(cell));
}

function isSlow(cell: Cell): boolean {
  return leastMs(cell) > PATIENCE_MS || cell.one_percent || cell.instances >= 10_000;
}
