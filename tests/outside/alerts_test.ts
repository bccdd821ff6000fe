/**
 * Somebody is told when an outage begins and when it is over: once each, in
 * this order, whatever the receiver, the database and the isolates do.
 */
import assert from "node:assert/strict";
import { isSigned, type Receiver, startReceiver } from "./receiver.ts";
import { outcome, startWorld, type World } from "./support.ts";

const SETTLE = "whatsapp_monitor_settle_alerts";
const FINISH = "whatsapp_monitor_finish_tick";

/** A world with one connected instance, and a receiver that its settings name. */
async function inWorld(
  work: (world: World, receiver: Receiver) => Promise<void>,
  { name = "loja", url = true } = {},
): Promise<void> {
  const world = await startWorld();
  const receiver = startReceiver();
  try {
    // Nothing becomes due because this machine is slow.
    await world.set({ interval_s: 3600 });
    if (url) await tellTo(world, receiver.url);
    world.gateway.set(name, "open");
    await world.watch(name);
    await tick(world);
    await work(world, receiver);
  } finally {
    receiver.release();
    await world.stop();
    await receiver.stop();
  }
}

const tellTo = ({ database }: World, url: string | null) =>
  database.query("update whatsapp_monitor.settings set alert_url = $1", [url]);

/** A check of everything. */
async function tick(world: World): Promise<void> {
  const report = await outcome(world.tick(), "a tick");
  assert.equal(report.success, true, JSON.stringify(report));
}

/** A trigger that finds nothing to check. */
async function idleTick(world: World): Promise<void> {
  const report = await outcome(world.trigger().then((each) => each.json()), "an idle tick");
  assert.deepEqual([report.success, report.checked], [true, 0]);
}

/** An outage begins. */
async function goDown(world: World, name = "loja"): Promise<void> {
  world.gateway.set(name, { condition: "logged_out", code: 401 });
  await tick(world);
}

/** It is over. */
async function comeBack(world: World, name = "loja"): Promise<void> {
  world.gateway.set(name, "open");
  await tick(world);
  await tick(world);
}

/** The outbox, in the order in which it was filled; due_in_s is whole. */
const outbox = ({ database }: World) =>
  database.query<
    { kind: string; state: string; attempts: number; error: string | null; due_in_s: number | null }
  >(
    `select kind, attempts, error,
            case when sent_at is not null then 'sent' when gave_up_at is not null then 'given up'
                 else 'pending' end as state,
            round(extract(epoch from due_at - clock_timestamp()))::integer as due_in_s
     from whatsapp_monitor.alerts order by created_at, kind`,
  );

const states = async (world: World) =>
  (await outbox(world)).map(({ kind, state }) => `${kind} ${state}`);

/** Time passes for what waits. */
const makeAlertsDue = ({ database }: World) =>
  database.query("update whatsapp_monitor.alerts set due_at = now() where due_at is not null");

Deno.test("an outage is told of when it begins and when it is over, once each", () =>
  inWorld(async (world, receiver) => {
    assert.deepEqual(receiver.told(), [], "nothing has happened");
    await goDown(world);
    for (let check = 0; check < 3; check++) await tick(world);
    assert.deepEqual(receiver.told(), ["down loja"]);
    await comeBack(world);
    await tick(world);
    await idleTick(world);
    assert.deepEqual(receiver.told(), ["down loja", "up loja"]);
    assert.deepEqual(await states(world), ["down sent", "up sent"]);
    await goDown(world);
    assert.deepEqual(receiver.told(), ["down loja", "up loja", "down loja"]);

    const [down, up, again] = receiver.deliveries;
    assert.deepEqual([down.method, down.path], ["POST", "/services/T0/secret-path?key=1"]);
    assert.equal(down.headers.get("content-type"), "application/json");
    const [portuguese, english, ...more] = down.text.split("\n");
    assert.match(
      portuguese,
      /^🔴 WhatsApp fora do ar: `loja` \(organização `loja`\) desde \d\d\/\d\d\/\d{4} \d\d:\d\d UTC, há \d+ (s|min)\. O aparelho foi desconectado .* escaneie um novo QR code\.$/,
    );
    assert.match(
      english,
      /^🔴 WhatsApp is down: `loja` .* UTC, \d+ (s|min) ago\. .* scan a new QR/,
    );
    assert.deepEqual(more, []);
    assert.match(up.text, /^🟢 WhatsApp voltou: `loja` .*\n🟢 WhatsApp is back: `loja` .*$/);

    const { since, until, ...facts } = up.alert;
    assert.deepEqual(facts, {
      id: up.headers.get("webhook-id"),
      kind: "up",
      organization_id: "loja",
      instance_name: "loja",
      gateway_url: world.gateway.url,
      duration_s: facts.duration_s,
      reason: down.alert.reason,
    });
    assert.deepEqual([down.alert.since, down.alert.until, down.alert.reason.code], [
      since,
      null,
      "401",
    ]);
    assert.equal(Date.parse(until) >= Date.parse(since), true);
    const ids = new Set([down, up, again].map(({ headers }) => headers.get("webhook-id")));
    assert.equal(ids.size, 3);
  }));

