/** The routes that name an instance in the path. */

import { type Answer, databaseDown, errorObject, failure, ok } from "./answers.ts";
import { type Instance, stateOf } from "./model.ts";
import type { Context } from "./request.ts";
import { isV1 } from "./versions.ts";
import { complaints, nested, type WebhookSettings, written } from "./webhook.ts";

const PRESENCES = [
  "unavailable",
  "available",
  "composing",
  "recording",
  "paused",
];

/** The state in memory; no database is asked. */
export function connectionState(instance: Instance): Answer {
  const state = stateOf(instance);
  const instanceName = instance.row.name;
  // N1: the key is left out, it is not null.
  return ok({
    instance: state === "absent" ? { instanceName } : { instanceName, state },
  });
}

/** The QR, or a dial; always 200. */
export function connect(instance: Instance, { model, server, query }: Context): Answer {
  const old = isV1(server.version);
  switch (stateOf(instance)) {
    case "open":
      return connectionState(instance); // C9
    case "connecting":
      return ok(instance.qr); // C2, C5; dead on a paired instance (D4)
    case "absent":
      return old ? ok(undefined) : errorObject(); // N2; 1.8 has an empty body
    case "close":
      model.dial(instance, query.has("number"));
      return { ...ok(instance.qr), wait_ms: old ? 5000 : 2000 }; // F3; B1 without a QR
  }
}

/** Closes the socket so that the server redials; 200 for everything. */
export function restart(instance: Instance, { model }: Context): Answer {
  const state = stateOf(instance);
  const closed = state === "close" || state === "absent" || instance.refusesRestart;
  if (closed) return errorObject(); // A18, N3
  // D1, C4, I3: the answer is made before anything happens.
  const before = state === "open" ? connectionState(instance) : ok(instance.qr);
  model.restart(instance);
  return before;
}

/** Unlinks the phone; answers before it has done anything. */
export function logout(instance: Instance, { model, server }: Context): Answer {
  if (stateOf(instance) === "close") {
    if (server.version.startsWith("2.4.")) {
      return ok({
        status: "SUCCESS",
        error: false,
        response: { message: "Instance already disconnected" },
      });
    }
    return failure(400, [
      `The "${instance.row.name}" instance is not connected`,
    ]); // A20
  }
  // F1, J8, N7: SUCCESS before anything is done, and where nothing will be.
  model.logout(instance.row.name);
  return ok({
    status: "SUCCESS",
    error: false,
    response: { message: "Instance logged out" },
  });
}

/** Deletes the instance and all under it. */
export function remove(instance: Instance, { model }: Context): Answer {
  if (!model.database) {
    return databaseDown("this.prismaRepository.instance.delete()");
  }
  model.remove(instance.row.name);
  return ok({
    status: "SUCCESS",
    error: false,
    response: { message: "Instance deleted" },
  });
}

/** A pure socket write: the live probe. */
export function setPresence(instance: Instance, { body }: Context): Answer {
  const { presence } = body;
  if (presence === undefined) {
    return failure(400, [['instance requires property "presence"']]);
  }
  if (!PRESENCES.includes(presence as string)) {
    return failure(400, [[
      `presence is not one of enum values: ${PRESENCES.join(",")}`,
    ]]); // K3
  }
  if (instance.memory === "absent") {
    return failure(
      500,
      "Cannot read properties of undefined (reading 'setPresence')",
    );
  }
  // K11: a socket is enough, a login is not asked for.
  return instance.sockets > 0 ? ok({ presence }, 201) : failure(400, ["Error: Connection Closed"]); // J1, K12
}

/** Replaces the one webhook of the instance. */
export function webhookSet(
  instance: Instance,
  { model, server, body }: Context,
): Answer {
  const given = server.version.startsWith("2.0.") ? nested(body) : body;
  const wrong = complaints(given);
  const { url } = (given.webhook ?? {}) as WebhookSettings;
  if (server.version.startsWith("2.2.") && !/^https?:/.test(url)) {
    wrong.push('Invalid "url" property');
  }
  if (wrong.length > 0) return failure(400, [wrong]);
  try {
    const { id } = instance.row;
    const settings = given.webhook as WebhookSettings;
    const now = new Date().toISOString();
    const row = written(instance.webhook, settings, id, model.newId(), now);
    if (!model.database) return databaseDown("this.prisma[this.name].upsert()");
    if (instance.memory === "absent") {
      return failure(
        500,
        "Cannot read properties of undefined (reading 'instanceId')",
      );
    }
    instance.webhook = row;
    return ok(row, 201);
  } catch (error) {
    return failure(500, (error as Error).message); // A23
  }
}

/** The webhook row. */
export function webhookFind(instance: Instance, { model }: Context): Answer {
  if (instance.memory === "absent") return ok(null); // N6: although one may be set
  if (!model.database) {
    return databaseDown("this.prisma[this.name].findUnique()"); // I8
  }
  return ok(instance.webhook);
}

/** The settings row; needs no socket (J7). */
export function settingsFind(
  { setting }: Instance,
  { model }: Context,
): Answer {
  if (!model.database) {
    return databaseDown("this.prismaRepository.setting.findUnique()");
  }
  const { id: _, ...shown } = setting;
  return ok(shown);
}
