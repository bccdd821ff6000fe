/**
 * What most checks are: nothing new. They leave the moment of the check behind, and nothing else;
 * what follows later is the same as if the whole memory had been written each time.
 */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { type Begun, type Claimed, FINISH, type Ledger, onLedger, result } from "./ledger.ts";
import { inWorld, type World } from "./support.ts";
import { onLine, update } from "./webhook.ts";

/** A check of this claim that found nothing new, as the tick began. */
function nothingNew({ id, fence, version }: Claimed, { now_ms }: Begun) {
  return { id, fence, version, checked_ms: now_ms };
}

/** A tick in which everything that it holds is found as it was; what it held, and the answer. */
async function settle(ledger: Ledger) {
  const begun = await ledger.begin();
  const settled = begun.instances.map((claimed) => nothingNew(claimed, begun));
  const request = { tick_id: begun.tick_id, settled };
  return { begun, request, answer: await ledger.call(FINISH, request) };
}

/** One instance that was written as a whole 30 seconds ago. */
async function known(ledger: Ledger, name: string, changes: Record<string, unknown> = {}) {
  await ledger.watch(name);
  const begun = await ledger.begin();
  const moments = { since_ms: begun.now_ms, checked_ms: begun.now_ms };
  const found = { reason: { code: "unstable", text: "Cai muito." }, decision: "wait", ...changes };
  await ledger.finish(begun, begun.instances.map((each) => result(each, { ...moments, ...found })));
  await ledger.pass(30);
}

/** What of a row is not the same in another one. */
function differences(row: Record<string, unknown>, other: Record<string, unknown>): string[] {
  const shown = (value: unknown) => JSON.stringify(value);
  return Object.keys(row).filter((name) => shown(row[name]) !== shown(other[name])).sort();
}