Deno.test("a tick that has nothing to tell takes no further round trip", () =>
  inWorld(async (world) => {
    assert.equal((await world.tick()).database_round_trips, 2);
    world.gateway.set("loja", { condition: "logged_out", code: 401 });
    assert.equal((await world.tick()).database_round_trips, 3);
    assert.equal((await world.tick()).database_round_trips, 2);
  }));

Deno.test("every message is signed, with the database's time", () =>
  inWorld(async (world, receiver) => {
    const { database } = world;
    await goDown(world);
    await comeBack(world);
    const [{ now_s }] = await database.query<{ now_s: number }>(
      "select extract(epoch from clock_timestamp())::float8 as now_s",
    );
    assert.equal(receiver.deliveries.length, 2);
    for (const delivery of receiver.deliveries) {
      assert.equal(await isSigned(database, delivery), true);
      assert.equal(await isSigned(database, { ...delivery, body: `${delivery.body} ` }), false);
      const age_s = now_s - Number(delivery.headers.get("webhook-timestamp"));
      assert.ok(age_s >= 0 && age_s < 60, `${age_s}`);
    }
    await database.exec(
      `update whatsapp_monitor.settings set alert_secret = 'whsec_' || repeat('A', 43) || '='`,
    );
    assert.equal(await isSigned(database, receiver.deliveries[0]), false, "with another secret");
  }));

Deno.test("a 2xx alone is a delivery; after five attempts in half an hour nobody tries again", () =>
  inWorld(async (world, receiver) => {
    await world.set({ request_timeout_ms: 500 });
    const attempts = [
      { how: () => receiver.answers(500), error: "status_500", due_in_s: 30 },
      { how: () => receiver.answers(302), error: "status_302", due_in_s: 90 },
      { how: () => void receiver.holds(), error: "timeout", due_in_s: 480 },
      { how: () => receiver.answers(404), error: "status_404", due_in_s: 1200 },
      { how: () => receiver.answers(429), error: "status_429", due_in_s: null },
    ];
    for (const [index, { how, error, due_in_s }] of attempts.entries()) {
      how();
      await makeAlertsDue(world);
      await (index === 0 ? goDown(world) : idleTick(world));
      const [alert, ...more] = await outbox(world);
      assert.deepEqual([alert.attempts, alert.error, more], [index + 1, error, []]);
      assert.equal(alert.state, due_in_s === null ? "given up" : "pending");
      if (due_in_s !== null) {
        assert.ok(alert.due_in_s! <= due_in_s && alert.due_in_s! > due_in_s - 20, error);
      }
      await idleTick(world);
      assert.equal(receiver.deliveries.length, index + 1, "not before it is due");
    }
    const ids = new Set(receiver.deliveries.map(({ headers }) => headers.get("webhook-id")));
    assert.equal(ids.size, 1, "the same message");
    receiver.answers(200);
    await makeAlertsDue(world);
    await comeBack(world);
    assert.equal(receiver.deliveries.length, 5, "no end of what nobody knows of");
    assert.deepEqual(await states(world), ["down given up"]);
    assert.ok(world.edge.logs.some((line) => line.includes("desistência após 5 tentativas: 1")));
  }));

Deno.test("a return waits until its beginning is delivered", () =>
  inWorld(async (world, receiver) => {
    receiver.answers(503);
    await goDown(world);
    await comeBack(world);
    await makeAlertsDue(world);
    await idleTick(world);
    assert.deepEqual(receiver.told(), ["down loja", "down loja"]);
    assert.deepEqual(await states(world), ["down pending", "up pending"]);
    receiver.answers(204);
    await makeAlertsDue(world);
    await idleTick(world);
    await idleTick(world);
    assert.deepEqual(receiver.told().slice(2), ["down loja", "up loja"]);
    assert.deepEqual(await states(world), ["down sent", "up sent"]);
  }));

Deno.test("a return is dropped with its beginning", () =>
  inWorld(async (world, receiver) => {
    receiver.answers(503);
    await goDown(world);
    await comeBack(world);
    for (let attempt = 0; attempt < 6; attempt++) {
      await makeAlertsDue(world);
      await idleTick(world);
    }
    receiver.answers(200);
    await tick(world);
    assert.deepEqual(receiver.told(), Array(5).fill("down loja"));
    assert.deepEqual(await states(world), ["down given up", "up given up"]);
  }));

