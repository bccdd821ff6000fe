/** The stand-ins for pg_cron, pg_net and Vault do what was measured of the real ones. */
import assert from "node:assert/strict";
import { runJobs } from "../../stack/cron.ts";
import type { Database } from "../../stack/database.ts";
import { sendRequests, startWorker } from "../../stack/net.ts";
import { until } from "../support.ts";
import { all, describe, PG_CRON } from "./extensions.ts";
import { onDatabase } from "./harness.ts";

/** What pg_net 0.20.4 installs, as its own SQL says. */
const PG_NET = Deno.readTextFileSync(new URL("fixtures/pg_net-0.20.4.txt", import.meta.url));

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
  ...PG_CRON,

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

  async "pg_net's tables, types, functions, defaults and rights are those of the real one"(
    { database },
  ) {
    const ours = (await describe(database, "net")).filter((line) => !/^stand_in_/.test(line));
    assert.equal(ours.join("\n") + "\n", PG_NET);
  },

  "pg_net drops a header that is null or empty, and sends the rest all the same": ({ database }) =>
    listening(async (url, arrived) => {
      const answer = await post(
        database,
        `'${url}/x', '{"a": 1}', '{"q": "1 & 2"}', '{"x-token": null, "x-empty": " ", "x-other": "y"}'`,
      );
      assert.deepEqual(
        [answer.status_code, answer.content, answer.timed_out, answer.error_msg],
        [202, "here", false, null],
      );
      const [request] = arrived;
      assert.deepEqual([request.method, new URL(request.url).search], ["POST", "?q=1%20%26%202"]);
      const names = ["x-token", "x-empty", "x-other", "content-type", "user-agent"];
      assert.deepEqual(
        names.map((name) => request.headers.get(name)),
        [null, null, "y", "application/json", "pg_net/0.20.4"],
      );
      await post(database, `'${url}', headers := null`);
      const type = arrived[1].headers.get("content-type");
      assert.equal(type, "application/x-www-form-urlencoded", "no headers at all");
    }),

  "pg_net's worker sends by itself what was committed, and a slow one holds up the next batch": (
    { database },
  ) =>
    listening(async (url, arrived) => {
      await database.exec("delete from net._http_response; delete from net.http_request_queue");
      const worker = startWorker(database);
      try {
        await assert.rejects(
          database.transaction(null, async (query) => {
            await query(`select net.http_get('${url}/rolled-back')`);
            throw new Error("on purpose");
          }),
          /on purpose/,
        );
        await database.query(`select net.http_get('${url}/held', timeout_milliseconds := 500)`);
        await until("the first request", () => arrived.length === 1);
        await database.query(`select net.http_delete('${url}/next')`);
        const rows = () => all(database, "net._http_response");
        await until("both answers", async () => (await rows()).length === 2);
        assert.deepEqual(
          arrived.map(({ method, url }) => `${method} ${new URL(url).pathname}`),
          ["GET /held", "DELETE /next"],
        );
        assert.deepEqual((await rows()).map((row) => [row.timed_out, row.status_code]), [
          [true, null],
          [false, 202],
        ]);
      } finally {
        await worker.stop();
      }
    }),

  async "pg_net sends at most a batch at once, and forgets its answers after six hours"(
    { database },
  ) {
    await database.exec(`
      delete from net._http_response;
      insert into net._http_response (id, created) values (-1, now() - interval '6 hours 1 second');
      select net.http_get('http://127.0.0.1:9/') from generate_series(1, 201);`);
    assert.deepEqual([await sendRequests(database), await sendRequests(database)], [200, 1]);
    const kept = await all(database, "net._http_response");
    assert.deepEqual([kept.length, kept.some(({ id }) => id === -1)], [201, false]);
  },

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

  async "pg_net refuses what is no URL, and a body that is said to be something else"(
    { database },
  ) {
    for (const url of ["127.0.0.1:9", "ftp://x", "/x", "http://", "http://a b"]) {
      await assert.rejects(database.query("select net.http_get($1)", [url]), /URL/, url);
    }
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
