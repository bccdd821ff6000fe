/** Webhooks as the simulated gateway sends them, over HTTP: late, again, out of order, and in an outage. */
import assert from "node:assert/strict";
import { VERSIONS } from "../stack/evolution/versions.ts";
import { found, type World } from "./support.ts";
import { HEADER, type Line, onLine, RECEIVER } from "./webhook.ts";

/** The same, with the gateway's webhook set as the monitor sets it. */
function onGateway(work: (line: Line, world: World) => Promise<void>): Promise<void> {
  return onLine(async (line, world) => {
    world.gateway.webhooks.clock.stand();
    world.gateway.setWebhook("loja", world.functionUrl + RECEIVER, {
      headers: { [HEADER]: line.secret },
    });
    await work(line, world);
  });
}

const messages = async ({ database }: World) => {
  const rows = await database.query<{ id: string }>(
    "select message_id as id from whatsapp_monitor.messages order by received_at",
  );
  return rows.map(({ id }) => id);
};

Deno.test("a recoverable drop shows at once, and so does its end", () =>
  onGateway(async (line, { gateway }) => {
    gateway.disconnect("loja", 428);
    gateway.advance("loja");
    await gateway.webhooks.delivered("loja", "connection.update");
    assert.deepEqual(await line.shown(), ["connecting", null]);
    gateway.advance("loja");
    await gateway.webhooks.tried();
    assert.deepEqual(await line.shown(), ["connected", null]);
  }));

Deno.test("a logout shows at once, in whatever order its webhooks come, and a scan ends it", () =>
  onGateway(async (line, world) => {
    const { gateway } = world;
    gateway.webhooks.hold();
    gateway.disconnect("loja", 401);
    await gateway.webhooks.release("reversed");
    assert.deepEqual(await line.shown(), ["waiting_qr", "401"]);
    assert.deepEqual(gateway.webhooks.outcomes().dropped, undefined);
    const { version } = await line.row();
    for (const delivery of [...gateway.webhooks.deliveries]) {
      await gateway.webhooks.repeat(delivery);
    }
    assert.equal((await line.row()).version, version, "again changes nothing");
    gateway.set("loja", "open");
    await world.tick();
    assert.equal(found(await world.tick(), "loja").status, "connected");
  }));

Deno.test("what arrives after what followed it changes nothing", () =>
  onGateway(async (line, world) => {
    const { gateway } = world;
    gateway.webhooks.hold();
    gateway.disconnect("loja", 428);
    gateway.advance("loja");
    await gateway.behave({ mode: "up", clock_ahead_ms: 1_000 }); // a login takes as long
    gateway.advance("loja");
    await gateway.webhooks.release("reversed");
    assert.deepEqual(gateway.webhooks.outcomes(), { delivered: 2 });
    assert.deepEqual(await line.shown(), ["connected", null]);
    assert.equal(found(await world.tick(), "loja").status, "connected");
  }));

Deno.test("a minute without the database in a stream of messages: each is stored once", () =>
  onGateway(async (_, world) => {
    const { gateway, rest } = world;
    const { webhooks } = gateway;
    const sent: string[] = [];
    const stream = async (count: number) => {
      for (let n = 0; n < count; n++) sent.push(gateway.message("loja")!);
      await webhooks.tried();
    };
    await stream(10);
    assert.equal((await messages(world)).length, 10);
    rest.down();
    await stream(10);
    await webhooks.passTime(30);
    await stream(10);
    await webhooks.passTime(30);
    assert.equal((await messages(world)).length, 10, "it is away");
    rest.up();
    // Some of what it takes now is answered into the void.
    rest.behave({ fn: "whatsapp_monitor_begin_event", how: "lose_answer", times: 5 });
    await webhooks.passTime(600);
    await stream(10);
    await webhooks.idle();
    assert.deepEqual(webhooks.outcomes(), { delivered: 40 });
    assert.deepEqual((await messages(world)).sort(), sent.sort());
  }));

Deno.test("answers that are lost, copies and delays: each message is stored once", () =>
  onGateway(async (_, world) => {
    const { webhooks } = world.gateway;
    Object.assign(webhooks.settings, { copies: 3, late_ms: 20_000, way: "answers_lost" });
    const sent = Array.from({ length: 20 }, () => world.gateway.message("loja")!);
    await webhooks.passTime(60);
    webhooks.settings.way = "clear";
    await webhooks.passTime(3_600);
    await webhooks.idle();
    assert.deepEqual(webhooks.outcomes(), { delivered: 60 });
    assert.deepEqual((await messages(world)).sort(), sent.sort());
  }));

for (const version of VERSIONS) {
  Deno.test(`the webhooks of Evolution ${version} are understood`, () =>
    onLine(async (line, world) => {
      const { gateway } = world;
      gateway.upgrade(version);
      // The older ones send no headers.
      const url = `${world.functionUrl}${RECEIVER}?secret=${line.secret}`;
      gateway.setWebhook("loja", url);
      const id = gateway.message("loja");
      await gateway.webhooks.tried();
      assert.deepEqual(await messages(world), [id]);
      gateway.disconnect("loja", 401);
      await gateway.webhooks.tried();
      assert.deepEqual(await line.shown(), ["waiting_qr", "401"]);
      const { delivered, ...others } = gateway.webhooks.outcomes();
      assert.ok(delivered! >= 3 && Object.keys(others).length === 0, JSON.stringify(others));
      const kept = await world.database.query<{ text: string }>(
        "select payload::text as text from whatsapp_monitor.messages",
      );
      assert.ok(!kept[0].text.includes(line.secret), "the URL holds the secret");
    }));
}
