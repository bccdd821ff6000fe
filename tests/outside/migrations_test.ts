/**
 * The migrations: applied again they change nothing, what is the user's stays
 * as it is, and nobody but the service role gets at anything of ours.
 */
import assert from "node:assert/strict";
import { type Database, sqlError } from "../stack/database.ts";
import { migrate, MIGRATIONS } from "../stack/migrate.ts";
import { type Bare, startDatabase } from "./support.ts";

/** The table of design.md, as far as these settings exist. */
const DEFAULTS = {
  interval_s: 30,
  down_after_checks: 3,
  down_after_s: 55,
  up_after_checks: 2,
  request_timeout_ms: 8000,
  concurrency: 16,
  tick_budget_ms: 20000,
  batch_size: 200,
  lease_s: 45,
  webhook_policy: "manage",
  webhook_check_every_s: 300,
  history_days: 90,
  ledger_days: 7,
  stuck_connecting_checks: 4,
  first_action_after_s: 75,
  steady_close_s: 150,
  blind_connect_after_s: 900,
  settle_s: 90,
  attempts_per_5_min: 3,
  attempts_per_hour: 5,
  probe_every_s: 1800,
  zombie_probe_every_s: 600,
  message_days: 30,
};
/** What a tick found: the session has ended, which opens an outage. */
const ENDED = (id: number, fence: number) => ({
  id,
  fence,
  version: 0,
  status: "waiting_qr",
  since_ms: 1_767_225_600_000,
  reason: { code: "401", text: "…" },
  down_since_ms: 1_767_225_600_000,
  recovered_ms: null,
  state: {},
  checked_ms: 1_767_225_600_000,
  asked: true,
});
const STRANGERS = ["anon", "authenticated"];
const CALLS = [
  "begin_tick",
  "record_actions",
  "finish_tick",
  "begin_event",
  "finish_event",
  "record_refusals",
  "settle_alerts",
  "settle_heartbeat",
  "status",
  "status_of",
  "health",
].map((name) => `whatsapp_monitor_${name}`);

async function withDatabase(
  options: { migrated?: boolean },
  work: (bare: Bare) => Promise<void>,
): Promise<void> {
  const bare = await startDatabase(options);
  try {
    await work(bare);
  } finally {
    await bare.stop();
  }
}

/** All that the catalog knows of our schema and of the public one; each line begins with a name. */
async function catalog(database: Database): Promise<string[]> {
  const lines = await database.query<{ line: string }>(`
    with namespaces as (
      select * from pg_namespace where nspname in ('whatsapp_monitor', 'public')),
    relations as (
      select c.*, format('%s.%s', n.nspname, c.relname) as name
      from pg_class c join namespaces n on n.oid = c.relnamespace),
    described (name, kind, properties) as (
      select nspname::text, 'schema', jsonb_build_array(nspacl, obj_description(oid, 'pg_namespace'))
      from namespaces
      union all
      select name, 'relation', jsonb_build_array(relkind, relacl, relrowsecurity,
             relforcerowsecurity, obj_description(oid, 'pg_class'))
      from relations
      union all
      select r.name, 'column', jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod),
             a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid), a.attacl,
             col_description(r.oid, a.attnum))
      from relations r
      join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
      union all
      select r.name, 'index', to_jsonb(pg_get_indexdef(i.indexrelid))
      from relations r join pg_index i on i.indrelid = r.oid
      union all
      select r.name, 'constraint', jsonb_build_array(c.conname, pg_get_constraintdef(c.oid))
      from relations r join pg_constraint c on c.conrelid = r.oid
      union all
      select r.name, 'policy', to_jsonb(p) - 'oid' - 'polrelid'
      from relations r join pg_policy p on p.polrelid = r.oid
      union all
      select r.name, 'trigger', to_jsonb(pg_get_triggerdef(t.oid))
      from relations r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
      union all
      select format('%s.%s', n.nspname, p.proname), 'function', jsonb_build_array(p.proacl,
             obj_description(p.oid, 'pg_proc'), pg_get_functiondef(p.oid))
      from pg_proc p join namespaces n on n.oid = p.pronamespace)
    select format('%s %s %s', name, kind, properties) as line from described order by line`);
  return lines.map(({ line }) => line);
}

