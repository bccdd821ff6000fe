/**
 * `heartbeat_url`: a sign of life for somebody elsewhere, given after a tick
 * that committed, once an interval, and never at the tick's expense.
 */
import assert from "node:assert/strict";
import { check } from "./installed.ts";
import { type Receiver, startReceiver } from "./receiver.ts";
import { anotherEdge, everything, outcome, startHeldGateway } from "./support.ts";
import { startWorld, type World } from "./support.ts";

const FINISH = "whatsapp_monitor_finish_tick";
const SETTLE = "whatsapp_monitor_settle_heartbeat";

/** A world with one open instance, never checked, and somebody who waits for signs of life. */
async function inWorld(work: (world: World, receiver: Receiver) => Promise<void>): Promise<void> {
  const world = await startWorld();
  const receiver = startReceiver();
  try {
    // No time that this test does not let pass matters.
    await world.set({ interval_s: 3600 });
    await giveTo(world, receiver.url);
    world.gateway.set("loja", "open");
    await world.watch("loja");
    await work(world, receiver);
  } finally {
    receiver.release();
    await world.stop();
    await receiver.stop();
  }
}

const giveTo = ({ database }: World, url: string | null) =>
  database.query("update whatsapp_monitor.settings set heartbeat_url = $1", [url]);

/** An interval passes for the sign of life. */
const pass = ({ database }: World) =>
  database.query("update whatsapp_monitor.heartbeat set given_at = given_at - interval '1 hour'");

async function tick(world: World) {
  const report = await outcome(world.tick(), "a tick");
  assert.equal(report.success, true, JSON.stringify(report));
  return report;
}

const idleTick = async (world: World) => {
  const report = await outcome(world.trigger().then((each) => each.json()), "an idle tick");
  assert.deepEqual([report.success, report.checked], [true, 0]);
  return report;
};

Deno.test("a tick that commits gives a sign of life, once an interval, and costs no call more", () =>
  inWorld(async (world, receiver) => {
    assert.equal((await tick(world)).database_round_trips, 2);
    const [{ method, path, headers, body }] = receiver.deliveries;
    assert.deepEqual([method, path, body], ["GET", "/services/T0/secret-path?key=1", ""]);
    for (const [name] of headers) assert.doesNotMatch(name, /apikey|authorization|token|webhook/);
    for (let again = 0; again < 3; again++) await tick(world);
    assert.equal(receiver.deliveries.length, 1);
    await pass(world);
    assert.equal((await tick(world)).database_round_trips, 2);
    await tick(world);
    assert.equal(receiver.deliveries.length, 2);
    await giveTo(world, null);
    await pass(world);
    await tick(world);
    assert.equal(receiver.deliveries.length, 2);
  }));

Deno.test("a punctual trigger never finds it not yet time", () =>
  inWorld(async (world, receiver) => {
    await world.set({ interval_s: 30 });
    for (const [seconds, given] of [[0, 1], [20, 1], [26, 2]]) {
      await world.database.query(
        "update whatsapp_monitor.heartbeat set given_at = given_at - make_interval(secs => $1)",
        [seconds],
      );
      await tick(world);
      assert.equal(receiver.deliveries.length, given, `after ${seconds} s`);
      await world.database.exec(
        "update whatsapp_monitor.heartbeat set given_at = clock_timestamp()",
      );
    }
  }));

Deno.test("a tick that does not commit gives none", () =>
  inWorld(async (world, receiver) => {
    world.rest.behave({ fn: FINISH, how: "error", status: 400, body: "{}" });
    assert.equal((await world.tick()).success, false);
    assert.deepEqual(receiver.deliveries, []);
    await world.database.exec("update whatsapp_monitor.instances set lease_tick = null");
    await tick(world);
    assert.equal(receiver.deliveries.length, 1);
  }));

Deno.test("nor does one that only waits for another, which may die", async () => {
  const held = startHeldGateway();
  await inWorld(async (world, receiver) => {
    await world.watch("presa", { url: held.url });
    const first = world.tick();
    first.catch(() => {});
    await held.arrived;
    await idleTick(world);
    assert.deepEqual(receiver.deliveries, []);
    held.release();
    await first;
    assert.equal(receiver.deliveries.length, 1);
  }).finally(held.stop);
});

Deno.test("one that finds nothing to do has committed, too", () =>
  inWorld(async (world, receiver) => {
    await tick(world);
    await pass(world);
    await idleTick(world);
    assert.equal(receiver.deliveries.length, 2);
    assert.equal((await idleTick(world)).database_round_trips, 1);
    assert.equal(receiver.deliveries.length, 2);
  }));

