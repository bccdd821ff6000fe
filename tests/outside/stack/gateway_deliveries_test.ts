/** How the simulated gateway delivers: its retries, and late, lost, doubled and stormy webhooks. */

import assert from "node:assert/strict";
import type { Version } from "../../stack/evolution/mod.ts";
import { type Bench, onWebhooks, seen } from "./webhooks.ts";

/** With a clock that stands: only `passTime` makes a retry. */
const test = (name: string, run: (bench: Bench) => Promise<void>, version?: Version) =>
  onWebhooks(name, (bench) => {
    bench.gateway.webhooks.clock.stand();
    return run(bench);
  }, { version });

const HOUR = 3600;

/** The ids of the messages as they arrived. */
const ids = ({ receiver }: Bench) =>
  // deno-lint-ignore no-explicit-any -- whatever was posted
  receiver.deliveries.map(({ data }: any) => data.key.id);

test("2.3.6 tries ten times, doubling from 5 s to 300 s", async ({ gateway, receiver }) => {
  receiver.answers(500);
  gateway.message("loja");
  await gateway.webhooks.passTime(4.9);
  assert.equal(receiver.deliveries.length, 1, "never before 5 s");
  await gateway.webhooks.passTime(1.2);
  assert.equal(receiver.deliveries.length, 2, "5 s and a fifth at most");
  await gateway.webhooks.passTime(HOUR);
  const [{ tries, outcome }] = gateway.webhooks.deliveries;
  assert.deepEqual([tries.length, receiver.deliveries.length, outcome], [10, 10, "gave_up"]);
  const usual = [5, 10, 20, 40, 80, 160, 300, 300, 300];
  for (const [i, expected] of usual.entries()) {
    const waited = (tries[i + 1].at - tries[i].at) / 1000;
    // A try ends up to a second after it was made.
    const legal = waited >= Math.max(5, 0.8 * expected) && waited <= 1.2 * expected + 1;
    assert(legal, `${waited} s before try ${i + 2}`);
  }
  await gateway.webhooks.idle();
});

test("2.3.6 drops an event at once after 400, 401, 403, 404 and 422", async (bench) => {
  const { gateway, receiver } = bench;
  const again = [408, 409, 429, 500, 503];
  for (const status of [400, 401, 403, 404, 422, ...again]) {
    receiver.answers(status);
    gateway.message("loja", { id: String(status) });
    await gateway.webhooks.tried();
  }
  receiver.answers(204);
  await gateway.webhooks.passTime(60);
  assert.deepEqual(gateway.webhooks.outcomes(), { dropped: 5, delivered: again.length });
  assert.deepEqual(ids(bench).slice(-again.length).map(Number).sort(), again);
});

for (const [version, tries] of [["2.2.3", 10], ["2.1.1", 1], ["1.8.2", 1]] as const) {
  test(`${version} tries ${tries} times, whatever was answered`, async (bench) => {
    const { gateway, receiver } = bench;
    receiver.answers(404);
    gateway.message("loja");
    await gateway.webhooks.passTime(30.5);
    assert.equal(receiver.deliveries.length, Math.min(tries, 2));
    await gateway.webhooks.passTime(30 * 9);
    assert.equal(receiver.deliveries.length, tries);
    assert.deepEqual(gateway.webhooks.outcomes(), { gave_up: 1 });
  }, version);
}

test("a retry is the same to the letter, and overtaken by what came later", async (bench) => {
  const { gateway, receiver, url } = bench;
  gateway.setWebhook("loja", url, { headers: { jwt_key: "k3y" } });
  receiver.answers(500);
  gateway.message("loja", { id: "first" });
  await gateway.webhooks.tried();
  receiver.answers(200);
  gateway.message("loja", { id: "second" });
  await gateway.webhooks.delivered("loja", "messages.upsert");
  await gateway.webhooks.passTime(7);
  assert.deepEqual(ids(bench), ["first", "second", "first"]);
  const [one, , same] = receiver.deliveries;
  assert.equal(same.body, one.body);
  assert.equal(same.headers.get("authorization"), one.headers.get("authorization"));
});

