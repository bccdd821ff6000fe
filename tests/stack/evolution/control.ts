/**
 * The gateway told over HTTP, by another process or by a person with curl. JSON in and out.
 *
 *     GET    /                             the legal words, with their meaning
 *     GET    /instances                    the truth about all of them
 *     PUT    /instances/{name}             {"condition":"logged_out","code":401}
 *     DELETE /instances/{name}
 *     POST   /instances/{name}/scan
 *     POST   /instances/{name}/disconnect  {"code":428}
 *     POST   /instances/{name}/next_qr
 *     POST   /instances/{name}/advance     one step of its dial; POST /advance: of all
 *     POST   /instances/{name}/message     {"text":"oi"}: somebody writes
 *     POST   /instances/{name}/storm       {"count":1000}: so many events of a redial
 *     POST   /reboot                       the Evolution process restarts
 *     GET    /gateway                      url, key, mode, requests in flight
 *     PUT    /gateway                      {"mode":"down"}, {"version":"1.8.2"} or both
 *     GET    /requests                     all that were received
 *     DELETE /requests                     forgets them
 *     GET    /webhooks                     what was sent, and what came of it; DELETE forgets it
 *     PUT    /webhooks                     {"way":"lost"}, see outbox.ts
 *     POST   /webhooks/hold                and POST /webhooks/release {"order":"reversed"}
 *     POST   /webhooks/pass                {"seconds":60}: makes the tries of that time
 */

import { BODIES, type Condition, CONDITION_NAMES, CONDITIONS, DIALS } from "./conditions.ts";
import { type GatewayMode, type ModeName, MODES } from "./faults.ts";
import type { NewMessage } from "./events.ts";
import { DEFAULTS, type Order, ORDERS, WAYS } from "./outbox.ts";
import type { Gateway } from "./server.ts";
import { FINAL_CODES, finalCodes, type Version, VERSIONS } from "./versions.ts";

/** What a field may hold: one of some words, or any value of a type. */
type Rule =
  | readonly (string | number)[]
  | "a number"
  | "a difference"
  | "a text"
  | "a time"
  | "true or false"
  | "200 to 599";

const CONDITION_FIELDS = {
  condition: CONDITION_NAMES,
  code: FINAL_CODES,
  disconnected_at: "a time",
  dials: DIALS,
  dialling: "true or false",
  refuses_restart: "true or false",
  mute: "true or false",
  token: "a text",
  integration: "a text",
  always_online: "true or false",
  delay_ms: "a number",
  status: "200 to 599",
  body: BODIES,
} as const satisfies Record<keyof Condition, Rule>;

const MODE_FIELDS = {
  mode: Object.keys(MODES) as ModeName[],
  delay_ms: "a number",
  root_delay_ms: "a number",
  clock_ahead_ms: "a difference",
  realistic_waits: "true or false",
  status: "200 to 599",
  megabytes: "a number",
  streamed: "true or false",
  to: "a text",
} as const satisfies Record<keyof GatewayMode, Rule>;

const WEBHOOK_FIELDS = {
  timeout_ms: "a number",
  concurrency: "a number",
  copies: "a number",
  late_ms: "a number",
  way: WAYS,
  zone_ms: "a difference",
  exposes_tokens: "true or false",
} as const satisfies Record<keyof typeof DEFAULTS, Rule>;

const MESSAGE_FIELDS = {
  id: "a text",
  text: "a text",
  from: "a text",
  from_me: "true or false",
} as const satisfies Record<keyof Omit<NewMessage, "data">, Rule>;

/** Bad input: the message, and what would have been legal. */
class Illegal extends Error {
  constructor(message: string, readonly legal: unknown, readonly status = 400) {
    super(message);
  }
}

/** Answers one request to the control listener. */
export async function control(
  gateway: Gateway,
  request: Request,
): Promise<Response> {
  try {
    const path = new URL(request.url).pathname;
    const done = await act(gateway, request.method, path, await request.text());
    return Response.json(done ?? { ok: true });
  } catch (error) {
    const { message } = error as Error;
    if (!(error instanceof Illegal)) {
      return Response.json({ error: message }, { status: 500 });
    }
    const { legal, status } = error;
    return Response.json({ error: message, legal }, { status });
  }
}

async function act(
  gateway: Gateway,
  method: string,
  path: string,
  text: string,
) {
  const [, what, encoded, verb] = path.split("/");
  switch (`${method} /${what}`) {
    case "GET /":
      return {
        conditions: meanings(),
        modes: MODES,
        versions: VERSIONS,
        dials: DIALS,
        bodies: BODIES,
      };
    case "GET /gateway": {
      const { url, key, mode, version, inFlight, peakInFlight } = gateway;
      return { url, key, mode, version, inFlight, peakInFlight };
    }
    case "PUT /gateway": {
      const { version, ...mode } = fields<GatewayMode & { version?: Version }>(
        text,
        { ...MODE_FIELDS, version: VERSIONS },
        ["mode", "version"],
      );
      if (version) gateway.upgrade(version);
      if ("mode" in mode) await gateway.behave(mode);
      return;
    }
    case "GET /requests":
      return gateway.requests;
    case "DELETE /requests":
      return gateway.forget();
    case "POST /advance":
      return gateway.advance();
    case "POST /reboot":
      return gateway.reboot();
  }
  if (what === "webhooks") return actOnWebhooks(gateway, method, encoded, text);
  if (what === "instances") {
    if (!encoded && method === "GET") {
      return Object.fromEntries(gateway.instances);
    }
    if (encoded) {
      return actOn(gateway, decodeURIComponent(encoded), method, verb, text);
    }
  }
  throw new Illegal(`no ${method} ${path} here`, ["see GET /"], 404);
}

