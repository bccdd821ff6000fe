/** Ways to make an HTTP stand-in misbehave on purpose, for the next so many calls. */

/** What happens to a call in place of what should. */
export interface Behaviour {
  /** Only calls to this function; any if not given. */
  fn?: string;
  /**
   * - `refuse`: the connection is closed before anything is done
   * - `lose_answer`: the call is done and committed, then the connection is closed
   * - `delay`: the call is done `delay_ms` later
   * - `error`: nothing is done; `status` and `body` are the answer
   */
  how: "refuse" | "lose_answer" | "delay" | "error";
  /** For `delay`; 1000 if not given. */
  delay_ms?: number;
  /** For `error`; 502 if not given. */
  status?: number;
  /** For `error`; what Supabase's gateway says about an upstream that is away, if not given. */
  body?: string;
  /** How many calls are hit; one if not given, `Infinity` until told otherwise. */
  times?: number;
}

/** The faults still to come, oldest first. */
export class Faults {
  #waiting: Behaviour[] = [];

  /** Adds a fault. */
  add(behaviour: Behaviour): void {
    this.#waiting.push({ ...behaviour, times: behaviour.times ?? 1 });
  }

  /** Forgets all of them. */
  clear(): void {
    this.#waiting = [];
  }

  /** The fault that hits this call, counted off. */
  take(fn: string): Behaviour | null {
    const hit = this.#waiting.find((fault) => fault.fn === undefined || fault.fn === fn);
    if (!hit) return null;
    hit.times! -= 1;
    if (hit.times! <= 0) {
      this.#waiting = this.#waiting.filter((fault) => fault !== hit);
    }
    return hit;
  }
}

/** The answer of an `error` fault. */
export function faultAnswer({ status = 502, body }: Behaviour): Response {
  return new Response(
    body ??
      JSON.stringify({
        message: "An invalid response was received from the upstream server",
      }),
    { status, headers: { "content-type": "application/json; charset=utf-8" } },
  );
}

/**
 * An answer that never comes: Deno sends nothing before a body's first chunk,
 * so a body that fails at once closes the connection without a byte (measured).
 */
export function dropConnection(): Response {
  return new Response(
    new ReadableStream({
      start: (controller) => controller.error(new Error("dropped on purpose")),
    }),
  );
}
