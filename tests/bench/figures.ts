/** Figures of several rounds, and what becomes of them. */

/** The middle of some figures, and how far they spread: a quarter lies below `q1`, a quarter above `q3`. */
export interface Spread {
  median: number;
  q1: number;
  q3: number;
}

/** The spread of some figures; one that was not to be had makes it NaN. */
export function spread(figures: number[]): Spread {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (share: number) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
  };
  return { median: at(0.5), q1: at(0.25), q3: at(0.75) };
}

/** The spread of the ratios of what was measured in the same round. */
export function ratio(dividends: number[], divisors: number[]): Spread {
  return spread(dividends.map((dividend, round) => dividend / divisors[round]));
}

/** Three significant digits, or a dash. */
export function short(figure: number): string {
  if (!Number.isFinite(figure)) return "–";
  const digits = figure === 0 ? 0 : Math.floor(Math.log10(Math.abs(figure)));
  return figure.toFixed(Math.min(Math.max(2 - digits, 0), 3));
}

/** `1.23 (1.20–1.31)` */
export function shown({ median, q1, q3 }: Spread): string {
  return Number.isFinite(median) ? `${short(median)} (${short(q1)}–${short(q3)})` : "–";
}

/** What a figure must not exceed, and whether it does. */
export interface Target {
  /** What is measured, and where. */
  what: string;
  limit: number;
  measured: number;
  ok: boolean;
}

/** Holds a figure to its limit; what was not to be had is not ok. */
export function hold(what: string, limit: number, measured: number): Target {
  return { what, limit, measured, ok: measured <= limit };
}

/** Columns as wide as what is in them. */
export function grid(rows: string[][]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    `  ${row.map((text, column) => text.padEnd(widths[column])).join("  ")}`.trimEnd()
  ).join("\n");
}
