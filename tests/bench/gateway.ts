/**
 * The benchmark's gateway, in a process of its own: the right shapes, settable latency, next to no
 * work. The simulated one (`tests/stack/evolution/`) is true to life, and ten times as slow.
 *
 * Every hundredth instance is not `open` where the share is 1 %: it redials, as far as its row tells.
 */
import type { GatewayOrder, Traffic } from "./traffic.ts";

const KEY = Deno.args[0];
/** Where the benchmark itself asks. */
const CONTROL = "/.bench";

let order: GatewayOrder = { latency_ms: 0, one_percent: false };
let traffic: Traffic = { requests: 0, bytes: 0 };

function isOpen(name: string): boolean {
  return !order.one_percent || !name.endsWith("99");
}

function state(name: string) {
  return { instance: { instanceName: name, state: isOpen(name) ? "open" : "close" } };
}

const SETTING = {
  id: "cmwtbmun60000ky7d2v9j5cp9",
  rejectCall: false,
  msgCall: "",
  groupsIgnore: false,
  alwaysOnline: false,
  readMessages: false,
  readStatus: false,
  syncFullHistory: false,
  wavoipToken: "",
  createdAt: "2026-11-23T13:48:25.890Z",
  updatedAt: "2026-11-23T13:48:25.890Z",
  instanceId: "8a3b04ff-3226-41a7-8ef9-0ccf0a3993ff",
};

function row(name: string) {
  const absent = [
    "number",
    "businessId",
    "disconnectionReasonCode",
    "disconnectionObject",
    "disconnectionAt",
    ...["Chatwoot", "Proxy", "Rabbitmq", "Nats", "Sqs", "Websocket"],
  ];
  return {
    id: SETTING.instanceId,
    name,
    connectionStatus: "open",
    ownerJid: "5511999990000@s.whatsapp.net",
    profileName: "Pousada",
    profilePicUrl: null,
    integration: "WHATSAPP-BAILEYS",
    token: "2768D23D-F4E6-415C-B6C6-000000000000",
    clientName: "evolution_exchange",
    createdAt: SETTING.createdAt,
    updatedAt: SETTING.updatedAt,
    ...Object.fromEntries(absent.map((key) => [key, null])),
    Setting: SETTING,
    _count: { Message: 0, Contact: 0, Chat: 0 },
  };
}

const WEBHOOK = {
  id: "cmwtbmuof0001ky7dqnopcfho",
  url: "https://project.example/functions/v1/rendizy-server/whatsapp/webhook",
  headers: null,
  enabled: true,
  events: ["CONNECTION_UPDATE"],
  webhookByEvents: false,
  webhookBase64: false,
  createdAt: SETTING.createdAt,
  updatedAt: SETTING.updatedAt,
  instanceId: SETTING.instanceId,
};

const VERSION = {
  status: 200,
  message: "Welcome to the Evolution API, it is working!",
  version: "2.3.6",
  clientName: "evolution_exchange",
};

/** The answer's status and body. */
function answer(path: string, query: URLSearchParams): [number, unknown] {
  const [area, route, name = ""] = path.slice(1).split("/").map(decodeURIComponent);
  switch (`${area}/${route ?? ""}`) {
    case "/":
      return [200, VERSION];
    case "instance/connectionState":
      return [200, state(name)];
    case "instance/fetchInstances":
      return [200, [row(query.get("instanceName") ?? "")]];
    case "instance/setPresence":
      return [201, { presence: "unavailable" }];
    case "instance/restart":
      return [200, isOpen(name) ? state(name) : { error: true, message: "[object Object]" }];
    case "instance/connect":
      return [200, isOpen(name) ? state(name) : { count: 0 }];
    case "settings/find":
      return [200, SETTING];
    case "webhook/find":
      return [200, WEBHOOK];
    case "webhook/set":
      return [201, WEBHOOK];
    default:
      return [404, { status: 404, error: "Not Found", response: { message: [`Cannot ${path}`] } }];
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
  const asked = request.body ? (await request.arrayBuffer()).byteLength : 0;
  const [status, body] = request.headers.get("apikey") === KEY || url.pathname === "/"
    ? answer(url.pathname, url.searchParams)
    : [401, { status: 401, error: "Unauthorized", response: { message: "Unauthorized" } }];
  const text = JSON.stringify(body);
  traffic.requests++;
  traffic.bytes += asked + text.length;
  if (order.latency_ms > 0) await new Promise((done) => setTimeout(done, order.latency_ms));
  return new Response(text, { status, headers: { "content-type": "application/json" } });
});
console.log(server.addr.port);

// The parent holds our standard input open, and ends us by closing it.
for await (const _ of Deno.stdin.readable) { /* nothing is ever sent */ }
await server.shutdown();
