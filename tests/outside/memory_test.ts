/**
 * The wasm memory stays flat over 10,000 triggers and all that is refused
 * between them. The function runs in the test's own process, where its memory
 * can be seen; the answers of the database and of the gateways are canned.
 */
import assert from "node:assert/strict";
import { initSync } from "../../pkg/whatsapp_monitor.js";

const TRIGGERS = 10_000;
const WARM_UP = 1_000;
/** Triggers in flight at the same time. */
const AT_ONCE = 8;
/**
 * What Rust may seem to hold more than before, in bytes: the least it can hold
 * for each trigger would be twenty times as much.
 */
const TOLERANCE = 8 * 1024;

const KEY = "sb_secret_of_the_test";
const DATABASE = "http://database.test";

// ------------------------------------------------------------------------------------------------
// The world: canned answers, and instances whose state changes
// ------------------------------------------------------------------------------------------------

/** What gateways answer when they are asked for an instance's state, one after the other. */
const STATES: [status: number, body: string][] = [
  [200, '{"instance":{"state":"open"}}'],
  [200, '{"instance":{"state":"close"}}'],
  [500, '{"status":500,"error":"Internal Server Error"}'],
  [200, '{"instance":{"state":"connecting"}}'],
  [502, `<html>${"<p>Bad Gateway</p>".repeat(200)}</html>`],
  [200, '{"instance":{}}'],
  [401, '{"status":401,"error":"Unauthorized"}'],
  [404, '{"response":{"message":["The instance does not exist"]}}'],
  [200, `{"instance":{"state":"open","padding":"${"x".repeat(300_000)}"}}`],
];

const encoded = new Map(STATES.map(([, body]) => [body, new TextEncoder().encode(body)]));

/** The rows that they have of it. */
const ROWS = [
  { connectionStatus: "open" },
  { connectionStatus: "connecting" },
  { connectionStatus: "close", disconnectionReasonCode: 401, disconnectionAt: "2026-01-01" },
];

/** As many as the ticks at one time can hold. */
const instances = Array.from({ length: AT_ONCE * 3 }, (_, index) => ({
  id: index + 1,
  organization_id: "loja",
  gateway_url: `http://gateway-${index % 2}.test`,
  name: `Pousada São João / ${index}`,
  api_key: "the-key-of-the-gateway",
  fence: 1,
  version: 0,
  state: null as unknown,
  status: "unknown",
  isHeld: false,
  /** Whether somebody else has written it since it was claimed. */
  isDisturbed: false,
}));

const SETTINGS = {
  interval_s: 30,
  down_after_checks: 3,
  down_after_s: 55,
  up_after_checks: 2,
  request_timeout_ms: 8000,
  concurrency: 16,
  tick_budget_ms: 20000,
  batch_size: 200,
};

let calls = 0;

/** Each nth call is something else. */
const turn = <T>(choices: T[]) => choices[calls++ % choices.length];

/** Every other answer says how long it is; the rest is streamed. */
function answer(status: number, text: string): Response {
  const body = encoded.get(text) ?? new TextEncoder().encode(text);
  const headers: HeadersInit[] = [{ "content-length": String(body.length) }, {}];
  return new Response(body, { status, headers: turn(headers) });
}

function report() {
  const reported = instances.map(({ id, organization_id, name, status }) => ({
    id,
    organization_id,
    instance_name: name,
    status,
    since: "2026-01-01T00:00:00+00:00",
    reason: null,
    next_check_at: null,
  }));
  return { instances: reported, due: 0 };
}

function beginTick(wanted: { report: boolean }) {
  const claimed = instances.filter(({ isHeld }) => !isHeld).slice(0, turn([3, 3, 3, 0]));
  for (const instance of claimed) Object.assign(instance, { isHeld: true, isDisturbed: false });
  return {
    outcome: "accepted",
    now: "2026-01-01T00:00:00+00:00",
    now_ms: 1_767_225_600_000 + calls * 1000,
    settings: SETTINGS,
    claimed: claimed.length,
    instances: claimed,
    gateways: [0, 1].map((index) => ({
      url: `http://gateway-${index}.test`,
      version: "2.3.6",
      version_due: turn([false, false, true]),
      state: null,
      state_version: 0,
    })),
    more_due: false,
    alerts_due: true,
    heartbeat_due: turn([true, false]),
    report: wanted.report && claimed.length === 0 ? report() : null,
  };
}

