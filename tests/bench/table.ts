/** The figures as text. */
import { grid, short, shown, type Spread, type Target } from "./figures.ts";
import { MONITORS, type Name, type Outcome } from "./outcome.ts";
import type { Results } from "./bench.ts";

/** Everything that was measured, for people. */
export function text(results: Results): string {
  const { cells, start, memory } = results;
  const targets = [...cells, start, memory].flatMap((part) => part?.targets ?? []);
  const parts = [
    `${results.resolution}\nDatabase: ${results.database}; load before and after: ` +
    `${results.load.map((each) => each.map(short).join(" ")).join(" / ")}`,
    cells.length > 0 ? ratios(cells) : "",
    cells.length > 0 ? absolutes(cells) : "",
    start ? started(start) : "",
    memory ? remembered(memory) : "",
    results.left_out.length > 0
      ? `Left out:\n${results.left_out.map(({ name, why }) => `  ${name}: ${why}`).join("\n")}`
      : "",
    targets.length > 0 ? held(targets) : "",
  ];
  return parts.filter(Boolean).join("\n\n");
}

const LABELS: Record<Name, string> = {
  floor: "floor",
  naive: "naive wasm",
  original: "original",
  ours: "ours",
  defaults: "defaults",
};

function ratios(cells: Outcome[]): string {
  const head = ["", "CPU an instance", "/ naive wasm", "/ floor", "/ original", "wall / ideal"];
  const rows = cells.flatMap(({ name, ratios }) =>
    MONITORS.flatMap((monitor) => {
      const found = ratios[monitor];
      if (!found) return [];
      const { naive, floor, original, wall } = found;
      return [[name, LABELS[monitor], ...[naive, floor, original, wall].map(orDash)]];
    })
  );
  return "Ratios: median (quartiles) of rounds; of the wall time without the database's share.\n" +
    "Ours asks each instance for its state and nothing else, as the others do; the defaults also\n" +
    `look at webhooks and for zombies, as often as in life\n${grid([head, ...rows])}`;
}

function orDash(figure?: Spread): string {
  return figure ? shown(figure) : "–";
}

function absolutes(cells: Outcome[]): string {
  const head = [
    "",
    "",
    "CPU ms/instance",
    "wall ms",
    "checks/s",
    "peak MB",
    "gateway requests, bytes/instance",
    "database requests/tick, bytes/instance, ms",
  ];
  const rows = cells.flatMap(({ name, contestants }) =>
    Object.entries(contestants).map(([contestant, figures], n) => {
      const medians = (...all: Spread[]) => all.map(({ median }) => short(median)).join(", ");
      return [
        n === 0 ? name : "",
        LABELS[contestant as Name],
        shown(figures.cpu_ms),
        shown(figures.wall_ms),
        short(figures.checks.median / figures.wall_ms.median * 1000),
        medians(figures.peak_mb),
        medians(figures.gateway_requests, figures.gateway_bytes),
        medians(figures.database_requests, figures.database_bytes, figures.database_ms),
      ];
    })
  );
  return `Absolute figures: they drift on shared machines\n${grid([head, ...rows])}`;
}

function started(start: NonNullable<Results["start"]>): string {
  const { upload } = start;
  const steps = Object.entries(start.steps_ms).map(([step, ms]) =>
    `${step.replace("_ms", "")} ${shown(ms)}`
  );
  return `Start of a process to its first answer, ms: ours ${shown(start.ours_ms)}, ` +
    `empty function ${shown(start.empty_ms)}\n  of the module: ${steps.join(", ")}\n` +
    `Upload: ${upload.files} files, ${upload.bytes} bytes, ${upload.gzip_bytes} with gzip`;
}

function remembered({ instances, ticks, wasm_bytes, resident_mb }: NonNullable<Results["memory"]>) {
  const mb = (bytes: number) => short(bytes / 2 ** 20);
  return `Memory, after a tenth of ${ticks} ticks over ${instances} instances, and after all: ` +
    `wasm ${mb(wasm_bytes.first)} and ${mb(wasm_bytes.last)} MB, ` +
    `process ${short(resident_mb.first)} and ${short(resident_mb.last)} MB`;
}

function held(targets: Target[]): string {
  const rows = targets.map(({ what, limit, measured, ok }) => [
    ok ? "ok" : "MISSED",
    what,
    short(measured),
    `at most ${limit}`,
  ]);
  return `Targets\n${grid(rows)}`;
}
