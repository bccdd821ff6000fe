/** What a schema of an extension holds, and what is asked of pg_cron and of its stand-in alike. */
import assert from "node:assert/strict";
import type { Database } from "../../stack/database.ts";

/** All rows of a table. */
export const all = ({ query }: Database, table: string) =>
  query<{ row: Record<string, unknown> }>(`select to_jsonb(t) as row from ${table} t`)
    .then((rows) => rows.map(({ row }) => row));

/** Everything that a schema offers, a line each: columns, constraints, policies, functions, rights. */
export async function describe({ query }: Database, schema: string): Promise<string[]> {
  const rows = await query<{ line: string }>(
    `with class as (
       select oid, relname, relkind, relpersistence, relacl, relrowsecurity
       from pg_class where relnamespace = $1::regnamespace
     )
     select line from (
       select 1 as part, c.relname as name, a.attnum as n,
              format('%s%s %s: %s %s%s%s',
                     case c.relpersistence when 'u' then 'unlogged ' end,
                     case c.relkind when 'r' then 'table' else 'type' end, c.relname, a.attname,
                     format_type(a.atttypid, a.atttypmod),
                     case when a.attnotnull then ' not null' end,
                     ' default ' || pg_get_expr(d.adbin, d.adrelid)) as line
       from class c
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
       where c.relkind in ('r', 'c')
       union all
       select 2, c.relname, 0, format('%s: %s %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
       from class c join pg_constraint k on k.conrelid = c.oid and k.contype <> 'n'
       union all
       select 3, c.relname, 0, format('policy %s: %s %s', p.polname, p.polcmd,
                                      pg_get_expr(p.polqual, p.polrelid))
       from class c join pg_policy p on p.polrelid = c.oid
       where c.relrowsecurity
       union all
       select 4, t.typname, 0, format('type %s: %s%s', t.typname,
         (select string_agg(e.enumlabel, ', ' order by e.enumsortorder)
          from pg_enum e where e.enumtypid = t.oid),
         (select pg_get_constraintdef(k.oid) from pg_constraint k where k.contypid = t.oid))
       from pg_type t where t.typnamespace = $1::regnamespace and t.typtype in ('d', 'e')
       union all
       select 5, p.proname, 0, format('%s(%s) %s%s', p.proname, pg_get_function_arguments(p.oid),
         pg_get_function_result(p.oid),
         case when p.proacl is null then ' to all' end)
       from pg_proc p where p.pronamespace = $1::regnamespace
       union all
       select 6, c.relname, 0, format('all may %s %s', g.privilege_type, c.relname)
       from class c cross join aclexplode(c.relacl) g
       where g.grantee = 0 and g.privilege_type <> 'MAINTAIN' -- not known before Postgres 17
       union all
       select 7, '', 0, format('all may %s the schema', g.privilege_type)
       from pg_namespace n cross join aclexplode(n.nspacl) g
       where n.oid = $1::regnamespace and g.grantee = 0
     ) lines
     order by part, name collate "C", n, line collate "C"`,
    [schema],
  );
  return rows.map(({ line }) => line);
}

/** What both do. */
export const PG_CRON: Record<string, (on: { database: Database }) => Promise<void>> = {
  async "pg_cron takes what looks like seconds and is not, and refuses what looks right"(
    { database },
  ) {
    const schedule = (text: string) =>
      database.query("select cron.schedule('probe', $1, 'select 1')", [text]);
    for (const text of ["30 seconds", "*/30 * * * * *", "*/15 * * * * hello", "@hourly"]) {
      await schedule(text);
    }
    for (const text of ["60 seconds", "2 minutes", "@every 30s", "* * * *", ""]) {
      await assert.rejects(schedule(text), {
        code: "22023",
        message: `invalid schedule: ${text}`,
      });
    }
  },

  async "pg_cron keeps one job a name and owner, and leaves an inactive one inactive"(
    { database },
  ) {
    const ids: number[] = [];
    for (const seconds of [10, 20]) {
      const [{ id }] = await database.query<{ id: number }>(
        `select cron.schedule('again', '${seconds} seconds', 'select 1') as id`,
      );
      ids.push(id);
      await database.query("select cron.alter_job($1, active := false)", [id]);
    }
    assert.equal(ids[0], ids[1]);
    const [job] = (await all(database, "cron.job")).filter(({ jobid }) => jobid === ids[0]);
    assert.deepEqual([job.schedule, job.active], ["20 seconds", false]);
    await assert.rejects(database.query("select cron.unschedule('missing')"), {
      message: "could not find valid entry for job 'missing'",
    });
  },

  async "pg_cron shows an owner their own jobs, and lets nobody remove others'"(
    { database },
  ) {
    await database.query("grant usage on schema cron to authenticated");
    const as = (sql: string) => database.transaction("authenticated", (query) => query(sql));
    await database.query("select cron.schedule('not theirs', '* * * * *', 'select 1')");
    await as("select cron.schedule('theirs', '* * * * *', 'select 1')");
    assert.deepEqual(await as("select jobname from cron.job"), [{ jobname: "theirs" }]);
    const [{ jobid }] = await database.query(
      "select jobid from cron.job where jobname = 'not theirs'",
    );
    await assert.rejects(as(`select cron.unschedule(${jobid})`), { code: "42501" });
    await assert.rejects(as(`select cron.alter_job(${jobid})`), { code: "42501" });
    await assert.rejects(as("select cron.unschedule('not theirs')"), { code: "XX000" });

    // To see them, as Supabase's own user does, is not to own them.
    await database.query("grant usage on schema cron to service_role");
    const seeing = (sql: string) => database.transaction("service_role", (query) => query(sql));
    assert.deepEqual(await seeing(`select jobid from cron.job where jobid = ${jobid}`), [{
      jobid,
    }]);
    await assert.rejects(seeing(`select cron.unschedule(${jobid})`), { code: "42501" });
  },
};
