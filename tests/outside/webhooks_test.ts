/**
 * The webhook of an instance configures itself: in the words of each version,
 * never at somebody else's expense, and no more often than helps.
 */
import assert from "node:assert/strict";
import type { Version } from "../stack/evolution/mod.ts";
import { EVENTS } from "../stack/evolution/mod.ts";
import { passTime } from "../stack/time.ts";
import { check } from "./installed.ts";
import { kinds, recorded } from "./recovery.ts";
import { everything, inWorld as inAnyWorld, type World } from "./support.ts";
import { HEADER, post, RECEIVER, update } from "./webhook.ts";

const THEIRS = "https://n8n.example/webhook/1?key=their-secret";
const OURS = [
  "CONNECTION_UPDATE",
  "LOGOUT_INSTANCE",
  "MESSAGES_UPSERT",
  "QRCODE_UPDATED",
  "REMOVE_INSTANCE",
  "STATUS_INSTANCE",
];

/** A world with one open instance, of which nothing is known yet. */
function inWorld(work: (world: World) => Promise<void>, policy = "manage"): Promise<void> {
  return inAnyWorld(async (world) => {
    await world.set({ webhook_policy: policy });
    world.gateway.set("loja", "open");
    await world.watch("loja");
    await work(world);
  });
}

/** What the gateway was told to set since this was last asked, oldest first. */
function told({ gateway }: World) {
  const bodies = gateway.requests.filter(({ path }) => path.startsWith("/webhook/set/"))
    // deno-lint-ignore no-explicit-any -- as it was sent
    .map(({ body }) => body as any);
  gateway.forget();
  return bodies;
}

/** What is known of the webhook. */
async function seen({ database }: World) {
  const [row] = await database.query<Record<string, unknown>>(
    "select * from whatsapp_monitor.webhooks",
  );
  return row;
}

/** The verdicts on all that was set, oldest first. */
async function verdicts({ database }: World) {
  const rows = await database.query<{ verdict: string | null }>(
    "select verdict from whatsapp_monitor.actions where kind = 'webhook_set' order by id",
  );
  return rows.map(({ verdict }) => verdict);
}

/** So many seconds pass, for webhooks as well, and a trigger runs to its end. */
async function after(world: World, seconds: number) {
  await passTime(world.database, seconds);
  const report = await (await world.trigger()).json();
  assert.equal(report.success, true, JSON.stringify(report));
  return report;
}

const slot = (world: World) => world.gateway.instance("loja").webhook!;

Deno.test("an empty slot is filled when the instance is seen open, and proven at the next check", () =>
  inWorld(async (world) => {
    const [{ action }] = (await world.tick()).instances;
    assert.equal(action, "webhook_set");
    const { secret } = await seen(world);
    assert.deepEqual(told(world), [{
      webhook: {
        enabled: true,
        url: world.functionUrl + RECEIVER,
        events: OURS,
        headers: { [HEADER]: secret },
        byEvents: false,
        base64: false,
      },
    }]);
    assert.deepEqual(await verdicts(world), [null]);
    await after(world, 30);
    assert.deepEqual(await verdicts(world), ["worked"]);
    assert.equal((await seen(world)).finding, "right");
    assert.deepEqual((await check(world.database, "webhooks")).ok, true);
    // What is right is looked at once in so many seconds and not oftener: many, because time that is
    // only passed in the database crosses a short turn's end again and again.
    await world.set({ webhook_check_every_s: 86_400 });
    const looks = () => kinds(world.gateway).filter((kind) => kind === "GET /webhook/find").length;
    world.gateway.forget();
    for (let times = 0; times < 5; times++) await after(world, 30);
    assert.equal(looks(), 0);
    await after(world, 86_400);
    assert.equal(looks(), 1);
    assert.deepEqual(told(world), []);
    const logs = world.edge.logs.join("\n");
    assert.match(logs, /🔗 Configurando webhooks para: /);
    assert.match(logs, /✅ Webhooks configurados com sucesso/);
    assert.ok(!logs.includes(String(secret)));
    assert.ok(!JSON.stringify(await world.tick()).includes(String(secret)));
  }));

