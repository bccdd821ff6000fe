/** What a month of work leaves behind: how far tables and indexes grow while old rows are removed. */
import type { Samples } from "./database_recording.ts";
import { keepUp, type Project, settle } from "./database_project.ts";
import { type Finding, Worker } from "./database_worker.ts";

const DAYS = 30;
const DAY_MS = 86_400_000;
/** Two a minute. */
const ROUNDS_A_DAY = 2880;
const ROUNDS_PER_VACUUM = 2;

/** What one table has become. */
export interface Growth {
  table: string;
  rows: number;
  table_bytes: number;
  index_bytes: number;
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
  tables: Growth[];
  /** What a month adds for each instance: history, which is kept for `history_days`. */
  history_bytes_per_instance: number;
  /** What does not grow: the instances, their sources and their last state. */
  standing_bytes_per_instance: number;
  /** Of the ticks, at most `ledger_days` of them. */
  ledger_bytes: number;
}

const HISTORY = ["days", "outages", "status_changes", "alerts"];
const STANDING = ["instances", "sources", "write_backs", "webhooks", "gateways"];

/**
 * Plays a month in so many rounds a day. Each does what a round of 30 seconds does to the instances,
 * and tells of checks that are hours apart; the rows of a day are then the same, though each is
 * written less often. Between two rounds of them lies a minute for autovacuum.
 */
export async function measureMonth(
  project: Project,
  samples: Samples,
  roundsPerDay: number,
): Promise<Month> {
  const { database, size } = project;
  await settle(project, samples, false);
  // No time has to pass: what was checked is due again.
  await database.exec(`
    alter table whatsapp_monitor.settings drop constraint settings_interval_s_check;
    update whatsapp_monitor.settings set interval_s = 5;
    select pg_stat_reset();`);
  const first_ms = Date.now() - DAYS * DAY_MS;
  await database.query(
    "update whatsapp_monitor.instances set checked_at = to_timestamp($1::float8 / 1000)",
    [first_ms],
  );
  const worker = await Worker.start(project.url, samples);
  const dead = new Map<string, number>();
  const vacuums = new Map<string, number>();
  const rounds = DAYS * roundsPerDay;
  for (let round = 1; round <= rounds; round++) {
    const day = Math.floor(round / roundsPerDay);
    // Each has one day on which it is down.
    const find: Finding = ({ open, down }, id) =>
      (id + day) % DAYS === 0 ? { ...down, down_since_ms: first_ms + day * DAY_MS } : open;
    const at_ms = first_ms + round * DAY_MS / roundsPerDay;
    for (let left = size; left > 0;) left -= (await worker.tick(find, at_ms)).claimed.length;
    if (round % ROUNDS_PER_VACUUM === 0) {
      await noteDead(project, dead);
      for (const table of await keepUp(project)) vacuums.set(table, (vacuums.get(table) ?? 0) + 1);
    }
    if (round % roundsPerDay === 0) await passDay(project);
  }
  await worker.stop();
  const tables = await sizes(project, dead, vacuums);
  const bytes = (names: string[]) =>
    tables.filter(({ table }) => names.includes(table))
      .reduce((sum, { table_bytes, index_bytes }) => sum + table_bytes + index_bytes, 0);
  return {
    size,
    rounds_played: rounds,
    rounds_a_day: ROUNDS_A_DAY,
    tables,
    history_bytes_per_instance: bytes(HISTORY) / size,
    standing_bytes_per_instance: bytes(STANDING) / size,
    ledger_bytes: await bytesPerTick(project) * ticksKept(size),
  };
}

/** Ticks of the days that the ledger keeps: of every half minute one for each 200 instances, and one more. */
const ticksKept = (size: number) => 7 * ROUNDS_A_DAY * (Math.ceil(size / 200) + 1);

/** Many of them, because every index begins with two pages. */
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

/** The ticks are a day older, and what is too old is removed. */
async function passDay({ database }: Project): Promise<void> {
  await database.exec(`
    update whatsapp_monitor.ticks
    set started_at = started_at - interval '1 day', finished_at = finished_at - interval '1 day';
    select whatsapp_monitor.clean_up();`);
}

async function noteDead({ database }: Project, dead: Map<string, number>): Promise<void> {
  await database.query("select pg_stat_force_next_flush()");
  const rows = await database.query<{ table: string; share: number }>(
    `select relname as table, n_dead_tup::float8 / greatest(n_live_tup, 1) as share
     from pg_stat_user_tables where schemaname = 'whatsapp_monitor'`,
  );
  for (const { table, share } of rows) dead.set(table, Math.max(dead.get(table) ?? 0, share));
}

async function sizes(
  { database }: Project,
  dead: Map<string, number>,
  vacuums: Map<string, number>,
): Promise<Growth[]> {
  await database.query("select pg_stat_force_next_flush()");
  const rows = await database.query<Growth>(`
    select s.relname as table, s.n_live_tup as rows,
           pg_table_size(s.relid) as table_bytes, pg_indexes_size(s.relid) as index_bytes,
           s.n_tup_upd as updates,
           s.n_tup_hot_upd::float8 / greatest(s.n_tup_upd, 1) as hot_share
    from pg_stat_user_tables s
    where s.schemaname = 'whatsapp_monitor' and (s.n_live_tup > 0 or s.n_tup_ins > 0)
    order by pg_total_relation_size(s.relid) desc`);
  return rows.map((row) => ({
    ...row,
    dead_per_row: dead.get(row.table) ?? 0,
    vacuums: vacuums.get(`whatsapp_monitor.${row.table}`) ?? 0,
  }));
}
