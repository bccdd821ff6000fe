/** The events that Evolution announces: their names and data. */

import type { Instance } from "./model.ts";
import { isV1, type Version } from "./versions.ts";

/** One event, before it is put into an envelope. */
export interface Event {
  /** `connection.update` … */
  name: string;
  data: unknown;
}

/** `connection.update`. 2.x names the account where it has one (C7-2, F4-3), 1.x never does. */
export function stateUpdate(
  { row }: Instance,
  state: string,
  statusReason: number,
  version: Version,
): Event {
  const data: Record<string, unknown> = { instance: row.name, state, statusReason };
  if (!isV1(version) && row.ownerJid) {
    if (state === "open" || state === "refused") data.wuid = row.ownerJid;
    if (state === "open") data.profileName = row.profileName;
  }
  return { name: "connection.update", data };
}

/** A new QR is on offer (C6-1). */
export function qrUpdate({ row, qr }: Instance): Event {
  const { count: _, ...shown } = qr;
  return { name: "qrcode.updated", data: { qrcode: { instance: row.name, ...shown } } };
}

/** The last QR went unscanned (F4-2). */
export function qrLimit(): Event {
  const data = { message: "QR code limit reached, please login again", statusCode: 500 };
  return { name: "qrcode.updated", data };
}

/** The orders in which the three events of a final logout were recorded (E, F1). */
const ORDERS = [[0, 1, 2], [1, 2, 0], [2, 1, 0]];

/** What a final logout announces, each time in another order. */
export function finalLogout(
  instance: Instance,
  code: number,
  version: Version,
  nth: number,
): Event[] {
  const { name, disconnectionAt, disconnectionReasonCode, disconnectionObject } = instance.row;
  const reason = { disconnectionAt, disconnectionReasonCode, disconnectionObject };
  const status = { instance: name, status: "closed", ...isV1(version) ? {} : reason };
  const events = [
    { name: "status.instance", data: status },
    { name: "logout.instance", data: null },
    stateUpdate(instance, "close", code, version),
  ];
  return ORDERS[nth % ORDERS.length].map((i) => events[i]);
}

/** What can be told of a received message. */
export interface NewMessage {
  /** Its `key.id`; a new one if not given. */
  id?: string;
  text?: string;
  /** The chat. */
  from?: string;
  from_me?: boolean;
  /** Anything else in `data`, in place of what is there. */
  data?: Record<string, unknown>;
}

let messages = 0;

/** `messages.upsert`: one object (H1-1). */
export function messageUpsert({ row }: Instance, message: NewMessage): Event {
  const data = {
    key: {
      remoteJid: message.from ?? "5511988887777@s.whatsapp.net",
      fromMe: message.from_me ?? false,
      id: message.id ?? `FAKE${String(++messages).padStart(8, "0")}`,
    },
    pushName: "Cliente Teste",
    status: "SERVER_ACK",
    message: { conversation: message.text ?? "oi" },
    messageType: "conversation",
    messageTimestamp: Math.floor(Date.now() / 1000),
    instanceId: row.id,
    source: "unknown",
    ...message.data,
  };
  return { name: "messages.upsert", data };
}
