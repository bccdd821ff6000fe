/** What is measured: ways for things to be. Pure. */

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
export const CONCURRENCY = 16;

/** The budget of a trigger's ticks. */
const BUDGET_MS = 20_000;

/** How many checks a sweep makes: all, or as many as a trigger has time for, several ticks of them. */
export function checksPerSweep({ instances, latency_ms }: Cell): number {
  if (latency_ms === 0) return instances;
  return Math.min(instances, Math.floor(BUDGET_MS / latency_ms) * CONCURRENCY);
}

/** How long so many checks take at the least. */
export function idealMs({ latency_ms }: Cell, checks: number): number {
  return Math.ceil(checks / CONCURRENCY) * latency_ms;
}