/** All rows of all tables of ours and of the user's. */
async function data(database: Database): Promise<Record<string, unknown[]>> {
  const tables = await database.query<{ name: string }>(`
    select format('%I.%I', schemaname, tablename) as name from pg_tables
    where schemaname in ('whatsapp_monitor', 'public') order by name`);
  const all: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    const rows = await database.query<{ row: string }>(
      `select to_jsonb(t)::text as row from ${name} t order by 1`,
    );
    all[name] = rows.map(({ row }) => JSON.parse(row));
  }
  return all;
}

/** The SQLSTATE with which a statement fails under a role; null where it does not. */
async function refusal(
  database: Database,
  role: string,
  sql: string,
): Promise<string | null> {
  try {
    await database.transaction(role, (query) => query(sql));
    return null;
  } catch (error) {
    const state = sqlError(error)?.code;
    if (!state) throw error;
    return state;
  }
}

Deno.test("applied again, the migrations change neither the catalog nor any data", () =>
  withDatabase({}, async ({ database, rpc }) => {
    await database.exec(`
      insert into public.organization_channel_config
        (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name, whatsapp_api_key)
      values ('org', true, 'https://gateway.example', 'loja', 'key');
      insert into whatsapp_monitor.trigger_tokens (digest) values (repeat('a', 64));
      insert into whatsapp_monitor.requests (problem) values ('no_url');
      update whatsapp_monitor.settings
      set alert_url = 'https://hooks.example/1', heartbeat_url = 'https://beats.example/1',
          function_url = 'https://project.example', public_organizations = '{org}';
      insert into whatsapp_monitor.polls values ('org', now());
      update whatsapp_monitor.installation set scheduled_at = now();`);
    const tick_id = crypto.randomUUID();
    const begun = await rpc("whatsapp_monitor_begin_tick", {
      request: { tick_id, caller: "service_key" },
    });
    const [{ id, fence }] = begun.body.instances;
    const granted = await rpc("whatsapp_monitor_record_actions", {
      request: {
        tick_id,
        actions: [{ instance_id: id, fence, kind: "connect", min_lease_ms: 0 }],
      },
    });
    assert.deepEqual(granted.body.granted, [id]);
    await rpc("whatsapp_monitor_finish_tick", {
      request: { tick_id, results: [ENDED(id, fence)] },
    });
    const refusals = [{ source: "person", why: "no_token", count: 1, ago_ms: 0 }];
    await rpc("whatsapp_monitor_record_refusals", { request: { refusals } });
    await database.query(
      "insert into whatsapp_monitor.days (instance_id, day) values ($1, '2026-01-01')",
      [id],
    );
    await database.query(
      "insert into whatsapp_monitor.messages (instance_id, message_id) values ($1, 'm')",
      [id],
    );
    await database.exec(`
      insert into whatsapp_monitor.write_backs
      select source_table, source_id, now(), now(), 1, 'error' from whatsapp_monitor.sources`);
    // Every setting has another value than its default.
    await database.exec(
      `update whatsapp_monitor.settings set ${
        Object.entries(DEFAULTS)
          .map(([name, value]) =>
            typeof value === "number" ? `${name} = ${value} + 1` : `${name} = 'verify'`
          )
      }`,
    );

    const before = { catalog: await catalog(database), data: await data(database) };
    for (const [table, rows] of Object.entries(before.data)) {
      assert.equal(rows.length, 1, `${table} has something to lose`);
    }
    await migrate(database);
    assert.deepEqual(
      { catalog: await catalog(database), data: await data(database) },
      before,
    );
  }));

