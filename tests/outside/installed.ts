/** A database like a new project's, the SQL files that people paste into it, and what they show. */
import assert from "node:assert/strict";
import type { Database } from "../stack/database.ts";
import { Ledger } from "./ledger.ts";
import { type Bare, startDatabase } from "./support.ts";

const FOLDER = new URL("../../supabase/", import.meta.url);
const read = (name: string) => Deno.readTextFileSync(new URL(name, FOLDER));

/** The one file that installs. */
export const INSTALL = read("CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql");
/** The one that removes everything. */
export const REMOVE = read("REMOVER_MONITORAMENTO_WHATSAPP.sql");
/** The one that only looks. */
export const LOOK = read("VERIFICAR_MONITORAMENTO_WHATSAPP.sql");

/** The one job. */
export const JOB = "monitor-whatsapp-connection";
/** What the system before this one scheduled; the key is a stranger's. */
export const OLD_COMMAND = `
  select net.http_post(
    url := 'https://abcdefgh.supabase.co/functions/v1/rendizy-server/make-server-67caf26a/whatsapp/monitor/start',
    headers := '{"Content-Type": "application/json", "apikey": "sb_secret_old"}'::jsonb,
    body := '{}'::jsonb)`;

/** The file with its one line edited. */
export function withUrl(url: string): string {
  const edited = INSTALL.replace(
    /^set whatsapp_monitor\.function_url = '';$/m,
    `set whatsapp_monitor.function_url = '${url}';`,
  );
  assert.notEqual(edited, INSTALL);
  return edited;
}

/** Runs a whole file, as the SQL editor does. A failing one leaves no transaction behind. */
export async function paste(database: Database, sql: string): Promise<void> {
  try {
    await database.exec(sql);
  } catch (error) {
    await database.exec("rollback");
    throw error;
  }
}

/** A row of the checklist. */
export interface Check {
  check_name: string;
  ok: boolean | null;
  detail: string;
  fix: string | null;
}

/** The checklist, in order. */
export function checklist({ query }: Pick<Database, "query">): Promise<Check[]> {
  return query<Check>("select * from whatsapp_monitor.checklist()");
}

/** One row of it. */
export async function check(database: Pick<Database, "query">, name: string): Promise<Check> {
  const row = (await checklist(database)).find(({ check_name }) => check_name === name);
  assert.ok(row, name);
  return row;
}

/** What does not work, by name. */
export async function broken(database: Pick<Database, "query">): Promise<string[]> {
  return (await checklist(database)).filter(({ ok }) => ok === false)
    .map(({ check_name }) => check_name);
}

/** The jobs of the project. */
export function jobs({ query }: Pick<Database, "query">) {
  return query<{ jobid: number; jobname: string; schedule: string; active: boolean }>(
    "select jobid, jobname, schedule, command, active from cron.job order by jobid",
  );
}

/** The token in Vault. */
export async function token({ query }: Pick<Database, "query">): Promise<string | undefined> {
  const rows = await query<{ token: string }>(
    `select decrypted_secret as token from vault.decrypted_secrets
     where name = 'whatsapp_monitor_token'`,
  );
  return rows[0]?.token;
}

/** A user as `postgres` is on Supabase: no superuser, who may create, and use the extensions. */
export async function createOwner(database: Database, role: string): Promise<void> {
  await database.exec(`
    create role ${role} login nosuperuser;
    grant create, usage on schema public to ${role};
    do $$ begin execute format('grant create on database %I to ${role}', current_database()); end $$;
    grant usage on schema cron, vault to ${role};
    grant execute on all functions in schema cron, vault to ${role};
    grant all on cron.job_run_details to ${role};
    grant select, delete on vault.secrets, vault.decrypted_secrets to ${role};`);
}

/** What a test of an installation has. */
export interface Project extends Bare {
  /** The SQL functions of a tick. */
  readonly ledger: Ledger;
}

/** Runs tests, each on a database of its own, like that of a new project. */
export function onProjects(
  tests: Record<string, (project: Project) => Promise<void>>,
): void {
  for (const [name, test] of Object.entries(tests)) {
    Deno.test(name, async () => {
      const bare = await startDatabase({ migrated: false });
      try {
        await test({ ...bare, ledger: new Ledger(bare) });
      } finally {
        await bare.stop();
      }
    });
  }
}
