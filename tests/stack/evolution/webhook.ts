/** The webhook row of an instance: what `webhook/set` accepts and what becomes of it. */

/** The 31 event names a webhook can subscribe to, in the order of the server's own list (A28). */
export const EVENTS = [
  "APPLICATION_STARTUP",
  "QRCODE_UPDATED",
  "MESSAGES_SET",
  "MESSAGES_UPSERT",
  "MESSAGES_EDITED",
  "MESSAGES_UPDATE",
  "MESSAGES_DELETE",
  "SEND_MESSAGE",
  "SEND_MESSAGE_UPDATE",
  "CONTACTS_SET",
  "CONTACTS_UPSERT",
  "CONTACTS_UPDATE",
  "PRESENCE_UPDATE",
  "CHATS_SET",
  "CHATS_UPSERT",
  "CHATS_UPDATE",
  "CHATS_DELETE",
  "GROUPS_UPSERT",
  "GROUP_UPDATE",
  "GROUP_PARTICIPANTS_UPDATE",
  "CONNECTION_UPDATE",
  "LABELS_EDIT",
  "LABELS_ASSOCIATION",
  "CALL",
  "TYPEBOT_START",
  "TYPEBOT_CHANGE_STATUS",
  "REMOVE_INSTANCE",
  "LOGOUT_INSTANCE",
  "INSTANCE_CREATE",
  "INSTANCE_DELETE",
  "STATUS_INSTANCE",
];

/** The row, under the names in which it is read (they differ from those in which it is written). */
export interface Webhook {
  id: string;
  url: string;
  headers: Record<string, unknown> | null;
  enabled: boolean;
  events: string[];
  webhookByEvents: boolean;
  webhookBase64: boolean;
  createdAt: string;
  updatedAt: string;
  instanceId: string;
}

/** The settings under the names in which they are written. */
export interface WebhookSettings {
  enabled: boolean;
  url: string;
  events?: string[];
  headers?: Record<string, unknown>;
  byEvents?: boolean;
  base64?: boolean;
}

/** Whether an event of this name (`connection.update`) is sent to this webhook. */
export function wants({ enabled, url, events }: Webhook, event: string): boolean {
  const name = event.toUpperCase().replaceAll(/[.-]/g, "_");
  return enabled && /^https?:\/\//.test(url) && events.includes(name);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The flat body of 2.0 as those after it have it; headers came later, and are not read. */
export function nested(body: Record<string, unknown>): Record<string, unknown> {
  const { enabled, url, events, webhookByEvents: byEvents, webhookBase64: base64 } = body;
  const given = Object.entries({ enabled, url, events, byEvents, base64 })
    .filter(([, value]) => value !== undefined);
  return { webhook: Object.fromEntries(given) };
}

/** The complaints of the server's JSON schema about a body, none if it is legal (A22 to A25). */
export function complaints(body: unknown): string[] {
  if (!isObject(body) || !("webhook" in body)) {
    return ['instance requires property "webhook"'];
  }
  const { webhook } = body;
  if (!isObject(webhook)) return ["webhook is not of a type(s) object"];
  const found: string[] = [];
  const typed = (
    name: string,
    type: string,
    right: (value: unknown) => boolean,
  ) => {
    if (name in webhook && !right(webhook[name])) {
      found.push(`webhook.${name} is not of a type(s) ${type}`);
    }
  };
  typed("enabled", "boolean", (v) => typeof v === "boolean");
  typed("url", "string", (v) => typeof v === "string");
  typed("headers", "object", isObject);
  typed("byEvents", "boolean", (v) => typeof v === "boolean");
  typed("base64", "boolean", (v) => typeof v === "boolean");
  typed("events", "array", Array.isArray);
  if (Array.isArray(webhook.events)) {
    webhook.events.forEach((event, i) => {
      if (!EVENTS.includes(event)) {
        found.push(
          `webhook.events[${i}] is not one of enum values: ${EVENTS.join(",")}`,
        );
      }
    });
  }
  for (const name of ["enabled", "url"]) {
    if (!(name in webhook)) found.push(`webhook requires property "${name}"`);
  }
  return found;
}

/**
 * The row after a legal `webhook/set`. One row per instance, so a set replaces whatever was there.
 *
 * Disabling wipes the events (A31), an empty list means all of them (A28), headers left out stay as
 * they were (A31, A32) and `{}` clears them (G3). The url is not checked (A26, A27).
 * Throws a TypeError when enabled without `events`, as the server does: it answers 500 (A23).
 */
export function written(
  old: Webhook | null,
  settings: WebhookSettings,
  instanceId: string,
  id: string,
  now: string,
): Webhook {
  let events: string[] = [];
  if (settings.enabled) {
    if (!settings.events) {
      throw new TypeError(
        "Cannot read properties of undefined (reading 'length')",
      );
    }
    events = settings.events.length === 0 ? [...EVENTS] : [...settings.events];
  }
  return {
    id: old?.id ?? id,
    url: settings.url,
    headers: settings.headers ?? old?.headers ?? null,
    enabled: settings.enabled,
    events,
    webhookByEvents: settings.byEvents ?? old?.webhookByEvents ?? false,
    webhookBase64: settings.base64 ?? old?.webhookBase64 ?? false,
    createdAt: old?.createdAt ?? now,
    updatedAt: now,
    instanceId,
  };
}
