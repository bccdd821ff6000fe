/**
 * Ticks that overlap, die, come late, lose answers or the database: nothing is
 * asked twice, nothing is lost. Trigger to database, through the real wasm.
 */
import assert from "node:assert/strict";
import type { Edge } from "../stack/edge.ts";
import type { Report } from "../stack/report.ts";
import { anotherEdge, expireLeases, startHeldGateway, startWorld, type World } from "./support.ts";

const BEGIN = "whatsapp_monitor_begin_tick";
const FINISH = "whatsapp_monitor_finish_tick";
const START = "/rendizy-server/whatsapp/monitor/start?wait=true";

type Held = ReturnType<typeof startHeldGateway>;

/** A world whose instances all live on a gateway that answers when it is told to. */
async function onHeldGateway(
  instances: string[],
  work: (world: World, held: Held) => Promise<void>,
): Promise<void> {
  const held = startHeldGateway();
  try {
    await inWorld(instances, work, held.url, held);
  } finally {
    await held.stop();
  }
}

/** A world whose instances all are open, on the simulated gateway unless another is given. */
async function inWorld<H = undefined>(
  instances: string[],
  work: (world: World, held: H) => Promise<void>,
  url?: string,
  held?: H,
): Promise<void> {
  const world = await startWorld();
  try {
    for (const name of instances) {
      const { gateway } = world;
      gateway.set(name, "open");
      await world.addInstance({
        organization: name,
        name,
        url: url ?? gateway.url,
        key: gateway.key,
      });
    }
    await world.database.query("select whatsapp_monitor.sync_sources()");
    // Nothing becomes due, and nothing runs out, because this machine is slow.
    await world.set({ interval_s: 3600, lease_s: 300, request_timeout_ms: 30_000 });
    await work(world, held!);
  } finally {
    await world.stop();
  }
}

/** Triggers one isolate and waits for its report. */
function trigger(world: World, edge: Edge = world.edge): Promise<Report> {
  const answering = (async () => {
    const headers = { "x-monitor-token": world.token };
    const answer = await fetch(edge.url + START, { method: "POST", headers });
    assert.equal(answer.status, 200);
    return await answer.json();
  })();
  // A test that fails before it waits for this shows its own error.
  answering.catch(() => {});
  return answering;
}

/** Resolves when the database has begun so many ticks. */
async function begun({ rest }: World, ticks: number): Promise<void> {
  const count = () => rest.calls.filter(({ fn, status }) => fn === BEGIN && status === 200).length;
  while (count() < ticks) await rest.nextCall(BEGIN);
}

/** The names that a gateway was asked for, as often as it was asked. */
function asked(paths: string[]): string[] {
  const path = /^\/instance\/connectionState\/([^/?]+)$/;
  return paths.map((each) => each.match(path)?.[1]).filter((name) => name !== undefined);
}

const paths = ({ gateway }: World) => gateway.requests.map(({ path }) => path);
const names = (count: number) => Array.from({ length: count }, (_, n) => `loja-${100 + n}`);

interface Tick {
  id: string;
  claimed: number;
  finished: boolean;
}

/** All ticks, in order of their beginning. */
function ticks({ database }: World): Promise<Tick[]> {
  return database.query<Tick>(`
    select id::text, claimed, finished_at is not null as finished
    from whatsapp_monitor.ticks order by started_at`);
}

Deno.test("eight overlapping ticks never work on one instance twice", () =>
  onHeldGateway(names(64), async (world, held) => {
    await world.set({ batch_size: 5 });
    const other = await anotherEdge(world);
    try {
      const edges = [world.edge, other];
      const answers = Array.from({ length: 8 }, (_, n) => trigger(world, edges[n % 2]));
      // All eight hold a batch before the first answer of the gateway.
      await begun(world, 8);
      assert.deepEqual((await ticks(world)).map(({ claimed }) => claimed), Array(8).fill(5));
      held.release();
      const reports = await Promise.all(answers);

      assert.deepEqual(asked(held.paths).sort(), names(64), "each asked exactly once");
      const rows = await world.database.query<{ name: string; version: number; tick: string }>(
        "select name, version, checked_by::text as tick from whatsapp_monitor.instances",
      );
      assert.deepEqual(rows.map(({ version }) => version), Array(64).fill(1));
      for (const { id, claimed, finished } of await ticks(world)) {
        assert.equal(finished, true);
        assert.equal(rows.filter(({ tick }) => tick === id).length, claimed, "written by its tick");
      }
      const checked = reports.flatMap(({ instances }) =>
        instances.filter(({ checked_now }) => checked_now).map((each) => each.instance_name)
      );
      assert.deepEqual(checked.sort(), names(64), "each in one report as checked now");
      assert.equal(reports.reduce((sum, report) => sum + report.checked, 0), 64);
    } finally {
      await other.stop();
    }
  }));

Deno.test("a tick killed midway loses nothing, and its lease expires", () =>
  onHeldGateway(["a", "b"], async (world, held) => {
    const interrupted = world.trigger();
    await held.arrived;
    await world.edge.kill();
    const answer = await interrupted;
    assert.equal(answer.status, 502, "what Supabase says about a dead worker");
    await answer.body?.cancel();
    held.release();
    const [dead] = await ticks(world);
    await world.edge.restart();

    const before = await trigger(world);
    assert.equal(before.checked, 0, "the lease is the dead tick's");
    assert.equal((await world.row("a")).lease_tick, dead.id);
    await expireLeases(world);
    const after = await trigger(world);
    assert.equal(after.checked, 2);
    for (const name of ["a", "b"]) {
      const { version, fence, status, checked_by } = await world.row(name);
      assert.deepEqual(
        { version, fence, status, checked_by },
        { version: 1, fence: 2, status: "connected", checked_by: after.tick_id },
      );
    }
    assert.deepEqual((await ticks(world)).map(({ id, finished }) => [id, finished]), [
      [dead.id, false],
      [before.tick_id, true],
      [after.tick_id, true],
    ]);
  }));

