/** What the database costs, as text. */
import type { DatabaseResults } from "./database.ts";
import type { Month } from "./database_growth.ts";
import type { Plan, Reading } from "./database_plans.ts";
import type { Crowd, Seldom, Share } from "./database_ticks.ts";
import { grid, short, shown } from "./figures.ts";

/** A statement that reads fewer rows than this for each instance of a tick reads few. */
const MANY_ROWS = 10;

/** Everything that was measured, for people. */
export function databaseText(results: DatabaseResults): string {
  const { server, load, ticks, seldom, plans, workers, month } = results;
  return [
    `${server}\nLoad before and after: ${
      load.map((each) => each.map(short).join(" ")).join(" / ")
    }`,
    ticks.length > 0 ? shares(ticks) : "",
    plans.length > 0 ? planned(plans) : "",
    seldom.length > 0 ? asked(seldom) : "",
    workers.length > 0 ? crowds(workers) : "",
    month ? grown(month) : "",
  ].filter(Boolean).join("\n\n");
}

function shares(ticks: Share[]): string {
  const head = [
    ...["instances", "", "CPU µs", "begin", "finish", "wall µs", "CPU µs, planning again"],
    "log bytes",
  ];
  const rows = ticks.map((share) => [
    String(share.size),
    share.situation,
    shown(share.cpu_us),
    shown(share.begin_cpu_us),
    shown(share.finish_cpu_us),
    shown(share.wall_us),
    shown(share.planning_cpu_us),
    short(share.wal_bytes),
  ]);
  return "begin_tick and finish_tick, for each instance: median (quartiles) of ticks of 200\n" +
    grid([head, ...rows]);
}

function planned(plans: Plan[]): string {
  const head = ["instances", "", "pages an instance", "rows read, for each instance, where many"];
  const rows = plans.map((plan) => [
    String(plan.size),
    plan.call,
    short(plan.pages / plan.instances),
    notable(plan).join("; ") || "–",
  ]);
  return `What a tick reads\n${grid([head, ...rows])}`;
}

/** Readings that a tick should not need: all of a table, or many rows of it. */
function notable({ readings, instances }: Plan): string[] {
  const many = readings.filter(({ rows }) => rows > MANY_ROWS * instances);
  const what = ({ table, how, index, rows }: Reading) =>
    `${table} ${short(rows / instances)} (${index ?? how})`;
  return [...new Set(many.map(what))];
}

function asked(seldom: Seldom[]): string {
  const head = [
    ...["instances", "sync_sources: all new", "nothing new"],
    ...["checklist", "status of all", "report of all"],
  ];
  const rows = seldom.map((each) => [
    String(each.size),
    short(each.first_sync_ms),
    ...[each.unchanged_sync_ms, each.checklist_ms, each.status_ms, each.report_ms].map(shown),
  ]);
  return `What reads everything, in milliseconds\n${grid([head, ...rows])}`;
}

function crowds(workers: Crowd[]): string {
  const head = [
    "workers",
    "instances a second",
    "rounds",
    "claimed twice",
    "left out",
    "deadlocks",
  ];
  const rows = workers.map((crowd) => [
    String(crowd.workers),
    shown(crowd.instances_per_s),
    ...[crowd.rounds, 0, 0, crowd.deadlocks].map(String),
  ]);
  return `Workers side by side\n${grid([head, ...rows])}`;
}

function grown(month: Month): string {
  const kb = (bytes: number) => short(bytes / 1024);
  const head = ["", "rows", "kB", "of indexes kB", "updates", "HOT", "dead/row at most", "vacuums"];
  const rows = month.tables.map((each) => [
    each.table,
    ...[each.rows].map(String),
    kb(each.table_bytes),
    kb(each.index_bytes),
    String(each.updates),
    each.updates > 0 ? `${short(each.hot_share * 100)} %` : "–",
    short(each.dead_per_row),
    String(each.vacuums),
  ]);
  return `A month of ${month.size} instances, ${month.rounds_played} rounds played\n` +
    `${grid([head, ...rows])}\n` +
    `  for each instance: history ${kb(month.history_bytes_per_instance)} kB a month, ` +
    `state ${kb(month.standing_bytes_per_instance)} kB; the ledger in all ` +
    `${kb(month.ledger_bytes)} kB`;
}