/** What somebody is to be told, and would not hear half of the time. */
function alerts() {
  return {
    url: "http://receiver.test/hook?key=1",
    secret: `whsec_${"A".repeat(43)}=`,
    now_ms: 1_767_225_600_000,
    alerts: ["down", "up"].map((kind) => ({
      id: crypto.randomUUID(),
      kind,
      attempts: 0,
      organization_id: "loja",
      instance_name: "Pousada São João / <!channel>",
      gateway_url: "http://gateway-1.test",
      since_ms: 1_767_225_600_000 - calls * 1000,
      until_ms: kind === "up" ? 1_767_225_600_000 : null,
      reason: turn([null, { code: "401", text: "…" }]),
    })),
  };
}

interface Finish {
  max_alerts: number;
  heartbeat: boolean;
  report: boolean;
  results: { id: number; version: number; status: string; state: unknown }[];
}

function finishTick({ max_alerts, heartbeat, report: wanted, results }: Finish) {
  const written = [];
  const stale = [];
  for (const { id, version, status, state } of results) {
    const instance = instances[id - 1];
    if (!instance.isDisturbed && turn([false, false, false, false, false, false, true])) {
      instance.isDisturbed = true;
      instance.version++;
    }
    if (version === instance.version) {
      Object.assign(instance, { status, state, version: version + 1, isHeld: false });
      written.push(id);
    } else {
      stale.push({ id, version: instance.version, state: instance.state });
    }
  }
  const told = max_alerts > 0 && stale.length === 0 ? turn([alerts, null, null]) : null;
  const sign = heartbeat && stale.length === 0 && turn([true, false]);
  return {
    written,
    stale,
    lost: [],
    report: wanted ? report() : null,
    alerts: told?.(),
    heartbeat: sign ? { url: "http://receiver.test/hook?key=2" } : null,
  };
}

/** Whose event it is. */
function beginEvent({ state }: { state: boolean }) {
  const settings = SETTINGS;
  const instance = { id: 1, now_ms: 1_767_225_600_000, settings, version: 0, state: null };
  return { outcome: "accepted", noted: turn([true, false]), instance: state ? instance : null };
}

/** Somebody else has always written meanwhile, once. */
function finishEvent({ result }: { result: { version: number } | null }) {
  return result?.version === 0
    ? { outcome: "stale", version: 1, state: null }
    : { outcome: "written" };
}

let settled = 0;

function settleAlerts({ alerts }: { alerts: { id: string; delivered: boolean }[] }) {
  settled += alerts.filter(({ delivered }) => delivered).length;
  return { settled: alerts.map(({ id }) => id) };
}

globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  const { pathname, searchParams } = new URL(request.url);
  if (request.url.startsWith(DATABASE)) {
    const { request: asked } = await request.json();
    const fn = pathname.split("whatsapp_monitor_")[1];
    const all = {
      begin_tick: beginTick,
      finish_tick: finishTick,
      settle_alerts: settleAlerts,
      record_actions: () => ({ granted: [], refused: [] }),
      begin_event: beginEvent,
      finish_event: finishEvent,
      record_refusals: () => ({ recorded: 1 }),
      health: () => ({ interval_s: 30, age_ms: 12_345 }),
    };
    return answer(200, JSON.stringify(all[fn as keyof typeof all](asked)));
  }
  if (pathname.startsWith("/instance/connectionState/")) return answer(...turn(STATES));
  if (pathname === "/instance/fetchInstances") {
    const name = searchParams.get("instanceName");
    return answer(200, JSON.stringify([{ name, ...turn(ROWS) }]));
  }
  if (pathname === "/hook") {
    await request.body?.cancel();
    return answer(turn([200, 500]), "x".repeat(10_000));
  }
  return answer(200, '{"version":"2.3.6"}');
};

const background = new Set<Promise<unknown>>();
globalThis.EdgeRuntime = {
  waitUntil(work) {
    background.add(work);
    work.finally(() => background.delete(work));
  },
};

// ------------------------------------------------------------------------------------------------
// The function
// ------------------------------------------------------------------------------------------------

/** Loads the function; gives its handler and the sets that it has made for itself. */
async function load() {
  console.log = () => {}; // tens of thousands of lines
  Deno.env.set("RENDIZY_SUPABASE_URL", DATABASE);
  Deno.env.set("SERVICE_ROLE_KEY", KEY);
  const sets: Set<unknown>[] = [];
  const Original = Set;
  globalThis.Set = class<T> extends Original<T> {
    constructor(values?: Iterable<T> | null) {
      super(values);
      sets.push(this);
    }
  } as SetConstructor;
  const { handler } = await import("../../supabase/functions/rendizy-server/index.ts");
  globalThis.Set = Original;
  return { handler, sets };
}

