/** What the recorded exchanges cannot show: modes, faults of one instance, control, concurrency. */

import assert from "node:assert/strict";
import {
  type Condition,
  CONDITION_NAMES,
  type ConditionName,
  CONDITIONS,
  EVENTS,
  type Gateway,
  type GatewayMode,
  type ModeName,
  MODES,
  startGateway,
} from "../../stack/evolution/mod.ts";

function test(name: string, run: (gateway: Gateway) => Promise<void>) {
  Deno.test(name, async () => {
    const gateway = await startGateway();
    try {
      gateway.set("loja-a", "open");
      await run(gateway);
    } finally {
      await gateway.stop();
    }
  });
}

interface Options {
  method?: string;
  key?: string;
  body?: unknown;
  timeout_ms?: number;
}

async function call(gateway: Gateway, path: string, options: Options = {}) {
  const { method = "GET", key = gateway.key, body, timeout_ms = 5000 } = options;
  const response = await fetch(gateway.url + path, {
    method,
    redirect: "manual",
    signal: AbortSignal.timeout(timeout_ms),
    headers: { apikey: key, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const { status, headers } = response;
  const text = await response.text();
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    // not JSON
  }
  return { status, headers, text, json: parsed };
}

const state = async (gateway: Gateway, name = "loja-a") =>
  (await call(gateway, `/instance/connectionState/${encodeURIComponent(name)}`))
    .json?.instance
    ?.state;

const tell = async (gateway: Gateway, method: string, path: string, body?: unknown) => {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const response = await fetch(gateway.controlUrl + path, { method, body: text });
  return { status: response.status, json: await response.json() };
};

test("every condition shows the state, row and reason of its entry", async (gateway) => {
  for (const [name, entry] of Object.entries(CONDITIONS)) {
    gateway.set(name, name as ConditionName);
    const shown = (await call(gateway, `/instance/connectionState/${name}`)).json.instance;
    assert.deepEqual(Object.keys(shown).includes("state"), entry.memory !== "absent", name);
    assert.equal(shown.state ?? "absent", entry.memory, name);
  }
  const rows = (await call(gateway, "/instance/fetchInstances")).json;
  for (const [name, entry] of Object.entries(CONDITIONS)) {
    const row = rows.find((r: { name: string }) => r.name === name);
    assert.equal(row.connectionStatus, entry.row, name);
    assert.equal(row.disconnectionReasonCode, entry.reason === "none" ? null : 401, name);
    assert.equal(typeof row.disconnectionObject, entry.reason === "none" ? "object" : "string");
  }
  gateway.set("open", "missing");
  assert.equal((await call(gateway, "/instance/connectionState/open")).status, 404);
});

test("restart redials: close, connecting, open", async (gateway) => {
  const seen = [];
  await call(gateway, "/instance/restart/loja-a", { method: "POST" });
  for (let i = 0; i < 3; i++) {
    seen.push(await state(gateway));
    gateway.advance("loja-a");
  }
  assert.deepEqual(seen, ["close", "connecting", "open"]);
  gateway.set("loja-a", { dials: "login" });
  await call(gateway, "/instance/restart/loja-a", { method: "POST" });
  assert.equal(await state(gateway), "open");
});

test("connect repairs a steady close and ruins one that is redialling", async (gateway) => {
  gateway.set("steady", { condition: "close", dials: "login" });
  gateway.set("redialling", { condition: "close", dialling: true, dials: "login" });
  for (const name of ["steady", "redialling"]) {
    await call(gateway, `/instance/connect/${name}`);
  }
  assert.equal(await state(gateway, "steady"), "open");
  assert.equal(gateway.instance("steady").sockets, 1);
  assert.equal(gateway.instance("redialling").sockets, 2);
});

test("a restart that is refused answers 200 all the same, and does nothing", async (gateway) => {
  gateway.set("loja-a", { condition: "connecting", dials: "login", refuses_restart: true });
  const restart = () => call(gateway, "/instance/restart/loja-a", { method: "POST" });
  const { status, json } = await restart();
  assert.deepEqual([status, json.error, await state(gateway)], [200, true, "connecting"]);
  gateway.set("loja-a", { refuses_restart: false });
  await restart();
  assert.equal(await state(gateway), "open");
});

test("nothing repairs a zombie but a reboot of the process", async (gateway) => {
  gateway.set("loja-a", { condition: "zombie", dials: "login" });
  await call(gateway, "/instance/restart/loja-a", { method: "POST" });
  await call(gateway, "/instance/connect/loja-a");
  await call(gateway, "/instance/logout/loja-a", { method: "DELETE" });
  assert.equal(gateway.instance("loja-a").sockets, 0);
  assert.equal(await state(gateway), "open");
  gateway.reboot();
  assert.equal(gateway.instance("loja-a").sockets, 1);
});

test("a pairing code comes only from a connect that dials", async (gateway) => {
  gateway.set("loja-a", "never_paired");
  const path = "/instance/connect/loja-a?number=5511999990001";
  assert.match((await call(gateway, path)).json.pairingCode, /^[A-Z0-9]{8}$/);
  gateway.set("loja-a", "waiting_scan");
  assert.equal((await call(gateway, path)).json.pairingCode, null);
});

test("names with spaces, slashes and accents are decoded", async (gateway) => {
  for (const name of ["loja b", "loja/c", "São João", "100%"]) {
    gateway.set(name, "open");
    assert.equal(await state(gateway, name), "open", name);
    const path = `/instance/fetchInstances?instanceName=${encodeURIComponent(name)}`;
    assert.equal((await call(gateway, path)).json[0].name, name);
  }
});

test("down refuses connections and up listens on the same port again", async (gateway) => {
  const { url } = gateway;
  await gateway.behave("down");
  await assert.rejects(call(gateway, "/"), /refused|connect/);
  await gateway.behave("down");
  await gateway.behave("up");
  assert.equal(gateway.url, url);
  assert.equal(await state(gateway), "open");
});

test("the modes that answer everything alike", async (gateway) => {
  const behave = async (
    mode: GatewayMode | ModeName,
    path = "/instance/connectionState/loja-a",
  ) => {
    await gateway.behave(mode);
    return call(gateway, path);
  };
  const error = await behave({ mode: "error", status: 503 });
  assert.equal(error.status, 503);
  assert.deepEqual(Object.keys(error.json), ["status", "error", "response"]);
  const html = await behave("html");
  assert.equal(html.status, 502);
  assert.match(html.text, /^<html>/);
  const garbage = await behave("garbage");
  assert.equal(garbage.status, 200);
  assert.equal(garbage.json, undefined);
  const whole = await behave({ mode: "huge", megabytes: 3 });
  assert.equal(whole.headers.get("content-length"), String(3 * 1024 * 1024));
  assert.deepEqual(whole.json, []);
  const streamed = await behave({ mode: "huge", megabytes: 3, streamed: true });
  assert.equal(streamed.headers.get("content-length"), null);
  assert.equal(streamed.text.length, 3 * 1024 * 1024);
  const redirect = await behave("redirect");
  assert.equal(redirect.status, 302);
  assert.equal(redirect.headers.get("location"), `${gateway.url}/redirected`);
  const licence = await behave("licence");
  assert.equal(licence.status, 503);
  assert.equal(licence.json.code, "LICENSE_REQUIRED");
  assert.equal((await behave("licence", "/")).status, 200);
  const slow = Date.now();
  assert.equal((await behave({ mode: "slow", delay_ms: 60 })).status, 200);
  assert(Date.now() - slow >= 60);
  assert.equal((await behave("up")).status, 200);
});

test("hang holds a request until the client leaves, and does not do its work", async (gateway) => {
  await gateway.behave("hang");
  const restart = { method: "POST", timeout_ms: 80 };
  await assert.rejects(call(gateway, "/instance/restart/loja-a", restart), {
    name: "TimeoutError",
  });
  while (gateway.inFlight > 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(gateway.peakInFlight, 1);
  await gateway.behave("up");
  assert.equal(await state(gateway), "open");
});

test("a stop drops what hangs", async (gateway) => {
  await gateway.behave("hang");
  const hung = assert.rejects(call(gateway, "/instance/connectionState/loja-a"));
  while (gateway.inFlight === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await gateway.stop();
  await hung;
});

test("a fault of one instance spares the others and the bulk list", async (gateway) => {
  const faults: [Condition, number, RegExp][] = [
    [{ status: 500 }, 500, /"status":500/],
    [{ status: 429 }, 429, /"status":429/],
    [{ body: "html" }, 502, /^<html>/],
    [{ body: "html", status: 200 }, 200, /^<html>/],
    [{ body: "not_json" }, 200, /^\{"instance"/],
    [{ body: "empty" }, 200, /^$/],
  ];
  gateway.set("loja-b", "open");
  for (const [fault, status, text] of faults) {
    gateway.set("loja-a", fault);
    const path = "/instance/connectionState/loja-a";
    for (const p of [path, "/instance/fetchInstances?instanceName=loja-a"]) {
      const answer = await call(gateway, p);
      assert.equal(answer.status, status);
      assert.match(answer.text, text);
    }
    assert.equal(await state(gateway, "loja-b"), "open");
    assert.equal((await call(gateway, "/instance/fetchInstances")).json.length, 2);
  }
  gateway.set("loja-a", {});
  assert.equal(await state(gateway), "open");
});

test("requests are recorded as received, and the peak of those in flight", async (gateway) => {
  gateway.set("loja b", { condition: "open", token: "token-loja-b" });
  await gateway.behave({ mode: "slow", delay_ms: 50 });
  await Promise.all([
    call(gateway, "/instance/connectionState/loja%20b?x=1", { key: "token-loja-b" }),
    call(gateway, "/instance/connectionState/loja%20b", { key: "wrong" }),
    call(gateway, "/webhook/set/loja-a", { method: "POST", body: { webhook: {} } }),
  ]);
  assert.equal(gateway.peakInFlight, 3);
  assert.equal(gateway.inFlight, 0);
  const seen = gateway.requests.map(({ at: _, ...rest }) => rest);
  const sorted = seen.sort((a, b) => a.key.localeCompare(b.key));
  assert.deepEqual(sorted, [
    {
      method: "POST",
      path: "/webhook/set/loja-a",
      key: "global",
      body: { webhook: {} },
      status: 400,
    },
    {
      method: "GET",
      path: "/instance/connectionState/loja%20b?x=1",
      key: "instance",
      body: null,
      status: 200,
    },
    {
      method: "GET",
      path: "/instance/connectionState/loja%20b",
      key: "wrong",
      body: null,
      status: 401,
    },
  ]);
  gateway.forget();
  assert.equal(gateway.requests.length, 0);
});

test("a webhook set with [] subscribes to all 31 events", async (gateway) => {
  const webhook = { enabled: true, url: "http://127.0.0.1/", events: [] };
  const set = { method: "POST", body: { webhook } };
  const { json } = await call(gateway, "/webhook/set/loja-a", set);
  assert.deepEqual([json.events, EVENTS.length], [EVENTS, 31]);
});

test("the control listener does what the methods do", async (gateway) => {
  const put = { condition: "logged_out", code: 403 };
  assert.equal((await tell(gateway, "PUT", "/instances/loja%20b", put)).status, 200);
  assert.equal(gateway.instance("loja b").row.disconnectionReasonCode, 403);
  await tell(gateway, "POST", "/instances/loja%20b/scan");
  assert.equal(await state(gateway, "loja b"), "open");
  await tell(gateway, "POST", "/instances/loja%20b/disconnect", { code: 428 });
  assert.equal(await state(gateway, "loja b"), "close");
  await tell(gateway, "POST", "/advance");
  await tell(gateway, "POST", "/instances/loja%20b/advance");
  assert.equal(await state(gateway, "loja b"), "open");
  await tell(gateway, "POST", "/reboot");
  assert.equal(await state(gateway, "loja b"), "close");
  const truth = (await tell(gateway, "GET", "/instances")).json;
  assert.deepEqual(Object.keys(truth), ["loja-a", "loja b"]);
  await tell(gateway, "DELETE", "/instances/loja%20b");
  assert.equal(gateway.instances.has("loja b"), false);
  assert.equal((await tell(gateway, "GET", "/requests")).json.length, gateway.requests.length);
  await tell(gateway, "DELETE", "/requests");
  assert.equal(gateway.requests.length, 0);
  await tell(gateway, "PUT", "/gateway", { mode: "down" });
  await assert.rejects(call(gateway, "/"));
  await tell(gateway, "PUT", "/gateway", { mode: "up" });
  assert.equal((await tell(gateway, "GET", "/gateway")).json.url, gateway.url);
});

test("bad input to the control listener names what is legal", async (gateway) => {
  const refused = async (path: string, body: unknown, legal: unknown) => {
    const { status, json } = await tell(gateway, "PUT", path, body);
    assert.equal(status, 400, JSON.stringify(json));
    if (legal) assert.deepEqual(json.legal, legal);
  };
  await refused("/instances/x", { condition: "asleep" }, CONDITION_NAMES);
  await refused("/instances/x", { condition: "logged_out", code: 500 }, [401, 402, 403, 406]);
  await refused("/instances/x", { sleep: 1 }, null);
  await refused("/instances/x", { status: 42 }, "200 to 599");
  await refused("/instances/x", { delay_ms: "1" }, "a number");
  await refused("/instances/x", { disconnected_at: "yesterday" }, "a time");
  await refused("/instances/x", [], null);
  await refused("/gateway", { mode: "asleep" }, Object.keys(MODES));
  await refused("/gateway", {}, Object.keys(MODES));
  assert.equal(gateway.instances.has("x"), false);
  assert.equal((await tell(gateway, "POST", "/instances/x/scan")).status, 404);
  assert.equal((await tell(gateway, "POST", "/instances/loja-a/dance")).status, 400);
  assert.equal((await tell(gateway, "GET", "/nowhere")).status, 404);
});