Deno.test("a tick that outlives its lease gives way to the next", () =>
  onHeldGateway(["a"], async (world, held) => {
    const other = await anotherEdge(world);
    try {
      const slow = trigger(world);
      await held.arrived;
      await expireLeases(world);
      const next = trigger(world, other);
      await begun(world, 2);
      held.release();
      const [, { tick_id }] = await Promise.all([slow, next]);
      const { version, fence, checked_by } = await world.row("a");
      assert.deepEqual({ version, fence, checked_by }, {
        version: 1,
        fence: 2,
        checked_by: tick_id,
      });
    } finally {
      await other.stop();
    }
  }));

Deno.test("a batch costs two round trips to the database", () =>
  inWorld(names(7), async (world) => {
    const whole = await trigger(world);
    assert.deepEqual([whole.checked, whole.database_round_trips], [7, 2]);
    assert.deepEqual(world.rest.calls.map(({ fn }) => fn), [BEGIN, FINISH]);
    await world.set({ batch_size: 5 });
    await world.makeDue();
    const halves = await trigger(world);
    assert.deepEqual([halves.checked, halves.database_round_trips], [7, 4]);
  }));

for (
  const [what, fn, fault] of [
    ["a lost answer of begin_tick", BEGIN, { how: "lose_answer" }],
    ["a lost answer of finish_tick", FINISH, { how: "lose_answer" }],
    ["a refused connection at begin_tick", BEGIN, { how: "refuse" }],
    ["a refused connection at finish_tick", FINISH, { how: "refuse" }],
    ["503 twice at begin_tick", BEGIN, { how: "error", status: 503, times: 2 }],
    ["500 twice at finish_tick", FINISH, { how: "error", status: 500, times: 2 }],
  ] as const
) {
  Deno.test(`${what}: the call is repeated, its work is done once`, () =>
    inWorld(["a", "b"], async (world) => {
      world.rest.behave({ fn, ...fault });
      const report = await trigger(world);
      const lost = "times" in fault ? fault.times : 1;
      assert.deepEqual(
        [report.success, report.checked, report.database_round_trips],
        [true, 2, 2 + lost],
      );
      assert.deepEqual(asked(paths(world)).sort(), ["a", "b"]);
      for (const name of ["a", "b"]) {
        const { version, fence, lease_tick } = await world.row(name);
        assert.deepEqual({ version, fence, lease_tick }, {
          version: 1,
          fence: 1,
          lease_tick: null,
        });
      }
      assert.deepEqual(await ticks(world), [{ id: report.tick_id, claimed: 2, finished: true }]);
    }));
}

Deno.test("without a database the trigger says so, and works again with it", () =>
  inWorld(["a"], async (world) => {
    world.rest.down();
    const answer = await world.trigger();
    assert.equal(answer.status, 503);
    assert.deepEqual(await answer.json(), {
      success: false,
      error: "O banco de dados não responde; tente de novo em instantes",
    });
    assert.deepEqual(asked(paths(world)), [], "nobody is asked what could not be written down");
    world.rest.up();
    assert.equal((await trigger(world)).checked, 1);
  }));

Deno.test("a database that goes away during the tick: the report says so, the lease heals it", () =>
  onHeldGateway(["a"], async (world, held) => {
    const answering = world.trigger();
    await held.arrived;
    world.rest.down();
    held.release();
    const answer = await answering;
    const report = await answer.json();
    assert.deepEqual([answer.status, report.success, report.checked], [503, false, 0]);
    assert.match(report.error, /^the database did not answer/);
    world.rest.up();

    const { version, status, lease_tick } = await world.row("a");
    assert.deepEqual({ version, status, lease_tick }, {
      version: 0,
      status: "unknown",
      lease_tick: report.tick_id,
    });
    assert.equal((await trigger(world)).checked, 0);
    await expireLeases(world);
    assert.equal((await trigger(world)).checked, 1);
    assert.equal((await world.row("a")).version, 1);
  }));

Deno.test("what somebody else writes during the tick is kept, and the tick's own goes on top", () =>
  onHeldGateway(["a"], async (world, held) => {
    const answering = trigger(world);
    await held.arrived;
    // An event reports an outage; the gateway's answer, already under way, says "open".
    await world.database.query(
      `update whatsapp_monitor.instances
       set version = version + 1, status = 'disconnected', state = $1 where name = 'a'`,
      [{ status: "disconnected", down_since: 1_600_000_000_000, last_open: 1_500_000_000_000 }],
    );
    held.release();
    const report = await answering;
    assert.deepEqual([report.success, report.database_round_trips], [true, 3]);
    const { version, status, state, lease_tick } = await world.row("a");
    const { down_since, good } = state as { down_since: number; good: { checks: number } };
    assert.deepEqual({ version, status, down_since, good: good.checks, lease_tick }, {
      version: 2,
      status: "connecting", // one good check of the two that end an outage
      down_since: 1_600_000_000_000,
      good: 1,
      lease_tick: null,
    });
    assert.deepEqual(asked(held.paths), ["a"], "it is not asked again for that");
    assert.equal((await ticks(world))[0].finished, true);
  }));
