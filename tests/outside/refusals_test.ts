/**
 * A flood of strangers costs the database one call a minute. The function runs
 * in the test's own process, where the test turns its clock and sees its calls.
 */
import assert from "node:assert/strict";
import { NOTHING_DUE } from "./canned.ts";

const KEY = "sb_secret_of_this_test";
const DATABASE = "http://database.test";
const START = "http://127.0.0.1/rendizy-server/whatsapp/monitor/start";
const FLOOD = 2_000;
const MINUTE_MS = 60_000;

interface Refused {
  source: string;
  why: string;
  count: number;
  ago_ms: number;
}

let calls: { fn: string; refusals: Refused[] }[] = [];
let isAway = false;

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const { request: { refusals, caller } } = await request.json();
  calls.push({ fn: request.url.split("/").at(-1)!, refusals });
  if (isAway) return Response.json({ code: "42501" }, { status: 403 });
  if (refusals) return Response.json({ recorded: 1 });
  return Response.json(caller === "service_key" ? NOTHING_DUE : { outcome: "unauthorized" });
};

let now = 0;
performance.now = () => now;

const background: Promise<unknown>[] = [];
globalThis.EdgeRuntime = { waitUntil: (work) => void background.push(work) };

Deno.env.set("RENDIZY_SUPABASE_URL", DATABASE);
Deno.env.set("SERVICE_ROLE_KEY", KEY);
const { handler } = await import("../../supabase/functions/rendizy-server/index.ts");

/** Strangers knock; gives the calls that it cost. */
async function knock(times: number, headers: Record<string, string> = {}, status = 401) {
  calls = [];
  for (let time = 0; time < times; time++) {
    const response = await handler(new Request(START, { method: "POST", headers }));
    assert.equal(response.status, status);
  }
  await Promise.all(background.splice(0));
  return calls;
}

/** What one call tells. */
const told = (refusals: Refused[]) => [{ fn: "whatsapp_monitor_record_refusals", refusals }];

Deno.test("a flood of strangers costs one call a minute, and all of them are counted", async () => {
  const curl = { "user-agent": "curl/8.5.0" };
  const person = { source: "person", why: "no_token" };
  assert.deepEqual(await knock(1, curl), told([{ ...person, count: 1, ago_ms: 0 }]), "at once");
  assert.deepEqual(await knock(FLOOD, { ...curl, "x-monitor-token": "guess" }), []);
  now += MINUTE_MS - 1;
  assert.deepEqual(await knock(FLOOD, curl), []);
  now += 1;
  assert.deepEqual(
    await knock(FLOOD, { "user-agent": "pg_net/0.20.4" }),
    told([
      { ...person, count: 2 * FLOOD, ago_ms: 1 },
      { source: "pg_cron", why: "no_token", count: 1, ago_ms: 0 },
    ]),
  );
  // Whoever comes much later does not make the others younger.
  now += 60 * MINUTE_MS;
  assert.deepEqual(
    await knock(1, curl),
    told([
      { source: "pg_cron", why: "no_token", count: FLOOD - 1, ago_ms: 60 * MINUTE_MS },
      { ...person, count: 1, ago_ms: 0 },
    ]),
  );
});

Deno.test("tokens of the right shape are asked about, and counted in the same call", async () => {
  now += MINUTE_MS;
  await knock(1);
  const cost = await knock(10, { "x-monitor-token": "0".repeat(64) });
  assert.deepEqual(cost.map(({ fn }) => fn), Array(10).fill("whatsapp_monitor_begin_tick"));
  now += MINUTE_MS;
  const [, tally] = await knock(1, { "x-monitor-token": "0".repeat(64) });
  assert.deepEqual(
    tally.refusals.map(({ source, why, count }) => [source, why, count]),
    [["other", "bad_token", 10], ["other", "bad_token", 1]],
  );
});

Deno.test("whoever is let in takes along the count of those before", async () => {
  const friend = () => knock(1, { apikey: KEY }, 200);
  now += MINUTE_MS;
  await knock(8);
  assert.deepEqual((await friend()).map(({ fn }) => fn), ["whatsapp_monitor_begin_tick"]);
  now += MINUTE_MS;
  const [, tally] = await friend();
  assert.deepEqual(tally.refusals.map(({ count }) => count), [7]);
  now += MINUTE_MS;
  assert.equal((await friend()).length, 1, "nobody was refused");
});

Deno.test("a database that does not take them is not asked more often", async () => {
  isAway = true;
  now += MINUTE_MS;
  assert.equal((await knock(FLOOD)).length, 1);
  isAway = false;
  assert.equal((await knock(FLOOD)).length, 0);
});