for (
  const [version, shape] of Object.entries({
    "1.8.2": (url: string, secret: string) => ({
      enabled: true,
      url: `${url}?secret=${secret}`,
      events: ["CONNECTION_UPDATE", "MESSAGES_UPSERT", "QRCODE_UPDATED"],
      webhook_by_events: false,
      webhook_base64: false,
    }),
    "2.0.10": (url: string, secret: string) => ({
      enabled: true,
      url: `${url}?secret=${secret}`,
      events: ["CONNECTION_UPDATE", "MESSAGES_UPSERT", "QRCODE_UPDATED"],
      webhookByEvents: false,
      webhookBase64: false,
    }),
    "2.1.1": (url: string, secret: string) => ({
      webhook: {
        enabled: true,
        url,
        events: OURS,
        headers: { [HEADER]: secret },
        byEvents: false,
        base64: false,
      },
    }),
  })
) {
  Deno.test(`in the words of ${version}`, () =>
    inWorld(async (world) => {
      world.gateway.upgrade(version as Version);
      await world.tick();
      const { secret } = await seen(world);
      assert.deepEqual(told(world), [shape(world.functionUrl + RECEIVER, String(secret))]);
      await after(world, 30);
      assert.deepEqual(await verdicts(world), ["worked"]);
    }));
}

Deno.test("nobody looks before the instance is open, and then at once", () =>
  inWorld(async (world) => {
    // So that nothing else is a reason to look.
    await world.set({ webhook_check_every_s: 86400 });
    await world.tick();
    await after(world, 30);
    const drop = (condition: "close" | "open") => {
      world.gateway.set("loja", condition);
      world.gateway.forget();
    };
    const looks = () => kinds(world.gateway).filter((kind) => kind.includes("webhook"));
    drop("close");
    Object.assign(slot(world), { events: ["CALL"] });
    for (let passed = 0; passed < 600; passed += 30) await after(world, 30);
    assert.deepEqual(looks(), []);
    drop("open");
    await after(world, 30);
    assert.deepEqual(looks(), ["GET /webhook/find", "POST /webhook/set"]);
  }));

Deno.test("what the gateway refuses is told, tried again within its budget, and right once it takes it", () =>
  inWorld(async (world) => {
    await world.set({ webhook_policy: "off" });
    await world.tick();
    // It became another, and nobody has asked it for its version yet.
    world.gateway.upgrade("1.8.2");
    await world.set({ webhook_policy: "manage" });
    for (let passed = 0; passed < 600; passed += 30) await after(world, 30);
    assert.equal(told(world).length, 2);
    assert.deepEqual(await verdicts(world), ["refused", "refused"]);
    assert.equal((await seen(world)).finding, "refused");
    const { ok, detail } = await check(world.database, "webhooks");
    assert.deepEqual([ok, /recusou/.test(detail)], [false, true]);
    assert.match(world.edge.logs.join("\n"), /⚠️ Erro ao configurar webhooks: o gateway recusou/);
    world.gateway.upgrade("2.3.6");
    for (let passed = 0; passed < 330; passed += 30) await after(world, 30);
    assert.deepEqual([(await seen(world)).finding, told(world).length], ["right", 1]);
  }));

for (const policy of ["manage", "verify"]) {
  const live = policy === "manage";
  Deno.test(`under ${policy}, that no event tells of a dial is ${live ? "" : "no "}evidence`, () =>
    inWorld(async (world) => {
      await world.tick();
      await after(world, 30);
      const { secret } = await seen(world);
      await world.set({ webhook_policy: policy });
      await after(world, 30);
      world.gateway.set("loja", { condition: "close", dials: "login" });
      await after(world, 30);
      const event = { event: "connection.update", instance: "loja", data: update("connecting") };
      const headers = { [HEADER]: String(secret) };
      assert.equal(await post(world, JSON.stringify(event), headers), 200);
      // Less than what it takes to dial blindly.
      for (let passed = 0; passed < 600; passed += 30) await after(world, 30);
      const dialled = await recorded(world, "loja");
      assert.deepEqual(
        dialled.filter(({ kind }) => kind !== "webhook_set").map((
          { kind, grounds },
        ) => [kind, grounds]),
        live ? [["connect", "webhook"]] : [],
      );
    }));
}

Deno.test("what drifts is repaired, once in five minutes, and whoever rewrites it thrice in an hour has it", () =>
  inWorld(async (world) => {
    await world.tick();
    await after(world, 30);
    assert.equal(told(world).length, 1);
    // So that it does not count any more.
    await after(world, 3700);
    const spoil = [
      () => world.gateway.setWebhook("loja", slot(world).url, { events: ["CALL"] }),
      () => world.gateway.setWebhook("loja", slot(world).url, { enabled: false }),
      () => Object.assign(slot(world), { url: "", events: [], headers: null, enabled: true }),
    ];
    const repairs = [];
    for (let minute = 0; minute < 50; minute++) {
      if (minute % 6 === 0 && slot(world).events.length === OURS.length) {
        spoil[(minute / 6) % spoil.length]();
      }
      await after(world, 60);
      repairs.push(told(world).length);
    }
    assert.equal(repairs.reduce((sum, each) => sum + each, 0), 3, String(repairs));
    assert.equal((await seen(world)).finding, "contended");
    const { ok, detail } = await check(world.database, "webhooks");
    assert.deepEqual([ok, /outro programa/.test(detail)], [false, true]);
    // An hour later it tries again.
    for (let minute = 0; minute < 70; minute++) await after(world, 60);
    assert.equal((await seen(world)).finding, "right");
  }));