const { handler, sets } = await load();

const START = "http://127.0.0.1/rendizy-server/whatsapp/monitor/start";
const HEALTH = "http://127.0.0.1/rendizy-server/whatsapp/monitor/health";

async function ask(status: number, url: string, init: RequestInit = {}): Promise<void> {
  const headers = { apikey: KEY, ...init.headers };
  const response = await handler(new Request(url, { method: "POST", ...init, headers }));
  const text = await response.text();
  assert.equal(response.status, status, text);
}

const WEBHOOK = "http://127.0.0.1/rendizy-server/whatsapp/webhook";

/** Events of a few instances. */
const EVENTS = [
  { event: "connection.update", instance: "loja", data: { state: "connecting" } },
  { event: "connection.update", instance: "loja", data: { state: "open" } },
  { event: "messages.upsert", data: { key: { id: "A" }, text: "x".repeat(20_000) } },
  { event: "presence.update", data: null },
];

const deliver = () =>
  ask(200, WEBHOOK, {
    headers: { "x-monitor-webhook-secret": turn(["a", "b", "c"]).repeat(64) },
    body: JSON.stringify(turn(EVENTS)),
  });

const stream = (text: string) => new Blob([text]).stream();

/** What is refused, each for its own reason. */
const REFUSED: (() => Promise<void>)[] = [
  () => ask(401, START, { headers: { apikey: "wrong" } }),
  () => ask(400, START, { body: '{"organization_id":5}' }),
  () => ask(400, START, { body: stream("{") }),
  () => ask(413, START, { headers: { "content-length": "10000000" }, body: stream("{}") }),
  () => ask(413, START, { body: stream(" ".repeat(100_000)) }),
  () => ask(400, `${START}?wait=maybe`),
  () => ask(404, `${START}/nowhere`),
  () => ask(405, START, { method: "DELETE" }),
  () => ask(401, WEBHOOK, { body: "{}" }),
  () => ask(400, WEBHOOK, { headers: { "x-monitor-webhook-secret": "a".repeat(64) } }),
  () => ask(204, START, { method: "OPTIONS" }),
];

/** Triggers, every other one waited for, and with every second one something that is refused. */
async function run(triggers: number): Promise<void> {
  for (let done = 0; done < triggers; done += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, async (_, index) => {
      await ask(200, `${START}?wait=${index % 2 === 0}`, {
        body: turn([undefined, "{}", '{"organization_id":"loja"}']),
      });
      await deliver();
      if (index % 2 === 0) await turn(REFUSED)();
      else await ask(200, HEALTH, { method: turn(["GET", "HEAD"]) });
    }));
    await Promise.all(background);
  }
}

const instance = () => initSync({ module: new Uint8Array() }); // no second one: the one there is
const wasm = instance();

/** The size of the blocks by which free memory is measured, in bytes. */
const BLOCK = 1024;

/** The bytes that Rust holds: all that it has, less what it can hand out before it needs more. */
function held(): number {
  const has = wasm.memory.buffer.byteLength;
  const blocks: number[] = [];
  while (wasm.memory.buffer.byteLength === has) blocks.push(wasm.__wbindgen_malloc(BLOCK, 1));
  for (const block of blocks) wasm.__wbindgen_free(block, BLOCK, 1);
  return has - blocks.length * BLOCK;
}

Deno.test("the wasm memory stays flat over 10,000 triggers", async () => {
  await run(WARM_UP);
  const heldBefore = held();
  const bytes = wasm.memory.buffer.byteLength;
  const references = wasm.__wbindgen_externrefs.length;

  await run(TRIGGERS);
  assert.equal(wasm.memory.buffer.byteLength, bytes);
  assert.equal(wasm.__wbindgen_externrefs.length, references, "references to JavaScript's objects");
  const heldAfter = held();
  assert(heldAfter <= heldBefore + TOLERANCE, `Rust holds ${heldAfter - heldBefore} bytes more`);

  // On the other side nothing is left either, and all of it went through one instance.
  assert(sets.length > 0);
  for (const set of sets) assert.equal(set.size, 0, "nobody waits for a generation's death");
  assert.equal(background.size, 0);
  assert.equal(instance(), wasm);
  assert(settled > TRIGGERS / 10, `${settled} alerts were delivered`);

  // This could fail: the least that each trigger could leave behind would be seen.
  for (let trigger = 0; trigger < TRIGGERS; trigger++) wasm.__wbindgen_malloc(1, 1);
  assert(held() > heldAfter + TOLERANCE);
});
