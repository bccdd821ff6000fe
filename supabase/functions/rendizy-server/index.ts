/**
 * The edge function: hands each request to Rust, and keeps a panic there from
 * doing harm here.
 *
 * When Rust panics, none of the promises that this instance of the module has
 * handed out will ever settle, and the error surfaces where nobody can catch
 * it. So every request and every background task waits for Rust *or* for the
 * news that its instance is dead; the next request gets a fresh instance.
 */
import { Buffer } from "node:buffer";
import { __wbg_reset_state, boot, handle, initSync } from "../../../pkg/whatsapp_monitor.js";
import wasm from "../../../pkg/whatsapp_monitor_wasm.js";

declare global {
  /** Supabase's edge runtime; elsewhere it is missing. */
  // deno-lint-ignore no-var
  var EdgeRuntime: { waitUntil(promise: Promise<unknown>): void } | undefined;

  interface ErrorConstructor {
    /** V8's: the frames that an error's stack keeps. */
    stackTraceLimit: number;
  }
}

/** What Rust throws when it panics. */
class Panic extends Error {}

/** One instance of the wasm module, until it panics. */
class Generation {
  #dead: Panic | undefined;
  #waiting = new Set<(reason: Panic) => void>();

  constructor() {
    boot(
      Deno.env.toObject(),
      (message: string) => this.die(new Panic(message)),
    );
  }

  /** The promise's outcome, or a rejection as soon as this instance is dead. */
  settle<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#dead) return reject(this.#dead);
      this.#waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Keeps the isolate alive until the promise settles or this instance is dead. */
  waitUntil = (promise: Promise<unknown>): void => {
    const settled = this.settle(promise).catch(() => {});
    globalThis.EdgeRuntime?.waitUntil(settled);
  };

  /** Lets everything go that waits, and makes room for the next instance. */
  die(panic: Panic): Panic {
    if (this.#dead) return this.#dead;
    this.#dead = panic;
    console.error(`[WhatsApp Monitor] ❌ Erro no monitor: ${panic.message}`);
    for (const reject of this.#waiting) reject(panic);
    // Not at once: Rust is still on the stack and about to throw.
    queueMicrotask(() => {
      __wbg_reset_state();
      generation = new Generation();
    });
    return panic;
  }
}

// Not `atob` and a loop over its characters: that runs once, unoptimized, and takes 5 ms longer.
initSync({ module: Buffer.from(wasm, "base64") });
let generation = new Generation();

/** Answers a request. */
export async function handler(request: Request): Promise<Response> {
  return (await answer(request))!;
}

/** The routes that a mount takes when it is not told otherwise. */
const ROUTES = ["/whatsapp/monitor/*"];

/**
 * For a function that has routes of its own: answers requests for these
 * routes, and gives `undefined` for all others. Each is a path as in README, or
 * the beginning of one and `/*`; what stands before it in the URL does not
 * matter.
 */
export function mount(routes = ROUTES): (request: Request) => Promise<Response | undefined> {
  return (request) => answer(request, routes);
}

async function answer(request: Request, routes?: string[]): Promise<Response | undefined> {
  const mine = generation;
  try {
    return await mine.settle(handle(request, mine.waitUntil, routes));
  } catch {
    return Response.json({ success: false, error: "Erro interno" }, {
      status: 500,
      headers: { "access-control-allow-origin": "*" },
    });
  }
}

// A trap is told by the frame at which Rust was entered, farther up than the ten that V8 keeps.
Error.stackTraceLimit = Math.max(Error.stackTraceLimit, 100);

/** Swallows what a dead instance leaves behind, and nothing else. */
function swallow(event: Event, error: unknown): void {
  if (
    error instanceof WebAssembly.RuntimeError &&
    error.stack?.includes("/whatsapp_monitor.js")
  ) {
    // A trap without a panic: out of memory or of stack.
    generation.die(new Panic(error.message));
    event.preventDefault();
  } else if (
    error instanceof Panic ||
    (error instanceof Error &&
      error.message === "Cannot invoke closure from previous WASM instance")
  ) {
    event.preventDefault();
  }
}
addEventListener("error", (event) => swallow(event, event.error));
addEventListener("unhandledrejection", (event) => swallow(event, event.reason));

// Not where it is mounted: there it is some other module that serves.
if (import.meta.main !== false) Deno.serve(handler);
