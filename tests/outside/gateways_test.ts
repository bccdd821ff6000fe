/** Gateways are rows: what they are, whether they can be reached, and what is wrong with them. */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { startReceiver } from "./receiver.ts";
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

Deno.test("a gateway that was too slow to tell its version is asked again after minutes", () =>
  inWorld(async (world) => {
    await world.set({ request_timeout_ms: 300 });
    await world.gateway.behave({ mode: "up", root_delay_ms: 60_000 });
    await world.tick();
    await world.gateway.behave("up");
    await world.set({ request_timeout_ms: 8000 });
    for (let check = 0; check < 3; check++) await world.tick();
    assert.deepEqual([asked(world), (await row(world)).version], [1, null], "not at once");
    await world.after(300);
    assert.deepEqual([asked(world), (await row(world)).version], [2, "2.3.6"]);
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

Deno.test("what follows from the version stands beside it", () =>
  inWorld(async (world) => {
    const capabilities = async () => {
      await world.database.query(
        "update whatsapp_monitor.gateways set version_asked_at = '-infinity'",
      );
      await world.tick();
      const [row] = await world.database.query<{ capabilities: unknown }>(
        "select capabilities from whatsapp_monitor.gateways",
      );
      return row.capabilities;
    };
    const refused = [401, 402, 403, 406];
    const webhooks = { shape: "nested", headers: true, edits: true };
    assert.deepEqual(await capabilities(), { final_codes: refused, may_act: true, webhooks });
    world.gateway.upgrade("2.4.0-rc2");
    assert.deepEqual(await capabilities(), {
      final_codes: [...refused, 408],
      may_act: false,
      webhooks,
    });
    world.gateway.upgrade("1.8.2");
    assert.deepEqual(await capabilities(), {
      final_codes: [401],
      may_act: false,
      webhooks: { shape: "old", headers: false, edits: false },
    });
  }));

Deno.test("a gateway's clock is compared with the database's, and moves nothing", () =>
  inWorld(async (world) => {
    const hours_ms = -3 * 3_600_000;
    await world.gateway.behave({ mode: "up", clock_ahead_ms: hours_ms });
    assert.deepEqual((await world.tick()).instances.map(({ status }) => status), [
      "connected",
      "connected",
    ]);
    const [{ clock_ahead_ms }] = await world.database.query<{ clock_ahead_ms: unknown }>(
      "select clock_ahead_ms from whatsapp_monitor.gateways",
    );
    // Whole seconds, and the time that the answer took.
    assert.ok(Math.abs(Number(clock_ahead_ms) - hours_ms) < 60_000, String(clock_ahead_ms));
  }));

/** The outages of the gateway, and of its instances. */
async function outages({ database }: World) {
  const rows = await database.query<Record<string, unknown>>(
    `select gateway_id is not null as gateway, reason_code, ended_at is not null as over,
       started_at < confirmed_at as dated_back
     from whatsapp_monitor.outages order by id`,
  );
  return rows;
}

async function health({ database }: World) {
  const [row] = await database.query<Record<string, unknown>>(
    `select fault_code, down_since is not null as down, cooldown_until > now() as cooling
     from whatsapp_monitor.gateways`,
  );
  return row;
}

Deno.test("a gateway that fails for most is found at fault, and left alone for a while when it is back", () =>
  inWorld(async (world) => {
    world.gateway.set("c", "open");
    await world.watch("c");
    const receiver = startReceiver();
    await world.database.query("update whatsapp_monitor.settings set alert_url = $1", [
      receiver.url,
    ]);
    await world.tick();
    assert.deepEqual(await health(world), { fault_code: null, down: false, cooling: null });
    await world.gateway.behave("html");
    await world.tick();
    assert.deepEqual(await health(world), { fault_code: "not_json", down: false, cooling: null });
    await passTime(world.database, 60);
    await world.tick();
    await world.tick();
    assert.deepEqual(await health(world), { fault_code: "not_json", down: true, cooling: null });
    const outage = { gateway: true, reason_code: "not_json", dated_back: true };
    assert.deepEqual(await outages(world), [{ ...outage, over: false }], "one, and for all");
    await world.gateway.behave("up");
    world.gateway.set("c", "logged_out");
    await world.tick();
    assert.equal((await health(world)).down, true, "one good tick is not enough");
    const report = await world.tick();
    assert.deepEqual(await health(world), { fault_code: null, down: false, cooling: true });
    const c = report.instances.find(({ instance_name }) => instance_name === "c")!;
    assert.equal(c.reason?.code, "gateway_unstable", "nothing bad is believed so early");
    assert.deepEqual(await outages(world), [{ ...outage, over: true }]);
    await passTime(world.database, 61);
    const after = (await world.tick()).instances.find(({ instance_name }) =>
      instance_name === "c"
    )!;
    assert.deepEqual([after.status, after.reason?.code], ["waiting_qr", "401"]);
    const told = receiver.deliveries.map(({ alert }) => [
      alert.kind,
      alert.instance_name,
      alert.affected ?? null,
    ]);
    await receiver.stop();
    assert.deepEqual(told, [["down", null, 3], ["up", null, 3], ["down", "c", null]]);
  }));
