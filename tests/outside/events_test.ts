/** What a gateway tells unasked, from its webhook to the tables: at once, once, and whatever the order. */
import assert from "node:assert/strict";
import { everything, found, startHeldGateway, startWorld, until } from "./support.ts";
import { passTime } from "../stack/time.ts";
import { FINISH_EVENT, HEADER, isDue, lineOf, onLine, opened, post, update } from "./webhook.ts";

const LOGOUT_AT = "2026-11-23T13:53:25.538Z";
/** The three events of a final logout, whose order is any. */
const ENDED = (code: number): [event: string, data: unknown][] => [
  ["status.instance", {
    instance: "loja",
    status: "closed",
    disconnectionAt: LOGOUT_AT,
    disconnectionReasonCode: code,
    disconnectionObject: JSON.stringify({ error: { output: { statusCode: code } } }),
  }],
  ["logout.instance", null],
  ["connection.update", update("close", code)],
];
const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

Deno.test("a drop is shown when it is told of, and the next check comes at once", () =>
  onLine(async (line, world) => {
    const [{ id }] = await world.database.query<{ id: string }>(
      "select id from public.organization_channel_config",
    );
    assert.equal(await isDue(world, "loja"), false);
    await line.send("connection.update", update("connecting"));
    assert.deepEqual(await line.shown(), ["connecting", null]);
    assert.equal(await isDue(world, "loja"), true);
    const [theirs] = await world.database.query(
      "select * from public.organization_channel_config where id = $1",
      [id],
    );
    assert.equal(theirs.whatsapp_connection_status, "connecting");
    assert.equal(theirs.whatsapp_connected, true, "it is no outage yet");

    const { is_down, checked_at } = await line.row();
    assert.equal(is_down, false);
    await line.send("connection.update", {
      ...update("open"),
      wuid: "5511999990001@s.whatsapp.net",
      profileName: "Loja Teste",
    });
    const after = await line.row();
    assert.deepEqual(
      [after.status, after.phone_number, after.profile_name],
      ["connected", "5511999990001", "Loja Teste"],
    );
    assert.deepEqual(after.checked_at, checked_at, "an event is no check");
    assert.deepEqual(await world.database.query("select from whatsapp_monitor.outages"), []);
  }));

for (const order of ORDERS) {
  Deno.test(`a final logout counts at once, told in the order ${order}`, () =>
    onLine(async (line, world) => {
      const events = ENDED(401);
      for (const which of order) await line.send(...events[which]);
      assert.deepEqual(await line.shown(), ["waiting_qr", "401"]);
      assert.equal((await line.row()).is_down, true);
      const outages = await world.database.query<{ reason_code: string }>(
        "select reason_code from whatsapp_monitor.outages where ended_at is null",
      );
      assert.equal(outages.length, 1);
    }));
}

Deno.test("a ban is told from a logout, and an end that is not final here is a drop", () =>
  onLine(async (line) => {
    await line.send("connection.update", update("close", 428));
    assert.deepEqual(await line.shown(), ["connecting", null]);
    for (const event of ENDED(403)) await line.send(...event);
    assert.deepEqual(await line.shown(), ["blocked", "403"]);
  }));

Deno.test("the reason that stood in the row when it was open tells nothing new", () =>
  onLine(async (line, world) => {
    await world.database.query(
      `update whatsapp_monitor.instances set state =
         jsonb_set(state, '{known_reason}', $1) where name = 'loja'`,
      [{ code: 401, at: LOGOUT_AT }],
    );
    await line.send(...ENDED(401)[0]);
    assert.deepEqual(await line.shown(), ["connected", null]);
    assert.equal(await isDue(world, "loja"), true, "but it is looked at");
  }));

Deno.test("late, repeated and disordered events are harmless", () =>
  onLine(async (line, world) => {
    const dropped = line.event("connection.update", update("connecting"));
    const open = line.event("connection.update", update("open"));
    // The drop was so short that it is told of afterwards.
    await line.send(open);
    await line.send(dropped);
    assert.deepEqual(await line.shown(), ["connected", null]);

    const ended = ENDED(401).map(([event, data]) => line.event(event, data));
    for (const event of ended) await line.send(event);
    const { version } = await line.row();
    for (const event of [dropped, open, ...ended, ...ended.reverse()]) await line.send(event);
    assert.deepEqual(await line.shown(), ["waiting_qr", "401"]);
    assert.equal((await line.row()).version, version, "nothing was written again");

    // A clock that was set back by more than an hour is one that was set.
    await line.send({ ...open, date_time: "2026-11-22T00:00:00.000Z" });
    assert.deepEqual((await line.shown())[0], "connecting", "one good sight of two");
    await line.send({ ...open, date_time: "2026-11-22T00:00:00.000Z" });
    assert.deepEqual((await line.shown())[0], "connecting", "a repeat is no second one");
    world.gateway.set("loja", "open");
    assert.equal(found(await world.tick(), "loja").status, "connected");
  }));