Deno.test("somebody else's webhook is never touched, and told of, until it is to be taken over", () =>
  inWorld(async (world) => {
    for (const policy of ["manage", "verify", "off"]) {
      await world.set({ webhook_policy: policy });
      world.gateway.setWebhook("loja", THEIRS, { headers: { authorization: "their-secret" } });
      for (let times = 0; times < 3; times++) await after(world, 300);
      assert.deepEqual(told(world), [], policy);
    }
    await world.set({ webhook_policy: "manage" });
    await after(world, 300);
    const { finding, found_url } = await seen(world);
    assert.deepEqual([finding, found_url], ["foreign", "https://n8n.example/webhook/1"]);
    const { ok, detail } = await check(world.database, "webhooks");
    assert.equal(ok, null);
    assert.match(detail, /loja, enviam a https:\/\/n8n\.example\/webhook\/1/);
    const all = await everything(world) + world.edge.logs.join("\n");
    assert.ok(!all.includes("their-secret"));

    await world.set({ webhook_policy: "take_over" });
    await after(world, 30);
    const [{ webhook }] = told(world);
    assert.equal(webhook.url, world.functionUrl + RECEIVER);
    assert.deepEqual(Object.keys(webhook.headers), [HEADER]);
  }));

Deno.test("verify tells of what differs and sets nothing; off does not even look", () =>
  inWorld(async (world) => {
    await world.tick();
    assert.equal((await seen(world)).finding, "empty");
    assert.equal((await check(world.database, "webhooks")).ok, false);
    await world.set({ webhook_policy: "off" });
    world.gateway.forget();
    for (let times = 0; times < 3; times++) await after(world, 300);
    assert.deepEqual(kinds(world.gateway).filter((kind) => kind.includes("webhook")), []);
    assert.deepEqual(told(world), []);
  }, "verify"));

Deno.test("the URL in the user's own table wins, with its events, and never gets our secret", () =>
  inWorld(async (world) => {
    await world.database.exec(`
      alter table public.organization_channel_config
        add webhook_url text, add webhook_events text[];
      update public.organization_channel_config
      set webhook_url = 'https://app.example/chat/webhook',
          webhook_events = '{messages.upsert,GROUPS_UPDATE,NO_SUCH_EVENT}'`);
    await world.tick();
    assert.deepEqual(told(world), [{
      webhook: {
        enabled: true,
        url: "https://app.example/chat/webhook",
        events: ["GROUP_UPDATE", "MESSAGES_UPSERT"],
        headers: {},
        byEvents: false,
        base64: false,
      },
    }]);
    await after(world, 30);
    assert.equal((await seen(world)).finding, "right");
  }));

Deno.test("a new secret is told to the gateway at the next check, and events with the old one are taken meanwhile", () =>
  inWorld(async (world) => {
    await world.tick();
    await after(world, 400);
    told(world);
    const before = (await seen(world)).secret;
    await world.database.query("select whatsapp_monitor.rotate_webhook_secrets()");
    world.gateway.message("loja", { id: "BEFORE" });
    await world.gateway.webhooks.idle();
    await after(world, 30);
    const [{ webhook }] = told(world);
    const { secret } = await seen(world);
    assert.notEqual(secret, before);
    assert.equal(webhook.headers[HEADER], secret);
    world.gateway.message("loja", { id: "AFTER" });
    await world.gateway.webhooks.idle();
    const messages = await world.database.query<{ message_id: string }>(
      "select message_id from whatsapp_monitor.messages order by received_at",
    );
    assert.deepEqual(messages.map(({ message_id }) => message_id), ["BEFORE", "AFTER"]);
  }));

Deno.test("in a storm connection events are not asked for, and afterwards they are again", () =>
  inWorld(async (world) => {
    await world.tick();
    await after(world, 400);
    told(world);
    await world.database.exec(
      "update whatsapp_monitor.webhooks set storm_until = clock_timestamp() + interval '5 min'",
    );
    await after(world, 30);
    await after(world, 30);
    assert.deepEqual(
      told(world).map(({ webhook }) => webhook.events),
      [OURS.filter((event) => event !== "CONNECTION_UPDATE")],
    );
    for (let minute = 0; minute < 12; minute++) await after(world, 60);
    assert.deepEqual(told(world).map(({ webhook }) => webhook.events), [OURS]);
  }));

assert.ok(OURS.every((event) => EVENTS.includes(event)));