Deno.test("what failed is sent by a trigger that finds nothing to check, waited for or not", () =>
  inWorld(async (world, receiver) => {
    receiver.answers(500);
    await goDown(world);
    receiver.answers(200);
    await makeAlertsDue(world);
    const response = await fetch(`${world.functionUrl}/whatsapp/monitor/start`, {
      method: "POST",
      headers: { "x-monitor-token": world.token },
    });
    await response.body?.cancel();
    await world.edge.idle();
    assert.deepEqual(await states(world), ["down sent"]);
    assert.equal(receiver.deliveries.length, 2);
  }));

Deno.test("two ticks at the same time deliver once", () =>
  inWorld(async (world, receiver) => {
    receiver.answers(500);
    await goDown(world);
    await makeAlertsDue(world);
    const arrived = receiver.holds();
    const first = idleTick(world);
    await outcome(arrived, "the delivery");
    await idleTick(world);
    await tick(world);
    receiver.release();
    await first;
    assert.equal(receiver.deliveries.length, 2);
    assert.deepEqual(await states(world), ["down sent"]);
  }));

Deno.test("a tick that dies after its claim loses nothing", () =>
  inWorld(async (world, receiver) => {
    const arrived = receiver.holds();
    const dying = goDown(world);
    dying.catch(() => {});
    await outcome(arrived, "the delivery");
    await world.edge.kill();
    await assert.rejects(dying);
    await world.edge.restart();
    receiver.answers(200);
    await idleTick(world);
    assert.equal(receiver.deliveries.length, 1, "somebody may still be at it");
    const [{ state, due_in_s }] = await outbox(world);
    assert.equal(state, "pending");
    assert.ok(due_in_s! > 0 && due_in_s! < 60, "until the lease ends");
    await makeAlertsDue(world);
    await idleTick(world);
    assert.deepEqual(await states(world), ["down sent"]);
    const [one, other] = receiver.deliveries.map(({ headers }) => headers.get("webhook-id"));
    assert.equal(one, other, "the receiver can tell that it is the same");
  }));

Deno.test("a delivery counts whoever says so; of all else, the holder's word alone, and once", () =>
  inWorld(async (world, receiver) => {
    const { database } = world;
    receiver.answers(500);
    await goDown(world);
    const [late, holder] = [crypto.randomUUID(), crypto.randomUUID()];
    for (const tick_id of [late, holder]) {
      await makeAlertsDue(world);
      const claim = "select whatsapp_monitor.claim_alerts($1, 20) is not null as held";
      assert.deepEqual(await database.query(claim, [tick_id]), [{ held: true }]);
    }
    const [{ id }] = await database.query("select id from whatsapp_monitor.alerts");
    const settle = async (tick_id: string, delivered: boolean, retry_in_s: number | null) => {
      const alert = { id, delivered, attempts: 2, error: null, retry_in_s };
      await database.query(`select public.${SETTLE}($1)`, [{ tick_id, alerts: [alert] }]);
      const [{ state, attempts }] = await outbox(world);
      return `${state} ${attempts}`;
    };
    assert.equal(await settle(late, false, null), "pending 1");
    assert.equal(await settle(holder, false, 90), "pending 2");
    assert.equal(await settle(holder, false, null), "pending 2", "it holds it no more");
    assert.equal(await settle(late, true, null), "sent 2");
    assert.equal(await settle(holder, false, 90), "sent 2");
  }));

Deno.test("answers of the database that get lost make nobody be told twice", () =>
  inWorld(async (world, receiver) => {
    world.rest.behave({ fn: FINISH, how: "lose_answer" });
    world.rest.behave({ fn: SETTLE, how: "lose_answer" });
    await goDown(world);
    assert.deepEqual(receiver.told(), ["down loja"]);
    assert.deepEqual(await states(world), ["down sent"]);
    assert.equal((await outbox(world))[0].attempts, 1);
  }));

Deno.test("whatever goes wrong with alerts, the tick is none the worse", () =>
  inWorld(async (world, receiver) => {
    const { database } = world;
    await database.exec("alter table whatsapp_monitor.alerts rename held_by to elsewhere");
    await goDown(world);
    assert.equal((await world.row("loja")).status, "waiting_qr");
    assert.ok(world.edge.logs.some((line) => line.includes("❌ Erro ao ler os alertas: 42703")));
    await database.exec("alter table whatsapp_monitor.alerts rename elsewhere to held_by");
    world.rest.behave({ fn: SETTLE, how: "error", status: 400, body: "{}" });
    await idleTick(world);
    assert.ok(world.edge.logs.some((line) => line.includes("❌ Erro ao registrar os alertas")));
    assert.deepEqual(receiver.told(), ["down loja"]);
    assert.deepEqual(
      await states(world),
      ["down pending"],
      "it may be told again, never not at all",
    );
  }));

