/** The webhooks of the simulated gateway: what is announced, to whom, and what a version differs in. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { CONDITION_NAMES, type Gateway, type Version } from "../../stack/evolution/mod.ts";
import { type Bench, onWebhooks, seen } from "./webhooks.ts";

const test = (name: string, run: (bench: Bench) => Promise<void>, version?: Version) =>
  onWebhooks(name, run, { version });

const call = async (gateway: Gateway, method: string, path: string) => {
  const response = await fetch(gateway.url + path, { method, headers: { apikey: gateway.key } });
  await response.body?.cancel();
};

test("a recoverable drop is seen as connecting and open alone", async ({ gateway, receiver }) => {
  gateway.disconnect("loja", 428);
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver), [], "nothing says that it is closed");
  gateway.advance("loja");
  await gateway.webhooks.idle();
  gateway.advance("loja");
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver), ["connecting 200", "open 200"]);
});

test("a dial that logs in at once, and one that hangs, are announced", async (bench) => {
  const { gateway, receiver } = bench;
  gateway.webhooks.settings.concurrency = 1;
  gateway.set("loja", { dials: "login" });
  await call(gateway, "POST", "/instance/restart/loja");
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver), ["connecting 200", "open 200"]);
  gateway.set("loja", { dials: "hang" });
  gateway.disconnect("loja", 503);
  gateway.advance("loja");
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver).slice(2), ["connecting 200"]);
});

test("a final logout is three events, and by turns in every recorded order", async (bench) => {
  const { gateway, receiver } = bench;
  gateway.webhooks.settings.concurrency = 1;
  const orders = [];
  for (const code of [401, 402, 403]) {
    gateway.set("loja", "open");
    if (code === 403) await call(gateway, "DELETE", "/instance/logout/loja");
    else gateway.disconnect("loja", code);
    await gateway.webhooks.idle();
    orders.push(seen(receiver).slice(-3));
  }
  assert.deepEqual(orders, [
    ["status.instance", "logout.instance", "close 401"],
    ["logout.instance", "close 402", "status.instance"],
    ["close 401", "logout.instance", "status.instance"],
  ]);
  const { row } = gateway.instance("loja");
  const [{ body }] = gateway.webhooks.deliveries.slice(-1);
  assert.deepEqual(body.data, {
    instance: "loja",
    status: "closed",
    disconnectionAt: row.disconnectionAt,
    disconnectionReasonCode: 401,
    disconnectionObject: row.disconnectionObject,
  });
});

test("pairing: QRs, the limit, the scan", async ({ gateway, receiver }) => {
  gateway.webhooks.settings.concurrency = 1;
  gateway.set("loja", "never_paired");
  await call(gateway, "GET", "/instance/connect/loja");
  for (let i = 1; i <= 30; i++) gateway.nextQr("loja");
  await gateway.webhooks.idle();
  const all = seen(receiver);
  assert.deepEqual([all.length, all[0]], [33, "connecting 200"]);
  assert.equal(all.filter((each) => each === "qrcode.updated").length, 31);
  assert.deepEqual(all.at(-1), "refused 428");
  assert.equal((receiver.deliveries[31] as Posted).data.statusCode, 500);
  await call(gateway, "GET", "/instance/connect/loja");
  gateway.scan("loja");
  await gateway.webhooks.idle();
  const after = ["connecting 200", "qrcode.updated", "connecting 200", "open 200"];
  assert.deepEqual(seen(receiver).slice(33), after);
  const senders = receiver.deliveries.map((each) => (each as Posted).sender);
  const { row } = gateway.instance("loja");
  assert.deepEqual([senders.at(-2), senders.at(-1)], [undefined, row.ownerJid]);
});

test("deleting logs out what is open, and says that it is gone", async ({ gateway, receiver }) => {
  gateway.webhooks.settings.concurrency = 1;
  await call(gateway, "DELETE", "/instance/delete/loja");
  await gateway.webhooks.idle();
  assert.equal(gateway.instances.has("loja"), false);
  assert.equal(seen(receiver).length, 4);
  assert.equal(seen(receiver).at(-1), "remove.instance");
  assert.equal((receiver.deliveries.at(-1) as Posted).data, null);
});

test("only what is asked for is sent, and only to an address of the web", async (bench) => {
  const { gateway, receiver, url } = bench;
  gateway.setWebhook("loja", url, { events: ["LOGOUT_INSTANCE"] });
  gateway.disconnect("loja", 401);
  await gateway.webhooks.delivered("loja", "logout.instance");
  gateway.set("loja", "open");
  gateway.setWebhook("loja", url, { enabled: false });
  gateway.message("loja");
  gateway.setWebhook("loja", url);
  gateway.instance("loja").webhook!.enabled = false;
  gateway.message("loja");
  gateway.setWebhook("loja", "httpx://127.0.0.1/hook");
  gateway.message("loja");
  gateway.setWebhook("loja", url);
  gateway.set("loja", { mute: true });
  gateway.message("loja");
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver), ["logout.instance"]);
  gateway.reboot();
  gateway.advance();
  const { body } = await gateway.webhooks.delivered("loja", "connection.update");
  assert.equal("sender" in body, false, "before the first login of the process");
});

test("after a logout by request messages get lost until a reboot", async ({ gateway }) => {
  const pairAgain = async () => {
    await call(gateway, "GET", "/instance/connect/loja");
    gateway.scan("loja");
  };
  gateway.disconnect("loja", 401);
  await pairAgain();
  assert(gateway.message("loja"), "WhatsApp's own logout does no harm");
  await call(gateway, "DELETE", "/instance/logout/loja");
  await pairAgain();
  assert.equal(gateway.message("loja"), null);
  gateway.set("loja", { dials: "login" });
  gateway.reboot();
  assert(gateway.message("loja"));
});

test("a condition that is put into place announces nothing", async ({ gateway, receiver }) => {
  for (const name of CONDITION_NAMES) gateway.set("loja", name);
  await gateway.webhooks.idle();
  assert.deepEqual(seen(receiver), []);
});

test("without an end: a dial that fails, and two sockets in a fight", async (bench) => {
  const { gateway, receiver } = bench;
  const { webhooks } = gateway;
  webhooks.settings.concurrency = 1;
  const states = async (steps: number) => {
    receiver.deliveries.length = 0;
    for (let i = 0; i < steps; i++) gateway.advance("loja");
    await webhooks.idle();
    return seen(receiver).map((each) => each.slice(0, -4));
  };
  gateway.set("loja", { condition: "connecting", dials: "fail" });
  assert.deepEqual(await states(6), ["connecting", "connecting", "connecting"], "D2");
  gateway.set("loja", { condition: "never_paired", dialling: true });
  assert.deepEqual(await states(3), ["connecting", "connecting", "connecting"], "B2");
  assert.equal(gateway.instance("loja").memory, "close");
  gateway.set("loja", "fight");
  assert.deepEqual(await states(6), ["connecting", "open", "connecting", "open"], "L3");
});

test("a message has an id of its own, and needs a socket", async ({ gateway, receiver }) => {
  const ids = [gateway.message("loja"), gateway.message("loja", { text: "tchau" })];
  assert.equal(new Set(ids).size, 2);
  const { body } = await gateway.webhooks.delivered("loja", "messages.upsert", 2);
  assert.equal((body.data as { key: { id: string } }).key.id, ids[1]);
  for (const condition of ["zombie", "connecting", "logged_out"] as const) {
    gateway.set("loja", condition);
    assert.equal(gateway.message("loja"), null, condition);
  }
  await gateway.webhooks.idle();
  assert.equal(receiver.deliveries.length, 2);
});

test("the envelope says local time, and no token where it is not exposed", async (bench) => {
  const { gateway, receiver, url } = bench;
  gateway.webhooks.settings.zone_ms = -3 * 3600_000;
  gateway.webhooks.settings.exposes_tokens = false;
  gateway.setWebhook("loja", url, { byEvents: true });
  gateway.message("loja");
  await gateway.webhooks.idle();
  const posted = receiver.deliveries[0] as Posted;
  assert.equal(posted.path, "/hook/loja/messages-upsert");
  assert.deepEqual([posted.destination, posted.apikey], [url, null]);
  const behind_ms = Date.now() - Date.parse(posted.date_time);
  assert.equal(Math.round(behind_ms / 60_000), 180);
});

// deno-lint-ignore no-explicit-any -- whatever was posted
type Posted = any;

const HEADERS = { "x-secret": "s3cret", jwt_key: "k3y" };

for (
  const [version, sent] of [
    ["1.8.2", []],
    ["2.1.1", ["jwt_key", "x-secret"]],
    ["2.2.3", ["authorization", "x-secret"]],
    ["2.3.6", ["authorization", "x-secret"]],
    ["2.4.0-rc2", [
      "authorization",
      "x-event-type",
      "x-instance-id",
      "x-instance-name",
      "x-secret",
      "x-timestamp",
    ]],
  ] as [Version, string[]][]
) {
  test(`${version}: the headers of a webhook`, async ({ gateway, receiver, url }) => {
    gateway.setWebhook("loja", url, { headers: HEADERS });
    gateway.message("loja");
    await gateway.webhooks.idle();
    const { headers } = receiver.deliveries[0];
    const special = [...headers.keys()].filter((name) => /^(x-|auth|jwt)/.test(name));
    assert.deepEqual(special.sort(), sent);
    if (sent.includes("x-secret")) assert.equal(headers.get("x-secret"), "s3cret");
    if (!sent.includes("authorization")) return;
    const [head, claims, signature] = headers.get("authorization")!.slice(7).split(".");
    const signed = createHmac("sha256", "k3y").update(`${head}.${claims}`).digest("base64url");
    assert.equal(signature, signed);
    const { iat, exp, ...rest } = JSON.parse(atob(claims));
    assert.deepEqual([exp - iat, rest], [600, { app: "evolution", action: "webhook" }]);
  }, version);
}

test("1.8.2: every change is announced, with its reason and without the account", async (bench) => {
  const { gateway, receiver } = bench;
  gateway.webhooks.settings.concurrency = 1;
  gateway.disconnect("loja", 428);
  gateway.advance();
  gateway.advance();
  gateway.disconnect("loja", 401);
  await gateway.webhooks.idle();
  const states = ["close 428", "connecting 200", "open 200", "close 401"];
  assert.deepEqual(seen(receiver).filter((each) => / /.test(each)), states);
  for (const each of receiver.deliveries) {
    const { data } = each as Posted;
    if (data?.state) assert.deepEqual(Object.keys(data), ["instance", "state", "statusReason"]);
    else assert.deepEqual(data, data && { instance: "loja", status: "closed" });
  }
}, "1.8.2");
