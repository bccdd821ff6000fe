/** What ticks cost, by how many instances there are and how many work on them. */
import assert from "node:assert/strict";
import type { Samples } from "./database_recording.ts";
import { isDown, ONE_IN, type Project, settle, timed } from "./database_project.ts";
import { type Spread, spread } from "./figures.ts";
import { type Finding, type Tick, Worker } from "./database_worker.ts";

/** Postgres makes its plans in the first calls on a connection. */
const WARM_UP = 8;

/** Of one that stays open: its webhook is looked at every 5 minutes, its socket every 10. */
export const open: Finding = ({ settled, looked, probed }, _, place) =>
  place % 10 === 0 ? looked : place % 20 === 5 ? probed : settled;
const downAmong: Finding = (samples, id, place) =>
  isDown(id) ? samples.down : open(samples, id, place);

/** What is found, and whether that is news. */
export const SITUATIONS = {
  "all open": { find: open, withDown: false },
  [`1 in ${ONE_IN} down`]: { find: downAmong, withDown: true },
  [`1 in ${ONE_IN} goes down`]: { find: downAmong, withDown: false },
};

/** What one instance's share of a tick is. */
export interface Share {
  situation: string;
  size: number;
  /** An instance's share of both calls, and of each; in microseconds. */
  cpu_us: Spread;
  wall_us: Spread;
  begin_cpu_us: Spread;
  finish_cpu_us: Spread;
  /** Of the first tick after the tables were analyzed, when Postgres plans again. */
  planning_cpu_us: Spread;
  /** Of the write-ahead log. */
  wal_bytes: number;
}

/** Measures so many ticks of one worker, in each situation. */
export async function measureTicks(
  project: Project,
  samples: Samples,
  count: number,
): Promise<Share[]> {
  const shares = [];
  for (const [situation, { find, withDown }] of Object.entries(SITUATIONS)) {
    const worker = await Worker.start(project.url, samples);
    const measured: Tick[] = [];
    const planning: Tick[] = [];
    let wal_bytes = 0;
    for (let round = 0; measured.length < count; round++) {
      await settle(project, samples, withDown);
      const ticks = [];
      const before = await walPosition(project);
      // In one round over few instances there is no time to warm up.
      const enough = (round === 0 ? WARM_UP : 1) + count - measured.length;
      while (ticks.length < enough) {
        const tick = await worker.tick(find);
        if (tick.claimed.length === 0) break;
        ticks.push(tick);
      }
      const instances = ticks.reduce((sum, { claimed }) => sum + claimed.length, 0);
      wal_bytes = (await walPosition(project) - before) / instances;
      if (round > 0) planning.push(ticks[0]);
      measured.push(...ticks.slice(round === 0 ? WARM_UP : 1));
    }
    await worker.stop();
    const per = (of: (tick: Tick) => number, ticks = measured) =>
      spread(ticks.map((tick) => of(tick) / tick.claimed.length));
    const cpu = ({ begin, finish }: Tick) => begin.cpu_us + finish.cpu_us;
    shares.push({
      situation,
      size: project.size,
      cpu_us: per(cpu),
      wall_us: per(({ begin, finish }) => begin.wall_us + finish.wall_us),
      begin_cpu_us: per(({ begin }) => begin.cpu_us),
      finish_cpu_us: per(({ finish }) => finish.cpu_us),
      planning_cpu_us: per(cpu, planning),
      wal_bytes,
    });
  }
  return shares;
}

async function walPosition({ database }: Project): Promise<number> {
  const [{ at }] = await database.query<{ at: string }>(
    "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as at",
  );
  return Number(at);
}

/** What is asked seldom, in milliseconds. */
export interface Seldom {
  size: number;
  /** Of each reading of the sources until all were known, and how many it took. */
  sync_ms: Spread;
  syncs: number;
  unchanged_sync_ms: Spread;
  clean_up_ms: Spread;
  checklist_ms: Spread;
  status_ms: Spread;
  report_ms: Spread;
}

/** How often each of it is done. */
const TIMES = 5;
/** What `clean_up` removes of each kind. */
const CLEANED = 5000;

/** Leaves so many days and ticks that are too old to be kept that each call finds all it can remove. */
async function leaveOld({ database }: Project): Promise<void> {
  const rows = TIMES * CLEANED;
  await database.exec(`
    insert into whatsapp_monitor.days (instance_id, day, connected_s)
      select i.id, date '2020-01-01' + n, 86400
      from generate_series(1, ${rows}) n, whatsapp_monitor.instances i limit ${rows};
    insert into whatsapp_monitor.ticks
      (id, run_id, caller, source, claimed, started_at, finished_at)
      select gen_random_uuid(), gen_random_uuid(), 'token', 'pg_cron', 200, at, at
      from (select timestamptz '2020-01-01' + n * interval '10 seconds' as at
            from generate_series(1, ${rows}) n) o;`);
}

/** Measures what is not part of every tick. */
export async function measureSeldom(project: Project): Promise<Seldom> {
  const { query } = project.database;
  const often = async (sql: string) => {
    const times = [];
    for (let n = 0; n < TIMES; n++) times.push(await timed(() => query(sql)));
    return spread(times);
  };
  await leaveOld(project);
  const request = `'{"caller": "service_key"}'`;
  return {
    size: project.size,
    sync_ms: spread(project.syncs_ms),
    syncs: project.syncs_ms.length,
    unchanged_sync_ms: await often("select whatsapp_monitor.sync_sources()"),
    clean_up_ms: await often("select whatsapp_monitor.clean_up()"),
    checklist_ms: await often("select * from whatsapp_monitor.checklist()"),
    status_ms: await often(`select length(public.whatsapp_monitor_status(${request})::text)`),
    report_ms: await often("select length(whatsapp_monitor.report(null)::text)"),
  };
}

/** What so many workers get done together. */
export interface Crowd {
  workers: number;
  /** In each round, all together. */
  instances_per_s: Spread;
  rounds: number;
  deadlocks: number;
}

/**
 * Lets so many workers claim and write until nothing is due, round after round. In every round each
 * instance is claimed once: none twice, none left out.
 */
export async function measureCrowd(
  project: Project,
  samples: Samples,
  workers: number,
  rounds: number,
): Promise<Crowd> {
  const { find } = SITUATIONS[`1 in ${ONE_IN} down`];
  const crowd = await Promise.all(
    Array.from({ length: workers }, () => Worker.start(project.url, samples)),
  );
  const before = await deadlocks(project);
  const speeds = [];
  try {
    // The first is for the plans.
    for (let round = 0; round <= rounds; round++) {
      await settle(project, samples, true);
      const claimed: number[] = [];
      const ms = await timed(() =>
        Promise.all(crowd.map(async (worker) => {
          for (let tick; (tick = await worker.tick(find)).claimed.length > 0;) {
            claimed.push(...tick.claimed);
          }
        }))
      );
      assert.equal(new Set(claimed).size, claimed.length, "one was claimed twice in a round");
      assert.equal(claimed.length, project.size, "one was claimed by nobody in a round");
      if (round > 0) speeds.push(project.size / ms * 1000);
    }
  } finally {
    for (const worker of crowd) await worker.stop();
  }
  const dead = await deadlocks(project) - before;
  assert.equal(dead, 0, "two waited for each other");
  return { workers, rounds, instances_per_s: spread(speeds), deadlocks: dead };
}

async function deadlocks({ database }: Project): Promise<number> {
  const [{ count }] = await database.query<{ count: number }>(
    "select deadlocks as count from pg_stat_database where datname = current_database()",
  );
  return count;
}
