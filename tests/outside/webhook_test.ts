/** The receiver's door: who may come in, what is answered, what it costs, and what is passed on. */
import assert from "node:assert/strict";
import { everything, openRequest, until } from "./support.ts";
import { passTime } from "../stack/time.ts";
import { sendRequests } from "../stack/net.ts";
import { check } from "./installed.ts";
import { here } from "./here.ts";
import { startReceiver } from "./receiver.ts";
import { BEGIN_EVENT, HEADER, onLine, post, RECEIVER, update } from "./webhook.ts";

const FIXTURES = new URL("../fixtures/evolution-webhooks-2.3.6.jsonl", import.meta.url);

Deno.test("every event that was recorded is taken, whichever way its name is spelled", () =>
  onLine(async (line, world) => {
    const lines = (await Deno.readTextFile(FIXTURES)).trim().split("\n");
    assert.equal(lines.length, 16);
    for (const text of lines) {
      const { id, body, path, partial } = JSON.parse(text);
      // What was recorded in part has no envelope.
      const event = partial ? body : { ...body, instance: "loja" };
      const send = (event: unknown, path = RECEIVER) =>
        post(world, JSON.stringify(event), { [HEADER]: line.secret }, path);
      assert.equal(await send(event), 200, id);
      const upper = String(event.event).toUpperCase().replaceAll(/[.-]/g, "_");
      assert.equal(await send({ ...event, event: upper }), 200, id);
      const suffix = path.match(/[a-z]+-[a-z]+$/)?.[0] ?? "unknown-event";
      assert.equal(await send({ ...event, event: undefined }, `${RECEIVER}/${suffix}`), 200, id);
    }
    // Told by the path alone, and heeded.
    const open = { ...line.event("", update("open")), event: undefined };
    const headers = { [HEADER]: line.secret };
    const named = `${RECEIVER}/connection-update`;
    const later = { ...open, date_time: "2026-12-01T00:00:00.000Z" };
    assert.equal(await post(world, JSON.stringify(later), headers, named), 200);
    const state = (await line.row()).state as { told: { event: string } };
    assert.equal(state.told.event, "open");
  }));

Deno.test("each status is the one that makes Evolution do what is right", () =>
  onLine(async (line, world) => {
    const { rest, functionUrl } = world;
    const good = JSON.stringify(line.event("connection.update", update("open")));
    const mine = { [HEADER]: line.secret };
    const send = (body: BodyInit, headers: Record<string, string> = mine, path = RECEIVER) =>
      post(world, body, headers, path);
    const before = await everything(world);
    const asked = rest.calls.length;

    // Dropped for ever: it is of no use to anybody.
    assert.equal(await send("{"), 400);
    assert.equal(await send(""), 400);
    assert.equal(await send("[]"), 400);
    assert.equal(await send(new Uint8Array([0x7b, 0xff, 0x7d])), 400);
    assert.equal(await send(`{"x":"${"x".repeat(9_000_000)}"}`), 422);
    const wrong = ["", "0", line.secret.toUpperCase(), `${line.secret}0`, line.secret.slice(1)];
    for (const secret of wrong) assert.equal(await send(good, { [HEADER]: secret }), 401);
    assert.equal(await send(good, {}), 401);
    assert.equal(await send(good, {}, `${RECEIVER}?secret=${wrong[2]}`), 401);
    assert.equal(rest.calls.length, asked, "nobody is asked about any of them");
    assert.equal(await send(good, { [HEADER]: "f".repeat(64) }), 401);
    const strange = JSON.stringify(line.event("connection.update", update("open"), {
      instance: "outra",
    }));
    assert.equal(await send(strange), 403);
    assert.equal(await everything(world), before);

    // Sent again: a fault of ours, or of the way.
    for (
      const fault of [
        { how: "error", status: 503, times: 9 },
        { how: "error", status: 500, times: 9 },
        { how: "error", status: 401, times: 1 },
        { how: "error", status: 400, times: 1 },
        { how: "error", status: 404, times: 1 },
        { how: "refuse", times: 9 },
      ] as const
    ) {
      rest.behave({ fn: BEGIN_EVENT, ...fault });
      assert.equal(await send(good), 503, JSON.stringify(fault));
      rest.heal();
    }
    const cut = await openRequest("POST", `${world.edge.url}/rendizy-server${RECEIVER}`, {
      ...mine,
      "content-length": "1000",
    });
    await cut.write(good.slice(0, 20));
    cut.close();
    await assert.rejects(cut.answer);
    assert.equal(await everything(world), before);

    // Taken, in the URL too where the gateway sends no headers.
    assert.equal(await send(good), 200);
    assert.equal(await send(good, {}, `${RECEIVER}?secret=${line.secret}`), 200);
    assert.equal(await send('{"event":"presence.update","data":null}'), 200);
    assert.equal(await send('{"event":"a.new-one","data":[[1,"x",{}]]}'), 200);
    assert.equal(await send("{}"), 200);
    const get = await fetch(functionUrl + RECEIVER);
    await get.body?.cancel();
    assert.equal(get.status, 405);
  }));