test("who does not listen is tried again", async ({ gateway, receiver, url }) => {
  await receiver.stop();
  gateway.message("loja");
  await gateway.webhooks.passTime(7);
  const [{ url: to, tries, outcome }] = gateway.webhooks.deliveries;
  assert.deepEqual([to, outcome, tries.map(({ status }) => status)], [
    url,
    "pending",
    [null, null],
  ]);
});

test("who does not answer in time is told again", async ({ gateway, receiver }) => {
  const asked = receiver.holds();
  gateway.webhooks.settings.timeout_ms = 20;
  gateway.message("loja");
  await asked;
  await gateway.webhooks.tried();
  receiver.release();
  receiver.answers(200);
  await gateway.webhooks.passTime(7);
  const [{ tries }] = gateway.webhooks.deliveries;
  assert.deepEqual(tries.map(({ status }) => status), [null, 200]);
});

test("what is held goes on in the order that is wished", async (bench) => {
  const { webhooks } = bench.gateway;
  const say = (...names: string[]) => names.forEach((id) => bench.gateway.message("loja", { id }));
  webhooks.hold();
  say("a", "b", "c");
  await webhooks.passTime(HOUR);
  assert.deepEqual(ids(bench), []);
  await webhooks.release("reversed");
  assert.deepEqual(ids(bench), ["c", "b", "a"]);
  webhooks.hold(({ body }) => JSON.stringify(body).includes('"late"'));
  say("late", "soon");
  await webhooks.tried();
  await webhooks.release((held) => held);
  say("last");
  await webhooks.idle();
  assert.deepEqual(ids(bench).slice(3), ["soon", "late", "last"]);
});

test("half of them can be late", async ({ gateway, receiver }) => {
  gateway.webhooks.settings.late_ms = 60_000;
  for (let i = 0; i < 60; i++) gateway.message("loja");
  await gateway.webhooks.tried();
  const soon = receiver.deliveries.length;
  assert(soon > 0 && soon < 60, `${soon} at once`);
  await gateway.webhooks.passTime(60);
  assert.deepEqual([receiver.deliveries.length, gateway.webhooks.outcomes()], [60, {
    delivered: 60,
  }]);
});

test("a lost webhook does not arrive, a lost answer makes it arrive twice", async (bench) => {
  const { webhooks } = bench.gateway;
  webhooks.settings.way = "lost";
  bench.gateway.message("loja", { id: "lost" });
  await webhooks.tried();
  assert.deepEqual(ids(bench), []);
  webhooks.settings.way = "answers_lost";
  bench.gateway.message("loja", { id: "twice" });
  await webhooks.tried();
  webhooks.settings.way = "clear";
  await webhooks.passTime(7);
  assert.deepEqual(ids(bench).toSorted(), ["lost", "twice", "twice"]);
  assert.deepEqual(webhooks.outcomes(), { delivered: 2 });
});

test("a webhook can be repeated, and all be sent twice", async (bench) => {
  const { gateway } = bench;
  gateway.message("loja", { id: "a" });
  await gateway.webhooks.repeat(await gateway.webhooks.delivered("loja", "messages.upsert"));
  gateway.webhooks.settings.copies = 2;
  gateway.message("loja", { id: "b" });
  await gateway.webhooks.idle();
  assert.deepEqual(ids(bench), ["a", "a", "b", "b"]);
});

test("a storm is thousands of events, and few at a time", async ({ gateway, receiver }) => {
  const { sent, unwanted } = await gateway.webhooks.storm("loja", 2000, { per_second: 100 });
  assert.deepEqual([sent, unwanted, receiver.deliveries.length], [2000, 0, 2000]);
  assert.deepEqual([...new Set(seen(receiver))], ["connecting 200"]);
  const { peakInFlight, settings, deliveries } = gateway.webhooks;
  assert(peakInFlight > 1 && peakInFlight <= settings.concurrency, `${peakInFlight} at once`);
  const [first, last] = [deliveries[0], deliveries[1999]].map(({ body }) =>
    Date.parse(body.date_time)
  );
  assert(last - first >= 19_990, "20 s by what they say themselves");
});