onLedger("a check that found nothing new", {
  async "leaves the moment behind, gives the claim back, and touches nothing else"(ledger) {
    await known(ledger, "loja");
    const before = await ledger.row("loja");
    const { begun, answer } = await settle(ledger);
    assert.deepEqual([answer.written, answer.stale, answer.lost], [[before.id], [], []]);
    const after = await ledger.row("loja");
    assert.deepEqual(differences(before, after), [
      ...["checked_at", "checked_by", "claimed_at", "decision", "due_at", "due_before", "fence"],
      ...["settled_at", "version"],
    ]);
    assert.deepEqual(
      [after.checked_by, after.decision, after.lease_tick],
      [begun.tick_id, "none", null],
    );
    assert.deepEqual(after.settled_at, after.checked_at);
    const [{ checked, finished }] = await ledger.query(
      "select checked, finished_at is not null as finished from whatsapp_monitor.ticks where id = $1",
      [begun.tick_id],
    );
    assert.deepEqual([checked, finished], [1, true]);
    assert.deepEqual((await ledger.begin()).instances, [], "it is not due before its time");

    await ledger.pass(30);
    const [{ state, settled_ms }] = (await ledger.begin()).instances;
    assert.deepEqual([state, settled_ms], [before.state, begun.now_ms - 30_000]);
  },

  async "is written once, however often it is told"(ledger) {
    await known(ledger, "loja");
    const { request, answer } = await settle(ledger);
    const row = await ledger.row("loja");
    assert.deepEqual(await ledger.call(FINISH, request), answer);
    assert.deepEqual(await ledger.row("loja"), row);
  },

  async "gives way to who has written meanwhile, and to who has claimed"(ledger) {
    await known(ledger, "loja");
    const begun = await ledger.begin();
    const [claimed] = begun.instances;
    const settled = [nothingNew(claimed, begun)];
    await ledger.query(
      `update whatsapp_monitor.instances set version = version + 1, settled_at = now()`,
    );
    const row = await ledger.row("loja");
    const { tick_id } = begun;
    const { written, stale, lost } = await ledger.call(FINISH, { tick_id, settled });
    assert.deepEqual([written, lost], [[], []]);
    const { id, version, state } = row;
    const [{ settled_ms, ...known_now }] = stale;
    assert.deepEqual(known_now, { id, version, state });
    assert.ok(settled_ms >= begun.now_ms, "with the moment that is part of it");
    assert.deepEqual(await ledger.row("loja"), row);

    await ledger.query("update whatsapp_monitor.instances set fence = fence + 1");
    const late = await ledger.call(FINISH, { tick_id, settled });
    assert.deepEqual([late.written, late.stale, late.lost], [[], [], [id]]);
  },

  async "mends nothing: a row whose status somebody edited is to be written as a whole"(ledger) {
    await known(ledger, "loja");
    await ledger.query("update whatsapp_monitor.instances set status = 'unknown'");
    const { request: { tick_id, settled }, answer } = await settle(ledger);
    const { id, state, version } = await ledger.row("loja");
    assert.deepEqual(answer.written, []);
    assert.deepEqual(answer.stale, [{ id, state, version, settled_ms: null }]);
    const claimed = settled[0] as unknown as Claimed;
    const { checked_ms } = settled[0];
    const { written } = await ledger.finish({ tick_id }, [result(claimed, { checked_ms })]);
    assert.deepEqual([written, (await ledger.row("loja")).status], [[id], "connected"]);
  },

  async "ends with the next news: the whole memory is of one moment again"(ledger) {
    await known(ledger, "loja");
    await settle(ledger);
    await ledger.pass(30);
    const begun = await ledger.begin();
    const { now_ms: checked_ms } = begun;
    await ledger.finish(begun, begun.instances.map((each) => result(each, { checked_ms })));
    assert.equal((await ledger.row("loja")).settled_at, null);
  },

  async "is told to the user's tables where somebody else has written there"(ledger) {
    await known(ledger, "loja");
    const theirs = async () =>
      (await ledger.query(
        "select whatsapp_connection_status as status from public.organization_channel_config",
      ))[0].status;
    assert.equal(await theirs(), "connected");
    await ledger.query(
      "update public.organization_channel_config set whatsapp_connection_status = 'error'",
    );
    await settle(ledger);
    assert.equal(await theirs(), "connected");
  },

  async "is booked every ten minutes, and before anything else happens"(ledger) {
    const booked = async () =>
      (await ledger.query<{ connected: number; not_connected: number }>(
        `select coalesce(sum(connected_s), 0) as connected,
                coalesce(sum(not_connected_s), 0) as not_connected
           from whatsapp_monitor.days`,
      ))[0];
    // From the first check to the last one: what a test takes by the clock is part of it.
    const watched = async () =>
      (await ledger.query<{ seconds: number }>(
        `select extract(epoch from checked_at - status_since)::float8 as seconds
           from whatsapp_monitor.instances`,
      ))[0].seconds;
    const isAll = async ({ connected }: { connected: number }) => {
      const seconds = await watched();
      assert.ok(Math.abs(connected - seconds) < 0.01, `${connected} of ${seconds} s`);
    };
    await known(ledger, "loja");
    for (let minute = 0; minute < 9; minute++) {
      await settle(ledger);
      await ledger.pass(60);
    }
    await settle(ledger);
    assert.deepEqual(await booked(), { connected: 0, not_connected: 0 });
    await ledger.pass(30);
    await settle(ledger);
    await isAll(await booked());
    assert.ok(await watched() >= 600);

    await ledger.pass(60);
    await settle(ledger);
    await ledger.pass(30);
    const drop = await ledger.begin();
    const [{ since_ms }] = await ledger.query(
      "select whatsapp_monitor.epoch_ms(status_since)::float8 as since_ms from whatsapp_monitor.instances",
    );
    const found = { status: "disconnected", since_ms, checked_ms: drop.now_ms };
    await ledger.finish(drop, drop.instances.map((each) => result(each, found)));
    const whole = await booked();
    await isAll(whole);
    assert.equal(whole.not_connected, 0);
  },

  async "is booked when the instance is watched no more, and not again when it returns"(ledger) {
    await known(ledger, "loja");
    for (let check = 0; check < 4; check++) {
      await settle(ledger);
      await ledger.pass(30);
    }
    const name = async (named: boolean) => {
      await ledger.query(
        "update public.organization_channel_config set deleted_at = case when not $1 then now() end",
        [named],
      );
      await ledger.sync();
    };
    const times = async () =>
      (await ledger.query<Record<"connected" | "unknown" | "seconds", number>>(
        `select sum(d.connected_s) as connected, sum(d.unknown_s) as unknown,
                extract(epoch from max(i.checked_at - i.status_since))::float8 as seconds
           from whatsapp_monitor.days d
           join whatsapp_monitor.instances i on i.id = d.instance_id`,
      ))[0];
    await name(false);
    const left = await times();
    assert.ok(Math.abs(left.connected - left.seconds) < 0.01 && left.connected >= 120, `${left}`);

    await ledger.pass(3600);
    await name(true);
    const begun = await ledger.begin();
    const { now_ms: checked_ms } = begun;
    await ledger.finish(begun, begun.instances.map((each) => result(each, { checked_ms })));
    const back = await times();
    assert.equal(back.connected, left.connected);
    assert.ok(back.unknown >= 3600 && back.unknown < 3660, `${back.unknown} s`);
  },
});

