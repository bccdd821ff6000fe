/**
 * `./build.sh bench`: the monitor against what one would write in its place, side by side, in turn,
 * in one run. Only ratios mean something: absolute times drift on shared machines.
 */
import { findPrograms } from "../stack/postgres_programs.ts";
import { type BenchArgs, parseArgs, USAGE, UsageError } from "./args.ts";
import { measureDatabase } from "./database.ts";
import { databaseText } from "./database_text.ts";
import { measureMemory, type Memory } from "./memory.ts";
import type { Outcome } from "./outcome.ts";
import { plan } from "./plan.ts";
import { playCells } from "./play.ts";
import { RESOLUTION } from "./process.ts";
import { measureStart, type Start } from "./start.ts";
import { text } from "./table.ts";

/** All that was measured, as `--json` prints it. */
export interface Results {
  resolution: string;
  database: "installed" | "embedded";
  /** Of the machine, before and after: 1, 5 and 15 minutes. */
  load: number[][];
  cells: Outcome[];
  start: Start | null;
  memory: Memory | null;
  left_out: { name: string; why: string }[];
}

async function measure(args: BenchArgs): Promise<Results> {
  const tell = (line: string) => console.error(`bench: ${line}`);
  const { contestants, groups, left_out, start_rounds, memory_ticks } = plan(args);
  const load = [Deno.loadavg()];
  const cells: Outcome[] = [];
  for (const group of groups) {
    cells.push(...await playCells(contestants, group.cells, group.rounds, args.settings, tell));
  }
  tell("start, memory …");
  const start = start_rounds > 0 ? await measureStart(start_rounds) : null;
  const memory = memory_ticks > 0 ? await measureMemory(memory_ticks, args.settings) : null;
  load.push(Deno.loadavg());
  const database = Deno.env.has("DATABASE") ? "installed" : "embedded";
  return { resolution: RESOLUTION, database, load, cells, start, memory, left_out };
}

/** The same again, on a Postgres server of its own. */
async function onServer(args: string[]): Promise<number> {
  const run = [Deno.execPath(), "run", "--allow-all", "--no-check"];
  const server = new URL("../stack/postgres_server.ts", import.meta.url).pathname;
  const self = new URL(import.meta.url).pathname;
  const [file, ...rest] = [...run, server, "--", ...run, self, ...args];
  return (await new Deno.Command(file, { args: rest }).spawn().status).code;
}

async function main(): Promise<number> {
  let args: BenchArgs;
  try {
    args = parseArgs(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}\n${USAGE}`);
    return 2;
  }
  if (args.help) {
    console.log(USAGE);
    return 0;
  }
  const installed = () => findPrograms({}).then(() => true, () => false);
  if (!args.embedded && !Deno.env.has("DATABASE") && await installed()) {
    return await onServer(Deno.args);
  }
  if (args.database) {
    if (!Deno.env.has("DATABASE")) {
      console.error("bench: --database takes a Postgres server; none is installed");
      return 1;
    }
    const results = await measureDatabase(args);
    console.log(args.json ? JSON.stringify(results, null, 2) : databaseText(results));
    return 0;
  }
  const results = await measure(args);
  console.log(args.json ? JSON.stringify(results, null, 2) : text(results));
  return 0;
}

if (import.meta.main) Deno.exit(await main());