Deno.test("an event that does not arrive whole is to be sent again", () =>
  here(async (world) => {
    const send = (body: ReadableStream) =>
      world.ask("/../webhook", { method: "POST", headers: { [HEADER]: "0".repeat(64) }, body });
    const answering = send(new ReadableStream());
    await until("the body is waited for", () => world.pauses().length > 0);
    world.skip(15_000);
    assert.equal((await answering).status, 408);
    const breaks = new ReadableStream({ pull: (body) => body.error(new TypeError("cut off")) });
    assert.equal((await send(breaks)).status, 503);
  }));

Deno.test("a rotated secret is accepted until the gateway must have the new one", () =>
  onLine(async (line, { database }) => {
    await database.query("select whatsapp_monitor.rotate_webhook_secrets()");
    await line.send("connection.update", update("connecting"));
    assert.deepEqual(await line.shown(), ["connecting", null]);
    await database.query("update whatsapp_monitor.webhooks set previous_until = now()");
    const open = line.event("connection.update", update("open"));
    assert.equal(await line.deliver(open), 401);
    assert.deepEqual(await line.shown(), ["connecting", null]);
  }));

/** Counts what is written to our tables from now on, row by row. */
async function countWrites(database: { exec(sql: string): Promise<void> }): Promise<void> {
  await database.exec(`
    create table public.writes (relation text, at timestamptz default clock_timestamp());
    create function public.count_write() returns trigger language plpgsql as
      'begin insert into public.writes (relation) values (tg_table_name); return null; end';
    create trigger counted after insert or update or delete on whatsapp_monitor.instances
      for each row execute function public.count_write();
    create trigger counted after insert or update or delete on whatsapp_monitor.webhooks
      for each row execute function public.count_write();
    create trigger counted after insert or update or delete on whatsapp_monitor.status_changes
      for each row execute function public.count_write();`);
}

const STORM = 3_000;

Deno.test(`a storm of ${STORM} dials costs a handful of writes, and is known as one`, () =>
  onLine(async (line, { database, rest }) => {
    await countWrites(database);
    const calls = rest.calls.length;
    for (let sent = 0; sent < STORM; sent += 20) {
      const batch = Array.from(
        { length: 20 },
        () => line.send("connection.update", update("connecting")),
      );
      await Promise.all(batch);
    }
    const writes = await database.query("select relation from public.writes");
    const asked = rest.calls.length - calls;
    assert.ok(writes.length < 15, `${writes.length} writes`);
    assert.ok(asked < STORM / 4, `${asked} calls`);
    assert.deepEqual(await line.shown(), ["connecting", null]);

    // What was answered from memory since the last note is told with the next one.
    await passTime(database, 10);
    await until("the storm is known", async () => {
      await line.send("connection.update", update("connecting"));
      const [{ known }] = await database.query<{ known: boolean }>(
        `select storm_until > now() + interval '4 minutes' is true as known
         from whatsapp_monitor.webhooks`,
      );
      return known;
    });
  }));

Deno.test("a fight of two sockets is for the checks to judge, when it goes on", () =>
  onLine(async (line, { database }) => {
    await countWrites(database);
    for (let fight = 0; fight < 50; fight++) {
      await line.send("connection.update", update("connecting"));
      await line.send("connection.update", update("open"));
    }
    const [{ changes }] = await database.query<{ changes: number }>(
      "select count(*) as changes from public.writes where relation = 'status_changes'",
    );
    assert.equal(changes, 8, "four drops, four ends");
    const [{ writes }] = await database.query<{ writes: number }>(
      "select count(*) as writes from public.writes",
    );
    assert.ok(writes < 60, `${writes} writes`);
  }));

