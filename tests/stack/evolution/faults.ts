/** How the gateway as a whole can behave, and the answers that are none of Evolution's own. */

import { type Answer, failure } from "./answers.ts";
import type { Body, Fault } from "./conditions.ts";

/** Every mode of the gateway, with what it is. */
export const MODES = {
  up: "Answers as Evolution does.",
  down: "Does not listen: connection refused. `up` listens on the same port again.",
  slow: "As up, every answer after `delay_ms` (default 3000).",
  error: "Every answer has `status` (default 500) and an Evolution-shaped error body.",
  html: "Every answer is the HTML page of a reverse proxy, with `status` (default 502).",
  garbage: "Every answer is 200 with text that is not JSON.",
  huge:
    "Every answer is 200 with `megabytes` (default 32) of legal JSON; with Content-Length, or " +
    "without it where `streamed`.",
  hang: "Accepts every request and never answers.",
  redirect: "Every answer is 302 to `to` (default /redirected of this gateway, which says open).",
  database_down: "The database is away: memory still answers (I4 to I10).",
  licence: "The licence gate of 2.4 is closed: 503 LICENSE_REQUIRED on every business route.",
} as const;

/** The name of a mode. */
export type ModeName = keyof typeof MODES;

/** A mode and its numbers; what is left out has the default that {@link MODES} gives. */
export interface GatewayMode {
  mode: ModeName;
  /** Wait so long before every answer, in any mode. */
  delay_ms?: number;
  /** Wait so long before the answer of `GET /`, which makes a lookup of its own (N8). */
  root_delay_ms?: number;
  /** By how much its clock, as its answers tell it, is ahead; negative where it is behind. */
  clock_ahead_ms?: number;
  /** `connect` in close takes its 2 s (F3). Default: it answers at once. */
  realistic_waits?: boolean;
  status?: number;
  megabytes?: number;
  streamed?: boolean;
  to?: string;
}

/** Where `redirect` leads unless told: whoever arrives there has followed it. */
export const REDIRECTED = "/redirected";

const JSON_TYPE = "application/json; charset=utf-8";

const PAGE = (status: number) =>
  `<html>\r\n<head><title>${status} Bad Gateway</title></head>\r\n<body>\r\n` +
  `<center><h1>${status} Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`;

/** A response with a fixed body. Without no-transform Deno would compress it, unlike Evolution. */
function respond(
  status: number,
  type: string,
  body: BodyInit | null,
): Response {
  if ([204, 205, 304].includes(status)) body = null;
  const headers = { "content-type": type, "cache-control": "no-transform" };
  return new Response(body, { status, headers });
}

/** An answer of a route as an HTTP response. */
export function json({ status, body }: Answer): Response {
  return respond(
    status,
    JSON_TYPE,
    JSON.stringify(body),
  );
}

/** The page that a reverse proxy shows when it does not reach the gateway. */
export function html(status: number): Response {
  return respond(status, "text/html", PAGE(status));
}

/** Text that claims to be JSON. */
export function garbage(status: number): Response {
  return respond(
    status,
    JSON_TYPE,
    '{"instance":{"instanceName":"lo',
  );
}

/**
 * Many megabytes of legal JSON, an array of nothing but spaces: no parser stops it, only a limit
 * does. Streamed, it has no Content-Length.
 */
export function huge(
  status: number,
  megabytes: number,
  streamed: boolean,
): Response {
  const bytes = Math.max(2, Math.round(megabytes * 1024 * 1024));
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const size = Math.min(bytes - sent, 64 * 1024);
      const chunk = new Uint8Array(size).fill(0x20);
      if (sent === 0) chunk[0] = "[".charCodeAt(0);
      sent += size;
      if (sent === bytes) chunk[size - 1] = "]".charCodeAt(0);
      controller.enqueue(chunk);
      if (sent === bytes) controller.close();
    },
  });
  const response = respond(status, JSON_TYPE, body);
  if (!streamed) response.headers.set("content-length", String(bytes));
  return response;
}

/** The answer of a mode that answers everything alike; null if the routes are to answer. */
export function sameForAll(
  mode: GatewayMode,
  url: string,
  path: string,
): Response | null {
  switch (mode.mode) {
    case "error":
      return faulty({ status: mode.status ?? 500 });
    case "html":
      return html(mode.status ?? 502);
    case "garbage":
      return garbage(200);
    case "huge":
      return huge(200, mode.megabytes ?? 32, mode.streamed ?? false);
    case "redirect":
      if (path.startsWith(REDIRECTED)) {
        return json({
          status: 200,
          body: { instance: { instanceName: "x", state: "open" } },
        });
      }
      return new Response(null, {
        status: 302,
        headers: { location: mode.to ?? url + REDIRECTED },
      });
    default:
      return null;
  }
}

/** The answer of an instance with a fault; null if its fault is but a delay, or none. */
export function faulty({ status, body }: Fault): Response | null {
  const bodies: Record<Body, () => Response> = {
    html: () => html(status ?? 502),
    not_json: () => garbage(status ?? 200),
    empty: () => respond(status ?? 200, JSON_TYPE, ""),
    huge: () => huge(status ?? 200, 32, false),
  };
  if (body) return bodies[body]();
  return status === undefined ? null : json(failure(status, "Simulated fault"));
}
