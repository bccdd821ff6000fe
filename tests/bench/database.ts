/**
 * `bench --database`: what the monitor costs its database, on the server that the variable DATABASE
 * names: how that changes with the number of instances and of workers, which plans Postgres
 * makes, and what a month leaves behind.
 */
import type { BenchArgs } from "./args.ts";
import { measureMonth, type Month } from "./database_growth.ts";
import { explainTick, type Plan } from "./database_plans.ts";
import { type Project, startProject } from "./database_project.ts";
import { record, type Samples } from "./database_recording.ts";
import {
  type Crowd,
  measureCrowd,
  measureSeldom,
  measureTicks,
  type Seldom,
  type Share,
} from "./database_ticks.ts";

/** How much is measured. */
interface Extent {
  sizes: number[];
  ticks: number;
  workers: number[];
  crowd: { size: number; rounds: number };
  month: { size: number; rounds_a_day: number };
}

const WHOLE: Extent = {
  sizes: [1_000, 10_000, 100_000],
  ticks: 60,
  workers: [1, 2, 4, 8],
  crowd: { size: 10_000, rounds: 3 },
  month: { size: 1_000, rounds_a_day: 6 },
};
const QUICK: Extent = {
  sizes: [1_000, 5_000],
  ticks: 8,
  workers: [1, 4],
  crowd: { size: 1_000, rounds: 1 },
  month: { size: 200, rounds_a_day: 2 },
};

/** All that was measured, as `--json` prints it. */
export interface DatabaseResults {
  server: string;
  /** Of the machine, before and after: 1, 5 and 15 minutes. */
  load: number[][];
  ticks: Share[];
  seldom: Seldom[];
  plans: Plan[];
  workers: Crowd[];
  month: Month | null;
}

/** Does some work with a project of this size. */
async function withProject<T>(size: number, work: (project: Project) => Promise<T>): Promise<T> {
  tell(`${size} instances …`);
  const project = await startProject(size);
  try {
    return await work(project);
  } finally {
    await project.stop();
  }
}

/** Measures all of it, or the parts that were asked for. */
export async function measureDatabase({ quick, only }: BenchArgs): Promise<DatabaseResults> {
  const extent = quick ? QUICK : WHOLE;
  const has = (part: string) => only.length === 0 || only.includes(part);
  const samples = await record();
  const results: DatabaseResults = {
    server: "",
    load: [Deno.loadavg()],
    ticks: [],
    seldom: [],
    plans: [],
    workers: [],
    month: null,
  };
  if (has("sizes")) {
    for (const size of extent.sizes) {
      await withProject(size, (project) => measureSize(project, samples, extent.ticks, results));
    }
  }
  if (has("workers")) {
    const { size, rounds } = extent.crowd;
    await withProject(size, async (project) => {
      for (const workers of extent.workers) {
        tell(`  ${workers} workers`);
        results.workers.push(await measureCrowd(project, samples, workers, rounds));
      }
    });
  }
  if (has("growth")) {
    const { size, rounds_a_day } = extent.month;
    results.month = await withProject(
      size,
      (project) => measureMonth(project, samples, rounds_a_day),
    );
  }
  results.server = samples.server;
  results.load.push(Deno.loadavg());
  return results;
}

async function measureSize(
  project: Project,
  samples: Samples,
  ticks: number,
  results: DatabaseResults,
): Promise<void> {
  results.ticks.push(...await measureTicks(project, samples, ticks));
  results.plans.push(...await explainTick(project, samples));
  results.seldom.push(await measureSeldom(project));
}

function tell(line: string): void {
  console.error(`bench: ${line}`);
}
