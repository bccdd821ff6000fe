/** What Evolution 1.8 answers in its own shape, from the source of 1.8.2. */

import { type Answer, failure, ok } from "./answers.ts";
import { connectionState } from "./instance_routes.ts";
import { type Instance, stateOf } from "./model.ts";
import type { Context, Server } from "./request.ts";
import { EVENTS, type Webhook } from "./webhook.ts";

/** The greeting: a `swagger` link, and no client name. */
export function root({ server: { url, version } }: Context): Answer {
  return ok({
    status: 200,
    message: "Welcome to the Evolution API, it is working!",
    version,
    swagger: `${url}/docs`,
    manager: `${url}/manager`,
    documentation: "https://doc.evolution-api.com",
  });
}

/**
 * An element of `fetchInstances`: wrapped, the status that of the memory, the account only while it
 * is open. `serverUrl`, `apikey` and `integration` are there as exposed by the usual settings.
 */
export function wrapped(instance: Instance, { url }: Server): object {
  const { row } = instance;
  const status = stateOf(instance);
  const account = {
    instanceId: row.id,
    owner: row.ownerJid,
    profileName: row.profileName,
    profilePictureUrl: row.profilePicUrl,
    profileStatus: "",
  };
  return {
    instance: {
      instanceName: row.name,
      ...status === "open" ? account : {},
      status,
      serverUrl: url,
      apikey: row.token,
      integration: row.integration,
    },
  };
}

/** Opens a second socket beside the first; outside `open` it does nothing. */
export function restart(instance: Instance, { model }: Context): Answer {
  const before = connectionState(instance);
  if (instance.memory !== "open") return before;
  instance.sockets = 2;
  instance.dialling = true;
  model.announceState(instance, "connecting");
  return { ...before, wait_ms: 2000 };
}

/** Must be logged out first. */
export function remove(instance: Instance, { model }: Context): Answer {
  if (stateOf(instance) === "open") {
    return failure(400, [`The "${instance.row.name}" instance needs to be disconnected`]);
  }
  model.remove(instance.row.name);
  return ok({ status: "SUCCESS", error: false, response: { message: "Instance deleted" } });
}

/** The events to subscribe to: two of its own, and none of those that came with 2.x. */
export const V1_EVENTS = [
  ...EVENTS.filter((event) =>
    !/_INSTANCE$|^INSTANCE_|^MESSAGES_EDITED$|^SEND_MESSAGE_UPDATE$/.test(event)
  ),
  "NEW_JWT_TOKEN",
  "CHAMA_AI_ACTION",
];

/** Replaces the webhook, by a flat body; disabling clears it. */
export function webhookSet(instance: Instance, { model, body }: Context): Answer {
  const { url, enabled = true, events, webhook_by_events, webhook_base64 } = body;
  if (enabled && !(typeof url === "string" && URL.canParse(url))) {
    return failure(400, [['Invalid "url" property in webhook']]);
  }
  if (!Array.isArray(events ?? []) || (events as unknown[] ?? []).some((e) => !known(e))) {
    return failure(400, [[`events[] is not one of enum values: ${V1_EVENTS.join(",")}`]]);
  }
  const now = new Date().toISOString();
  const webhook: Webhook = {
    id: instance.webhook?.id ?? model.newId(),
    url: enabled ? url as string : "",
    headers: null,
    enabled: enabled === true,
    events: enabled ? events as string[] ?? V1_EVENTS : [],
    webhookByEvents: webhook_by_events === true,
    webhookBase64: webhook_base64 === true,
    createdAt: instance.webhook?.createdAt ?? now,
    updatedAt: now,
    instanceId: instance.row.id,
  };
  instance.webhook = webhook;
  return ok(
    { webhook: { instanceName: instance.row.name, webhook: flat(webhook) } },
    201,
  );
}

/** The webhook, never null: where none is set it is disabled and empty. */
export function webhookFind({ webhook }: Instance): Answer {
  return ok(flat(webhook));
}

function flat(webhook: Webhook | null): object {
  return {
    enabled: webhook?.enabled ?? false,
    url: webhook?.url ?? "",
    events: webhook?.events ?? [],
    webhook_by_events: webhook?.webhookByEvents ?? false,
    webhook_base64: webhook?.webhookBase64 ?? false,
  };
}

const known = (event: unknown) => V1_EVENTS.includes(event as string);