function actOn(
  gateway: Gateway,
  name: string,
  method: string,
  verb: string,
  text: string,
) {
  if (method === "PUT" && !verb) {
    gateway.set(
      name,
      fields<Condition>(text, { ...CONDITION_FIELDS, code: finalCodes(gateway.version) }),
    );
    return;
  }
  if (!gateway.instances.has(name)) {
    throw new Illegal(
      `no instance "${name}"`,
      [...gateway.instances.keys()].slice(0, 100),
      404,
    );
  }
  switch (verb ? `${method} ${verb}` : method) {
    case "GET":
      return gateway.instance(name);
    case "DELETE":
      return gateway.remove(name);
    case "POST scan":
      return gateway.scan(name);
    case "POST next_qr":
      return gateway.nextQr(name);
    case "POST advance":
      return gateway.advance(name);
    case "POST disconnect":
      return gateway.disconnect(
        name,
        fields<{ code: number }>(text, { code: "a number" }, ["code"]).code,
      );
    case "POST message":
      return { id: gateway.message(name, fields<NewMessage>(text || "{}", MESSAGE_FIELDS)) };
    case "POST storm": {
      const rules = { count: "a number", per_second: "a number" } as const;
      const { count, ...options } = fields<{ count: number }>(text, rules, ["count"]);
      return gateway.webhooks.storm(name, count, options);
    }
  }
  const verbs = ["scan", "disconnect", "next_qr", "advance", "message", "storm"];
  const legal = verbs.map((v) => `POST ${v}`);
  throw new Illegal(`cannot ${method} ${verb ?? ""}`, [
    "GET",
    "PUT",
    "DELETE",
    ...legal,
  ]);
}

function actOnWebhooks({ webhooks }: Gateway, method: string, verb: string, text: string) {
  switch (verb ? `${method} ${verb}` : method) {
    case "GET":
      return { outcomes: webhooks.outcomes(), deliveries: webhooks.deliveries };
    case "DELETE":
      return webhooks.forget();
    case "PUT":
      Object.assign(webhooks.settings, fields(text, WEBHOOK_FIELDS));
      return;
    case "POST hold":
      return webhooks.hold();
    case "POST release":
      return webhooks.release(fields<{ order?: Order }>(text || "{}", { order: ORDERS }).order);
    case "POST pass":
      return webhooks.passTime(
        fields<{ seconds: number }>(text, { seconds: "a number" }, ["seconds"]).seconds,
      );
  }
  const legal = ["GET", "PUT", "DELETE", "POST hold", "POST release", "POST pass"];
  throw new Illegal(`cannot ${method} ${verb ?? ""}`, legal);
}

function meanings(): Record<string, string> {
  const entries = Object.entries(CONDITIONS).map((
    [name, { means }],
  ) => [name, means]);
  return {
    ...Object.fromEntries(entries),
    missing: "There is no such instance (404).",
  };
}

/** The body as an object whose every field is legal, with at least one of the required ones. */
function fields<T>(
  text: string,
  rules: Record<string, Rule>,
  required: string[] = [],
): T {
  const legal = Object.keys(rules);
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new Illegal(
      `the body is not JSON: ${(error as Error).message}`,
      legal,
    );
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Illegal("the body must be a JSON object", legal);
  }
  if (required.length > 0 && !required.some((field) => field in body)) {
    throw new Illegal(`"${required[0]}" is missing`, rules[required[0]]);
  }
  for (const [field, value] of Object.entries(body)) {
    const rule = rules[field];
    if (!rule) throw new Illegal(`unknown field "${field}"`, legal);
    if (!fits(value, rule)) {
      throw new Illegal(`unknown ${field} ${JSON.stringify(value)}`, rule);
    }
  }
  return body;
}

function fits(value: unknown, rule: Rule): boolean {
  switch (rule) {
    case "a number":
      return typeof value === "number" && value >= 0;
    case "a difference":
      return typeof value === "number";
    case "200 to 599":
      return Number.isInteger(value) && Number(value) >= 200 &&
        Number(value) <= 599;
    case "a time":
      return typeof value === "string" && !Number.isNaN(Date.parse(value));
    case "a text":
      return typeof value === "string";
    case "true or false":
      return typeof value === "boolean";
    default:
      return rule.includes(value as string);
  }
}
