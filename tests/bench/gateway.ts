/**
 * The benchmark's gateway, in a process of its own: the right shapes, settable latency, next to no
 * work. The simulated one (`tests/stack/evolution/`) is true to life, and ten times as slow.
 *
 * Every hundredth instance is not `open` where the share is 1 %: it redials, as far as its row tells.
 * Each keeps the webhook that it is given.
 */
import { type Answer, errorObject, failure, ok, unauthorized } from "../stack/evolution/answers.ts";
import { CLIENT_NAME, DEFAULT_SETTING, listed } from "../stack/evolution/row.ts";
import { type Webhook, written } from "../stack/evolution/webhook.ts";
import type { GatewayOrder, Traffic } from "./traffic.ts";

const KEY = Deno.args[0];
/** Where the benchmark itself asks. */
const CONTROL = "/.bench";

let order: GatewayOrder = { latency_ms: 0, one_percent: false };
let traffic: Traffic = { requests: 0, bytes: 0 };
/** By the instance's name. */
const webhooks = new Map<string, Webhook>();

function isOpen(name: string): boolean {
  return !order.one_percent || !name.endsWith("99");
}

function state(name: string): Answer {
  return ok({ instance: { instanceName: name, state: isOpen(name) ? "open" : "close" } });
}

const INSTANCE_ID = "8a3b04ff-3226-41a7-8ef9-0ccf0a3993ff";
const CREATED_AT = "2026-11-23T13:48:25.890Z";

function row(name: string) {
  return listed({
    row: {
      id: INSTANCE_ID,
      name,
      connectionStatus: "open",
      ownerJid: "5511999990000@s.whatsapp.net",
      profileName: "Pousada",
      profilePicUrl: null,
      integration: "WHATSAPP-BAILEYS",
      number: null,
      token: "2768D23D-F4E6-415C-B6C6-000000000000",
      disconnectionReasonCode: null,
      disconnectionObject: null,
      disconnectionAt: null,
      createdAt: CREATED_AT,
      updatedAt: CREATED_AT,
    },
    setting: { ...DEFAULT_SETTING, id: "cmwtbmun60000ky7d2v9j5cp9" },
  });
}

function setWebhook(name: string, { webhook }: Parsed): Answer {
  const before = webhooks.get(name) ?? null;
  const id = "cmwtbmuof0001ky7dqnopcfho";
  const after = written(before, webhook, INSTANCE_ID, id, CREATED_AT);
  webhooks.set(name, after);
  return ok(after, 201);
}

const VERSION = {
  status: 200,
  message: "Welcome to the Evolution API, it is working!",
  version: "2.3.6",
  clientName: CLIENT_NAME,
};

// deno-lint-ignore no-explicit-any -- the contestants are no strangers
type Parsed = any;

function answer(path: string, query: URLSearchParams, body: string): Answer {
  const [area, route, name = ""] = path.slice(1).split("/").map(decodeURIComponent);
  switch (`${area}/${route ?? ""}`) {
    case "/":
      return ok(VERSION);
    case "instance/connectionState":
      return state(name);
    case "instance/fetchInstances":
      return ok([row(query.get("instanceName") ?? "")]);
    case "instance/setPresence":
      return ok({ presence: "unavailable" }, 201);
    case "instance/restart":
      return isOpen(name) ? state(name) : errorObject();
    case "instance/connect":
      return isOpen(name) ? state(name) : ok({ count: 0 });
    case "settings/find":
      return ok(DEFAULT_SETTING);
    case "webhook/find":
      return ok(webhooks.get(name) ?? null);
    case "webhook/set":
      return setWebhook(name, JSON.parse(body));
    default:
      return failure(404, [`Cannot ${path}`]);
  }
}

/** What the benchmark itself wants: a GET gives the traffic, a POST changes the order; both reset it. */
async function control(request: Request): Promise<Response> {
  if (request.method === "POST") order = await request.json();
  const before = traffic;
  traffic = { requests: 0, bytes: 0 };
  return Response.json(before);
}

const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
  const url = new URL(request.url);
  if (url.pathname === CONTROL) return await control(request);
  const asked = request.body ? await request.text() : "";
  const { status, body } = request.headers.get("apikey") === KEY || url.pathname === "/"
    ? answer(url.pathname, url.searchParams, asked)
    : unauthorized();
  const text = JSON.stringify(body);
  traffic.requests++;
  traffic.bytes += asked.length + text.length;
  if (order.latency_ms > 0) await new Promise((done) => setTimeout(done, order.latency_ms));
  return new Response(text, { status, headers: { "content-type": "application/json" } });
});
console.log(server.addr.port);

// The parent holds our standard input open, and ends us by closing it.
for await (const _ of Deno.stdin.readable) { /* nothing is ever sent */ }
await server.shutdown();
