/** The simulated gateway in its other versions: shapes and verbs, as far as they are known. */

import assert from "node:assert/strict";
import { type Gateway, startGateway, type Version, VERSIONS } from "../../stack/evolution/mod.ts";

/** A gateway of this version with an open instance `loja`. */
async function inVersion(version: Version, run: (gateway: Gateway) => Promise<void> | void) {
  const gateway = await startGateway({ version });
  try {
    gateway.set("loja", "open");
    await run(gateway);
  } finally {
    await gateway.stop();
  }
}

async function call(
  gateway: Gateway,
  method: string,
  path: string,
  { body, key = gateway.key }: { body?: unknown; key?: string } = {},
) {
  const response = await fetch(gateway.url + path, {
    method,
    headers: { apikey: key, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, text, json: text && JSON.parse(text) };
}

const FIND = "/instance/fetchInstances?instanceName=loja";
const TARGET = "https://loja.example/webhook";

for (const version of VERSIONS) {
  const v1 = version.startsWith("1.");
  Deno.test(`${version}: says who it is`, () =>
    inVersion(version, async (gateway) => {
      const { status, json } = await call(gateway, "GET", "/");
      assert.deepEqual([status, json.version, gateway.version], [200, version, version]);
      assert.equal("swagger" in json, v1);
      assert.equal("clientName" in json, !v1);
      const credentials = await call(gateway, "POST", "/verify-creds", { body: {} });
      assert.equal(credentials.status, v1 ? 404 : 200);
    }));

  Deno.test(`${version}: restarts by its verb`, () =>
    inVersion(version, async (gateway) => {
      const [right, wrong] = v1 ? ["PUT", "POST"] : ["POST", "PUT"];
      const refused = await call(gateway, wrong, "/instance/restart/loja");
      assert.equal(refused.status, 404);
      assert.match(refused.json.response.message[0], /^Cannot /);
      const { status, json } = await call(gateway, right, "/instance/restart/loja");
      assert.deepEqual([status, json.instance.state], [200, "open"]);
      // 1.x opens a second socket beside the first.
      assert.equal(gateway.instance("loja").sockets, v1 ? 2 : 0);
    }));

  Deno.test(`${version}: ends a session for its own codes`, () =>
    inVersion(version, (gateway) => {
      const final = [];
      for (const code of [401, 402, 403, 406, 408, 428, 440, 515]) {
        gateway.set("loja", "open");
        gateway.disconnect("loja", code);
        if (!gateway.instance("loja").session) final.push(code);
      }
      const expected = v1
        ? [401]
        : version.startsWith("2.4.")
        ? [401, 402, 403, 406, 408]
        : [401, 402, 403, 406];
      assert.deepEqual(final, expected);
    }));
}

Deno.test("1.8.2: fetchInstances wraps each, and shows the memory", () =>
  inVersion("1.8.2", async (gateway) => {
    const { row } = gateway.instance("loja");
    const { json: open } = await call(gateway, "GET", FIND);
    assert.deepEqual(Object.keys(open), ["instance"], "an object for one");
    assert.equal(open.instance.owner, row.ownerJid);
    assert.deepEqual([open.instance.status, open.instance.apikey], ["open", row.token]);
    const { json: own } = await call(gateway, "GET", FIND, { key: row.token });
    assert.deepEqual(own, [open], "a list for the instance's key");

    gateway.set("loja", "close");
    assert.equal(row.connectionStatus, "open");
    const { json: all } = await call(gateway, "GET", "/instance/fetchInstances");
    assert.equal(all[0].instance.status, "close");
    assert.equal("owner" in all[0].instance, false);
    assert.equal("disconnectionReasonCode" in all[0].instance, false);
    const unknown = await call(gateway, "GET", "/instance/fetchInstances?instanceName=ghost");
    assert.equal(unknown.status, 404);
  }));

Deno.test("1.8.2: the webhook is flat, and never null", () =>
  inVersion("1.8.2", async (gateway) => {
    const path = "/webhook/set/loja";
    const find = async () => (await call(gateway, "GET", "/webhook/find/loja")).json;
    const unset = {
      enabled: false,
      url: "",
      events: [],
      webhook_by_events: false,
      webhook_base64: false,
    };
    assert.deepEqual(await find(), unset);
    assert.equal((await call(gateway, "POST", path, { body: { url: "no url" } })).status, 400);
    const unknown = { url: TARGET, events: ["LOGOUT_INSTANCE"] };
    assert.equal((await call(gateway, "POST", path, { body: unknown })).status, 400);
    const set = await call(gateway, "POST", path, {
      body: { url: TARGET, events: ["CONNECTION_UPDATE"], webhook_by_events: true },
    });
    const wanted = {
      enabled: true,
      url: TARGET,
      events: ["CONNECTION_UPDATE"],
      webhook_by_events: true,
      webhook_base64: false,
    };
    assert.equal(set.status, 201);
    assert.deepEqual(set.json, { webhook: { instanceName: "loja", webhook: wanted } });
    assert.deepEqual(await find(), wanted);
    await call(gateway, "POST", path, { body: { enabled: false, url: TARGET } });
    assert.deepEqual(await find(), unset);
  }));

Deno.test("1.8.2: an open instance is not deleted, and create gives the key in an object", () =>
  inVersion("1.8.2", async (gateway) => {
    assert.equal((await call(gateway, "DELETE", "/instance/delete/loja")).status, 400);
    gateway.set("loja", "logged_out");
    assert.equal((await call(gateway, "DELETE", "/instance/delete/loja")).status, 200);
    const { status, json } = await call(gateway, "POST", "/instance/create", {
      body: { instanceName: "nova" },
    });
    assert.equal(status, 201);
    assert.deepEqual(json.hash, { apikey: gateway.instance("nova").row.token });
  }));

Deno.test("2.0.10: the webhook is set by a flat body, and has no headers", () =>
  inVersion("2.0.10", async (gateway) => {
    const set = (body: unknown) => call(gateway, "POST", "/webhook/set/loja", { body });
    const webhook = { enabled: true, url: TARGET, events: ["CALL"] };
    assert.equal((await set({ webhook })).status, 400);
    const { status, json } = await set({
      ...webhook,
      webhookByEvents: true,
      headers: { authorization: "x" },
    });
    assert.deepEqual(
      [status, json.url, json.events, json.webhookByEvents, json.webhookBase64, json.headers],
      [201, TARGET, ["CALL"], true, false, null],
    );
    gateway.upgrade("2.1.1");
    assert.equal((await set(webhook)).status, 400);
  }));

Deno.test("2.2.3: a webhook's url must be one", () =>
  inVersion("2.2.3", async (gateway) => {
    const webhook = { enabled: true, url: "ftp://loja.example", events: ["CALL"] };
    const set = (url: string) =>
      call(gateway, "POST", "/webhook/set/loja", { body: { webhook: { ...webhook, url } } });
    assert.equal((await set("ftp://loja.example")).status, 400);
    assert.equal((await set(TARGET)).status, 201);
    gateway.upgrade("2.3.6");
    assert.equal((await set("ftp://loja.example")).status, 201);
  }));

Deno.test("2.4.0-rc2: logging out twice is no error", () =>
  inVersion("2.4.0-rc2", async (gateway) => {
    gateway.set("loja", "logged_out");
    assert.equal((await call(gateway, "DELETE", "/instance/logout/loja")).status, 200);
    gateway.upgrade("2.3.6");
    assert.equal((await call(gateway, "DELETE", "/instance/logout/loja")).status, 400);
  }));

Deno.test("the control listener changes the version, the mode, or both", () =>
  inVersion("2.3.6", async (gateway) => {
    const put = async (path: string, body: unknown) => {
      const sent = { method: "PUT", body: JSON.stringify(body) };
      const response = await fetch(gateway.controlUrl + path, sent);
      return { status: response.status, json: await response.json() };
    };
    const lost = { condition: "logged_out", code: 408 };
    assert.deepEqual((await put("/instances/loja", lost)).json.legal, [401, 402, 403, 406]);
    assert.equal((await put("/gateway", { version: "2.4.0-rc2" })).status, 200);
    assert.deepEqual([gateway.version, gateway.mode.mode], ["2.4.0-rc2", "up"]);
    assert.equal((await put("/instances/loja", lost)).status, 200);
    assert.equal(gateway.instance("loja").row.disconnectionReasonCode, 408);
    await put("/gateway", { version: "1.8.2", mode: "html" });
    assert.deepEqual([gateway.version, gateway.mode], ["1.8.2", { mode: "html" }]);
    await put("/gateway", { mode: "up" });
    assert.equal(gateway.version, "1.8.2");
    assert.deepEqual((await put("/gateway", { version: "9" })).json.legal, [...VERSIONS]);
  }));