Deno.test("every event is passed on as it came, and sent again until it is taken", () =>
  onLine(async (line, world) => {
    const { database, edge } = world;
    const receiver = startReceiver();
    try {
      await database.query("update whatsapp_monitor.settings set forward_to = $1", [receiver.url]);
      const body = `{ "event":"messages.upsert", "instance":"loja","data":{"key":{"id":"M1"},
        "message":{"conversation":"é 😀 \\ud83d"}}, "apikey":"K" }`;
      const headers = {
        [HEADER]: line.secret,
        authorization: "Bearer a.b.c",
        "user-agent": "axios/1.12.2",
        "x-event-type": "messages.upsert",
        cookie: "c=1",
        apikey: "key-of-the-project",
      };
      const stored = () =>
        database.query<{ message_id: string }>("select message_id from whatsapp_monitor.messages");
      receiver.answers(500);
      assert.equal(await post(world, body, headers), 503);
      assert.equal((await stored()).length, 1, "it is stored all the same");
      receiver.answers(302);
      assert.equal(await post(world, body, headers), 503);
      receiver.answers(204);
      assert.equal(await post(world, body, headers), 200);
      assert.equal((await stored()).length, 1, "once");
      assert.equal(receiver.deliveries.length, 3);
      for (const delivery of receiver.deliveries) {
        assert.equal(delivery.body, body);
        const told = Object.fromEntries(
          [...delivery.headers].filter(([name]) => !/^(accept|host|content-length)/.test(name)),
        );
        assert.deepEqual(told, {
          "content-type": "application/json",
          authorization: "Bearer a.b.c",
          "user-agent": "axios/1.12.2",
          "x-event-type": "messages.upsert",
        });
      }
      // Others too, and in a storm each of them.
      for (let n = 0; n < 20; n++) await line.send("connection.update", update("connecting"));
      await line.send("presence.update", {});
      assert.equal(receiver.deliveries.length, 24);
      await database.query(
        "update whatsapp_monitor.settings set forward_to = 'http://user:word@127.0.0.1/x'",
      );
      assert.equal(await post(world, body, headers), 503);
      await edge.idle();
      const logs = edge.logs.join("\n");
      assert.match(logs, /forward_to did not take the event: status_500/);
      for (const secret of [line.secret, "a.b.c", "secret-path", "word", "TOKEN-IN-CLEAR"]) {
        assert.ok(!logs.includes(secret), secret);
      }
    } finally {
      await receiver.stop();
    }
  }));

Deno.test("a storm is noted with the count that came, and lasts five minutes from its last minute", () =>
  onLine(async (_, { database }) => {
    const begin = (count: number) =>
      database.query(
        `select whatsapp_monitor.note_event(instance_id, 'connecting', $1)
         from whatsapp_monitor.webhooks`,
        [count],
      );
    const left = async () => {
      const [{ s }] = await database.query<{ s: number | null }>(
        `select extract(epoch from storm_until - clock_timestamp())::integer as s
         from whatsapp_monitor.webhooks`,
      );
      return s;
    };
    const later = () =>
      database.query(
        `update whatsapp_monitor.webhooks
         set last_connecting_at = last_connecting_at - interval '10 seconds',
             storm_until = storm_until - interval '10 seconds'`,
      );
    await begin(60);
    assert.equal(await left(), null);
    await begin(60);
    assert.equal(await left(), null, "seconds ago: it is not even noted");
    await later();
    await begin(1);
    assert.equal(await left(), 300);
    await later();
    await begin(1);
    assert.equal(await left(), 300, "it goes on");
  }));

Deno.test("a test of our own goes the way of the events, and tells whether it arrived", () =>
  onLine(async (line, world) => {
    const { database, functionUrl, url } = world;
    const test = async (function_url: string) => {
      await database.query("update whatsapp_monitor.settings set function_url = $1", [
        function_url,
      ]);
      await database.query("select whatsapp_monitor.test_receiver()");
      assert.equal((await check(database, "webhook recebe")).ok, null, "it is under way");
      await sendRequests(database);
      await database.query(
        "update whatsapp_monitor.receiver_test set sent_at = sent_at - interval '31 seconds'",
      );
      const { ok, detail } = await check(database, "webhook recebe");
      return [ok, detail.replace(/ \(.*\)$/, "")];
    };
    assert.equal((await check(database, "webhook recebe")).ok, null);
    const before = [
      await line.row(),
      await database.query("select from whatsapp_monitor.messages"),
    ];
    assert.deepEqual(await test(functionUrl), [
      true,
      "Um evento de teste chegou pela URL pública.",
    ]);
    assert.deepEqual(await test("http://127.0.0.1:1"), [
      false,
      "Ninguém atende em http://127.0.0.1:1/functions/v1/rendizy-server/whatsapp/webhook",
    ]);
    const [ok, detail] = await test(`${url}/functions/v1/nothing-here`);
    assert.deepEqual([ok, String(detail).slice(0, 4)], [false, "404:"]);
    const after = [await line.row(), await database.query("select from whatsapp_monitor.messages")];
    assert.deepEqual(after, before, "it is nobody's event");

    const secret = async () => {
      const [row] = await database.query<{ secret: string }>(
        "select secret from whatsapp_monitor.receiver_test",
      );
      return row.secret;
    };
    const headers = { [HEADER]: await secret() };
    assert.equal(await post(world, "{}", headers), 200);
    await passTime(database, 600);
    assert.equal(await post(world, "{}", headers), 401, "its secret is good for minutes");

    await passTime(database, 3_600);
    await database.query("select whatsapp_monitor.fire()");
    assert.notEqual(await secret(), headers[HEADER], "the job sends one an hour");
    const last = await secret();
    await database.query("select whatsapp_monitor.fire()");
    assert.equal(await secret(), last);
  }));
