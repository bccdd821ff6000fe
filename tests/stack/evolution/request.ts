/** A request to the gateway, and what is read out of it. */

import type { Answer } from "./answers.ts";
import type { Instance, Model } from "./model.ts";
import type { Version } from "./versions.ts";

/** A request as the routes see it. */
export interface Incoming {
  method: string;
  /** Path and query as received, percent-encoded. */
  path: string;
  /** The `apikey` header. */
  key: string | null;
  /** The body's text; empty if there is none. */
  text: string;
  /** The content-type header; a body of another type than JSON is not read. */
  type: string | null;
}

/** What the routes know besides the model. */
export interface Server {
  /** The global key. */
  key: string;
  /** The gateway's own address. */
  url: string;
  /** The version it answers as. */
  version: Version;
  /** The licence gate of 2.4 is closed. */
  licence?: boolean;
}

/** What a handler is given. */
export interface Context {
  model: Model;
  server: Server;
  key: string | null;
  query: URLSearchParams;
  body: Record<string, unknown>;
}

/** What answers a route that names an instance. */
export type Handler = (instance: Instance, context: Context) => Answer;

/** The instance a path names, decoded; null where it names none. For faults of one instance. */
export function nameIn(path: string): string | null {
  const [route, query] = split(path);
  try {
    const named = /^\/\w+\/\w+\/([^/]+)\/?$/.exec(route);
    if (named) return decodeURIComponent(named[1]);
  } catch {
    return null;
  }
  return new URLSearchParams(query).get("instanceName");
}

/** A path without and its query. */
export function split(path: string): [route: string, query: string] {
  const at = path.indexOf("?");
  return at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)];
}

/** The body as an object, or the complaint of the JSON parser. */
export function parseBody(
  { text, type }: Incoming,
): Record<string, unknown> | string {
  if (text === "" || !type?.includes("json")) return {};
  try {
    const body = JSON.parse(text);
    if (typeof body === "object" && body !== null) return body;
    return `Unexpected token '${text[0]}', "${text}" is not valid JSON`;
  } catch (error) {
    return (error as Error).message.replace(/ \(line \d+ column \d+\)$/, "");
  }
}
