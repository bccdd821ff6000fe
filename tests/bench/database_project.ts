/** A project with the production schema and as many instances as wanted, in the midst of its work. */
import { migrate } from "../stack/migrate.ts";
import type { Database } from "../stack/database.ts";
import { startDatabase } from "../outside/support.ts";
import type { Result, Samples } from "./database_recording.ts";

const SCHEMA = new URL("../fixtures/production_schema.sql", import.meta.url);
/** What one organization has: so many in `channel_instances`, and one in the older table. */
const NEWER = 4;
const PER_GATEWAY = 500;
/** Of those that are not open, one in so many. */
export const ONE_IN = 100;
/** What autovacuum goes by. */
const VACUUM_THRESHOLD = 50;
const VACUUM_SHARE = 0.2;

/** One project's database. */
export interface Project {
  readonly database: Database;
  readonly url: string;
  readonly size: number;
  /** What each reading of the sources took until all were known. */
  readonly syncs_ms: number[];
  stop(): Promise<void>;
}

/** Milliseconds that some work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Makes a project of so many instances. They have come over time: neighbours on a gateway are
 * strangers in every other order.
 */
export async function startProject(size: number): Promise<Project> {
  const bare = await startDatabase({ migrated: false });
  const { database } = bare;
  const { query } = database;
  try {
    await database.exec(await Deno.readTextFile(SCHEMA));
    await migrate(database);
    await database.exec(`
      update whatsapp_monitor.source_sync set synced_at = 'infinity';
      insert into public.organizations (name)
        select 'organization ' || n from generate_series(1, ${size / (NEWER + 1)}) n;
      create temporary table wanted as
        select o.id as organization_id, k, 'instance ' || o.n || ' ' || k as name,
               'https://gateway-' || (o.n * ${NEWER + 1} + k) % ${Math.ceil(size / PER_GATEWAY)}
                 || '.example' as url
        from (select id, row_number() over () as n from public.organizations) o,
             generate_series(0, ${NEWER}) k;
      insert into public.channel_instances
        (organization_id, channel, provider, instance_name, api_url, api_key)
        select organization_id, 'whatsapp', 'evolution', name, url, md5(name)
        from wanted where k < ${NEWER};
      insert into public.organization_channel_config
        (organization_id, whatsapp_enabled, whatsapp_instance_name, whatsapp_api_url,
         whatsapp_api_key)
        select organization_id, true, name, url, md5(name) from wanted where k = ${NEWER};
      drop table wanted;`);
    const syncs_ms = [];
    for (let waiting = 1; waiting > 0;) {
      syncs_ms.push(await timed(() => query("select whatsapp_monitor.sync_sources()")));
      [{ waiting }] = await query<{ waiting: number }>(
        "select waiting from whatsapp_monitor.source_sync",
      );
    }
    const [{ name }] = await query<{ name: string }>("select current_database() as name");
    const url = new URL(`/${name}`, Deno.env.get("DATABASE")).href;
    // Vacuum comes when we say so; see keepUp().
    for (const table of await tables(database)) {
      await database.exec(`alter table ${table} set (autovacuum_enabled = off)`);
    }
    return { database, url, size, syncs_ms, stop: () => bare.stop() };
  } catch (error) {
    await bare.stop();
    throw error;
  }
}

/** The tables that grow with what is watched. */
async function tables({ query }: Database): Promise<string[]> {
  const rows = await query<{ name: string }>(
    `select format('%I.%I', schemaname, relname) as name from pg_stat_user_tables
     where schemaname = 'whatsapp_monitor'
        or relname in ('channel_instances', 'organization_channel_config')`,
  );
  return rows.map(({ name }) => name);
}

/** Whether one of these results is of an instance that is not open. */
export const isDown = (id: number) => id % ONE_IN === 0;

/**
 * Puts every instance into the state that a tick half a minute ago has left, and makes all due, in
 * groups as they were claimed then. Those that are down are so for long, where any shall be.
 */
