/** What a month of work leaves behind: how far tables and indexes grow while old rows are removed. */
import { keepUp, type Project, settle, timed } from "./database_project.ts";
import type { Samples } from "./database_recording.ts";
import { open } from "./database_ticks.ts";
import { type Finding, Worker } from "./database_worker.ts";
import { type Spread, spread } from "./figures.ts";

const DAYS = 30;
const DAY_MS = 86_400_000;
/** Two a minute. */
const ROUNDS_A_DAY = 2880;
/** Autovacuum looks once a minute. */
const ROUNDS_PER_VACUUM = 2;
/** History is kept shorter than it is elsewhere, so that half a month has all that is ever kept. */
const HISTORY_DAYS = 10;
const LEDGER_DAYS = 7;
/** A table that is larger by this much after the second half of the month has grown. */
const GROWN = 1.1;
/** But for its maps, of which each comes once. */
const MAPS_BYTES = 8 * 8192;

/** What one table has become. */
export interface Growth {
  table: string;
  rows: number;
  table_bytes: number;
  index_bytes: number;
  /** Table and indexes after half the month. */
  bytes_half: number;
  updates: number;
  /** Of the updates, the share that touched no index. */
  hot_share: number;
  /** Dead rows for each living one, at the worst moment. */
  dead_per_row: number;
  vacuums: number;
}

/** A month. */
export interface Month {
  size: number;
  /** How many rounds were played of those that a day has. */
  rounds_played: number;
  rounds_a_day: number;
  history_days: number;
  ledger_days: number;
  tables: Growth[];
  /** Those that were larger after the month than after half of it. */
  grown: string[];
  /** Whether clean-up has left anything that is too old. */
  left_over: boolean;
  clean_up_ms: Spread;
  /** What one day adds for each instance: history, which is kept for `history_days`. */
  history_bytes_per_day: number;
  /** What does not grow: the instances, their sources and their last state. */
  standing_bytes: number;
  /** Of one tick, of which there are many more than were played. */
  ledger_bytes_per_tick: number;
}

const HISTORY = ["days", "outages", "status_changes", "alerts"];
const STANDING = ["instances", "sources", "write_backs", "webhooks", "gateways"];

/**
 * Plays a month in so many rounds a day. Each does what a round of 30 seconds does to the instances,
 * and tells of checks that are hours apart; the rows of a day are then the same, though each is
 * written less often. Two rounds are a minute to autovacuum.
 */
export async function measureMonth(
  project: Project,
  samples: Samples,
  roundsPerDay: number,
): Promise<Month> {
  const { database, size } = project;
  await settle(project, samples, false);
  const first_ms = Date.now() - DAYS * DAY_MS;
  // No time has to pass: what was checked is due again.
  await database.exec(`
    alter table whatsapp_monitor.settings drop constraint settings_interval_s_check;
    update whatsapp_monitor.settings set interval_s = 5;
    truncate whatsapp_monitor.days;
    update whatsapp_monitor.instances
      set checked_at = to_timestamp(${first_ms} / 1000.0), settled_at = null, booked_at = null;`);
  await database.query("vacuum (full, analyze)");
  await database.query("select pg_stat_reset()");
  const worker = await Worker.start(project.url, samples);
  const dead = new Map<string, number>();
  const vacuums = new Map<string, number>();
  const cleanUps_ms: number[] = [];
  let half = new Map<string, number>();
  const rounds = DAYS * roundsPerDay;
  for (let round = 1; round <= rounds; round++) {
    const day = Math.floor(round / roundsPerDay);
    const at_ms = first_ms + round * DAY_MS / roundsPerDay;
    const find = onDay(day, first_ms + day * DAY_MS);
    for (let left = size; left > 0;) left -= (await worker.tick(find, at_ms)).claimed.length;
    await beThere(project, at_ms, DAYS - day);
    cleanUps_ms.push(await timed(() => database.query("select whatsapp_monitor.clean_up()")));
    if (round % ROUNDS_PER_VACUUM === 0) {
      await worker.tell();
      await noteDead(project, dead);
      for (const table of await keepUp(project)) vacuums.set(table, (vacuums.get(table) ?? 0) + 1);
    }
    if (round === rounds / 2) {
      await worker.tell();
      half = new Map((await sizes(project)).map((each) => [each.table, bytes(each)]));
    }
  }
  await worker.tell();
  await worker.stop();
  const tables = (await sizes(project)).map((each) => ({
    ...each,
    bytes_half: half.get(each.table) ?? 0,
    dead_per_row: dead.get(each.table) ?? 0,
    vacuums: vacuums.get(`whatsapp_monitor.${each.table}`) ?? 0,
  }));
  const all = (names: string[]) =>
    tables.filter(({ table }) => names.includes(table)).reduce((sum, each) => sum + bytes(each), 0);
  const [{ more }] = await database.query<{ more: boolean }>(
    "select whatsapp_monitor.clean_up() as more",
  );
  return {
    size,
    rounds_played: rounds,
    rounds_a_day: ROUNDS_A_DAY,
    history_days: HISTORY_DAYS,
    ledger_days: LEDGER_DAYS,
    tables,
    grown: tables.filter((each) => bytes(each) > GROWN * each.bytes_half + MAPS_BYTES)
      .map(({ table }) => table),
    left_over: more,
    clean_up_ms: spread(cleanUps_ms),
    history_bytes_per_day: all(HISTORY) / size / HISTORY_DAYS,
    standing_bytes: all(STANDING) / size,
    ledger_bytes_per_tick: await bytesPerTick(project),
  };
}

