/** The stand-ins for pg_cron, pg_net and Vault do what was measured of the real ones. */
import assert from "node:assert/strict";
import { runJobs } from "../../stack/cron.ts";
import type { Database } from "../../stack/database.ts";
import { sendRequests } from "../../stack/net.ts";
import { onDatabase } from "./harness.ts";

const all = ({ query }: Database, table: string) =>
  query<{ row: Record<string, unknown> }>(`select to_jsonb(t) as row from ${table} t`)
    .then((rows) => rows.map(({ row }) => row));

/** Sends one POST and gives the row of its answer. */
async function post(database: Database, args: string): Promise<Record<string, unknown>> {
  const [{ id }] = await database.query<{ id: number }>(`select net.http_post(${args}) as id`);
  await sendRequests(database);
  return (await all(database, "net._http_response")).find((row) => row.id === id)!;
}

/** A server, and what arrived there; one path is held until the end. */
async function listening(
  work: (url: string, seen: Request[]) => Promise<void>,
): Promise<void> {
  const seen: Request[] = [];
  const released = Promise.withResolvers<void>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    seen.push(new Request(request.url, request)); // a copy: the original ends with its answer
    if (request.url.endsWith("/held")) await released.promise;
    return new Response("here", { status: 202 });
  });
  try {
    await work(`http://127.0.0.1:${server.addr.port}`, seen);
  } finally {
    released.resolve();
    await server.shutdown();
  }
}

onDatabase("the extensions", {
  async "pg_cron takes what looks like seconds and is not, and refuses what looks right"(
    { database },
  ) {
    const schedule = (text: string) =>
      database.query("select cron.schedule('probe', $1, 'select 1')", [text]);
    for (const text of ["30 seconds", "*/30 * * * * *", "*/15 * * * * hello", "@hourly"]) {
      await schedule(text);
    }
    for (const text of ["60 seconds", "2 minutes", "@every 30s", "* * * *", ""]) {
      await assert.rejects(schedule(text), { message: `invalid schedule: ${text}` });
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

  async "pg_cron shows an owner their own jobs, and lets them remove no others"({ database }) {
    const as = (sql: string) => database.transaction("authenticated", (query) => query(sql));
    await database.query("select cron.schedule('not theirs', '* * * * *', 'select 1')");
    await as("select cron.schedule('theirs', '* * * * *', 'select 1')");
    assert.deepEqual(await as("select jobname from cron.job"), [{ jobname: "theirs" }]);
    const [{ jobid }] = await database.query(
      "select jobid from cron.job where jobname = 'not theirs'",
    );
    await assert.rejects(as(`select cron.unschedule(${jobid})`), { code: "42501" });
    await assert.rejects(as(`select cron.alter_job(${jobid})`), { code: "42501" });
    await assert.rejects(as("select cron.unschedule('not theirs')"), { code: "22023" });
  },

  async "a run leaves a row, a failed one its error, and an inactive job none"({ database }) {
    await database.exec(`
      delete from cron.job;
      select cron.schedule('good', '1 second', 'select 1');
      select cron.schedule('bad', '1 second', 'select 1/0');
      select cron.alter_job(cron.schedule('off', '1 second', 'select 1'), active := false);`);
    await runJobs(database);
    assert.deepEqual(
      (await all(database, "cron.job_run_details")).map((row) => [row.status, row.return_message]),
      [["succeeded", "1 row"], ["failed", "ERROR:  division by zero\n"]],
    );
  },

  "pg_net drops a header that is null, and sends the rest all the same": ({ database }) =>
    listening(async (url, arrived) => {
      const answer = await post(
        database,
        `'${url}/x', '{"a": 1}', '{"q": "1 & 2"}', '{"x-token": null, "x-other": "y"}'`,
      );
      assert.deepEqual(
        [answer.status_code, answer.content, answer.timed_out, answer.error_msg],
        [202, "here", false, null],
      );
      const [request] = arrived;
      assert.deepEqual([request.method, new URL(request.url).search], ["POST", "?q=1%20%26%202"]);
      const names = ["x-token", "x-other", "content-type", "user-agent"];
      assert.deepEqual(
        names.map((name) => request.headers.get(name)),
        [null, "y", "application/json", "pg_net/0.20.4"],
      );
    }),

  "pg_net writes down a timeout, a refusal and a host that does not exist": ({ database }) =>
    listening(async (url) => {
      const held = await post(database, `'${url}/held', timeout_milliseconds := 50`);
      assert.deepEqual([held.status_code, held.timed_out], [null, true]);
      assert.match(String(held.error_msg), /^Timeout of 50 ms reached/);
      const refused = await post(database, "'http://127.0.0.1:9/'");
      assert.equal(refused.error_msg, "Couldn't connect to server");
      const unknown = await post(database, "'http://nowhere.invalid/'");
      assert.equal(unknown.error_msg, "Couldn't resolve host name");
    }),

  async "pg_net refuses no URL at all, and a body that is said to be something else"({ database }) {
    await assert.rejects(database.query("select net.http_post(null)"), { code: "23502" });
    await assert.rejects(
      database.query(
        `select net.http_post('http://x', headers := '{"Content-Type": "text/plain"}')`,
      ),
      /Content-Type header must be/,
    );
  },

  async "Vault keeps one secret a name, changes it by its id, and shows it in its view"(
    { database },
  ) {
    const create = () => database.query("select vault.create_secret('one', 'name') as id");
    const [{ id }] = await create();
    await assert.rejects(create(), { code: "23505" });
    await database.query("select vault.update_secret($1, 'two')", [id]);
    assert.deepEqual(
      await database.query(
        "select decrypted_secret, secret <> decrypted_secret as hidden from vault.decrypted_secrets",
      ),
      [{ decrypted_secret: "two", hidden: true }],
    );
  },
});
