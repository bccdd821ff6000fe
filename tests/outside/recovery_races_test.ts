/** What may happen between the look, the grant, the act and the write. */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { addNeighbour, checkFor, done, inWorld, recorded, touch, uponCall } from "./recovery.ts";
import { ACT } from "./ledger.ts";
import { anotherEdge, expireLeases, found, outcome, timesAsked } from "./support.ts";

const CONNECT = "GET /instance/connect/loja";

Deno.test("an action whose tick died before it was sent counts, and is judged all the same", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "login" });
    await world.watch("loja");
    await checkFor(world, 150);
    // Another isolate takes the tick, and dies with the grant in its hand.
    const victim = await anotherEdge(world);
    uponCall(world, ACT, () => victim.kill(), "after");
    await passTime(world.database, 30);
    await fetch(`${victim.url}/rendizy-server/whatsapp/monitor/start?wait=true`, {
      method: "POST",
      headers: { "x-monitor-token": world.token },
    }).then((answer) => answer.body?.cancel(), () => {});
    await outcome(victim.exited, "the end of the isolate");
    assert.deepEqual(done(gateway, "loja"), []);
    assert.deepEqual((await recorded(world, "loja")).map(({ ack, verdict }) => [ack, verdict]), [
      [null, null],
    ]);

    await expireLeases(world);
    for (const report of await checkFor(world, 60)) {
      assert.equal(found(report, "loja").action, "wait", "as if it had been sent");
    }
    await checkFor(world, 120);
    const [lost, again] = await recorded(world, "loja");
    assert.deepEqual([lost.ack, lost.verdict], [null, "no_effect"]);
    assert.deepEqual([again.ack, again.kind], ["accepted", "connect"]);
    assert.deepEqual(done(gateway, "loja"), [CONNECT]);
    assert.ok(lost.s - again.s >= 90, "its settling and its back-off count");
  }));

Deno.test("nothing is done where the database does not grant it", () =>
  inWorld(async (world) => {
    const { gateway, rest } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "login" });
    await world.watch("loja");
    await checkFor(world, 150);
    rest.behave({ fn: ACT, how: "error", status: 400, body: "{}", times: Infinity });
    const [report] = await checkFor(world, 30);
    assert.equal(report.success, true, "what was seen is written all the same");
    assert.equal(found(report, "loja").action, "wait");
    assert.deepEqual([done(gateway, "loja"), await recorded(world, "loja")], [[], []]);
    rest.heal();
    await checkFor(world, 30);
    assert.deepEqual(done(gateway, "loja"), [CONNECT]);
  }));

Deno.test("a grant whose answer is lost is asked for again, and given once", () =>
  inWorld(async (world) => {
    const { gateway, rest } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "login" });
    await world.watch("loja");
    await checkFor(world, 150);
    rest.behave({ fn: ACT, how: "lose_answer" });
    await checkFor(world, 30);
    assert.deepEqual(done(gateway, "loja"), [CONNECT]);
    assert.equal((await recorded(world, "loja")).length, 1);
  }));

Deno.test("what somebody else has written since it was decided is looked at first", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "login" });
    await world.watch("loja");
    await checkFor(world, 150);
    uponCall(world, ACT, () => touch(world, "loja"));
    const [report] = await checkFor(world, 30);
    assert.deepEqual([report.success, found(report, "loja").action], [true, "wait"]);
    assert.deepEqual([done(gateway, "loja"), await recorded(world, "loja")], [[], []]);
    const [next] = await checkFor(world, 30);
    assert.equal(found(next, "loja").action, "connect");
    assert.deepEqual(done(gateway, "loja"), [CONNECT]);
  }));

for (
  const [code, status, decision] of [
    [401, "waiting_qr", "ask_for_qr"],
    [403, "blocked", "ask_owner"],
  ] as const
) {
  Deno.test(`an end by ${code} counts once a second look at the live state agrees`, () =>
    inWorld(async (world) => {
      const { gateway } = world;
      gateway.set("loja", "open");
      await world.watch("loja");
      await world.after(30);
      gateway.forget();
      gateway.disconnect("loja", code);
      const { status: shown, reason, action } = found(await world.after(30), "loja");
      assert.deepEqual([shown, reason?.code, action], [status, String(code), decision]);
      assert.deepEqual(gateway.requests.map(({ path }) => path), [
        "/instance/connectionState/loja",
        "/instance/fetchInstances?instanceName=loja",
        "/instance/connectionState/loja",
      ]);
      await checkFor(world, 120);
      assert.equal(timesAsked(gateway, "loja"), 6, "once is enough");
    }));
}

Deno.test("an end that the second look does not see was none: somebody has scanned meanwhile", () =>
  inWorld(async (world) => {
    const { gateway, database } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.after(30);
    gateway.disconnect("loja", 401);
    gateway.upon("/instance/connectionState/loja", () => gateway.scan("loja"), 2);
    const { status, reason, action } = found(await world.after(30), "loja");
    assert.deepEqual([status, reason, action], ["connected", null, "none"]);
    assert.equal(timesAsked(gateway, "loja"), 3);
    await checkFor(world, 120);
    assert.equal((await world.row("loja")).status, "connected");
    assert.deepEqual(await database.query("table whatsapp_monitor.outages"), []);
    // That reason is stale from then on: it explains nothing that comes later.
    const instance = gateway.instance("loja");
    Object.assign(instance, { memory: "close", sockets: 0 });
    instance.row.connectionStatus = "close";
    const later = found(await world.after(30), "loja");
    assert.deepEqual([later.status, later.reason?.code], ["waiting_qr", "logged_out"]);
  }));