/** The instance's row, with moments in milliseconds. */
async function row({ database }: World) {
  const [found] = await database.query<{
    status: string;
    settled_ms: number | null;
    checked_ms: number;
    state: { last_open: number; steady: { last: number; state: string } };
  }>(
    `select status, state, whatsapp_monitor.epoch_ms(settled_at)::float8 as settled_ms,
            whatsapp_monitor.epoch_ms(checked_at)::float8 as checked_ms
       from whatsapp_monitor.instances`,
  );
  return found;
}

Deno.test("while a connection lasts its memory is not written, and is as good as new when it drops", () =>
  inWorld(async (world) => {
    // A probe leaves something to remember, and its turn comes by the clock.
    await world.set({ zombie_probe_every_s: 0 });
    world.gateway.set("loja", "open");
    await world.watch("loja");
    await world.tick();
    await passTime(world.database, 30);
    await world.tick();
    const written = await row(world);
    const again = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        await passTime(world.database, 30);
        const { instances: [{ checked_now }] } = await world.tick();
        assert.equal(checked_now, true);
      }
    };
    await again(4);
    const lasting = await row(world);
    assert.equal(lasting.settled_ms, lasting.checked_ms);
    // The database's time has been moved back by two minutes; nothing else has touched it.
    assert.equal(lasting.state.last_open, written.state.last_open - 120_000);

    world.gateway.set("loja", "close");
    await again(1);
    const dropped = await row(world);
    assert.equal(dropped.settled_ms, null);
    assert.equal(dropped.state.steady.state, "close");
    assert.equal(
      dropped.state.last_open,
      lasting.checked_ms - 30_000,
      "seen open the check before",
    );
  }));

Deno.test("time in which nobody looked is unknown, though an event told of an open one at its end", () =>
  onLine(async (line, world) => {
    const { database } = world;
    await world.set({ zombie_probe_every_s: 0 });
    for (let check = 0; check < 3; check++) {
      await passTime(database, 30);
      await world.tick();
    }
    await passTime(database, 3600);
    await line.send("connection.update", update("connecting"));
    await line.send("connection.update", update("open"));
    const { checked_at } = await line.row();
    await passTime(database, 20);
    await world.tick();
    const after = await line.row();
    assert.deepEqual(
      after.settled_at,
      after.checked_at,
      "the check after the event is nothing new",
    );

    const [days] = await database.query<{ connected: number; unknown: number }>(
      "select sum(connected_s) as connected, sum(unknown_s) as unknown from whatsapp_monitor.days",
    );
    const blind_s = (Number(after.checked_at) - Number(checked_at)) / 1000 + 20;
    assert.ok(Math.abs(days.unknown - blind_s) < 0.01, `${days.unknown} of ${blind_s} s`);
    assert.ok(days.connected > 90 && days.connected < 120, `${days.connected} s before that`);
  }));