Deno.test("a table that the user has already is left as it is", () =>
  withDatabase({ migrated: false }, async ({ database }) => {
    await database.exec(`
      create table public.organization_channel_config (
        id bigint generated always as identity primary key,
        organization_id uuid not null,
        whatsapp_enabled boolean, whatsapp_api_url varchar(500), whatsapp_instance_name text,
        whatsapp_api_key text, whatsapp_connected boolean default true,
        whatsapp_connection_status text default 'mine', deleted_at timestamptz,
        their_own jsonb default '{}', unique (organization_id, whatsapp_instance_name));
      comment on table public.organization_channel_config is 'Theirs.';
      create index theirs on public.organization_channel_config (whatsapp_instance_name);
      create policy theirs on public.organization_channel_config for select using (true);
      create function public.theirs() returns trigger language plpgsql as 'begin return new; end';
      create trigger theirs before update on public.organization_channel_config
        for each row execute function public.theirs();
      insert into public.organization_channel_config (organization_id, whatsapp_enabled)
      values (gen_random_uuid(), true);`);
    const before = {
      catalog: await catalog(database),
      data: await data(database),
    };
    await migrate(database);
    const ours = /^(public\.)?whatsapp_monitor/;
    assert.deepEqual({
      catalog: (await catalog(database)).filter((line) => !ours.test(line)),
      data: Object.fromEntries(
        Object.entries(await data(database))
          .filter(([table]) => table.startsWith("public.")),
      ),
    }, before);
  }));

Deno.test("where the user has channel_instances, no table is made for them", () =>
  withDatabase({ migrated: false }, async ({ database, rpc }) => {
    await database.exec("create table public.channel_instances (id uuid primary key)");
    await migrate(database);
    assert.deepEqual(
      Object.keys(await data(database)).filter((name) => name.startsWith("public.")),
      ["public.channel_instances"],
    );
    const { body } = await rpc("whatsapp_monitor_begin_tick", {
      request: { tick_id: crypto.randomUUID(), caller: "service_key" },
    });
    assert.equal(body.outcome, "accepted");
  }));

Deno.test("a role that is no superuser can apply them", () =>
  withDatabase({ migrated: false }, async ({ database, rpc }) => {
    const role = `migrator_${crypto.randomUUID().replaceAll("-", "")}`;
    await database.exec(`
      create role ${role} nosuperuser;
      grant create, usage on schema public to ${role};
      do $$ begin execute format('grant create on database %I to ${role}', current_database()); end $$;
      alter default privileges for role ${role} in schema public
        grant all on functions to anon, authenticated, service_role;`);
    try {
      const files = [...Deno.readDirSync(MIGRATIONS)].map(({ name }) => name).sort();
      for (const file of files) {
        const sql = await Deno.readTextFile(new URL(file, MIGRATIONS));
        await database.exec(`set local role ${role}; ${sql}`);
      }
      assert.deepEqual(
        await database.query(
          "select nspowner::regrole::text as owner from pg_namespace where nspname = 'whatsapp_monitor'",
        ),
        [{ owner: role }],
      );
      const { body } = await rpc("whatsapp_monitor_begin_tick", {
        request: { tick_id: crypto.randomUUID(), caller: "service_key" },
      });
      assert.equal(body.outcome, "accepted");
      assert.equal(
        await refusal(database, "anon", `select public.${CALLS[0]}('{}')`),
        "42501",
      );
    } finally {
      await database.exec(`drop owned by ${role} cascade; drop role ${role}`);
    }
  }));

Deno.test("the settings have the defaults of design.md, and each is explained", () =>
  withDatabase({}, async ({ database }) => {
    const [{ settings }] = await database.query<{ settings: unknown }>(
      `select to_jsonb(s) - array['only_row', 'alert_secret'] as settings
       from whatsapp_monitor.settings s`,
    );
    assert.deepEqual(settings, {
      ...DEFAULTS,
      alert_url: null,
      function_url: null,
      heartbeat_url: null,
      webhook_url: null,
      forward_to: null,
      public_organizations: [],
    });
    const columns = await database.query<{ name: string; comment: string | null }>(`
      select attname as name, col_description(attrelid, attnum) as comment from pg_attribute
      where attrelid = 'whatsapp_monitor.settings'::regclass and attnum > 0`);
    for (const { name, comment } of columns) {
      assert.ok((comment ?? "").length > 20, `${name} has no comment`);
    }
    await assert.rejects(
      database.query("insert into whatsapp_monitor.settings default values"),
      "there is one row",
    );
    const senseless = [
      "interval_s = 0",
      "alert_url = 'ftp://x'",
      "alert_secret = 'whsec_short'",
      "function_url = 'https://user:word@x'",
      "heartbeat_url = 'https://'",
      "webhook_policy = 'steal'",
      "webhook_url = 'ftp://x'",
      "forward_to = 'nowhere'",
      "public_organizations = '{null}'",
    ];
    for (const change of senseless) {
      await assert.rejects(
        database.query(`update whatsapp_monitor.settings set ${change}`),
        `a value without sense is refused: ${change}`,
      );
    }
  }));

