/** The file that removes everything of ours and nothing of the user's, and the one that only looks. */
import assert from "node:assert/strict";
import { sqlError } from "../stack/database.ts";
import { INSTALL, jobs, LOOK, onProjects, paste, type Project, REMOVE } from "./installed.ts";
import { withUrl } from "./installed.ts";

/** The file, with an end that gives what it shows. */
async function run({ database }: Project, sql: string, setting: string): Promise<string> {
  await paste(database, sql);
  const [{ shown }] = await database.query<{ shown: string }>(
    "select current_setting($1) as shown",
    [setting],
  );
  return shown;
}
const remove = (project: Project) => run(project, REMOVE, "whatsapp_monitor.removed");
const look = async (project: Project) =>
  JSON.parse(await run(project, LOOK, "whatsapp_monitor.checklist"));

/** All that there is: objects outside the system's schemas, secrets, jobs. */
async function everything({ database }: Project): Promise<string[]> {
  const rows = await database.query<{ line: string }>(`
    select format('%s %s', n.nspname, c.relname) as line
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    union all
    select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('public', 'whatsapp_monitor')
    union all select nspname from pg_namespace where nspname !~ '^pg_'
    union all select 'secret ' || name from vault.secrets
    union all select 'job ' || jobname from cron.job
    union all select 'run ' || command from cron.job_run_details
    order by 1`);
  return rows.map(({ line }) => line);
}

const OURS = "public.organization_channel_config";

onProjects({
  async "removed, nothing of ours is left, and it can be installed again"(project) {
    const { database } = project;
    await database.exec(`
      create table public.reservations (id int);
      select vault.create_secret('x', 'theirs');
      select cron.schedule('faturas', '0 3 * * *', 'select 1');`);
    const before = await everything(project);
    await paste(database, withUrl("https://abcdefgh.supabase.co"));
    await database.exec(`
      select whatsapp_monitor.fire();
      insert into cron.job_run_details (database, command)
      select database, command from cron.job where jobname <> 'faturas'`);
    const shown = await remove(project);
    for (
      const words of [
        /Jobs removidos: 1/,
        /Token removido/,
        /Schema .* removido/,
        /Tabela .* vazia/,
      ]
    ) {
      assert.match(shown, words);
    }
    assert.deepEqual(await everything(project), before);
    assert.match(await remove(project), /^Não havia nada/);
    await paste(database, INSTALL);
    assert.equal((await jobs(database)).length, 2);
  },

  async "a table of ours that has become theirs stays, with all that is in it"(project) {
    const { database } = project;
    const changes = {
      "it has a row": `insert into ${OURS} (organization_id) values ('org')`,
      "it has a column more": `alter table ${OURS} add column note text`,
      "it has a trigger": `
        create or replace function public.theirs() returns trigger language plpgsql
          as 'begin return new; end';
        create trigger theirs before update on ${OURS} for each row execute function public.theirs()`,
      "it has a policy": `create policy theirs on ${OURS} using (true)`,
      "it has an index": `create index theirs on ${OURS} (created_at)`,
      "its comment is another": `comment on table ${OURS} is 'Theirs.'`,
      "a view reads it": `create view public.theirs as select id from ${OURS}`,
    };
    for (const [what, change] of Object.entries(changes)) {
      await paste(database, INSTALL);
      await database.exec(change);
      await remove(project);
      const [{ is_there }] = await database.query(
        `select to_regclass('${OURS}') is not null as is_there`,
      );
      assert.equal(is_there, true, what);
      await database.exec(`drop table ${OURS} cascade`);
    }
    await database.exec(`create table ${OURS} (id uuid primary key)`);
    await paste(database, INSTALL);
    assert.doesNotMatch(await remove(project), /organization_channel_config/);
    await database.query(`select from ${OURS}`);
  },

  async "what is theirs and uses the monitor stops it, by name, and nothing is removed"(project) {
    const { database } = project;
    await paste(database, INSTALL);
    const uses = {
      "public.painel": "create view public.painel as select * from whatsapp_monitor.triggers",
      "public.notes": `create table public.notes
        (instance_id bigint references whatsapp_monitor.instances)`,
      "public.checks": "create table public.checks (x whatsapp_monitor.settings)",
    };
    for (const [name, use] of Object.entries(uses)) {
      await database.exec(use);
      const before = await everything(project);
      const error = await paste(database, REMOVE).catch(sqlError);
      assert.match(
        (error as { message: string }).message,
        new RegExp(`Nada foi removido.*${name}`),
      );
      assert.deepEqual(await everything(project), before);
      await database.exec(`drop ${/create (\w+)/.exec(use)![1]} ${name}`);
    }
    assert.match(await remove(project), /Schema whatsapp_monitor removido/);
  },

  async "the one that looks shows the checklist, and says so where there is nothing"(project) {
    const { database } = project;
    const [nothing, ...rest] = await look(project);
    assert.deepEqual(rest, []);
    assert.equal(nothing.ok, false);
    assert.match(nothing.detail, /não está instalado/);
    await database.exec("create schema whatsapp_monitor");
    assert.match((await look(project))[0].detail, /versão antiga/);
    await database.exec("drop schema whatsapp_monitor");

    await paste(database, INSTALL);
    const shown = await look(project);
    const expected = await database.query("select * from whatsapp_monitor.checklist()");
    assert.deepEqual(
      shown.map(({ check_name, ok }: Record<string, unknown>) => [check_name, ok]),
      expected.map(({ check_name, ok }) => [check_name, ok]),
    );
    assert.match(LOOK, /^begin transaction read only;$/m);
  },
});
