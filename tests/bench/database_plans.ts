/** How Postgres carries out the statements of a tick: what each reads, and where it reads all there is. */
import postgres from "postgres";
import { BEGIN, FINISH } from "../outside/ledger.ts";
import type { Samples } from "./database_recording.ts";
import { ONE_IN, type Project, settle } from "./database_project.ts";
import { SITUATIONS } from "./database_ticks.ts";
import { Worker } from "./database_worker.ts";

/** A reading of a table, as one statement of one call did it. */
export interface Reading {
  call: string;
  table: string;
  how: string;
  index: string | null;
  /** Rows that were looked at, thrown away or not. */
  rows: number;
  loops: number;
  ms: number;
  statement: string;
}

/** A call as a whole. */
export interface Plan {
  call: string;
  size: number;
  instances: number;
  /** Pages of 8 kB that it touched. */
  pages: number;
  ms: number;
  readings: Reading[];
}

/** A tick that reads more rows than this for each of its instances reads what it does not need. */
const MANY_ROWS = 10;

/** Readings that a tick should not need: all of a large table, or many rows of it. */
export function excessive({ readings, instances }: Plan): Reading[] {
  return readings.filter(({ rows }) => rows > MANY_ROWS * instances);
}

/** How each table was read in all: through which index, or from end to end, and how many rows. */
export function accesses({ readings }: Plan): Pick<Reading, "table" | "how" | "index" | "rows">[] {
  const all = new Map<string, Pick<Reading, "table" | "how" | "index" | "rows">>();
  for (const { table, how, index, rows } of readings) {
    const key = `${table} ${index ?? how}`;
    all.set(key, { table, how, index, rows: rows + (all.get(key)?.rows ?? 0) });
  }
  return [...all.values()].sort((a, b) => b.rows - a.rows);
}

/** A node of a plan, as `explain (format json)` gives it. */
interface Node {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Actual Total Time": number;
  "Rows Removed by Filter"?: number;
  "Rows Removed by Index Recheck"?: number;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: Node[];
}

/** From the sixth call on Postgres may use plans that fit every value; where so many are due. */
const CALLS = 8;

const AUTO_EXPLAIN = `
  load 'auto_explain';
  set auto_explain.log_min_duration = 0;
  set auto_explain.log_nested_statements = on;
  set auto_explain.log_analyze = on;
  set auto_explain.log_buffers = on;
  set auto_explain.log_format = json;
  -- They come to us, and not to the log.
  set auto_explain.log_level = notice;
  set client_min_messages = notice`;

/** The plans of a tick on a connection that has seen some. */
export async function explainTick(project: Project, samples: Samples): Promise<Plan[]> {
  const { find, withDown } = SITUATIONS[`1 in ${ONE_IN} down`];
  await settle(project, samples, withDown);
  const worker = await Worker.start(project.url, samples);
  const notices: string[] = [];
  const sql = postgres(project.url, {
    max: 1,
    onnotice: ({ message }) => void notices.push(message ?? ""),
  });
  const call = async (fn: string, request: unknown) => {
    notices.length = 0;
    const [{ text }] = await sql.unsafe(`select public.${fn}($1::text::jsonb)::text as text`, [
      JSON.stringify(request),
    ]);
    return JSON.parse(text);
  };
  try {
    await sql.unsafe(AUTO_EXPLAIN).simple();
    const plans: Plan[] = [];
    for (let n = 0; n < Math.min(CALLS, project.size / 200); n++) {
      const beginning = worker.beginning();
      const begun = { ...await call(BEGIN, beginning), tick_id: beginning.tick_id };
      const instances = begun.instances.length;
      const begin = plan("begin_tick", project.size, instances, notices);
      await call(FINISH, worker.ending(begun, find));
      plans.splice(0, 2, begin, plan("finish_tick", project.size, instances, notices));
    }
    return plans;
  } finally {
    await sql.end();
    await worker.stop();
  }
}

/** The plan of a call, from what auto_explain said while it ran. */
export function plan(call: string, size: number, instances: number, notices: string[]): Plan {
  const statements = notices.flatMap((notice) => {
    const json = notice.match(/plan:\s*(\{.*\})\s*$/s)?.[1];
    return json ? [JSON.parse(json) as { "Query Text": string; Plan: Node }] : [];
  });
  const readings = statements.flatMap(({ "Query Text": text, Plan: root }) =>
    nodes(root).flatMap((node): Reading[] => {
      const table = node["Relation Name"];
      if (!table || node["Node Type"] === "ModifyTable") return [];
      const loops = node["Actual Loops"];
      const each = node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) +
        (node["Rows Removed by Index Recheck"] ?? 0);
      return [{
        call,
        table,
        how: node["Node Type"],
        index: node["Index Name"] ?? null,
        rows: each * loops,
        loops,
        ms: node["Actual Total Time"] * loops,
        statement: text.replace(/\s+/g, " ").trim().slice(0, 120),
      }];
    })
  );
  // What is called comes before what calls it.
  const whole = statements.at(-1)?.Plan;
  if (!whole) throw new Error(`auto_explain said nothing: ${notices.join("\n")}`);
  const pages = whole["Shared Hit Blocks"] + whole["Shared Read Blocks"];
  return { call, size, instances, pages, ms: whole["Actual Total Time"], readings };
}

function nodes(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodes)];
}