test("a storm ends for who does not ask for it any more", async ({ gateway, url }) => {
  const { webhooks } = gateway;
  webhooks.settings.concurrency = 1;
  const storm = webhooks.storm("loja", 500);
  await webhooks.delivered("loja", "connection.update", 3);
  gateway.setWebhook("loja", url, { events: ["LOGOUT_INSTANCE"] });
  const { sent, unwanted } = await storm;
  assert(sent >= 3 && sent < 500, `${sent} sent`);
  assert.equal(sent + unwanted, 500);
});

test("a reboot forgets what was not delivered", async ({ gateway, receiver }) => {
  receiver.answers(503);
  gateway.message("loja");
  await gateway.webhooks.tried();
  gateway.webhooks.hold();
  gateway.message("loja");
  gateway.reboot();
  await gateway.webhooks.idle();
  await gateway.webhooks.release();
  await gateway.webhooks.passTime(HOUR);
  assert.equal(receiver.deliveries.length, 1);
  assert.deepEqual(gateway.webhooks.outcomes(), { forgotten: 2 });
});

test("a stop ends what is under way, and whoever waits for it", async ({ gateway, receiver }) => {
  const asked = receiver.holds();
  gateway.message("loja");
  const waiting = assert.rejects(gateway.webhooks.delivered("loja", "messages.upsert"), /stopped/);
  await asked;
  await gateway.stop();
  await waiting;
  assert.deepEqual(gateway.webhooks.outcomes(), { forgotten: 1 });
  assert.equal(gateway.webhooks.stopped, true);
});

onWebhooks("a stop leaves nothing that waits for another try", async ({ gateway, receiver }) => {
  receiver.answers(503);
  gateway.message("loja");
  await gateway.webhooks.tried();
  await gateway.stop(); // the timer of a clock that runs would be seen as a leak
  assert.deepEqual(gateway.webhooks.outcomes(), { forgotten: 1 });
});

onWebhooks("by a clock that runs, what is late comes by itself", async ({ gateway, receiver }) => {
  gateway.webhooks.settings.late_ms = 20;
  for (let i = 0; i < 20; i++) gateway.message("loja");
  await gateway.webhooks.idle();
  assert.equal(receiver.deliveries.length, 20);
});

test("the control listener tells the webhooks what the methods do", async (bench) => {
  const { gateway, receiver } = bench;
  const tell = async (method: string, path: string, body?: unknown) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await fetch(gateway.controlUrl + path, { method, body: text });
    return { status: response.status, json: await response.json() };
  };
  await tell("PUT", "/webhooks", { way: "lost", zone_ms: -3600_000 });
  const { json: { id } } = await tell("POST", "/instances/loja/message", { text: "oi" });
  await gateway.webhooks.tried();
  await tell("PUT", "/webhooks", { way: "clear" });
  await tell("POST", "/webhooks/pass", { seconds: 7 });
  assert.deepEqual(ids(bench), [id]);
  await tell("POST", "/webhooks/hold");
  await tell("POST", "/instances/loja/message", { id: "a" });
  await tell("POST", "/instances/loja/message", { id: "b" });
  await tell("POST", "/webhooks/release", { order: "reversed" });
  assert.deepEqual(ids(bench), [id, "b", "a"]);
  const storm = await tell("POST", "/instances/loja/storm", { count: 10 });
  assert.deepEqual(storm.json, { sent: 10, unwanted: 0 });
  const { json } = await tell("GET", "/webhooks");
  assert.deepEqual([json.outcomes, json.deliveries.length], [{ delivered: 13 }, 13]);
  await tell("DELETE", "/webhooks");
  assert.deepEqual(gateway.webhooks.deliveries, []);
  assert.equal(receiver.deliveries.length, 13);
  const bad = await tell("PUT", "/webhooks", { way: "blocked" });
  assert.deepEqual([bad.status, bad.json.legal], [400, ["clear", "lost", "answers_lost"]]);
  assert.equal((await tell("POST", "/webhooks/dance")).status, 400);
});
