/** The routes that are not about one instance alone. */

import { type Answer, databaseDown, failure, ok, unauthorized } from "./answers.ts";
import { connect } from "./instance_routes.ts";
import type { Instance, Model } from "./model.ts";
import { CLIENT_NAME, listed, type Setting } from "./row.ts";
import { wrapped } from "./v1.ts";
import { isV1 } from "./versions.ts";
import type { Context } from "./request.ts";
import { type WebhookSettings, written } from "./webhook.ts";

/** The greeting, without a key: the version is in it (A1). */
export function root({ server: { url, version } }: Context): Answer {
  const lookedUp = version >= "2.3" ? { whatsappWebVersion: "2.3000.1027934701" } : {};
  return ok({
    status: 200,
    message: "Welcome to the Evolution API, it is working!",
    version,
    clientName: CLIENT_NAME,
    manager: `${url}/manager`,
    documentation: "https://doc.evolution-api.com",
    ...lookedUp,
  });
}

/** Accepts only the global key (A48, A49). */
export function verifyCreds({ server, key }: Context): Answer {
  return key === server.key
    ? ok({ status: 200, message: "Credentials are valid" })
    : unauthorized();
}

/** Creates an instance; only the global key may. */
export function create(context: Context): Answer {
  const { model, server, key, body } = context;
  const { instanceName, integration, token, number, qrcode, webhook, ...rest } = body;
  if (!model.database) {
    return databaseDown("prismaRepository.instance.findMany()", true);
  }
  if (model.instances.has(instanceName as string)) {
    return failure(403, [`This name "${instanceName}" is already in use.`]); // A10
  }
  if (key !== server.key) return unauthorized(); // A12
  if (typeof instanceName !== "string" || instanceName === "") {
    return failure(400, [['instance requires property "instanceName"']]);
  }
  const old = isV1(server.version);
  const mandatory = !old || integration !== undefined;
  if (
    mandatory && !["WHATSAPP-BAILEYS", "WHATSAPP-BUSINESS", "EVOLUTION"].includes(
      integration as string,
    )
  ) {
    return failure(400, ["Invalid integration"]); // A8
  }
  const instance = model.create(instanceName, {
    integration: integration as string | undefined,
    token: token as string | undefined,
    number: number as string | undefined,
    setting: settingsIn(rest),
  });
  const { id: _, ...settings } = instance.setting;
  return ok({
    instance: {
      instanceName,
      instanceId: instance.row.id,
      integration,
      webhookWaBusiness: null,
      accessTokenWaBusiness: "",
      status: instance.row.connectionStatus,
    },
    hash: old ? { apikey: instance.row.token } : instance.row.token,
    webhook: webhook ? createWebhook(instance, webhook as WebhookSettings, model) : {},
    websocket: {},
    rabbitmq: {},
    nats: {},
    sqs: {},
    settings,
    ...(qrcode ? { qrcode: connect(instance, context).body } : {}),
  }, 201);
}

/** The settings of an instance among the fields of a create body. */
function settingsIn(fields: Record<string, unknown>): Partial<Setting> {
  const names = [
    "rejectCall",
    "msgCall",
    "groupsIgnore",
    "alwaysOnline",
    "readMessages",
    "readStatus",
    "syncFullHistory",
  ];
  return Object.fromEntries(
    names.filter((n) => n in fields).map((n) => [n, fields[n]]),
  );
}

/** The webhook given with a create: enabled by that (A38), events left out mean all. */
function createWebhook(
  instance: Instance,
  settings: WebhookSettings,
  model: Model,
): object {
  const wanted = { ...settings, enabled: true, events: settings.events ?? [] };
  const now = new Date().toISOString();
  instance.webhook = written(null, wanted, instance.row.id, model.newId(), now);
  return {
    webhookUrl: settings.url,
    webhookHeaders: settings.headers,
    webhookByEvents: settings.byEvents,
    webhookBase64: settings.base64,
  };
}

/** The rows, filtered; an instance token sees only itself (A46). */
export function fetchInstances({ model, server, key, query }: Context): Answer {
  const own = (i: Instance) => key !== null && i.row.token === key;
  const all = [...model.instances.values()];
  // A6, A47: a token needs the database to be known.
  if (key !== server.key && !(model.database && all.some(own))) {
    return unauthorized();
  }
  if (!model.database) {
    return databaseDown("this.prismaRepository.instance.findMany()"); // I6
  }
  const [name, id, number] = ["instanceName", "instanceId", "number"].map((n) => query.get(n));
  let found;
  if (key !== server.key) {
    found = all.filter((i) => own(i) && (!name || i.row.name === name) && (!id || i.row.id === id));
    if (found.length === 0) return unauthorized();
  } else if (id || number) {
    found = all.filter((i) => id ? i.row.id === id : i.row.number === number)
      .slice(0, 1);
  } else if (name) {
    found = [model.instances.get(name)].filter((i) => i !== undefined);
  } else if (isV1(server.version)) {
    found = all.filter((i) => i.memory !== "absent");
    return ok(found.map((i) => wrapped(i, server)));
  } else {
    return ok(all.map(listed)); // N5: bulk lists what is not loaded, too
  }
  // N4: by name only what is loaded is found.
  const absent = found.find((i) => i.memory === "absent")?.row.name;
  const missing = absent ?? (found.length === 0 ? id || number || name : null);
  if (missing) return failure(404, [`Instance "${missing}" not found`]);
  if (!isV1(server.version)) return ok(found.map(listed));
  const elements = found.map((i) => wrapped(i, server));
  // Asked with the global key for one, no list is put around it.
  return ok(key === server.key && name ? elements[0] : elements);
}
