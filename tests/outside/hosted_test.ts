/**
 * On a hosted project tenants choose the gateways' URLs: nothing but public
 * addresses is ever asked, and no other is told of anything. The function runs
 * in this process, where every request that it sends can be seen.
 */
import assert from "node:assert/strict";
import type { Report } from "../stack/report.ts";
import { NOTHING_DUE } from "./canned.ts";

const PROJECT = "https://abcdefghijklmnopqrst.supabase.co";
const KEY = "sb_secret_for_this_test";

const PRIVATE = [
  "http://127.0.0.1:8080",
  "http://localhost:8080",
  "http://2130706433", // 127.0.0.1, as a number
  "http://0x7f.1",
  "http://0",
  "http://10.1.2.3",
  "http://172.20.0.5:8080",
  "http://192.168.0.10",
  "http://169.254.169.254",
  "http://[::1]:8080",
  "http://[::ffff:127.0.0.1]",
  "http://[fd00::1]",
  "http://kong:8000",
  "http://evolution-api:8080",
  "http://metadata.google.internal",
  "http://printer.local",
];
const PUBLIC = ["https://evolution.example.com", "http://8.8.8.8:8080"];
const NO_URL = ["ftp://evolution.example.com", "javascript:alert(1)", "evolution.example.com"];

/** Where alerts may be to go, and why they do not. */
const RECEIVERS: Record<string, string | null> = {
  "https://hooks.example.com/services/T0/B0?key=1": null,
  "http://127.0.0.1:5432/": "private_address",
  "http://[::1]/": "private_address",
  "http://169.254.169.254/latest": "private_address",
  "http://db.internal/hook": "private_address",
  "https://user:pass@hooks.example.com/": "bad_url",
  "file:///etc/passwd": "bad_url",
};

const urls = [...PRIVATE, ...PUBLIC, ...NO_URL];
const asked: string[] = [];
let results: { id: number; status: string; reason: { code: string } | null }[] = [];
let receiver: string | undefined;
let heartbeat: string | undefined;
let settled: { id: string; delivered: boolean; error: string | null }[] = [];

function alerts() {
  const alert = {
    id: "00000000-0000-4000-8000-000000000000",
    kind: "down",
    attempts: 0,
    instance_name: "loja",
    gateway_url: PUBLIC[0],
    since_ms: 1_767_225_600_000,
  };
  const secret = `whsec_${"A".repeat(43)}=`;
  return { url: receiver, secret, now_ms: 1_767_225_600_000, alerts: [alert] };
}

function database(
  fn: string,
  request: { results: typeof results; alerts: typeof settled },
): unknown {
  if (fn === "whatsapp_monitor_settle_alerts") {
    settled = request.alerts;
    return { settled: [] };
  }
  if (fn === "whatsapp_monitor_finish_tick") {
    results = request.results;
    return {
      written: results.map(({ id }) => id),
      stale: [],
      lost: [],
      report: { due: 0, instances: [] },
      alerts: receiver && alerts(),
      heartbeat: heartbeat && { url: heartbeat, failing: false },
    };
  }
  return {
    ...NOTHING_DUE,
    claimed: urls.length,
    instances: urls.map((gateway_url, id) => ({
      id,
      gateway_url,
      organization_id: "o",
      name: "loja",
      api_key: "k",
      fence: 1,
      version: 0,
      state: null,
    })),
  };
}

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  if (request.url.startsWith(`${PROJECT}/rest/v1/rpc/`)) {
    const { request: argument } = await request.json();
    return Response.json(database(request.url.split("/").at(-1)!, argument));
  }
  asked.push(request.method === "POST" ? request.url : new URL(request.url).origin);
  return Response.json({ instance: { instanceName: "loja", state: "close" } });
};

async function run(): Promise<void> {
  // The names that win over all others, whatever another test has left in the environment.
  Deno.env.set("RENDIZY_SUPABASE_URL", PROJECT);
  Deno.env.set("SERVICE_ROLE_KEY", KEY);
  const { handler } = await import("../../supabase/functions/rendizy-server/index.ts");
  const start = "http://edge.test/rendizy-server/whatsapp/monitor/start?wait=true";
  const response = await handler(new Request(start, { method: "POST", headers: { apikey: KEY } }));
  const report: Report = await response.json();
  assert.equal(report.success, true, JSON.stringify(report));
}

Deno.test("on a hosted project only public addresses are asked", async () => {
  await run();
  const outcome = new Map(results.map(({ id, status, reason }) => [urls[id], { status, reason }]));
  for (const url of PRIVATE) {
    assert.equal(outcome.get(url)?.status, "misconfigured", url);
    assert.equal(outcome.get(url)?.reason?.code, "private_address", url);
  }
  for (const url of NO_URL) assert.equal(outcome.get(url)?.reason?.code, "bad_url", url);
  for (const url of PUBLIC) assert.equal(outcome.get(url)?.status, "connecting", url);
  assert.deepEqual([...new Set(asked)].sort(), PUBLIC.map((url) => new URL(url).origin).sort());
});

Deno.test("on a hosted project only public addresses are given a sign of life", async () => {
  const given = [];
  for (const url of Object.keys(RECEIVERS)) {
    heartbeat = url;
    asked.length = 0;
    await run();
    given.push(...asked.filter((each) => !PUBLIC.some((gateway) => gateway.startsWith(each))));
  }
  heartbeat = undefined;
  const reachable = Object.keys(RECEIVERS).filter((url) => RECEIVERS[url] === null);
  assert.deepEqual(given, reachable.map((url) => new URL(url).origin));
});

Deno.test("on a hosted project only public addresses are told", async () => {
  const told = [];
  for (const [url, error] of Object.entries(RECEIVERS)) {
    receiver = url;
    asked.length = 0;
    await run();
    assert.deepEqual([settled[0].delivered, settled[0].error], [error === null, error], url);
    told.push(...asked.filter((each) => !PUBLIC.includes(each)));
  }
  assert.deepEqual(told, Object.keys(RECEIVERS).filter((url) => RECEIVERS[url] === null));
});
