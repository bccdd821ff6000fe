/** What a contestant causes elsewhere, counted by the stand-ins, and the processes that they are. */
import type { Database } from "../stack/database.ts";
import type { Keys } from "../stack/keys.ts";
import { createRest } from "../stack/postgrest.ts";

/** Requests, and the bytes of their bodies in both directions. */
export interface Traffic {
  requests: number;
  bytes: number;
}

/** How the gateway is to behave. */
export interface GatewayOrder {
  latency_ms: number;
  one_percent: boolean;
}

/** The gateway's process, see `gateway.ts`. */
export interface Gateway {
  url: string;
  key: string;
  behave(order: GatewayOrder): Promise<void>;
  /** The traffic since this was last asked. */
  traffic(): Promise<Traffic>;
  stop(): Promise<void>;
}

/** Starts the gateway. */
export async function startGateway(): Promise<Gateway> {
  const key = crypto.randomUUID();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-net", new URL("gateway.ts", import.meta.url).href, key],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const written = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await written.read();
  if (value === undefined) throw new Error("the gateway did not start");
  const url = `http://127.0.0.1:${value.trim()}`;
  const control = (init?: RequestInit) => fetch(`${url}/.bench`, init).then((a) => a.json());
  return {
    url,
    key,
    behave: (order) => control({ method: "POST", body: JSON.stringify(order) }),
    traffic: () => control(),
    async stop() {
      await written.cancel();
      await child.stdin.close();
      await child.status;
    },
  };
}

/** Traffic with a database, and how long that took to answer. */
export interface Stored extends Traffic {
  ms: number;
}

/** The REST interface, in the benchmark's own process. */
export interface Front {
  url: string;
  /** The traffic since this was last asked. */
  traffic(): Stored;
  stop(): Promise<void>;
}

/** Serves the database: functions as PostgREST does, and of the tables the one update that the original makes. */
export function startFront(database: Database, keys: Keys): Front {
  const rest = createRest(database, keys);
  const nothing = { requests: 0, bytes: 0, ms: 0 };
  let traffic: Stored = { ...nothing };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const started = performance.now();
    const body = await request.text();
    const answer = request.method === "PATCH"
      ? await update(database, new URL(request.url), JSON.parse(body))
      : await rest.handle(
        new Request(request.url, { method: request.method, headers: request.headers, body }),
      );
    const text = await answer.text();
    traffic.requests++;
    traffic.bytes += utf8Length(body) + utf8Length(text);
    traffic.ms += performance.now() - started;
    return new Response(text || null, answer);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    traffic() {
      const before = traffic;
      traffic = { ...nothing };
      return before;
    },
    stop: () => server.shutdown(),
  };
}

/** `PATCH /rest/v1/organization_channel_config?organization_id=eq.…` */
async function update(
  database: Database,
  url: URL,
  row: Record<string, unknown>,
): Promise<Response> {
  const organization = url.searchParams.get("organization_id")?.match(/^eq\.(.+)$/)?.[1];
  if (!url.pathname.endsWith("/organization_channel_config") || organization === undefined) {
    return new Response(null, { status: 404 });
  }
  await database.query(
    `update public.organization_channel_config
        set whatsapp_connected = $2, whatsapp_connection_status = $3, whatsapp_last_connected_at = $4
      where organization_id = $1`,
    [
      organization,
      row.whatsapp_connected,
      row.whatsapp_connection_status,
      row.whatsapp_last_connected_at,
    ],
  );
  return new Response(null, { status: 204 });
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}
