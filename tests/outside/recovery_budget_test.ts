/** How often: back-off, the budget of five minutes and of an hour, and then the slow probe. */
import assert from "node:assert/strict";
import { addNeighbour, checkFor, done, inWorld, recorded } from "./recovery.ts";

Deno.test("what has no effect is tried less and less often, within the budget, then by the slow probe", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    await checkFor(world, 3300, 60);

    const actions = await recorded(world, "loja");
    assert.equal(done(gateway, "loja").length, actions.length, "each that was granted was sent");
    assert.deepEqual(
      actions.slice(0, -1).map(({ verdict }) => verdict),
      Array(actions.length - 1).fill("no_effect"),
    );
    const at = actions.map(({ s }) => -s);
    const gaps = at.slice(1).map((each, n) => each - at[n]);
    // ±20 %, at the next check, and never before things have settled.
    const back_off = [90, 120, 240, 300];
    for (const [n, wait] of back_off.entries()) {
      const [least, most] = [Math.max(90, wait * 0.8), wait * 1.2 + 61];
      assert.ok(least <= gaps[n] && gaps[n] <= most, `${gaps}: ${least} to ${most}`);
    }
    // Five in an hour are spent: one every half hour.
    assert.ok(1800 <= gaps[4] && gaps[4] <= 1861, `${gaps}`);
    const within = (seconds: number) =>
      Math.max(...at.map((end) => at.filter((each) => end - seconds < each && each <= end).length));
    assert.ok(within(300) <= 3, `${gaps}`);
    assert.equal(within(3600), 6, `${gaps}: the slow probe is beside the hour's`);
  }));

Deno.test("the budget of five minutes holds where the back-off would not", () =>
  inWorld(async (world) => {
    await world.set({ attempts_per_5_min: 1 });
    await addNeighbour(world);
    world.gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    await checkFor(world, 1500, 60);
    const at = (await recorded(world, "loja")).map(({ s }) => -s);
    assert.ok(at.length >= 4, `${at}`);
    for (const [n, each] of at.slice(1).entries()) assert.ok(each - at[n] >= 300, `${at}`);
    assert.equal(done(world.gateway, "loja").length, at.length);
  }));

Deno.test("without a budget nothing is done", () =>
  inWorld(async (world) => {
    await world.set({ attempts_per_hour: 0, probe_every_s: 600 });
    await addNeighbour(world);
    world.gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    await checkFor(world, 1500, 60);
    assert.deepEqual([done(world.gateway, "loja"), await recorded(world, "loja")], [[], []]);
    assert.equal((await world.row("loja")).status, "disconnected", "it is told of all the same");
  }));

Deno.test("once the hour's budget is spent nothing is done but the slow probe", () =>
  inWorld(async (world) => {
    await world.set({ attempts_per_hour: 1, probe_every_s: 600 });
    await addNeighbour(world);
    world.gateway.set("loja", { condition: "close", dials: "fail" });
    await world.watch("loja");
    await checkFor(world, 1500, 60);
    const at = (await recorded(world, "loja")).map(({ s }) => -s);
    assert.equal(at.length, 3, `${at}`);
    for (const [n, each] of at.slice(1).entries()) assert.ok(each - at[n] >= 600, `${at}`);
  }));

Deno.test("a new outage has patience of its own, and no budget of its own", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", "open");
    await world.watch("loja");
    for (let outage = 1; outage <= 6; outage++) {
      await checkFor(world, 120, 60);
      gateway.set("loja", { condition: "close", dials: "login" });
      await checkFor(world, 300, 60);
      const actions = await recorded(world, "loja");
      assert.equal(actions.length, Math.min(outage, 5), `outage ${outage}`);
    }
    assert.equal(done(gateway, "loja").length, 5, "the hour's are spent");
    await checkFor(world, 1800, 60);
    assert.equal(done(gateway, "loja").length, 6, "the slow probe");
  }));
