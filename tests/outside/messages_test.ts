/** Messages: each is stored once, with the row that others read, whatever happens on the way. */
import assert from "node:assert/strict";
import type { World } from "./support.ts";
import { type Line, onLine } from "./webhook.ts";

const SCHEMA = new URL("../fixtures/production_schema.sql", import.meta.url);

/** A message as it comes. */
const message = (id: string | null, text = "oi", rest: Record<string, unknown> = {}) => ({
  key: { remoteJid: "5511988887777@s.whatsapp.net", fromMe: false, ...id === null ? {} : { id } },
  pushName: "Cliente",
  message: { conversation: text },
  messageType: "conversation",
  messageTimestamp: 1795442422,
  ...rest,
});

interface Stored {
  message_id: string;
  // deno-lint-ignore no-explicit-any -- an event
  payload: any;
  error: string | null;
}

const stored = ({ database }: World) =>
  database.query<Stored>(
    "select message_id, payload, error from whatsapp_monitor.messages order by message_id",
  );

interface Theirs {
  organization_id: string;
  channel: string;
  event: string;
  // deno-lint-ignore no-explicit-any -- an event
  payload: any;
  status: string;
}

const theirs = ({ database }: World) =>
  database.query<Theirs>("select * from public.chat_webhooks order by payload -> 'data' -> 'key'");

/** The table that production has, and its organizations: that of the instance is one of them. */
async function withTheirTable({ database }: World): Promise<string> {
  const schema = await Deno.readTextFile(SCHEMA);
  const [table] = schema.match(/create table public\.chat_webhooks \([^;]+;/)!;
  const organization = crypto.randomUUID();
  await database.exec(`
    create table public.organizations (id uuid primary key);
    ${table.replace("public.uuid_generate_v4()", "gen_random_uuid()")}
    insert into public.organizations values ('${organization}');
    update public.organization_channel_config set organization_id = '${organization}';
    select whatsapp_monitor.sync_sources();`);
  return organization;
}

Deno.test("a message is stored once, however often it comes, without keys", () =>
  onLine(async (line, world) => {
    const event = line.event("messages.upsert", message("A1", "oi \0", { apiKey: "K2" }), {
      destination: `https://x.example/whatsapp/webhook?secret=${line.secret}`,
    });
    for (let n = 0; n < 3; n++) await line.send(event);
    await Promise.all(Array.from({ length: 8 }, () => line.send(event)));
    const [one, ...more] = await stored(world);
    assert.deepEqual(more, []);
    assert.equal(one.message_id, "A1");
    assert.equal(one.payload.data.message.conversation, "oi \ufffd");
    assert.equal(one.payload.event, "messages.upsert");
    const everywhere = await world.database.query<{ text: string }>(
      "select payload::text as text from whatsapp_monitor.messages",
    );
    for (const secret of ["TOKEN-IN-CLEAR", "K2", line.secret]) {
      assert.ok(!everywhere[0].text.includes(secret), secret);
    }
    const [{ heard }] = await world.database.query<{ heard: boolean }>(
      "select last_message_at is not null as heard from whatsapp_monitor.webhooks",
    );
    assert.equal(heard, true);
    assert.ok(!world.edge.logs.join("\n").includes("oi "), "nothing of it is logged");
  }));

Deno.test("several in one event are several, and one without an id is known by its content", () =>
  onLine(async (line, world) => {
    await line.send("messages.upsert", [message("A1"), message("A2"), message("A1")]);
    await line.send("messages.upsert", { messages: [message("A3"), null, 5], type: "notify" });
    for (const text of ["a", "b", "a"]) await line.send("messages.upsert", message(null, text));
    await line.send("messages.upsert", message("x".repeat(5_000)));
    for (const nothing of [null, "text", 5, []]) await line.send("messages.upsert", nothing);
    const ids = (await stored(world)).map(({ message_id }) => message_id);
    assert.deepEqual(ids.slice(0, 3), ["A1", "A2", "A3"]);
    assert.deepEqual(ids.slice(3).map((id) => id.slice(0, 7)), ["sha256:", "sha256:", "sha256:"]);
    assert.deepEqual((await stored(world))[1].payload.data.key.id, "A2");
  }));

Deno.test("where there is chat_webhooks, it gets the row, and we remember that it came", () =>
  onLine(async (line, world) => {
    const organization = await withTheirTable(world);
    const send = (id: string) => line.send("messages.upsert", message(id));
    for (const id of ["A1", "A2", "A1"]) await send(id);
    const rows = await theirs(world);
    assert.deepEqual(rows.map(({ payload }) => payload.data.key.id), ["A1", "A2"]);
    for (const { organization_id, channel, event, status, payload } of rows) {
      assert.deepEqual(
        { organization_id, channel, event, status, apikey: payload.apikey },
        {
          organization_id: organization,
          channel: "whatsapp",
          event: "messages.upsert",
          status: "pending",
          apikey: "[removido]",
        },
      );
    }
    const own = await stored(world);
    assert.deepEqual(own.map(({ payload, error }) => [payload, error]), [[null, null], [
      null,
      null,
    ]]);

    // Only columns that exist are named.
    await world.database.exec("alter table public.chat_webhooks drop column status");
    await send("A3");
    assert.equal((await theirs(world)).length, 3);
  }));

Deno.test("what chat_webhooks does not take is kept by us, with the reason", () =>
  onLine(async (line, world) => {
    await withTheirTable(world);
    await world.database.exec("alter table public.chat_webhooks add check (channel <> 'whatsapp')");
    await line.send("messages.upsert", message("A1"));
    const [one] = await stored(world);
    assert.deepEqual([one.error, one.payload.data.key.id], ["23514", "A1"]);
    assert.deepEqual(await theirs(world), []);
  }));

/** Sends an event as Evolution 2.3 does: ten tries, but for the statuses that end it. */
async function persist(line: Line, event: Record<string, unknown>, between: () => Promise<void>) {
  for (let tries = 0; tries < 10; tries++) {
    const status = await line.deliver(event);
    if (status < 300) return;
    assert.ok(![400, 401, 403, 404, 422].includes(status), `given up after ${status}`);
    await between();
  }
  assert.fail("given up");
}

Deno.test("a database that is away for a minute of messages: each is stored once", () =>
  onLine(async (line, world) => {
    await withTheirTable(world);
    const { rest } = world;
    const ids = Array.from({ length: 40 }, (_, n) => `A${100 + n}`);
    let waits = 0;
    const sending = ids.map(async (id, n) => {
      if (n === 10) rest.down();
      // Some of the answers are lost on their way after the database has it.
      if (n === 5) {
        rest.behave({ fn: "whatsapp_monitor_begin_event", how: "lose_answer", times: 3 });
      }
      await persist(line, line.event("messages.upsert", message(id)), async () => {
        await new Promise((done) => setTimeout(done, 50));
        if (++waits === 60) rest.up();
      });
    });
    await Promise.all(sending);
    assert.ok(waits >= 60, "it was away");
    assert.deepEqual((await stored(world)).map(({ message_id }) => message_id), ids);
    assert.deepEqual((await theirs(world)).map(({ payload }) => payload.data.key.id), ids);
  }));

Deno.test("they are forgotten after the days of the settings", () =>
  onLine(async (line, world) => {
    for (const id of ["A1", "A2"]) await line.send("messages.upsert", message(id));
    await world.database.exec(`
      update whatsapp_monitor.messages
      set received_at = received_at - interval '31 days' where message_id = 'A1';
      select whatsapp_monitor.clean_up()`);
    assert.deepEqual((await stored(world)).map(({ message_id }) => message_id), ["A2"]);
  }));
