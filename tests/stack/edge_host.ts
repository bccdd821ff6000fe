/**
 * Stands in for Supabase's edge runtime: the main module of the function's own
 * process. `edge.ts` starts it.
 *
 * It puts into place what that runtime adds to Deno, then loads the function's
 * entry point under the name `edge-entry`, which the parent maps to the real
 * file. A literal dynamic import belongs to the static module graph, so the
 * function runs without any read permission.
 *
 * The entry's own `Deno.serve` is what serves; only the address is changed. An
 * entry that calls it under `if (import.meta.main)` finds itself not the main
 * module here (Deno 2.1.4 has no preload, so something else has to be); then its
 * exported `handler` (or default export) is served.
 */

type Handler = (
  request: Request,
  info: Deno.ServeHandlerInfo,
) => Response | Promise<Response>;

/** The line on standard output that tells the parent where we listen. */
const READY = "edge_host listening ";
/** Answers when no background work is left; `functions.ts` lets nobody else reach it. */
const IDLE_PATH = "/.edge_host/idle";

const port = Number(Deno.args[0] ?? 0);
const { serve, exit } = Deno;
const addSignalListener = Deno.addSignalListener;
const background = new Set<Promise<unknown>>();
let server: Deno.HttpServer | undefined;

// What Deno itself was given to start with is not the function's business.
for (const name of JSON.parse(Deno.args[1] ?? "[]")) Deno.env.delete(name);

const scope = globalThis as unknown as Record<string, unknown>;
scope.window ??= globalThis;
scope.EdgeRuntime = {
  waitUntil(work: unknown) {
    if (!(work instanceof Promise)) {
      throw new TypeError(
        "waitUntil was called with something that is not a promise",
      );
    }
    background.add(work);
    const settled = () => background.delete(work);
    work.then(settled, (error) => {
      settled();
      console.error("background work failed:", error);
    });
    return work;
  },
};

// These do nothing on the edge runtime, and there are no Web Workers.
Object.assign(Deno, { exit() {}, kill() {}, addSignalListener() {} });
delete scope.Worker;

Object.assign(Deno, { serve: serveHere });

// A literal, mapped by the parent.
// @ts-ignore the name exists only in the parent's import map
const entry = await import("edge-entry");

if (!server) {
  const handler = entry.handler ?? entry.default?.fetch ?? entry.default;
  if (typeof handler !== "function") {
    throw new Error(
      "the entry neither called Deno.serve nor exports a handler",
    );
  }
  serveHere(handler);
}

// Ctrl+C goes to the whole group; the parent decides when this process ends: it closes our standard
// input, and so does its death, however it dies.
addSignalListener("SIGINT", () => {});
for await (const _ of Deno.stdin.readable) { /* nothing is ever sent */ }
await server?.shutdown();
await backgroundDone();
exit(0);

/** `Deno.serve` with all of its forms, on our own address. */
function serveHere(...args: unknown[]): Deno.HttpServer {
  if (server) throw new Deno.errors.AddrInUse("Deno.serve was called twice");
  const handler = args.find((arg) => typeof arg === "function") as
    | Handler
    | undefined;
  const options = args.find((arg) => typeof arg === "object") as
    | (Deno.ServeTcpOptions & { handler?: Handler })
    | undefined;
  const chosen = handler ?? options?.handler;
  if (!chosen) throw new TypeError("Deno.serve was called without a handler");
  server = serve({
    hostname: "127.0.0.1",
    port,
    onError: options?.onError,
    signal: options?.signal,
    onListen(address) {
      options?.onListen?.(address);
      console.log(READY + JSON.stringify({ port: address.port }));
    },
  }, async (request, info) => {
    if (new URL(request.url).pathname === IDLE_PATH) {
      await backgroundDone();
      return new Response(null, { status: 204 });
    }
    return await chosen(request, info);
  });
  return server;
}

async function backgroundDone(): Promise<void> {
  while (background.size > 0) await Promise.allSettled(background);
}
