/** One action at a time, from the evidence to the verdict: sent once, stored, and shown everywhere. */
import assert from "node:assert/strict";
import { addNeighbour, checkFor, done, inWorld, recorded } from "./recovery.ts";
import { found, type World } from "./support.ts";

/** What `GET /whatsapp/monitor/status` says of an instance. */
async function shown({ functionUrl, token }: World, name: string) {
  const answer = await fetch(`${functionUrl}/whatsapp/monitor/status?organization_id=${name}`, {
    headers: { "x-monitor-token": token },
  });
  const { instances: [instance] } = await answer.json();
  return instance;
}

/** The outages of all instances. */
const outages = ({ database }: World) =>
  // deno-lint-ignore no-explicit-any -- JSON as the database has it
  database.query<{ name: string; over: boolean; actions: any }>(
    `select i.name, o.ended_at is not null as over, o.actions
     from whatsapp_monitor.outages o join whatsapp_monitor.instances i on i.id = o.instance_id
     order by o.id`,
  );

Deno.test("a steady close beside an open neighbour is dialled once, and all can see that it worked", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.after(30);
    gateway.set("loja", { condition: "close", dials: "login" });
    // The first check sees it; 150 s later it was unbroken for so long.
    for (const report of await checkFor(world, 150)) {
      assert.deepEqual(found(report, "loja").action, "wait");
    }
    assert.deepEqual(done(gateway, "loja"), [], "not before");
    assert.equal((await world.row("loja")).status, "disconnected");

    const [acted] = await checkFor(world, 30);
    const CONNECT = ["GET /instance/connect/loja"];
    assert.deepEqual(done(gateway, "loja"), CONNECT);
    assert.deepEqual(
      [found(acted, "loja").action, found(acted, "loja").verdict],
      ["connect", null],
      "what the gateway says to it is no verdict",
    );
    const granted = { kind: "connect", grounds: "neighbour", ack: "accepted" };
    const judged = async () => {
      const [{ s: _, ...action }, ...others] = await recorded(world, "loja");
      assert.deepEqual(others, []);
      return action;
    };
    assert.deepEqual(await judged(), { ...granted, verdict: null });

    // It is open at once; the verdict waits until things have settled.
    for (const report of await checkFor(world, 60)) {
      assert.deepEqual(found(report, "loja").verdict, null);
    }
    assert.equal((await world.row("loja")).status, "connected");
    const [settled] = await checkFor(world, 30);
    const { action, verdict, status } = found(settled, "loja");
    assert.deepEqual({ action, verdict, status }, {
      action: "none",
      verdict: "worked",
      status: "connected",
    });
    assert.deepEqual(await judged(), { ...granted, verdict: "worked" });
    const { at, ...last } = (await shown(world, "loja")).last_action;
    assert.deepEqual(last, { action: "connect", grounds: "neighbour", verdict: "worked" });
    assert.ok(!isNaN(new Date(at).getTime()));
    const [outage, ...others] = await outages(world);
    assert.deepEqual(others, []);
    assert.deepEqual([outage.name, outage.over], ["loja", true]);
    assert.deepEqual(
      outage.actions.map(({ at: _, ...rest }: { at: string }) => rest),
      [{ action: "connect", grounds: "neighbour", verdict: "worked" }],
    );
    await checkFor(world, 300);
    assert.deepEqual(done(gateway, "loja"), CONNECT, "once");
    assert.deepEqual(done(gateway, "vizinha"), []);
    assert.ok(
      world.edge.logs.some((line) => line.includes("connect")),
      "the log tells of it",
    );
  }));

Deno.test("a close that is alone is dialled after very long, and once an hour", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    // Nothing comes of it, and nobody else dials.
    gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    const at: number[] = [];
    for (let s = 0; s <= 8400; s += 60) {
      const [report] = await checkFor(world, 60, 60);
      if (found(report, "loja").action === "connect") at.push(s);
    }
    assert.deepEqual(at, [900, 4500, 8100]);
    assert.equal(done(gateway, "loja").length, at.length);
    const actions = await recorded(world, "loja");
    assert.deepEqual(
      actions.map(({ kind, grounds, verdict }) => [kind, grounds, verdict]),
      at.map(() => ["connect", "blind", "no_effect"]),
    );
  }));

Deno.test("a close that is alone is never dialled where that is turned off", () =>
  inWorld(async (world) => {
    world.gateway.set("loja", "close");
    await world.watch("loja");
    await world.set({ blind_connect_after_s: 0 });
    await checkFor(world, 3600, 60);
    assert.deepEqual(done(world.gateway, "loja"), []);
  }));

Deno.test("a dial that hangs is ended by one restart", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    gateway.set("loja", { condition: "connecting", dials: "login" });
    await world.watch("loja");
    const actions = (await checkFor(world, 240)).map((report) => found(report, "loja").action);
    const [wait, none] = ["wait", "none"];
    assert.deepEqual(actions, [wait, wait, wait, "restart", none, none, none, none]);
    assert.deepEqual(done(gateway, "loja"), ["POST /instance/restart/loja"]);
    const [{ s: _, ...action }] = await recorded(world, "loja");
    assert.deepEqual(action, {
      kind: "restart",
      grounds: "state",
      ack: "accepted",
      verdict: "worked",
    });
  }));

Deno.test("a restart that answers 200 and does nothing is refused, and is tried again later", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    gateway.set("loja", { condition: "connecting", dials: "hang" });
    await world.watch("loja");
    await checkFor(world, 90);
    // Between the look and the act the socket closes: what is closed cannot be restarted (A18).
    gateway.upon("/instance/restart/loja", () => gateway.set("loja", { condition: "close" }));
    const [acted] = await checkFor(world, 30);
    assert.deepEqual([found(acted, "loja").action, found(acted, "loja").verdict], [
      "restart",
      "refused",
    ]);
    const [{ s: _, ...action }] = await recorded(world, "loja");
    assert.deepEqual(action, {
      kind: "restart",
      grounds: "state",
      ack: "refused",
      verdict: "refused",
    });
    assert.equal((await shown(world, "loja")).last_action.verdict, "refused");
    gateway.set("loja", { condition: "connecting", dials: "login" });
    await checkFor(world, 240);
    assert.deepEqual(done(gateway, "loja"), Array(2).fill("POST /instance/restart/loja"));
    const verdicts = (await recorded(world, "loja")).map(({ verdict }) => verdict);
    assert.deepEqual(verdicts, ["refused", "worked"]);
  }));

Deno.test("what makes the gateway lose its answer may have been done, and counts", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    await checkFor(world, 150);
    gateway.upon("/instance/connect/loja", () => gateway.set("loja", { status: 500 }));
    await world.after(30);
    gateway.set("loja", {});
    await checkFor(world, 60);
    assert.equal(done(gateway, "loja").length, 1, "it is given the time to settle");
    await checkFor(world, 30);
    const [{ s: _, ...action }] = await recorded(world, "loja");
    assert.deepEqual(action, {
      kind: "connect",
      grounds: "neighbour",
      ack: "lost",
      verdict: "no_effect",
    });
  }));
