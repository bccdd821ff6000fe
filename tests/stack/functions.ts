/** The one listener of the stack, with the paths a Supabase project has. */
import type { Edge } from "./edge.ts";
import type { Rest } from "./postgrest.ts";

/** The one function there is. */
export const SLUG = "rendizy-server";

/** A listening front. */
export interface Front {
  /** `http://127.0.0.1:<port>` */
  url: string;
  stop(): Promise<void>;
}

/** What answers behind the front; each may come later than the first request. */
export interface Parts {
  rest?: Rest;
  edge?: Edge;
}

/** Listens on 127.0.0.1; throws `Deno.errors.AddrInUse` where someone else does. */
export function startFront(port: number, parts: Parts): Front {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port, onListen() {} },
    (request) => {
      const { pathname } = new URL(request.url);
      if (pathname.startsWith("/rest/v1/")) {
        return parts.rest?.handle(request) ??
          Response.json({ message: "not ready" }, { status: 503 });
      }
      const path = pathname.match(/^\/functions\/v1(\/.*)$/)?.[1];
      if (path === `/${SLUG}` || path?.startsWith(`/${SLUG}/`)) {
        return forward(request, path, parts.edge);
      }
      return path
        ? Response.json({
          code: "NOT_FOUND",
          message: "Requested function was not found",
        }, {
          status: 404,
        })
        : Response.json({ message: "no Route matched with those values" }, {
          status: 404,
        });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    stop: () => server.shutdown(),
  };
}

/** Hop-by-hop, or true of one leg only. */
const NOT_FORWARDED = [
  "connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "host",
  // The function must not compress: `fetch` would unpack it and leave the headers wrong.
  "accept-encoding",
];

/** Passes a request on to the function's process, which sees `/<slug>/…`. */
async function forward(
  request: Request,
  path: string,
  edge?: Edge,
): Promise<Response> {
  if (!edge?.url) return workerError("the function's process is not running");
  const headers = new Headers(request.headers);
  for (const name of NOT_FORWARDED) headers.delete(name);
  headers.set("accept-encoding", "identity");
  // A body of known length stays one, with its Content-Length; another is streamed.
  const body = request.body && request.headers.has("content-length")
    ? await request.arrayBuffer()
    : request.body;
  try {
    const answer = await fetch(edge.url + path + new URL(request.url).search, {
      method: request.method,
      headers,
      body,
      redirect: "manual",
      signal: request.signal,
    });
    return new Response(answer.body, {
      status: answer.status,
      headers: answer.headers,
    });
  } catch (error) {
    return workerError(error instanceof Error ? error.message : String(error));
  }
}

/** The function's process is gone, or went while it worked on this. */
function workerError(reason: string): Response {
  const message = "Function exited due to an error (please check logs)";
  return Response.json({ code: "WORKER_ERROR", message, reason }, {
    status: 502,
  });
}
