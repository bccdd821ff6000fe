/** A gateway that is at fault is one finding: nothing is done to its instances, and none has an outage. */
import assert from "node:assert/strict";
import { checkFor, done, inWorld } from "./recovery.ts";
import { found, type World } from "./support.ts";

const OPEN = ["a", "b", "c"];

/** A gateway with three that are open, and one whose steady close is about to be acted upon. */
async function fleet(world: World): Promise<void> {
  for (const name of OPEN) {
    world.gateway.set(name, "open");
    await world.watch(name);
  }
  world.gateway.set("loja", { condition: "close", dials: "login" });
  await world.watch("loja");
  await checkFor(world, 150);
}

/** What is wrong with the gateway, and whose outages there are. */
async function health({ database }: World) {
  const [{ fault, down }] = await database.query<{ fault: string | null; down: boolean }>(
    `select fault_code as fault, down_since is not null as down from whatsapp_monitor.gateways`,
  );
  const outages = await database.query<{ name: string }>(
    `select coalesce(i.name, 'gateway') || case when o.ended_at is null then '' else ', over' end as name
     from whatsapp_monitor.outages o
     left join whatsapp_monitor.instances i on i.id = o.instance_id order by o.id`,
  );
  return { fault, down, outages: outages.map(({ name }) => name) };
}

for (
  const [mode, fault] of [
    ["down", "connection_refused"],
    [{ mode: "error", status: 500 }, "server_error"],
    ["html", "not_json"],
  ] as const
) {
  Deno.test(`a gateway at fault (${fault}): no action, no outage of its instances, and a pause after it`, () =>
    inWorld(async (world) => {
      const { gateway } = world;
      await fleet(world);
      const before = { fault: null, down: false, outages: ["loja"] };
      assert.deepEqual(await health(world), before);
      await gateway.behave(mode);
      const during = await checkFor(world, 300);
      for (const report of during) {
        assert.deepEqual(done(gateway, "loja"), []);
        assert.equal(found(report, "loja").action === "connect", false);
      }
      assert.deepEqual(await health(world), { fault, down: true, outages: ["loja", "gateway"] });
      for (const name of OPEN) {
        assert.equal(found(during[0], name).status, "connected", "not at once");
        assert.equal(found(during[9], name).status, "gateway_unreachable");
        assert.equal(found(during[9], name).action, "tell_operator");
      }

      // It is back after two good ticks, and then left alone for a minute.
      await gateway.behave("up");
      gateway.set("c", { condition: "close", dials: "login" });
      const after = await checkFor(world, 120);
      for (const report of after) assert.notEqual(found(report, "c").action, "connect");
      assert.equal(
        found(after[2], "c").reason?.code,
        "gateway_unstable",
        "nothing bad is believed",
      );
      assert.deepEqual(await health(world), { ...before, outages: ["loja", "gateway, over"] });
      assert.deepEqual([done(gateway, "loja"), done(gateway, "c")], [[], []]);
      for (const name of ["a", "b"]) assert.equal(found(after[3], name).status, "connected");
      // From then on its word counts, from the beginning.
      await checkFor(world, 240);
      for (const name of ["loja", "c"]) {
        assert.deepEqual(done(gateway, name), [`GET /instance/connect/${name}`]);
      }
    }));
}

Deno.test("one instance that fails beside a root that works is no fault of the gateway", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    for (const name of ["a", "b"]) {
      gateway.set(name, "open");
      await world.watch(name);
    }
    await checkFor(world, 60);
    gateway.forget();
    gateway.set("b", { status: 500 });
    const reports = await checkFor(world, 120);
    assert.deepEqual(await health(world), { fault: null, down: false, outages: [] });
    assert.equal(gateway.requests.filter(({ path }) => path === "/").length, 4, "it is asked");
    const { status, reason } = found(reports[3], "b");
    assert.deepEqual([status, reason?.code], ["gateway_unreachable", "server_error"]);
    assert.equal(found(reports[3], "a").status, "connected");
  }));

Deno.test("two instances that fail with their root are a gateway at fault", () =>
  inWorld(async (world) => {
    for (const name of ["a", "b"]) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    await checkFor(world, 60);
    await world.gateway.behave("error");
    await checkFor(world, 120);
    assert.deepEqual(await health(world), {
      fault: "server_error",
      down: true,
      outages: ["gateway"],
    });
  }));

Deno.test("slowness is no evidence: a gateway whose root takes long is not at fault", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await world.set({ request_timeout_ms: 300 });
    for (const name of ["a", "b"]) {
      gateway.set(name, "open");
      await world.watch(name);
    }
    await checkFor(world, 60);
    await gateway.behave({ mode: "up", root_delay_ms: 60_000 });
    for (const name of ["a", "b"]) gateway.set(name, { status: 500 });
    await checkFor(world, 120);
    assert.deepEqual(await health(world), { fault: null, down: false, outages: [] });
  }));

Deno.test("those that happen to be due alone do not speak for the whole gateway", () =>
  inWorld(async (world) => {
    const { gateway, database } = world;
    for (let n = 0; n < 12; n++) {
      gateway.set(`n${n}`, n < 3 ? { condition: "open", status: 500 } : "open");
      await world.watch(`n${n}`);
    }
    await world.after(30);
    await database.query(
      `update whatsapp_monitor.instances
       set due_at = case when name in ('n0', 'n1', 'n2') then '-infinity'::timestamptz
                         else 'infinity' end`,
    );
    const report = await (await world.trigger()).json();
    assert.equal(report.checked, 3);
    assert.deepEqual(await health(world), { fault: null, down: false, outages: [] });
  }));