Deno.test("a QR code is for who is not paired, and a limit ends it", () =>
  onLine(async (line, world) => {
    const qr = { qrcode: { instance: "loja", pairingCode: null, code: "2@x", base64: "data:" } };
    await line.send("qrcode.updated", qr);
    assert.deepEqual(await line.shown(), ["connected", null], "a stale one");
    for (const event of ENDED(401)) await line.send(...event);
    await line.send("qrcode.updated", qr);
    assert.deepEqual(await line.shown(), ["waiting_qr", "waiting_for_scan"]);
    const { version } = await line.row();
    await line.send("qrcode.updated", qr);
    assert.equal((await line.row()).version, version, "the next code is nothing new");
    await line.send("qrcode.updated", { message: "QR code limit reached", statusCode: 500 });
    assert.deepEqual(await line.shown(), ["waiting_qr", "qr_limit"]);
    await line.send("connection.update", update("refused", 428));
    assert.deepEqual(await line.shown(), ["waiting_qr", "qr_limit"]);
    await line.send("remove.instance", null);
    assert.deepEqual(await line.shown(), ["misconfigured", "unknown_instance"]);
    for (let check = 0; check < 2; check++) await world.tick();
    assert.deepEqual(await line.shown(), ["connected", null], "until checks see how it is");
  }));

Deno.test("each QR code goes where people look for it, and no further", () =>
  onLine(async (line, world) => {
    const { database } = world;
    await database.exec(
      "alter table public.organization_channel_config add column whatsapp_qr_code text",
    );
    const shown = async () => {
      const [{ code }] = await database.query<{ code: string | null }>(
        "select whatsapp_qr_code as code from public.organization_channel_config",
      );
      return code;
    };
    const tell = (code: string, base64?: string) =>
      line.send("qrcode.updated", { qrcode: { instance: "loja", code, base64 } });
    await tell("2@stale");
    assert.equal(await shown(), null, "paired");
    for (const event of ENDED(401)) await line.send(...event);
    await tell("2@first", "data:image/png;base64,AAAA");
    assert.equal(await shown(), "data:image/png;base64,AAAA");
    await tell("2@second");
    assert.equal(await shown(), "2@second");
    assert.ok(!world.edge.logs.join().includes("2@"), "not in the log");
    // Somebody else writes there too, and ours is too old by now.
    await passTime(database, 90);
    await database.query("update public.organization_channel_config set whatsapp_qr_code = '2@x'");
    await tell("");
    await world.tick();
    assert.equal(await shown(), "2@x");
    await line.send("connection.update", update("open"));
    assert.equal((await line.row()).qr_code, null, "it is not kept");
  }));

Deno.test("an event that comes while a tick is at work: neither is lost", async () => {
  const held = startHeldGateway();
  const world = await startWorld();
  try {
    await world.watch("loja", { url: held.url });
    const line = await lineOf(world, "loja");
    const answering = world.trigger();
    await held.arrived;
    for (const event of ENDED(401)) await line.send(...event);
    const during = await line.row();
    assert.deepEqual([during.status, during.lease_tick === null], ["waiting_qr", false]);
    held.release();
    const report = await (await answering).json();
    assert.equal(report.checked, 1);
    const { status, lease_tick, state, version } = await line.row();
    assert.deepEqual({ status, lease_tick, version: Number(version) > 1 }, {
      status: "connecting", // the outage of the event, and the good check of the tick: one of two
      lease_tick: null,
      version: true,
    });
    assert.equal((state as { good: { checks: number } }).good.checks, 1);
    assert.notEqual((state as { down_since: unknown }).down_since, null);
  } finally {
    await world.stop();
    await held.stop();
  }
});

Deno.test("a tick that writes while an event is dealt with: neither is lost", () =>
  onLine(async (line, world) => {
    const { rest, gateway } = world;
    const calls = () => rest.calls.filter(({ fn }) => fn === FINISH_EVENT).length;
    rest.behave({ fn: FINISH_EVENT, how: "delay", delay_ms: 2_000 });
    const sending = line.send("connection.update", update("connecting"));
    await until("the event is about to be written", () => calls() === 1);
    gateway.set("loja", "open");
    const { version } = await line.row();
    await world.tick();
    await sending;
    assert.equal(calls(), 2, "the first found the tick's");
    const after = await line.row();
    assert.deepEqual([after.status, after.version], ["connecting", Number(version) + 2]);
  }));

Deno.test("a lost answer of the database: the event is written once", () =>
  onLine(async (line, { rest }) => {
    for (const event of ENDED(401)) await line.send(...event);
    const { version } = await line.row();
    rest.behave({ fn: FINISH_EVENT, how: "lose_answer" });
    // One good sight of the two that end an outage, not both.
    await line.send({ ...line.event("connection.update", update("open")), date_time: undefined });
    const after = await line.row();
    assert.deepEqual([after.status, after.version], ["connecting", Number(version) + 1]);
  }));

Deno.test("events of others, forged and replayed ones change nothing", () =>
  onLine(async (line, world) => {
    const other = await opened(world, "outra");
    await line.send("connection.update", update("open"));
    const open = line.event("connection.update", update("open"));
    await line.send(open);
    const before = await everything(world);
    const stolen = ENDED(401).map(([event, data]) => other.event(event, data));
    for (const event of stolen) assert.equal(await line.deliver(event), 403, "another's instance");
    const nameless = { ...stolen[1], instance: 5 };
    assert.equal(await line.deliver(nameless), 403, "what is no name");
    for (const event of stolen) {
      const headers = { [HEADER]: "0".repeat(64) };
      assert.equal(await post(world, JSON.stringify(event), headers), 401, "forged");
    }
    assert.equal(await everything(world), before);
    const { version } = await line.row();
    await line.send(open);
    assert.equal((await line.row()).version, version, "replayed");
  }));