export async function settle(
  { database }: Project,
  { looked: open, down }: Samples,
  withDown: boolean,
): Promise<void> {
  const instances = `
    update whatsapp_monitor.instances i
    set status = $1, status_since = to_timestamp($8 / 1000.0), state = $2::jsonb, version = 7,
        reason_code = $3, reason_text = $4, is_down = $5, decision = $6,
        checked_at = now() - interval '25 seconds', checked_by = '${crypto.randomUUID()}',
        settled_at = case when $5 then null else now() - interval '25 seconds' end,
        -- At each round the time of one in twenty is booked.
        booked_at = now() - (25 + o.place % 20 * 30) * interval '1 second',
        claimed_at = now() - interval '30 seconds', due_before = i.due_at,
        due_at = now() - interval '5 seconds' + o.place / 200 * interval '1 microsecond',
        lease_tick = null, lease_until = null
    from (select id, row_number() over (order by md5(id::text)) as place
          from whatsapp_monitor.instances) o
    where o.id = i.id and (i.id % ${ONE_IN} = 0) = $7`;
  const knowing = (
    { status, state, reason, is_down, decision, since_ms }: Result,
    isDown: boolean,
  ) =>
    database.query(instances, [
      ...[status, state, reason?.code ?? null, reason?.text ?? null, is_down, decision],
      ...[isDown, since_ms],
    ]);
  await knowing(open, false);
  await knowing(withDown ? down : open, true);
  await database.query(
    `insert into whatsapp_monitor.webhooks as w
       (instance_id, memory, finding, found_url, looked_at, last_event_at)
     select id, $1::jsonb, 'right', $2, now(), now() from whatsapp_monitor.instances
     on conflict (instance_id) do update set memory = excluded.memory`,
    [open.webhook.memory, open.webhook.found_url],
  );
  await database.exec(`
    truncate whatsapp_monitor.outages cascade;
    ${
    withDown
      ? `insert into whatsapp_monitor.outages (instance_id, started_at, confirmed_at)
         select id, now() - interval '1 day', now() - interval '1 day'
         from whatsapp_monitor.instances where is_down;`
      : ""
  }
    update public.channel_instances
    set status = 'connected', last_connected_at = now(), error_message = null
    where status <> 'connected' or last_connected_at is null;
    update public.organization_channel_config
    set whatsapp_connected = true, whatsapp_connection_status = 'connected',
        whatsapp_last_connected_at = now(), whatsapp_error_message = null
    where not whatsapp_connected or whatsapp_last_connected_at is null;
    insert into whatsapp_monitor.days (instance_id, day, connected_s)
    select i.id, (now() at time zone 'UTC')::date, 3600 from whatsapp_monitor.instances i
    on conflict do nothing;`);
  await vacuum(database);
  // Two seconds' worth at a time is what it does at most. What it wrote it finds to agree the next time.
  for (let writes = 0; writes < 2; writes++) {
    await database.query(`
      select whatsapp_monitor.write_back(array_agg(id))
      from whatsapp_monitor.instances group by id / 1000`);
  }
  await vacuum(database);
}

async function vacuum(database: Database): Promise<void> {
  for (const table of await tables(database)) await database.query(`vacuum analyze ${table}`);
}

/** What autovacuum, as Postgres ships it, would do in its round of once a minute: gives the tables. */
export async function keepUp({ database }: Project): Promise<string[]> {
  const { query } = database;
  await query("select pg_stat_force_next_flush()");
  const due = await query<{ name: string }>(`
    select format('%I.%I', s.schemaname, s.relname) as name
    from pg_stat_user_tables s
    join pg_class c on c.oid = s.relid
    where s.n_dead_tup > ${VACUUM_THRESHOLD} + ${VACUUM_SHARE} * greatest(c.reltuples, 0)
    order by name`);
  for (const { name } of due) await query(`vacuum analyze ${name}`);
  return due.map(({ name }) => name);
}
