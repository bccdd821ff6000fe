/**
 * What was: a row per change of status, one outage at a time and dated to its
 * first bad check, the time of each day; and how all that is forgotten again.
 */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { onLedger, result } from "./ledger.ts";
import { startWorld, type World } from "./support.ts";

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    world.gateway.set("loja", "open");
    await world.watch("loja");
    await work(world);
  } finally {
    await world.stop();
  }
}

/** A check, `seconds` after the one before. */
async function check(world: World, condition: string, seconds = 30): Promise<void> {
  await passTime(world.database, seconds);
  if (condition === "logged_out") world.gateway.set("loja", { condition, code: 401 });
  // deno-lint-ignore no-explicit-any
  else world.gateway.set("loja", condition as any);
  const report = await world.tick();
  assert.equal(report.success, true);
  assert.equal(report.checked, 1);
}

/** The outages of the instance; its gateway has its own. */
const outages = ({ database }: World) =>
  database.query<{ s: number; open: boolean; reason_code: string | null; lasted: number }>(
    `select round(extract(epoch from clock_timestamp() - started_at))::integer as s,
            ended_at is null as open, reason_code,
            round(extract(epoch from duration))::integer as lasted
     from whatsapp_monitor.outages where gateway_id is null order by started_at`,
  );

const changes = async ({ database }: World) =>
  (await database.query<{ change: string }>(
    `select from_status || ' → ' || to_status || coalesce(' (' || reason_code || ')', '') as change
     from whatsapp_monitor.status_changes order by id`,
  )).map(({ change }) => change);

/** Within what a slow machine adds. */
function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= 10, `${actual} is not about ${expected}`);
}

Deno.test("a drop is an outage from its first bad check to its first good one", () =>
  inWorld(async (world) => {
    await check(world, "open");
    await check(world, "close");
    await check(world, "close");
    assert.deepEqual(await outages(world), [], "not yet");
    await check(world, "close");
    const [{ s, open, reason_code }] = await outages(world);
    near(s, 60);
    assert.deepEqual([open, reason_code], [true, null]);
    await check(world, "open");
    assert.equal((await outages(world))[0].open, true, "one good check");
    await check(world, "open");
    const [{ open: after, lasted }, ...more] = await outages(world);
    assert.equal(after, false);
    near(lasted, 90);
    assert.deepEqual(more, []);
    assert.deepEqual(await changes(world), [
      "unknown → connected",
      "connected → connecting",
      "connecting → disconnected",
      "disconnected → connecting",
      "connecting → connected",
    ]);
  }));

Deno.test("a blip is no outage; a logout is one at once; its reason comes with it", () =>
  inWorld(async (world) => {
    await check(world, "open");
    await check(world, "close");
    await check(world, "open");
    assert.deepEqual(await outages(world), []);
    await check(world, "logged_out");
    const [{ open, reason_code }] = await outages(world);
    assert.deepEqual([open, reason_code], [true, "401"]);
    assert.ok((await changes(world)).includes("connected → waiting_qr (401)"));
  }));

Deno.test("who waits for a first scan has no outage: nobody was cut off", () =>
  inWorld(async (world) => {
    for (const condition of ["never_paired", "waiting_scan", "qr_limit"]) {
      for (let round = 0; round < 5; round++) await check(world, condition);
      assert.equal((await world.row("loja")).status, "waiting_qr");
    }
    assert.deepEqual(await outages(world), []);
    await check(world, "open");
    for (let round = 0; round < 3; round++) await check(world, "qr_limit");
    const [{ open, reason_code }] = await outages(world);
    assert.deepEqual([open, reason_code], [true, "qr_limit"]);
  }));

Deno.test("there are never two open outages, whatever happens meanwhile", () =>
  inWorld(async (world) => {
    await check(world, "open");
    for (let round = 0; round < 3; round++) await check(world, "close");
    await check(world, "logged_out");
    await world.gateway.behave("down");
    await check(world, "logged_out");
    await world.gateway.behave("up");
    await check(world, "booting");
    await check(world, "close");
    const [first, ...more] = await outages(world);
    assert.deepEqual([first.open, first.reason_code, more.length], [true, "401", 0]);
    await check(world, "open");
    await check(world, "open");
    await check(world, "logged_out");
    assert.deepEqual((await outages(world)).map(({ open }) => open), [false, true]);
  }));

Deno.test("a gateway that is away or a wrong name is no outage of the instance", () =>
  inWorld(async (world) => {
    await check(world, "open");
    await world.gateway.behave("down");
    for (let round = 0; round < 4; round++) await check(world, "open");
    await world.gateway.behave("up");
    for (let round = 0; round < 4; round++) await check(world, "missing");
    assert.deepEqual(await outages(world), []);
  }));

