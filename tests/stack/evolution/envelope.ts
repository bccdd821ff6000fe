/** What a webhook looks like on the wire: its address, its headers, its body, and its retries. */

import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import type { Event } from "./events.ts";
import type { Instance } from "./model.ts";
import type { Version } from "./versions.ts";
import type { Webhook } from "./webhook.ts";

/** What a server puts into every envelope. */
export interface Sender {
  /** The gateway's own address. */
  url: string;
  version: Version;
  /** True UTC, by the gateway's clock. */
  at: number;
  /** The time zone: `date_time` is local time with a Z (L2). */
  zone_ms: number;
  /** `AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES`: `apikey` is the instance's token, else null. */
  exposes_token: boolean;
}

/** A webhook's body; `sender` is missing before the first login of the process. */
export interface Envelope {
  event: string;
  instance: string;
  data: unknown;
  destination: string;
  date_time: string;
  sender?: string;
  server_url: string;
  apikey: string | null;
}

/** What is sent once and tried again unchanged (G2b). */
export interface Message {
  readonly instance: string;
  /** `connection.update` … */
  readonly event: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Envelope;
}

/** The message by which an event goes to an instance's webhook. */
export function messageOf(
  instance: Instance,
  webhook: Webhook,
  { name, data }: Event,
  sender: Sender,
): Message {
  const { row } = instance;
  const body: Envelope = {
    event: name,
    instance: row.name,
    data,
    destination: webhook.url,
    date_time: new Date(sender.at + sender.zone_ms).toISOString(),
    ...instance.sender && row.ownerJid ? { sender: row.ownerJid } : {},
    server_url: sender.url,
    apikey: sender.exposes_token ? row.token : null,
  };
  // G3: the destination does not show it.
  const path = webhook.webhookByEvents ? `/${name.replaceAll(".", "-")}` : "";
  const headers = headersOf(instance, webhook, name, sender);
  return { instance: row.name, event: name, url: webhook.url + path, headers, body };
}

function headersOf(
  { row }: Instance,
  webhook: Webhook,
  event: string,
  { version, at }: Sender,
): Record<string, string> {
  const headers: Record<string, string> = {
    "accept": "application/json, text/plain, */*",
    "content-type": "application/json",
    "user-agent": "axios/1.12.2",
    "accept-encoding": "gzip, compress, deflate, br",
  };
  for (const [name, value] of Object.entries(webhook.headers ?? {})) {
    if (version < "2.1.1") break;
    if (name === "jwt_key" && version >= "2.2.3") {
      headers["authorization"] = `Bearer ${jwt(String(value), at)}`;
    } else headers[name] = String(value);
  }
  if (version.startsWith("2.4.")) {
    headers["x-instance-id"] = row.id;
    headers["x-instance-name"] = encodeURIComponent(row.name);
    headers["x-event-type"] = event;
    headers["x-timestamp"] = new Date(at).toISOString();
  }
  return headers;
}

/** Made once per event and good for 10 minutes, however long it is tried. */
function jwt(key: string, at: number): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const iat = Math.floor(at / 1000);
  const claims = { iat, exp: iat + 600, app: "evolution", action: "webhook" };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

/** How a version tries again. */
export interface Retries {
  /** How often in all. */
  tries: number;
  /** The answers after which it does not. */
  drops: readonly number[];
  /** Whether a try ends after `timeout_ms`. */
  timed: boolean;
  /** How long it waits after a try, the first being 1; `random` is from 0 to 1. */
  wait_ms(attempt: number, random: number): number;
}

/** The retries of a version. */
export function retriesOf(version: Version): Retries {
  if (version >= "2.3") {
    return {
      tries: 10,
      drops: [400, 401, 403, 404, 422], // G2a
      timed: true,
      // G2b: doubling, capped, with 20 % of jitter, never below the first.
      wait_ms: (attempt, random) =>
        Math.max(5_000, Math.min(5_000 * 2 ** (attempt - 1), 300_000) * (0.8 + 0.4 * random)),
    };
  }
  const tries = version >= "2.2.1" ? 10 : 1;
  return { tries, drops: [], timed: false, wait_ms: () => 30_000 };
}
