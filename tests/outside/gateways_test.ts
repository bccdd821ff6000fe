/** Gateways are rows: their version, and since when they are reachable, or not. */
import assert from "node:assert/strict";
import { startWorld, type World } from "./support.ts";

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    for (const name of ["a", "b"]) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    await work(world);
  } finally {
    await world.stop();
  }
}

/** How often the gateway was asked for its version. */
const asked = ({ gateway }: World) => gateway.requests.filter(({ path }) => path === "/").length;

async function row({ database }: World) {
  const [row] = await database.query<{ version: string; reachable: boolean; since: Date }>(
    "select version, reachable, reachable_since as since from whatsapp_monitor.gateways",
  );
  return row;
}

Deno.test("the version is asked once, kept, and asked again after hours", () =>
  inWorld(async (world) => {
    assert.equal((await world.tick()).gateways[0].version, "2.3.6");
    assert.equal((await row(world)).version, "2.3.6");
    for (let check = 0; check < 3; check++) {
      assert.equal((await world.tick()).gateways[0].version, "2.3.6", "from the database");
    }
    assert.equal(asked(world), 1, "for two instances and four ticks");
    world.gateway.upgrade("2.4.0-rc2");
    await world.database.query(
      `update whatsapp_monitor.gateways set version_asked_at = now() - interval '7 hours',
         reachable_since = now() - interval '7 hours'`,
    );
    assert.equal((await world.tick()).gateways[0].version, "2.4.0-rc2");
    assert.deepEqual([asked(world), (await row(world)).version], [2, "2.4.0-rc2"]);
  }));

Deno.test("a gateway that was away is asked again when it is back", () =>
  inWorld(async (world) => {
    await world.tick();
    const up = await row(world);
    assert.equal(up.reachable, true);
    await world.gateway.behave("down");
    await world.tick();
    const down = await row(world);
    assert.deepEqual([down.reachable, down.version], [false, "2.3.6"]);
    assert.ok(down.since > up.since);
    await world.tick();
    assert.deepEqual(await row(world), down, "nothing new, nothing written");
    world.gateway.upgrade("2.4.0-rc2");
    await world.gateway.behave("up");
    await world.tick();
    await world.tick();
    const back = await row(world);
    assert.deepEqual([back.reachable, back.version], [true, "2.4.0-rc2"]);
    assert.ok(back.since > down.since);
  }));

Deno.test("without anybody who waits for a report the version is learned all the same", () =>
  inWorld(async (world) => {
    const response = await fetch(`${world.functionUrl}/whatsapp/monitor/start`, {
      method: "POST",
      headers: { "x-monitor-token": world.token },
    });
    await response.body?.cancel();
    await world.edge.idle();
    assert.equal((await row(world)).version, "2.3.6");
  }));

Deno.test("a slow root delays no status, and is not asked again at once", () =>
  inWorld(async (world) => {
    await world.set({ request_timeout_ms: 300 });
    await world.gateway.behave({ mode: "up", root_delay_ms: 60_000 });
    for (const report of [await world.tick(), await world.tick()]) {
      assert.equal(report.success, true);
      assert.equal(report.gateways[0].version, null);
      assert.deepEqual(report.instances.map(({ status }) => status), ["connected", "connected"]);
    }
    assert.equal(asked(world), 1);
  }));
