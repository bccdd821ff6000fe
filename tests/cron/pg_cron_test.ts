/**
 * The real pg_cron, in the one database of a server that it lives in. The
 * stand-in is held to it, and it runs what people paste: the one test that
 * looks at a clock.
 */
import assert from "node:assert/strict";
import { broken, checklist, createOwner, INSTALL, JOB, jobs } from "../outside/installed.ts";
import { OLD_COMMAND, paste, withUrl } from "../outside/installed.ts";
import { describe, PG_CRON } from "../outside/stack/extensions.ts";
import { startDatabase, until } from "../outside/support.ts";
import { applyStandIns } from "../stack/migrate.ts";
import { startWorker } from "../stack/net.ts";
import { openPostgres } from "../stack/postgres.ts";
import { startStack } from "../stack/stack.ts";

const server = Deno.env.get("DATABASE");
if (!server) throw new Error("This takes a server with pg_cron: ./build.sh test --all");

/** Between two runs there are 30 seconds, as well as a busy machine can tell. */
const SPACING_S = { least: 25, most: 40 };
const RUNS = 2;
/** The first run comes when pg_cron has noticed the job; by then there must have been two. */
const PATIENCE_MS = 150_000;

/** Opens the database in which pg_cron lives, as a user. */
const open = (user = "postgres") => {
  const url = new URL("/postgres", server);
  url.username = user;
  return openPostgres(url.href);
};

Deno.test("the stand-in has the real pg_cron's tables, functions, defaults and rights", async () => {
  const pgCron = await open();
  const { database, stop } = await startDatabase({ migrated: false });
  try {
    await pgCron.exec("create extension if not exists pg_cron");
    const real = (await describe(pgCron, "cron")).filter((line) =>
      !line.startsWith("job_cache_invalidate(")
    );
    const names = new Set(real.map((line) => line.match(/^(\w+)\(/)?.[1]));
    const ours = (await describe(database, "cron"))
      // It has some functions more.
      .filter((line) => !/^\w+\(/.test(line) || names.has(line.split("(")[0]))
      // The embedded database has no port.
      .map((line) => line.replace("COALESCE(inet_server_port(), 5432)", "inet_server_port()"));
    assert.deepEqual(ours, real);
  } finally {
    await stop();
    await pgCron.close();
  }
});

for (const [name, test] of Object.entries(PG_CRON)) {
  Deno.test(`the real one: ${name}`, async () => {
    const database = await open();
    try {
      await database.exec("create extension if not exists pg_cron");
      await applyStandIns(database);
      await test({ database });
    } finally {
      // Not the extension: where that comes anew, pg_cron may never look at its jobs again.
      await database.exec("delete from cron.job; delete from cron.job_run_details");
      await database.close();
    }
  });
}

/** What of the checklist says that the job does its work. */
const DONE = [
  "pg_cron",
  "job",
  "agenda do job",
  "execuções do job",
  "token",
  "chamadas",
  "ticks",
  "pontualidade",
  "pg_cron em serviço",
  "batimento",
  "checagens",
];

Deno.test("pasted over the old broken jobs, the file makes one that runs every 30 seconds, and its calls commit ticks", async () => {
  const database = await open();
  await database.exec("create extension if not exists pg_cron");
  await applyStandIns(database);
  await createOwner(database, "owner");
  await database.query("alter role owner bypassrls");
  const owner = await open("owner");
  try {
    // What was there: accepted without a word, run every 30 minutes, and one of them off.
    for (const name of [JOB, "monitor-antigo"]) {
      await owner.query("select cron.schedule($1, '*/30 * * * * *', $2)", [name, OLD_COMMAND]);
    }
    await owner.query(
      "select cron.alter_job(jobid, active := false) from cron.job where jobname = $1",
      [JOB],
    );
    await paste(owner, INSTALL);
    const right = await jobs(owner);
    assert.deepEqual(
      right.map(({ jobname, schedule, active }) => ({ jobname, schedule, active })),
      [{ jobname: JOB, schedule: "30 seconds", active: true }],
    );

    const stack = await startStack({ database: `${server}/postgres` });
    const worker = startWorker(database);
    try {
      for (let time = 1; time <= 2; time++) await paste(owner, withUrl(stack.url));
      assert.deepEqual(await jobs(owner), right, "the right job stays as it is");
      const gateway = stack.gateway!;
      gateway.set("loja", "open");
      const add = "select whatsapp_monitor.add_instance('org', $1, 'loja', $2)";
      await owner.query(add, [gateway.url, gateway.key]);

      const committed = () =>
        database.query(
          `select g.source, g.caller, g.outcome, g.checked::int
           from whatsapp_monitor.triggers g join whatsapp_monitor.ticks t on t.id = g.tick_id
           where t.finished_at is not null order by g.at`,
        );
      const answers = () =>
        database.query(
          // The event that tries the receiver is answered, too.
          `select status_code, timed_out, error_msg from net._http_response
           where id in (select r.request_id from whatsapp_monitor.requests r)`,
        );
      const done = async () => Math.min((await committed()).length, (await answers()).length);
      await until(`${RUNS} answers and their ticks`, async () => await done() >= RUNS, PATIENCE_MS)
        .catch(async (error) => {
          const seen = await database.query(
            `select (select jsonb_agg(to_jsonb(j) - 'command') from cron.job j) as jobs,
                    (select jsonb_agg(to_jsonb(d) - 'command') from cron.job_run_details d) as runs,
                    (select jsonb_agg(r) from whatsapp_monitor.requests r) as requests,
                    (select jsonb_agg(to_jsonb(q) - 'headers') from net.http_request_queue q) as queue,
                    (select jsonb_agg(t) from whatsapp_monitor.ticks t) as ticks`,
          );
          const all = { seen, answers: await answers(), logs: stack.edge.logs };
          throw new Error(`${error.message}\n${JSON.stringify(all, null, 2)}`);
        });
      const tick = { source: "pg_cron", caller: "token", outcome: "committed", checked: 1 };
      assert.deepEqual(await committed(), Array(RUNS).fill(tick));
      const accepted = { status_code: 200, timed_out: false, error_msg: null };
      assert.deepEqual(await answers(), Array(RUNS).fill(accepted));

      const runs = await database.query<
        { jobid: number; status: string; spacing: number | null }
      >(
        `select d.jobid, d.status,
                extract(epoch from d.start_time - lag(d.start_time) over (order by d.runid))::float8
                  as spacing
         from cron.job_run_details d order by d.runid`,
      );
      assert.equal(runs.length, RUNS);
      for (const { jobid, status, spacing } of runs) {
        assert.deepEqual([jobid, status], [right[0].jobid, "succeeded"]);
        if (spacing === null) continue;
        assert.ok(SPACING_S.least <= spacing && spacing <= SPACING_S.most, `${spacing} s`);
      }

      assert.deepEqual(await broken(owner), []);
      const good = (await checklist(owner)).filter(({ ok }) => ok).map((row) => row.check_name);
      assert.deepEqual(DONE.filter((name) => !good.includes(name)), []);
    } finally {
      await worker.stop();
      await stack.stop();
    }
  } finally {
    await owner.close();
    await database.close();
  }
});
