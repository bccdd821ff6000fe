/** The figures as text. */
import { type Name, NAMES } from "./contestants.ts";
import type { Outcome } from "./cells.ts";
import { grid, short, shown, type Target } from "./figures.ts";
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

function ratios(cells: Outcome[]): string {
  const head = ["CPU an instance", "ours/naive wasm", "ours/floor", "ours/original", "wall/ideal"];
  const rows = cells.map(({ name, ratios: { naive, floor, original, wall } }) => [
    name,
    shown(naive),
    shown(floor),
    shown(original),
    wall ? shown(wall) : "–",
  ]);
  return "Ratios: median (quartiles) of rounds; of the wall time without the database's share\n" +
    grid([head, ...rows]);
}

const LABELS: Record<Name, string> = {
  floor: "floor",
  naive: "naive wasm",
  original: "original",
  ours: "ours",
  report: "ours, ?wait=true",
};

function absolutes(cells: Outcome[]): string {
  const head = [
    "",
    "",
    "CPU ms/instance",
    "wall ms",
    "peak MB",
    "gateway requests, bytes/instance",
    "database requests/tick, bytes/instance",
  ];
  const rows = cells.flatMap((cell) =>
    NAMES.map((name) => {
      const figures = cell.contestants[name];
      return [
        name === NAMES[0] ? cell.name : "",
        LABELS[name],
        shown(figures.cpu_ms),
        shown(figures.wall_ms),
        short(figures.peak_mb.median),
        `${short(figures.gateway_requests.median)}, ${short(figures.gateway_bytes.median)}`,
        `${short(figures.database_requests.median)}, ${short(figures.database_bytes.median)}`,
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