Deno.test("many ticks at once, in two isolates, give one; a lost answer gives no second", () =>
  inWorld(async (world, receiver) => {
    await tick(world);
    await pass(world);
    const other = await anotherEdge(world);
    try {
      const headers = { "x-monitor-token": world.token };
      const start = "/rendizy-server/whatsapp/monitor/start?wait=true";
      await Promise.all([world.edge.url, other.url, world.edge.url, other.url].map(async (url) => {
        const response = await fetch(url + start, { method: "POST", headers });
        assert.equal((await response.json()).success, true);
      }));
    } finally {
      await other.stop();
    }
    assert.equal(receiver.deliveries.length, 2);
    await pass(world);
    world.rest.behave({ fn: FINISH, how: "lose_answer" });
    await tick(world);
    assert.equal(receiver.deliveries.length, 3, "neither lost nor doubled");
  }));

Deno.test("whatever goes wrong with it, the tick is none the worse, and the URL stays hidden", () =>
  inWorld(async (world, receiver) => {
    const reports: unknown[] = [];
    const failures = ["status_500", "status_302", "connection_refused", "42703"];
    for (const failure of failures) {
      await pass(world);
      const status = failure.match(/^status_(\d+)$/)?.[1];
      if (status) receiver.answers(Number(status));
      if (failure === "connection_refused") await giveTo(world, "http://127.0.0.1:1/secret-path");
      if (failure === "42703") {
        await world.database.exec(
          `alter table whatsapp_monitor.heartbeat rename tick_id to elsewhere`,
        );
      }
      reports.push(await tick(world));
      await world.edge.idle();
      const line = `⚠️ heartbeat_url não avisada (${failure})`;
      assert.ok(world.edge.logs.some((each) => each.includes(line)), failure);
    }
    await world.database.exec(`alter table whatsapp_monitor.heartbeat rename elsewhere to tick_id`);
    assert.equal(receiver.deliveries.length, 2, "no redirect is followed");
    const begun = await world.database.query("select public.whatsapp_monitor_begin_tick($1)", [
      { tick_id: crypto.randomUUID(), caller: "service_key", report: true },
    ]);
    await world.database.exec("update whatsapp_monitor.settings set heartbeat_url = null");
    const seen = JSON.stringify([reports, begun, world.edge.logs]) + await everything(world);
    assert.ok(!seen.includes("secret-path"));
  }));

Deno.test("the checklist says since when nobody takes it, and a success after another costs no call", () =>
  inWorld(async (world, receiver) => {
    const beat = async (status: number) => {
      receiver.answers(status);
      await pass(world);
      await tick(world);
      const { ok, detail } = await check(world.database, "heartbeat_url");
      return [ok, detail.replace(/há .+? s\b/, "há N s")];
    };
    assert.equal((await check(world.database, "heartbeat_url")).ok, null);
    const taken = [true, "Avisada há N s."];
    assert.deepEqual(await beat(200), taken);
    assert.deepEqual(await beat(500), [false, "Não aceita os avisos desde há N s: status_500."]);
    assert.deepEqual(await beat(404), [false, "Não aceita os avisos desde há N s: status_404."]);
    assert.deepEqual(await beat(200), taken);
    // Were it called, the log would tell.
    world.rest.behave({ fn: SETTLE, how: "error", status: 400, body: "{}", times: Infinity });
    const told = () => world.edge.logs.filter((line) => line.includes("heartbeat_url")).length;
    const before = told();
    assert.deepEqual(await beat(200), taken);
    await world.edge.idle();
    assert.equal(told(), before);
    await beat(500);
    await world.edge.idle();
    assert.equal(told(), before + 2);
    await giveTo(world, null);
    assert.equal((await check(world.database, "heartbeat_url")).ok, true);
  }));

Deno.test("somebody slow to hear it keeps the alerts from nobody", () =>
  inWorld(async (world, receiver) => {
    await world.database.query("update whatsapp_monitor.settings set alert_url = $1", [
      `${receiver.url}&alert`,
    ]);
    await tick(world);
    await pass(world);
    const arrived = receiver.holds();
    world.gateway.set("loja", { condition: "logged_out", code: 401 });
    const running = tick(world);
    running.catch(() => {});
    await outcome(arrived, "the first of both");
    while (receiver.deliveries.length < 3) await outcome(receiver.next(), "the other");
    receiver.release();
    await running;
    assert.deepEqual(
      receiver.deliveries.slice(1).map(({ method }) => method).sort(),
      ["GET", "POST"],
    );
  }));
