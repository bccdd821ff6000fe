/**
 * `?every=30&for=60`: a service that can call once a minute gets a check every
 * 30 seconds. The test turns the clock.
 */
import assert from "node:assert/strict";
import { type Here, here } from "./here.ts";
import { outcome, timesAsked } from "./support.ts";

const BEGIN = "whatsapp_monitor_begin_tick";
const QUERY = "?every=30&for=60";
/** cron-job.org, which can come once a minute and no more often. */
const AGENT = "Mozilla/4.0 (compatible; cron-job.org; http://cron-job.org/abuse/)";

/** A call; gives the answer's tick once it is answered. */
async function call(world: Here, query = QUERY, method = "GET"): Promise<string> {
  const headers = { "x-monitor-token": world.token, "user-agent": AGENT };
  const response = await world.ask(`/start${query}`, { method, headers });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return method === "HEAD" ? "" : JSON.parse(text).tick_id;
}

interface Run {
  tick_id: string;
  outcome: string;
  source: string;
  follow_up: boolean;
  late_ms: number | null;
}

const runs = ({ database }: Here) =>
  database.query<Run>(
    `select tick_id::text, outcome, source, follow_up, late_ms::float
     from whatsapp_monitor.triggers order by at`,
  );

const told = async (world: Here) =>
  (await runs(world)).map(({ outcome, follow_up }) => `${outcome}${follow_up ? ", again" : ""}`);

/** Waits for the pause, lets time pass for the database too, and ends it. */
async function pass(world: Here, ms = 30_000): Promise<void> {
  await outcome(world.resting(), "the pause");
  await world.makeDue();
  world.skip(ms);
}

async function forget(world: Here): Promise<void> {
  for (let pause = 0; pause < 8; pause++) {
    await outcome(world.resting(), "a pause or the end");
    world.skip(60_000);
  }
  await outcome(world.idle(), "the rest of the work");
  await world.database.exec("truncate whatsapp_monitor.ticks cascade");
  await world.makeDue();
  world.gateway.requests.length = 0;
}

Deno.test("a caller that comes once a minute", async (t) => {
  await here(async (world) => {
    await world.set({ interval_s: 60 });
    world.gateway.set("loja", "open");
    await world.watch("loja");
    const step = (name: string, test: () => Promise<void>) =>
      t.step(name, async () => {
        await forget(world);
        await test();
        await forget(world);
      });

    await step("is answered at once, and served at 0 and at 30 seconds", async () => {
      const tick_id = await call(world);
      await outcome(world.resting(), "the pause");
      assert.equal(timesAsked(world.gateway, "loja"), 1);
      const [pause] = world.pauses();
      assert.ok(pause > 20_000 && pause <= 30_000, `${pause}`);
      await pass(world);
      await outcome(world.idle(), "the second sweep");
      assert.equal(timesAsked(world.gateway, "loja"), 2);
      assert.deepEqual(world.pauses(), [], "at 60 seconds the caller comes again");
      const [first, second] = await runs(world);
      assert.deepEqual(await told(world), ["committed", "committed, again"]);
      assert.equal(first.tick_id, tick_id);
      assert.deepEqual([second.source, second.late_ms], ["cron_job_org", 0]);
    });

    await step("may ask for as many as every 15 seconds, with HEAD as well", async () => {
      await call(world, "?every=15&for=60", "HEAD");
      for (let sweep = 0; sweep < 3; sweep++) await pass(world, 15_000);
      await outcome(world.idle(), "the last sweep");
      assert.deepEqual(await told(world), ["committed", ...Array(3).fill("committed, again")]);
    });

    await step("leaves nothing doubled when another trigger comes meanwhile", async () => {
      await call(world);
      await outcome(world.resting(), "the pause");
      await world.tick(); // pg_cron, which finds it due
      world.skip(30_000);
      await outcome(world.idle(), "the second sweep");
      assert.equal(timesAsked(world.gateway, "loja"), 2);
      assert.deepEqual(await told(world), ["committed", "committed", "nothing_due, again"]);
    });

    await step("and one that comes again before the second sweep does no more harm", async () => {
      await call(world);
      await outcome(world.resting(), "the pause");
      await call(world);
      await world.makeDue();
      while (world.pauses().length < 2) await outcome(world.resting(), "the other pause");
      world.skip(30_000);
      await outcome(world.idle(), "both second sweeps");
      assert.equal(timesAsked(world.gateway, "loja"), 2);
      const all = await told(world);
      assert.deepEqual(all.slice(0, 2), ["committed", "nothing_due"]);
      assert.deepEqual(all.filter((each) => each === "committed, again").length, 1);
      assert.equal(all.length, 4);
    });

    await step("has the second sweep whatever becomes of the first", async () => {
      world.rest.behave({ fn: "whatsapp_monitor_finish_tick", how: "error", status: 400 });
      await call(world);
      await outcome(world.resting(), "the pause");
      await world.database.exec(
        "update whatsapp_monitor.instances set lease_tick = null, lease_until = null",
      );
      await pass(world);
      await outcome(world.idle(), "the second sweep");
      assert.deepEqual((await told(world)).at(-1), "committed, again");
    });

    await step("has the third where the database was away for the second", async () => {
      await call(world, "?every=20&for=60");
      await outcome(world.resting(), "the pause");
      world.rest.behave({ fn: BEGIN, how: "error", status: 400 });
      world.skip(20_000);
      await pass(world, 20_000);
      await outcome(world.idle(), "the third sweep");
      assert.deepEqual(await told(world), ["committed", "committed, again"]);
    });

    await step("is served no more once its token is revoked", async () => {
      await call(world, "?every=15&for=60");
      await outcome(world.resting(), "the pause");
      const until = (when: string) =>
        world.database.query(`update whatsapp_monitor.trigger_tokens set expires_at = ${when}`);
      await until("now()");
      world.skip(15_000);
      await outcome(world.idle(), "the refused sweep");
      await until("null");
      assert.deepEqual(await told(world), ["committed"]);
    });

    await step("loses no sweep that is late; one too late starts nothing", async () => {
      await call(world);
      await outcome(world.resting(), "the pause");
      await pass(world, 70_000); // the isolate may end at 75
      await outcome(world.idle(), "the second sweep");
      assert.equal(timesAsked(world.gateway, "loja"), 1, "what it begins it could not end");
      const { due } = (await world.database.query<{ due: boolean }>(
        "select due_at <= now() and lease_tick is null as due from whatsapp_monitor.instances",
      ))[0];
      assert.equal(due, true, "it is the next one's");
    });

    await step("and is told what cannot be", async () => {
      const calls = world.rest.calls.length;
      for (
        const [query, sentence] of [
          ["?every=30", /^every e for vêm juntos/],
          ["?for=60", /^every e for vêm juntos/],
          ["?every=10&for=60", /every de 15 até for/],
          ["?every=30&for=90", /for até 60/],
          ["?every=abc&for=60", /segundos inteiros/],
          ["?every=30&for=60&wait=true", /^wait=true não combina com every e for/],
        ] as const
      ) {
        const headers = { "x-monitor-token": world.token };
        const response = await world.ask(`/start${query}`, { method: "POST", headers });
        const { success, error } = await response.json();
        assert.deepEqual([response.status, success], [400, false], query);
        assert.match(error, sentence);
      }
      assert.equal(world.rest.calls.length, calls, "the database is not asked");
    });
  });
});
