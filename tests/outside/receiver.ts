/** Somebody who wants to be told: a server on this machine that takes alerts. */
import type { Database } from "../stack/database.ts";

/** A request that arrived. */
export interface Delivery {
  method: string;
  path: string;
  headers: Headers;
  body: string;
  text: string;
  // deno-lint-ignore no-explicit-any -- whatever stands there
  alert: any;
}

export type Receiver = ReturnType<typeof startReceiver>;

/** Starts a receiver that answers 200 until it is told otherwise. */
export function startReceiver() {
  const deliveries: Delivery[] = [];
  const held: (() => void)[] = [];
  let answer: () => Response | Promise<Response> = () => new Response("ok");
  let arrived = Promise.withResolvers<void>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = await request.text();
    const { method, headers } = request;
    deliveries.push({
      method,
      path: pathname + search,
      headers,
      body,
      ...JSON.parse(body || "{}"),
    });
    arrived.resolve();
    arrived = Promise.withResolvers();
    return await answer();
  });
  const url = `http://127.0.0.1:${server.addr.port}/services/T0/secret-path?key=1`;
  return {
    url,
    deliveries,
    /** What was told so far: the kind and the instance of each delivery. */
    told: () => deliveries.map(({ alert }) => `${alert.kind} ${alert.instance_name}`),
    /** Answers from now on with a status, a redirect to itself where that is 3xx. */
    answers(status: number) {
      const headers = status >= 300 && status < 400 ? { location: url } : undefined;
      const body = status === 204 ? null : "x".repeat(100_000);
      answer = () => new Response(body, { status, headers });
    },
    /** Answers from now on when it is released; gives what resolves with the next request. */
    holds() {
      arrived = Promise.withResolvers();
      answer = () => new Promise((done) => held.push(() => done(new Response("ok"))));
      return arrived.promise;
    },
    /** Resolves with the next request. */
    next: () => arrived.promise,
    /** Gives all answers that are held. */
    release() {
      for (const give of held.splice(0)) give();
    },
    async stop() {
      for (const give of held.splice(0)) give();
      await server.shutdown();
    },
  };
}

/** Whether a delivery is signed with the secret of the settings, by the specification's own rules. */
export async function isSigned(database: Database, { headers, body }: Delivery): Promise<boolean> {
  const [{ secret }] = await database.query<{ secret: string }>(
    "select alert_secret as secret from whatsapp_monitor.settings",
  );
  const bytes = (base64: string) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const key = await crypto.subtle.importKey(
    "raw",
    bytes(secret.replace("whsec_", "")),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["verify"],
  );
  const [version, signature] = headers.get("webhook-signature")!.split(",");
  const signed = `${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.${body}`;
  const message = new TextEncoder().encode(signed);
  return version === "v1" && await crypto.subtle.verify("HMAC", key, bytes(signature), message);
}