Deno.test("a repeated finish writes nothing down twice", () =>
  inWorld(async (world) => {
    await check(world, "open");
    world.rest.behave({ fn: "whatsapp_monitor_finish_tick", how: "lose_answer" });
    await check(world, "logged_out");
    assert.equal((await outages(world)).length, 1);
    assert.deepEqual(await changes(world), [
      "unknown → connected",
      "connected → waiting_qr (401)",
    ]);
  }));

Deno.test("each day sums up what the time was: connected, not, unknown", () =>
  inWorld(async (world) => {
    const sums = async () => {
      const [row] = await world.database.query<Record<string, number>>(
        `select sum(connected_s)::float8 as connected, sum(not_connected_s)::float8 as not_connected,
                sum(unknown_s)::float8 as unknown from whatsapp_monitor.days`,
      );
      return row;
    };
    await check(world, "open");
    for (let round = 0; round < 10; round++) await check(world, "open", 60);
    for (let round = 0; round < 5; round++) await check(world, "close", 60);
    // Nobody looks for an hour.
    await check(world, "open", 3600);
    await check(world, "open", 60);
    const { connected, not_connected, unknown } = await sums();
    // The minute before the first bad check was still that of a connected instance.
    near(connected, 11 * 60);
    near(not_connected, 4 * 60 + 60);
    near(unknown, 3600);
  }));

Deno.test("a span over midnight belongs to both days", () =>
  inWorld(async (world) => {
    await check(world, "open");
    await world.set({ interval_s: 86400 });
    await passTime(world.database, 86400);
    await world.tick();
    const days = await world.database.query<{ day: string; connected_s: number }>(
      "select day::text, connected_s from whatsapp_monitor.days order by day",
    );
    assert.equal(days.length, 2);
    near(days.reduce((sum, { connected_s }) => sum + connected_s, 0), 86400);
    const [{ today }] = await world.database.query<{ today: number }>(
      `select extract(epoch from clock_timestamp()
         - date_trunc('day', clock_timestamp(), 'UTC'))::float8 as today`,
    );
    near(days[1].connected_s, today);
  }));

Deno.test("what the settings do not keep is removed, and nothing else", () =>
  inWorld(async (world) => {
    const { database } = world;
    await check(world, "open");
    await check(world, "logged_out");
    await check(world, "open");
    await check(world, "open");
    await check(world, "logged_out");
    const count = async () =>
      (await database.query<Record<string, number>>(
        `select (select count(*) from whatsapp_monitor.status_changes) as changes,
                (select count(*) from whatsapp_monitor.outages) as outages,
                (select count(*) from whatsapp_monitor.days) as days,
                (select count(*) from whatsapp_monitor.ticks) as ticks`,
      ))[0];
    const before = await count();
    assert.ok(before.changes > 0 && before.outages === 2 && before.days > 0 && before.ticks === 5);
    await database.exec("select whatsapp_monitor.clean_up()");
    assert.deepEqual(await count(), before, "nothing is old");
    await database.exec(
      `update whatsapp_monitor.status_changes set at = at - interval '91 days';
       update whatsapp_monitor.outages set started_at = started_at - interval '91 days',
         ended_at = ended_at - interval '91 days';
       update whatsapp_monitor.days set day = day - 91;
       update whatsapp_monitor.ticks set started_at = started_at - interval '8 days';
       update whatsapp_monitor.housekeeping set cleaned_at = '-infinity'`,
    );
    await world.makeDue();
    await (await world.trigger()).body?.cancel();
    const after = await count();
    assert.equal(after.outages, 1, "the one that goes on is kept");
    assert.equal(after.changes, 0);
    assert.equal(after.ticks, 1, "that of the trigger which cleaned up");
    const [{ error }] = await database.query("select error from whatsapp_monitor.housekeeping");
    assert.equal(error, null);
  }));

onLedger("the sums of a day", {
  async "count each second once, also where it was concluded without asking"(ledger) {
    await ledger.watch("a");
    await ledger.set({ interval_s: 3600 });
    const start = Date.UTC(2026, 0, 1);
    for (const [minute, asked] of [[0, true], [1, false], [2, false], [3, true]] as const) {
      await ledger.query("update whatsapp_monitor.instances set due_at = '-infinity'");
      const tick = await ledger.begin();
      const checked_ms = start + minute * 60_000;
      await ledger.finish(tick, tick.instances.map((each) => result(each, { checked_ms, asked })));
    }
    assert.deepEqual(
      await ledger.query(
        "select connected_s, not_connected_s, unknown_s from whatsapp_monitor.days",
      ),
      [{ connected_s: 180, not_connected_s: 0, unknown_s: 0 }],
    );
  },
});
