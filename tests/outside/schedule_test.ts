/**
 * One file is pasted, and the monitor is called: into an empty project, again,
 * over what was there before, and by a user who is no superuser. The job sends
 * the token or nothing.
 */
import assert from "node:assert/strict";
import { runJobs } from "../stack/cron.ts";
import { sendRequests } from "../stack/net.ts";
import { broken, check, createOwner, INSTALL, JOB, jobs, OLD_COMMAND } from "./installed.ts";
import { onProjects, paste, type Project, REMOVE, token, withUrl } from "./installed.ts";
import { startWorld } from "./support.ts";

const URL_OF_PROJECT = "https://abcdefgh.supabase.co";
const START = `${URL_OF_PROJECT}/functions/v1/rendizy-server/whatsapp/monitor/start`;

/** The one right job, as all but its number. */
const RIGHT = {
  jobname: JOB,
  schedule: "30 seconds",
  command: "select whatsapp_monitor.fire();",
  active: true,
};
const withoutId = ({ jobid: _, ...job }: { jobid: number }) => job;

/** What fire() would send. */
interface Queued {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: unknown;
  timeout_milliseconds: number;
}

const queued = ({ database }: Project) =>
  database.query<Queued>(
    `select method, url, headers, convert_from(body, 'UTF8')::jsonb as body, timeout_milliseconds
     from net.http_request_queue`,
  );

const problems = async ({ database }: Project) =>
  (await database.query<{ problem: string }>(
    "select problem from whatsapp_monitor.requests order by id",
  )).map(({ problem }) => problem);

const fire = ({ database }: Project) => database.query("select whatsapp_monitor.fire()");