/** What is found on a day: each instance has one on which it is down, and is news on the next. */
function onDay(day: number, down_since_ms: number): Finding {
  return (samples, id, place) => {
    const turn = (id + day) % DAYS;
    if (turn === 0) return { ...samples.down, down_since_ms };
    return turn === 1 ? samples.looked : open(samples, id, place);
  };
}

/** It is then, with so many days of the month to come: what was begun just now, and what is too old. */
async function beThere({ database }: Project, at_ms: number, daysToCome: number): Promise<void> {
  await database.query(
    `update whatsapp_monitor.ticks
     set started_at = to_timestamp($1::float8 / 1000), finished_at = to_timestamp($1::float8 / 1000)
     where started_at > to_timestamp($1::float8 / 1000)`,
    [at_ms],
  );
  await database.query(
    "update whatsapp_monitor.settings set history_days = $1, ledger_days = $2",
    [HISTORY_DAYS + daysToCome, LEDGER_DAYS + daysToCome],
  );
}

/** Of many of them, because every index begins with two pages. */
async function bytesPerTick({ database }: Project): Promise<number> {
  const rows = 20_000;
  await database.exec(`
    create table whatsapp_monitor.many_ticks (like whatsapp_monitor.ticks including all);
    insert into whatsapp_monitor.many_ticks
      select (jsonb_populate_record(o.t, jsonb_build_object('id', gen_random_uuid()))).*
      from (select t from whatsapp_monitor.ticks t limit 1) o, generate_series(1, ${rows});`);
  const [{ bytes }] = await database.query<{ bytes: number }>(
    "select pg_total_relation_size('whatsapp_monitor.many_ticks') as bytes",
  );
  await database.exec("drop table whatsapp_monitor.many_ticks");
  return bytes / rows;
}

async function noteDead({ database }: Project, dead: Map<string, number>): Promise<void> {
  await database.query("select pg_stat_force_next_flush()");
  const rows = await database.query<{ table: string; share: number }>(
    `select s.relname as table, s.n_dead_tup / greatest(c.reltuples, s.n_live_tup, 1) as share
     from pg_stat_user_tables s join pg_class c on c.oid = s.relid
     where s.schemaname = 'whatsapp_monitor'`,
  );
  for (const { table, share } of rows) dead.set(table, Math.max(dead.get(table) ?? 0, share));
}

type Size = Pick<
  Growth,
  "table" | "rows" | "table_bytes" | "index_bytes" | "updates" | "hot_share"
>;

const bytes = ({ table_bytes, index_bytes }: Size) => table_bytes + index_bytes;

async function sizes({ database }: Project): Promise<Size[]> {
  await database.query("select pg_stat_force_next_flush()");
  return await database.query<Size>(`
    select s.relname as table, s.n_live_tup as rows,
           pg_table_size(s.relid) as table_bytes, pg_indexes_size(s.relid) as index_bytes,
           s.n_tup_upd as updates,
           s.n_tup_hot_upd::float8 / greatest(s.n_tup_upd, 1) as hot_share
    from pg_stat_user_tables s
    where s.schemaname = 'whatsapp_monitor' and (s.n_live_tup > 0 or s.n_tup_ins > 0)
    order by pg_total_relation_size(s.relid) desc`);
}
