/** What the database costs, as text. */
import type { DatabaseResults } from "./database.ts";
import type { Month } from "./database_growth.ts";
import { accesses, excessive, type Plan, type Reading } from "./database_plans.ts";
import type { Crowd, Seldom, Share } from "./database_ticks.ts";
import { grid, short, shown } from "./figures.ts";

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
  const head = ["instances", "", "pages an instance", "too many rows an instance"];
  const rows = plans.map((plan) => [
    String(plan.size),
    plan.call,
    short(plan.pages / plan.instances),
    [...new Set(excessive(plan).map((each) => access(each, plan)))].join("; ") || "none",
  ]);
  const most = Math.max(...plans.map(({ size }) => size));
  const whole = plans.filter(({ size }) => size === most).map((plan) =>
    `  ${plan.call} of ${plan.size} reads, in rows an instance:\n` +
    accesses(plan).map((each) => `    ${access(each, plan)}`).join("\n")
  );
  return [`What a tick reads\n${grid([head, ...rows])}`, ...whole].join("\n");
}

type Access = Pick<Reading, "table" | "how" | "index" | "rows">;

const access = ({ table, how, index, rows }: Access, { instances }: Plan) =>
  `${table} ${short(rows / instances)} (${index ?? how})`;

function asked(seldom: Seldom[]): string {
  const head = [
    ...["instances", "sync_sources: all new", "times", "nothing new"],
    ...["clean_up", "checklist", "status of all", "report of all"],
  ];
  const rows = seldom.map((each) => [
    String(each.size),
    shown(each.sync_ms),
    String(each.syncs),
    ...[each.unchanged_sync_ms, each.clean_up_ms].map(shown),
    ...[each.checklist_ms, each.status_ms, each.report_ms].map(shown),
  ]);
  return "What is done seldom, in milliseconds: sync_sources takes in so many rows each time, and\n" +
    "clean_up removes 5000 days and as many ticks\n" + grid([head, ...rows]);
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
  const head = [
    ...["", "rows", "kB", "of indexes kB", "kB after half"],
    ...["updates", "HOT", "dead/row at most", "vacuums"],
  ];
  const rows = month.tables.map((each) => [
    each.table,
    String(each.rows),
    ...[each.table_bytes + each.index_bytes, each.index_bytes, each.bytes_half].map(kb),
    String(each.updates),
    each.updates > 0 ? `${short(each.hot_share * 100)} %` : "–",
    short(each.dead_per_row),
    String(each.vacuums),
  ]);
  const { size, history_bytes_per_day: day } = month;
  const ticks = month.rounds_a_day * (Math.ceil(size / 200) + 1);
  return `A month of ${size} instances, ${month.rounds_played} rounds played; history is kept for ` +
    `${month.history_days} days, the ledger for ${month.ledger_days}\n${grid([head, ...rows])}\n` +
    [
      `larger after the month than after half of it: ${month.grown.join(", ") || "none"}`,
      `left by clean-up, which took ${shown(month.clean_up_ms)} ms: ` +
      (month.left_over ? "what is too old" : "nothing that is too old"),
      `for each instance: state ${kb(month.standing_bytes)} kB; history ${kb(day)} kB a day, ` +
      `${kb(90 * day)} kB in the 90 days of history_days`,
      `of ${ticks} ticks a day, of ${short(month.ledger_bytes_per_tick)} bytes, the 7 of ` +
      `ledger_days: ${short(7 * ticks * month.ledger_bytes_per_tick / 1024 ** 2)} MB`,
    ].map((line) => `  ${line}`).join("\n");
}