Deno.test("every function of ours has a pinned search path, and those in public define the rights", () =>
  withDatabase({}, async ({ database }) => {
    const functions = await database.query<
      { schema: string; name: string; config: string[] | null; definer: boolean; parsed: boolean }
    >(`
      select n.nspname as schema, p.proname as name, p.proconfig as config, p.prosecdef as definer,
             p.prosqlbody is not null as parsed
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname in ('whatsapp_monitor', 'public')`);
    for (const { schema, name, config, definer, parsed } of functions) {
      // What was parsed when it was made looks for no name any more.
      assert.ok(parsed || config?.includes('search_path=""'), `${schema}.${name}: ${config}`);
      assert.equal(definer, schema === "public", `${schema}.${name}`);
      if (schema === "public") assert.match(name, /^whatsapp_monitor_/);
    }
    const names = new Set(functions.map(({ name }) => name));
    for (const name of CALLS) assert.ok(names.has(name), name);
  }));

Deno.test("anon and authenticated get at nothing; the service role at the functions and no more", () =>
  withDatabase({}, async ({ database }) => {
    const functions = await database.query<{ call: string }>(`
      select format('select public.%I(''{}'')', proname) as call from pg_proc
      where pronamespace = 'public'::regnamespace`);
    const tables = await database.query<{ name: string }>(`
      select format('%I.%I', schemaname, tablename) as name from pg_tables
      where schemaname = 'whatsapp_monitor'
      union all
      select format('%I.%I', schemaname, viewname) from pg_views
      where schemaname = 'whatsapp_monitor'`);
    assert.ok(functions.length >= CALLS.length && tables.length >= 8);
    const inside = ["sync_sources", "fire", "trigger_token", "rotate_token", "checklist"]
      .map((name) => `select whatsapp_monitor.${name}()`);
    for (const { name } of tables) {
      inside.push(`select from ${name}`, `delete from ${name}`);
    }
    const table = "public.organization_channel_config";
    const theirs = [`select from ${table}`, `update ${table} set organization_id = ''`];

    for (const role of STRANGERS) {
      for (const sql of [...functions.map(({ call }) => call), ...inside, ...theirs]) {
        assert.equal(await refusal(database, role, sql), "42501", `${role}: ${sql}`);
      }
    }
    for (const { call } of functions) {
      // It lacks what it needs, if it needs anything, but not the right to call.
      const lacks = call.includes("_health") ? null : "22023";
      assert.equal(await refusal(database, "service_role", call), lacks, call);
    }
    for (const sql of inside) {
      assert.equal(await refusal(database, "service_role", sql), "42501", sql);
    }
    const roles = [...STRANGERS, "service_role"];
    const granted = await database.query(
      `
      select r.role, c.oid::regclass from unnest($1::text[]) as r (role), pg_class c
      where c.relnamespace = 'whatsapp_monitor'::regnamespace and c.relkind in ('r', 'v')
        and has_table_privilege(r.role, c.oid, 'select, insert, update, delete, truncate')
      union all
      select r.role, null from unnest($1::text[]) as r (role)
      where has_schema_privilege(r.role, 'whatsapp_monitor', 'usage, create')`,
      [roles],
    );
    assert.deepEqual(granted, [], "not even a right that something else keeps from being used");
  }));

Deno.test("through PostgREST a stranger is refused, and nothing happens", () =>
  withDatabase({}, async ({ database, rpc, keys }) => {
    const request = { tick_id: crypto.randomUUID(), caller: "service_key" };
    for (const fn of CALLS) {
      for (const key of [keys.anon, keys.legacyAnon]) {
        const { status, body } = await rpc(fn, { request }, key);
        assert.deepEqual([status, body.code], [401, "42501"], fn);
      }
      for (const key of ["", "sb_secret_wrong"]) {
        assert.equal((await rpc(fn, { request }, key)).status, 401, fn);
      }
    }
    assert.deepEqual(await database.query("select from whatsapp_monitor.ticks"), []);
    assert.equal((await rpc(CALLS[0], { request })).body.outcome, "accepted");
  }));
