/** What an own action has made worse: two sockets that replace each other (O2). Nothing more is done. */
import assert from "node:assert/strict";
import { addNeighbour, checkFor, done, inWorld, recorded, touch, uponCall } from "./recovery.ts";
import { FINISH } from "./ledger.ts";
import { found, type World } from "./support.ts";

/** A `connect` that starts a second socket, and what comes of it check by check. */
async function makeWorse(world: World, names: string[]): Promise<void> {
  const { gateway } = world;
  await addNeighbour(world);
  for (const name of names) {
    // A redial is under way, and nothing tells of it.
    gateway.set(name, { condition: "close", dialling: true });
    await world.watch(name);
  }
  await checkFor(world, 180);
  for (const name of names) {
    assert.deepEqual(done(gateway, name), [`GET /instance/connect/${name}`]);
    assert.equal(gateway.instance(name).sockets, 2);
  }
}

/** The two sockets fight for so many checks. */
async function fight(world: World, names: string[], checks: number): Promise<void> {
  for (let check = 0; check < checks; check++) {
    for (const name of names) world.gateway.advance(name);
    await world.after(30);
  }
}

/** The checks that a fight takes to be known for one: two drops. */
const CHECKS = 5;

const verdicts = async (world: World, name: string) =>
  (await recorded(world, name)).map(({ verdict }) => verdict);

/** Whether the monitor has stopped acting on an instance. */
const stopped = async (world: World, name: string) => {
  const { state } = await world.row(name) as { state: { halted_at: number | null } };
  return Boolean(state.halted_at);
};

const resume = async ({ database }: World, name: string) => {
  const [{ resumed }] = await database.query<{ resumed: boolean }>(
    "select whatsapp_monitor.resume($1, $1) as resumed",
    [name],
  );
  return resumed;
};

Deno.test("what was made worse is left alone until a person says so, or it was open for an hour", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    const names = ["pessoa", "hora"];
    await makeWorse(world, names);
    await fight(world, names, CHECKS);
    const report = await world.after(30);
    for (const name of names) {
      assert.deepEqual(await verdicts(world, name), ["made_worse"]);
      assert.equal(found(report, name).verdict, "made_worse");
      assert.equal(found(report, name).action, "tell_operator");
      assert.equal(found(report, name).reason?.code, "made_worse");
    }

    // The fight ends: one is closed for good, which a connect would mend, the other open.
    gateway.set("pessoa", { condition: "close", dials: "login" });
    gateway.set("hora", { condition: "open" });
    await checkFor(world, 3540, 60);
    assert.deepEqual(done(gateway, "pessoa").length, 1, "for an hour");
    assert.equal(await stopped(world, "hora"), true, "59 minutes are not enough");
    await checkFor(world, 120, 60);
    assert.equal(await stopped(world, "hora"), false);
    assert.equal(await stopped(world, "pessoa"), true);
    await assert.rejects(resume(world, "niemand"), /não conhece/);
    assert.equal(await resume(world, "pessoa"), true);
    assert.equal(await resume(world, "pessoa"), false, "it goes on already");

    gateway.set("hora", { condition: "close", dials: "login" });
    await checkFor(world, 300);
    for (const name of names) {
      assert.equal(done(gateway, name).length, 2, name);
      assert.deepEqual(await verdicts(world, name), ["made_worse", "worked"], name);
    }
  }));

Deno.test("that it was made worse is not forgotten where somebody else writes at that moment", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await makeWorse(world, ["loja"]);
    await fight(world, ["loja"], CHECKS - 1);
    assert.deepEqual(await verdicts(world, "loja"), [null]);
    uponCall(world, FINISH, () => touch(world, "loja"));
    await fight(world, ["loja"], 1);
    assert.deepEqual(await verdicts(world, "loja"), ["made_worse"]);
    assert.equal(await stopped(world, "loja"), true);
    gateway.set("loja", { condition: "close", dials: "login" });
    await checkFor(world, 1200, 60);
    assert.equal(done(gateway, "loja").length, 1);
  }));

Deno.test("a tick that has lost its claim judges nothing: whoever holds it now does", () =>
  inWorld(async (world) => {
    await makeWorse(world, ["loja"]);
    await fight(world, ["loja"], CHECKS - 1);
    uponCall(world, FINISH, () =>
      world.database.query(
        "update whatsapp_monitor.instances set fence = fence + 1 where name = 'loja'",
      ));
    await fight(world, ["loja"], 1);
    assert.deepEqual(await verdicts(world, "loja"), [null]);
    assert.equal(await stopped(world, "loja"), false);
    await world.database.query(
      `update whatsapp_monitor.instances set lease_tick = null, lease_until = null,
         due_at = '-infinity'`,
    );
    await world.tick();
    assert.deepEqual(await verdicts(world, "loja"), ["made_worse"]);
    assert.equal(await stopped(world, "loja"), true);
  }));
