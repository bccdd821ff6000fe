/**
 * The HTTP routes as a function of the model and a request. Order matters as on the real server:
 * body parser, route, existence (404), name in use (403), key (401), handler.
 */

import { type Answer, databaseDown, failure, licenceRequired, unauthorized } from "./answers.ts";
import {
  connect,
  connectionState,
  logout,
  remove,
  restart,
  setPresence,
  settingsFind,
  webhookFind,
  webhookSet,
} from "./instance_routes.ts";
import type { Model } from "./model.ts";
import {
  type Context,
  type Handler,
  type Incoming,
  parseBody,
  type Server,
  split,
} from "./request.ts";
import { create, fetchInstances, root, verifyCreds } from "./server_routes.ts";
import * as v1 from "./v1.ts";
import { isV1 } from "./versions.ts";

/** The routes with an instance name in the path, by verb and path. */
const INSTANCE_ROUTES: Record<string, Handler> = {
  "GET /instance/connectionState": connectionState,
  "GET /instance/connect": connect,
  "POST /instance/restart": restart,
  "DELETE /instance/logout": logout,
  "DELETE /instance/delete": remove,
  "POST /instance/setPresence": setPresence,
  "POST /webhook/set": webhookSet,
  "GET /webhook/find": webhookFind,
  "GET /settings/find": settingsFind,
};

/** Those of 1.8: `restart` has another verb. */
const V1_INSTANCE_ROUTES: Record<string, Handler> = {
  "GET /instance/connectionState": connectionState,
  "GET /instance/connect": connect,
  "PUT /instance/restart": v1.restart,
  "DELETE /instance/logout": logout,
  "DELETE /instance/delete": v1.remove,
  "POST /webhook/set": v1.webhookSet,
  "GET /webhook/find": v1.webhookFind,
};

/** Answers one request and changes the model as the request does. */
export function answer(
  model: Model,
  server: Server,
  request: Incoming,
): Answer {
  const { method, key } = request;
  const [route, query] = split(request.path);
  const parsed = parseBody(request);
  if (typeof parsed === "string") {
    // A34: status 400 with the error text of a 500.
    const body = {
      status: 400,
      error: "Internal Server Error",
      response: { message: parsed },
    };
    return { status: 400, body };
  }
  if (server.licence && route !== "/" && !/^\/(manager|license)/.test(route)) {
    return licenceRequired();
  }
  const old = isV1(server.version);
  const context = {
    model,
    server,
    key,
    query: new URLSearchParams(query),
    body: parsed,
  };
  switch (`${method} ${route.length > 1 ? route.replace(/\/$/, "") : route}`) {
    case "GET /":
      return old ? v1.root(context) : root(context);
    case "POST /verify-creds":
      if (old) break;
      return verifyCreds(context);
    case "POST /instance/create":
      return create(context);
    case "GET /instance/fetchInstances":
      return fetchInstances(context);
  }
  const named = /^(\/\w+\/\w+)\/([^/]+)\/?$/.exec(route);
  const routes = old ? V1_INSTANCE_ROUTES : INSTANCE_ROUTES;
  const handler = named && routes[`${method} ${named[1]}`];
  if (!handler) return failure(404, [`Cannot ${method} ${request.path}`]);
  let name;
  try {
    name = decodeURIComponent(named[2]);
  } catch {
    return failure(400, `Failed to decode param '${named[2]}'`);
  }
  return forInstance(name, handler, context);
}

function forInstance(name: string, handler: Handler, context: Context): Answer {
  const { model, server, key } = context;
  const instance = model.instances.get(name);
  const loaded = instance && instance.memory !== "absent";
  // I7: only a name that is not in memory is looked up in the database.
  if (!loaded && !model.database) {
    return databaseDown("prismaRepository.instance.findMany()", true);
  }
  // A3, A4: before the key is looked at.
  if (!instance) return failure(404, [`The "${name}" instance does not exist`]);
  // I5: with the database down an instance token cannot be checked.
  const itsToken = model.database && key === instance.row.token;
  if (key !== server.key && !itsToken) return unauthorized();
  return handler(instance, context);
}