Deno.test("pasted into an empty project, the file is all that it takes: the job's calls commit ticks", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/install.sql`, INSTALL);
  const world = await startWorld({ migrations: new URL(`file://${folder}/`) });
  try {
    const { database } = world;
    const turn = async () => {
      await runJobs(database);
      const sent = await sendRequests(database);
      await world.edge.idle();
      return sent;
    };
    world.gateway.set("loja", "open");
    await database.query("select whatsapp_monitor.add_instance('org', $1, 'loja', $2)", [
      world.gateway.url,
      world.gateway.key,
    ]);
    assert.equal(await turn(), 0, "nobody knows yet where the function is");
    assert.equal((await check(database, "URL da função")).ok, false);
    assert.match((await check(database, "chamadas")).detail, /não se sabe onde está a função/);

    // Whoever else calls the function makes it write where it is.
    await (await world.trigger()).body?.cancel();
    const [{ function_url }] = await database.query<{ function_url: string }>(
      "select function_url from whatsapp_monitor.settings",
    );
    assert.equal(function_url, `${world.functionUrl}/whatsapp/monitor/start`);
    await world.makeDue();
    assert.equal(await turn(), 1);
    const [last] = await database.query(
      `select source, caller, outcome, checked::int from whatsapp_monitor.triggers
       order by at desc limit 1`,
    );
    assert.deepEqual(last, {
      source: "pg_cron",
      caller: "token",
      outcome: "committed",
      checked: 1,
    });
    assert.equal((await world.row("loja")).status, "connected");
    assert.deepEqual(await broken(database), []);
    const right = await check(database, "chamadas");
    assert.equal(right.ok, true, right.detail);

    // What the checklist says of the function's answers is what the function answers.
    await database.query(
      `select vault.update_secret(id, repeat('0', 64)) from vault.secrets
       where name = 'whatsapp_monitor_token'`,
    );
    await turn();
    const refused = await check(database, "chamadas");
    assert.match(refused.detail, /^401: a função não aceitou o token/);
    await database.query(refused.fix!);
    await turn();
    assert.equal((await check(database, "chamadas")).ok, true);

    const rotated = await database.query<{ token: string }>(
      "select whatsapp_monitor.rotate_token() as token",
    );
    const url = `${world.functionUrl}/whatsapp/monitor/start?token=${rotated[0].token}`;
    const answer = await fetch(url);
    await answer.body?.cancel();
    assert.equal(answer.status, 200);
    await turn();
    assert.equal((await check(database, "chamadas")).ok, true);

    await world.edge.kill();
    await turn();
    assert.match((await check(database, "chamadas")).detail, /^502: a função falhou/);
    await database.query(
      "update whatsapp_monitor.settings set function_url = 'http://127.0.0.1:9'",
    );
    await turn();
    assert.match((await check(database, "chamadas")).detail, /^Ninguém atende/);
  } finally {
    await world.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

onProjects({
  async "pasted again it leaves one right job, the same, and the same token"({ database }) {
    await paste(database, withUrl(URL_OF_PROJECT));
    const before = [await jobs(database), await token(database)];
    assert.match(before[1] as string, /^[0-9a-f]{64}$/);
    assert.deepEqual((before[0] as { jobid: number }[]).map(withoutId), [RIGHT]);
    for (let time = 0; time < 2; time++) await paste(database, INSTALL);
    assert.deepEqual([await jobs(database), await token(database)], before);
    const digests = await database.query("select from whatsapp_monitor.trigger_tokens");
    assert.equal(digests.length, 1);
    const [{ function_url }] = await database.query<{ function_url: string }>(
      "select function_url from whatsapp_monitor.settings",
    );
    assert.equal(function_url, URL_OF_PROJECT, "the line that was left alone changes nothing");
  },

  async "over the old jobs, whatever their names and states, one right one is left"(project) {
    const { database } = project;
    await database.query("select cron.schedule($1, '*/30 * * * * *', $2)", [JOB, OLD_COMMAND]);
    await database.query("select cron.schedule('outro nome', '* * * * *', $1)", [OLD_COMMAND]);
    await database.query("select cron.schedule('*/5 * * * *', $1)", [OLD_COMMAND]);
    await database.query("select cron.schedule('faturas', '0 3 * * *', 'select 1')");
    await database.exec("select cron.alter_job(jobid, active := false) from cron.job");
    await paste(database, INSTALL);
    assert.deepEqual((await jobs(database)).map(withoutId), [
      { jobname: "faturas", schedule: "0 3 * * *", command: "select 1", active: false },
      RIGHT,
    ]);
    await fire(project);
    const [{ url }] = await queued(project);
    assert.equal(url, START, "the old job knew where the function is");
  },

  async "a job that is ours and has been changed is made right again"({ database }) {
    await paste(database, INSTALL);
    for (
      const change of [
        "active := false",
        "schedule := '*/30 * * * * *'",
        "command := 'select 1'",
      ]
    ) {
      await database.exec(`select cron.alter_job(jobid, ${change}) from cron.job`);
      await paste(database, INSTALL);
      assert.deepEqual((await jobs(database)).map(withoutId), [RIGHT], change);
    }
  },

  async "an example of a URL in an old job is nobody's"(project) {
    const { database } = project;
    const example = OLD_COMMAND.replace("abcdefgh", "SEU-PROJETO");
    await database.query("select cron.schedule('antigo', '* * * * *', $1)", [example]);
    await paste(database, INSTALL);
    await fire(project);
    assert.deepEqual(await problems(project), ["no_url"]);
  },

  async "the call has the token, a short patience, and says who calls"(project) {
    await paste(project.database, withUrl(URL_OF_PROJECT));
    await fire(project);
    assert.deepEqual(await queued(project), [{
      method: "POST",
      url: START,
      headers: {
        "Content-Type": "application/json",
        "x-monitor-token": await token(project.database) ?? "",
      },
      body: { source: "pg_cron" },
      timeout_milliseconds: 5000,
    }]);
  },

  async "whatever of its URL is given, the start route is called"(project) {
    await paste(project.database, INSTALL);
    for (
      const url of [
        `${URL_OF_PROJECT}/`,
        `${URL_OF_PROJECT}/functions/v1`,
        `${URL_OF_PROJECT}/functions/v1/rendizy-server/`,
        START,
      ]
    ) {
      await project.database.query("select whatsapp_monitor.schedule($1)", [url]);
      await fire(project);
      const [last] = (await queued(project)).slice(-1);
      assert.equal(last.url, START, url);
    }
    for (const url of ["abcdefgh", "ftp://x", "https://u:p@x", "https://x?y=1"]) {
      await assert.rejects(
        project.database.query("select whatsapp_monitor.schedule($1)", [url]),
        /não serve/,
        url,
      );
    }
  },

  async "without a URL, a token or pg_net there is no call, and the reason is kept"(project) {
    const { database } = project;
    await paste(database, INSTALL);
    await fire(project);
    await paste(database, withUrl(URL_OF_PROJECT));
    await database.exec("update vault.secrets set secret = encode('no token', 'base64')");
    await fire(project);
    await database.exec("delete from vault.secrets");
    await fire(project);
    assert.deepEqual(await queued(project), []);
    await paste(database, INSTALL);
    await database.exec("drop schema net cascade");
    await fire(project);
    const [first, second, third, fourth] = await problems(project);
    assert.deepEqual([first, second, third], ["no_url", "no_token", "no_token"]);
    assert.match(fourth, /^3F000 .*net/);
  },

  async "what it keeps of its calls is bounded, and so are the runs of our jobs, of ours alone"(
    project,
  ) {
    const { database } = project;
    await paste(database, withUrl(URL_OF_PROJECT));
    await fire(project);
    await database.exec(`
      update whatsapp_monitor.requests set at = at - interval '7 hours';
      update whatsapp_monitor.installation set runs_cleaned_at = '-infinity';
      insert into cron.job_run_details (jobid, database, username, command, status, start_time, end_time)
      select n, current_database(), current_user, c, 'succeeded', now() - a, now() - a
      from (values (1, 'select whatsapp_monitor.fire();'), (2, $$${OLD_COMMAND}$$),
                   (3, 'select 1')) as j (n, c)
      cross join (values (interval '8 days'), (interval '1 hour')) as t (a);`);
    await fire(project);
    const [{ kept }] = await database.query<{ kept: number }>(
      "select count(*) as kept from whatsapp_monitor.requests",
    );
    assert.equal(kept, 1);
    assert.deepEqual(
      await database.query(
        "select jobid, count(*) as runs from cron.job_run_details group by 1 order by 1",
      ),
      [{ jobid: 1, runs: 1 }, { jobid: 2, runs: 1 }, { jobid: 3, runs: 2 }],
    );
  },

  async "a rotated token overlaps the old one for a day, or for as long as is said"(project) {
    const { database, ledger } = project;
    await paste(database, INSTALL);
    const may = async (...tokens: (string | undefined)[]) => {
      const outcomes = [];
      for (const each of tokens) {
        const [{ digest }] = await database.query<{ digest: string }>(
          "select whatsapp_monitor.digest_of($1) as digest",
          [each],
        );
        const { outcome } = await ledger.begin({ caller: "token", token_digests: [digest] });
        outcomes.push(outcome === "accepted");
      }
      return outcomes;
    };
    const rotate = async (overlap = "") =>
      (await database.query<{ token: string }>(
        `select whatsapp_monitor.rotate_token(${overlap}) as token`,
      ))[0].token;
    const first = await token(database);
    const second = await rotate();
    assert.equal(await token(database), second);
    assert.deepEqual(await may(first, second), [true, true]);
    await ledger.pass(86_000);
    assert.deepEqual(await may(first, second), [true, true]);
    await ledger.pass(500);
    assert.deepEqual(await may(first, second), [false, true]);
    const third = await rotate("'0'");
    assert.deepEqual(await may(first, second, third), [false, false, true]);
  },

  async "the function says where it is once, and which token its environment holds as often as it changes"(
    { database, ledger },
  ) {
    await paste(database, INSTALL);
    const known = async () => {
      const [row] = await database.query(
        `select t.function_url as url, n.token_digest as digest,
                n.reported_at > '-infinity' as reported
         from whatsapp_monitor.settings t, whatsapp_monitor.environment n`,
      );
      return row;
    };
    await ledger.begin();
    await ledger.begin({ function_url: "not a URL" });
    assert.deepEqual(await known(), { url: null, digest: null, reported: false });
    const digest = "a".repeat(64);
    await ledger.begin({ function_url: URL_OF_PROJECT, environment_token_digest: digest });
    await ledger.begin({ function_url: "https://other.supabase.co" });
    assert.deepEqual(await known(), { url: URL_OF_PROJECT, digest, reported: true });
    await ledger.begin({ environment_token_digest: null });
    assert.deepEqual(await known(), { url: URL_OF_PROJECT, digest: null, reported: true });
    await ledger.begin({
      caller: "token",
      token_digests: [],
      environment_token_digest: digest,
    });
    assert.equal((await known()).digest, null, "a stranger says nothing");
  },

  async "where an extension is neither there nor available, it stops and nothing is installed"(
    { database },
  ) {
    for (
      const [schema, name] of [["cron", "pg_cron"], ["net", "pg_net"], ["vault", "supabase_vault"]]
    ) {
      await database.exec(`alter schema ${schema} rename to hidden`);
      await assert.rejects(
        paste(database, INSTALL),
        // Postgres 17 has the files of pg_cron, and has not preloaded it.
        new RegExp(
          `A extensão ${name} não está disponível|Não foi possível ativar a extensão ${name}`,
        ),
      );
      const [{ schemas }] = await database.query(
        "select count(*) as schemas from pg_namespace where nspname = 'whatsapp_monitor'",
      );
      assert.equal(schemas, 0);
      await database.exec(`alter schema hidden rename to ${schema}`);
    }
    await paste(database, INSTALL);
  },

  async "a user who is no superuser, as on Supabase, installs it, and is told of what they cannot see"(
    { database, concurrent },
  ) {
    const role = `owner_${crypto.randomUUID().replaceAll("-", "")}`;
    const other = `other_${crypto.randomUUID().replaceAll("-", "")}`;
    for (const name of [role, other]) await createOwner(database, name);
    await database.exec(`
      set role ${other};
      select cron.schedule('${JOB}', '*/30 * * * * *', $$${OLD_COMMAND}$$);
      reset role;`);
    try {
      for (let time = 0; time < 2; time++) {
        await paste(database, `set role ${role};\n${withUrl(URL_OF_PROJECT)};\nreset role`);
      }
      const seen = await database.transaction(role, async (query) => {
        await query("select whatsapp_monitor.fire()");
        return { jobs: await jobs({ query }), check: await check({ query }, "job") };
      });
      assert.deepEqual(seen.jobs.map(withoutId), [RIGHT]);
      assert.equal(seen.check.ok, true);
      assert.match(seen.check.detail, /não vê jobs de outros donos/);
      assert.equal((await database.query("select from net.http_request_queue")).length, 1);

      // Supabase's own user sees all jobs, and may not remove others'.
      await database.exec(`alter role ${role} bypassrls`);
      const as = (sql: string) => paste(database, `set role ${role};\n${sql};\nreset role`);
      await as(INSTALL);
      const { detail, fix } = await check(database, "job");
      assert.match(detail, new RegExp(`Há 2 jobs .* de ${other}`));
      assert.match(fix!, /cron\.unschedule\(\d+\)/);
      await as(REMOVE);
      const [{ shown }] = await database.query<{ shown: string }>(
        "select current_setting('whatsapp_monitor.removed') as shown",
      );
      assert.match(shown, /FICOU o job \d+, que é de outro dono/);
      assert.match(shown, /Schema whatsapp_monitor removido/);
    } finally {
      await database.exec("reset role");
      if (concurrent) {
        await database.exec(`
          drop owned by ${role}, ${other} cascade; drop role ${role}, ${other}`);
      }
    }
  },
});
