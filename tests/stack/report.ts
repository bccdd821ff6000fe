/** The report of a trigger, and the text that people read. Pure. */

/** One instance in a report. */
export interface ReportedInstance {
  organization_id: string;
  instance_name: string;
  status: string;
  since: string | null;
  checked_now: boolean;
  /** The text is for the users, in Portuguese. */
  reason: { code: string; text: string; text_en: string } | null;
  action: string;
  verdict: string | null;
  next_check_at: string | null;
}

/** One gateway in a report. */
export interface ReportedGateway {
  url: string;
  version: string | null;
  reachable: boolean;
}

/** What `?wait=true` answers. */
export interface Report {
  success: boolean;
  tick_id: string;
  started_at: string;
  duration_ms: number;
  trigger: string;
  checked: number;
  carried_over: number;
  database_round_trips: number;
  gateways: ReportedGateway[];
  instances: ReportedInstance[];
  /** What went wrong; only where something did. */
  error?: string;
}

/** True for what a trigger answers when it ran; an error has no instances. */
export function isReport(answer: unknown): answer is Report {
  return typeof answer === "object" && answer !== null &&
    Array.isArray((answer as Partial<Report>).instances);
}

/** Several triggers, one after the other, as one: the last state, all the work. */
export function mergeReports(reports: Report[]): Report {
  return reports.reduce((before, now) => {
    const earlier = new Map(
      before.instances.map((instance) => [keyOf(instance), instance]),
    );
    return {
      ...now,
      success: before.success && now.success,
      started_at: before.started_at,
      duration_ms: before.duration_ms + now.duration_ms,
      checked: before.checked + now.checked,
      database_round_trips: before.database_round_trips +
        now.database_round_trips,
      // What was done to an instance stands in the report of the trigger that checked it.
      instances: now.instances.map((instance) => {
        const checked = earlier.get(keyOf(instance));
        return !instance.checked_now && checked?.checked_now ? checked : instance;
      }),
    };
  });
}

/** The whole report: gateways, a table of all instances, and the summary. */
export function renderReport(report: Report): string {
  const lines = report.gateways.map(({ url, version, reachable }) =>
    `Gateway ${url}  ${version ?? "unknown version"}  ${reachable ? "reachable" : "NOT REACHABLE"}`
  );
  if (lines.length > 0) lines.push("");
  lines.push(
    ...report.instances.length > 0
      ? renderInstances(report.instances, report.started_at)
      : ["No instances: nothing is configured yet."],
    "",
    renderSummary(report),
  );
  return lines.join("\n");
}

/** What is different from the report before: the summary, and a table of the changed instances. */
export function renderChanges(before: Report, now: Report): string {
  const earlier = new Map(
    before.instances.map((instance) => [keyOf(instance), instance]),
  );
  const changed = now.instances.filter((instance) => {
    const was = earlier.get(keyOf(instance));
    return !was || was.status !== instance.status ||
      was.reason?.code !== instance.reason?.code ||
      was.action !== instance.action || was.verdict !== instance.verdict;
  });
  const gone = before.instances.filter((instance) =>
    !now.instances.some((other) => keyOf(other) === keyOf(instance))
  );
  const table = changed.length > 0 ? renderInstances(changed, now.started_at) : [];
  return [
    `${clock(now.started_at, now.started_at)}  ${renderSummary(now)}`,
    ...table,
    ...gone.map((instance) => `${instance.instance_name}: no longer configured`),
  ].join("\n");
}

/** `9 checked, 0 carried over, 2 database round trips, 41 ms` */
export function renderSummary(report: Report): string {
  const { checked, carried_over, database_round_trips: trips } = report;
  return [
    `${checked} checked`,
    `${carried_over} carried over`,
    `${trips} database round trip${trips === 1 ? "" : "s"}`,
    `${Math.round(report.duration_ms)} ms`,
    ...report.success ? [] : [`NOT COMMITTED${report.error ? `: ${report.error}` : ""}`],
  ].join(", ");
}

const HEADINGS = [
  "INSTANCE",
  "STATUS",
  "SINCE (UTC)",
  "ACTION",
  "NEXT CHECK",
  "REASON",
];
/** A longer name is cut, so that it does not push everything off the screen. */
const LONGEST_NAME = 44;

function renderInstances(
  instances: ReportedInstance[],
  startedAt: string,
): string[] {
  const rows = instances.map((instance) => [
    cut(instance.instance_name, LONGEST_NAME),
    instance.status,
    clock(instance.since, startedAt),
    instance.verdict ? `${instance.action} → ${instance.verdict}` : instance.action,
    clock(instance.next_check_at, startedAt),
    // Last, because it is a sentence.
    instance.reason?.text ?? "-",
  ]);
  return renderTable([HEADINGS, ...rows]);
}

/** Aligned columns, two spaces apart, nothing after the last one. */
export function renderTable(rows: string[][]): string[] {
  // A line break in a name or a reason would break the table.
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll(/\s+/g, " ")));
  const widths = cells[0].map((_, column) =>
    Math.max(...cells.map((row) => lettersOf(row[column]).length))
  );
  return cells.map((row) =>
    row.map((cell, column) => cell + " ".repeat(widths[column] - lettersOf(cell).length))
      .join("  ").trimEnd()
  );
}

function cut(text: string, longest: number): string {
  const letters = lettersOf(text);
  return letters.length > longest ? letters.slice(0, longest - 1).join("") + "…" : text;
}

/** As a person counts them: an accent is no letter of its own. */
function lettersOf(text: string): string[] {
  return Array.from(
    new Intl.Segmenter().segment(text),
    ({ segment }) => segment,
  );
}

/** The time of day in UTC; with the date where it is another day than the report's. */
function clock(time: string | null, startedAt: string): string {
  if (time === null) return "-";
  const date = new Date(time);
  if (isNaN(date.getTime())) return time;
  const [day, clockTime] = date.toISOString().split("T");
  const today = new Date(startedAt).toISOString().split("T")[0];
  return day === today ? clockTime.slice(0, 8) : `${day} ${clockTime.slice(0, 5)}`;
}

function keyOf(instance: ReportedInstance): string {
  return JSON.stringify([instance.organization_id, instance.instance_name]);
}
