/** What the database holds of an instance: its row and its settings. */

import type { RowStatus } from "./conditions.ts";

/** The settings of an instance, as `settings/find` shows them. */
export interface Setting {
  rejectCall: boolean;
  msgCall: string;
  groupsIgnore: boolean;
  alwaysOnline: boolean;
  readMessages: boolean;
  readStatus: boolean;
  syncFullHistory: boolean;
  wavoipToken: string;
}

/** The `Instance` row of the database. */
export interface Row {
  id: string;
  name: string;
  connectionStatus: RowStatus;
  ownerJid: string | null;
  profileName: string | null;
  profilePicUrl: string | null;
  integration: string;
  number: string | null;
  token: string;
  disconnectionReasonCode: number | null;
  /** A JSON string inside JSON: parse twice. */
  disconnectionObject: string | null;
  /** True UTC, other than the `date_time` of webhooks (L2). */
  disconnectionAt: string | null;
  createdAt: string;
  updatedAt: string;
}

/** What the server calls itself. */
export const CLIENT_NAME = "evolution_exchange";

/** Those of an instance that was created without any. */
export const DEFAULT_SETTING: Setting = {
  rejectCall: false,
  msgCall: "",
  groupsIgnore: false,
  alwaysOnline: false,
  readMessages: false,
  readStatus: false,
  syncFullHistory: false,
  wavoipToken: "",
};

/** The row as `fetchInstances` lists it, with its relations; the webhook is not among them. */
export function listed({ row, setting }: { row: Row; setting: Setting & { id: string } }): object {
  const { id, createdAt } = row;
  const relations = {
    Chatwoot: null,
    Proxy: null,
    Rabbitmq: null,
    Nats: null,
    Sqs: null,
    Websocket: null,
  };
  return {
    ...row,
    businessId: null,
    clientName: CLIENT_NAME,
    ...relations,
    Setting: { ...setting, createdAt, updatedAt: createdAt, instanceId: id },
    _count: { Message: 0, Contact: 0, Chat: 0 },
  };
}

/**
 * Writes the reason of a final disconnect, or takes it out of the row. An own logout is known by its
 * words: WhatsApp gave no reason then (F1).
 */
export function writeReason(row: Row, code: number | null, at: string, own?: string): void {
  row.disconnectionReasonCode = code;
  row.disconnectionAt = code === null ? null : at;
  row.disconnectionObject = code === null ? null : JSON.stringify({
    error: {
      data: own ? null : { reason: String(code) },
      isBoom: true,
      isServer: false,
      output: {
        statusCode: code,
        payload: {
          statusCode: code,
          error: HTTP_NAMES[code],
          message: own ?? "Connection Failure",
        },
        headers: {},
      },
    },
    date: at,
  });
}

const HTTP_NAMES: Record<number, string> = {
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  406: "Not Acceptable",
  408: "Request Time-out",
};