Deno.test("without a URL nobody is told; with one, of what begins from then on", () =>
  inWorld(async (world, receiver) => {
    await goDown(world);
    assert.deepEqual(await outbox(world), []);
    await tellTo(world, receiver.url);
    await tick(world);
    await comeBack(world);
    assert.deepEqual(await outbox(world), [], "that one began before");
    receiver.answers(500);
    await goDown(world);
    assert.deepEqual(receiver.told(), ["down loja"]);
    await tellTo(world, null);
    await makeAlertsDue(world);
    await tick(world);
    await comeBack(world);
    await tellTo(world, receiver.url);
    receiver.answers(200);
    await tick(world);
    assert.deepEqual(await states(world), ["down given up"], "switched off is forgotten");
    assert.deepEqual(receiver.told(), ["down loja"]);
  }, { url: false }));

Deno.test("a name forges neither a mention nor a link nor a line", () => {
  const name = "<!channel> `@everyone` <https://evil.example|banco> &lt;";
  return inWorld(async (world, receiver) => {
    await goDown(world, name);
    await comeBack(world, name);
    assert.equal(receiver.deliveries.length, 2);
    for (const { text, alert } of receiver.deliveries) {
      const shown = "`‹!channel› '＠everyone' ‹https://evil.example|banco› ＆lt;`";
      assert.equal(text.split(shown).length, 5, text);
      const rest = text.replaceAll(shown, "");
      assert.doesNotMatch(text, /[<>@&]/);
      assert.doesNotMatch(rest, /[`|]|https?:/);
      assert.equal(text.split("\n").length, 2);
      assert.equal(alert.instance_name, name, "programs get it as it is");
    }
  }, { name });
});

Deno.test("the URL and the secret stand in the settings and nowhere else", () =>
  inWorld(async (world, receiver) => {
    const { database } = world;
    const reports: unknown[] = [];
    for (const status of [500, 302, 200]) {
      receiver.answers(status);
      await makeAlertsDue(world);
      await (status === 500 ? goDown(world) : idleTick(world));
      reports.push(await world.tick());
    }
    await tellTo(world, "http://127.0.0.1:1/services/T0/secret-path");
    await comeBack(world);
    assert.deepEqual((await outbox(world)).map(({ error }) => error), [null, "connection_refused"]);
    const tables = await database.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname in ('whatsapp_monitor', 'public') and tablename <> 'settings'`,
    );
    const places: unknown[] = [reports, world.edge.logs];
    for (const { name } of tables) places.push(await database.query(`select * from ${name}`));
    places.push(
      await database.query("select public.whatsapp_monitor_begin_tick($1) as answer", [
        { tick_id: crypto.randomUUID(), caller: "service_key", report: true },
      ]),
    );
    const [{ secret }] = await database.query<{ secret: string }>(
      "select alert_secret as secret from whatsapp_monitor.settings",
    );
    const bare = secret.replace("whsec_", "");
    for (const place of places) {
      const text = JSON.stringify(place);
      for (const hidden of [bare, "secret-path"]) assert.equal(text.includes(hidden), false, text);
    }
    assert.equal(atob(bare).length, 32);
  }));

Deno.test("many at once are told in turn, each once; a receiver that has enough is left alone", () =>
  inWorld(async (world, receiver) => {
    const names = Array.from({ length: 25 }, (_, n) => `loja-${n}`);
    for (const name of names) {
      world.gateway.set(name, { condition: "logged_out", code: 401 });
      await world.watch(name);
    }
    receiver.answers(429);
    await tick(world);
    const asked = receiver.deliveries.length;
    assert.ok(asked <= 4, `${asked} of 20 claimed`);
    const tried = (await outbox(world)).reduce((sum, { attempts }) => sum + attempts, 0);
    assert.equal(tried, asked, "nothing counts that was not sent");
    receiver.answers(200);
    await makeAlertsDue(world);
    await idleTick(world);
    assert.equal(receiver.deliveries.length, asked + 20);
    await idleTick(world);
    assert.deepEqual(
      receiver.told().slice(asked).sort(),
      names.map((name) => `down ${name}`).sort(),
    );
  }));

Deno.test("an alert goes with its outage", () =>
  inWorld(async (world) => {
    await goDown(world);
    await comeBack(world);
    assert.equal((await outbox(world)).length, 2);
    await world.database.exec(
      `update whatsapp_monitor.outages set started_at = started_at - interval '91 days',
         ended_at = ended_at - interval '91 days';
       select whatsapp_monitor.clean_up();`,
    );
    assert.deepEqual(await outbox(world), []);
  }));
