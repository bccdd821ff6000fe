/** What pg_net's worker does by itself on a real project, done here when it is told to. */
import type { Database } from "./database.ts";

const AGENT = "pg_net/0.20.4";

interface Queued {
  id: number;
  method: string;
  url: string;
  headers: Record<string, unknown> | null;
  body: string | null;
  timeout_milliseconds: number;
}

interface Answer {
  status_code: number | null;
  content_type: string | null;
  headers: Record<string, string> | null;
  content: string | null;
  timed_out: boolean | null;
  error_msg: string | null;
}

const NOTHING: Answer = {
  status_code: null,
  content_type: null,
  headers: null,
  content: null,
  timed_out: null,
  error_msg: null,
};

/** Sends all that is queued, and keeps the answers; gives their number. */
export async function sendRequests(database: Database): Promise<number> {
  const queued = await database.query<Queued>(
    `delete from net.http_request_queue
     returning id, method, url, headers, convert_from(body, 'UTF8') as body, timeout_milliseconds`,
  );
  const answers = await Promise.all(queued.map(async (each) => [each.id, await send(each)]));
  for (const [id, answer] of answers) {
    await database.query(
      `insert into net._http_response
       select $1, a.status_code, a.content_type, a.headers, a.content, a.timed_out, a.error_msg
       from jsonb_to_record($2::jsonb) as a
         (status_code int, content_type text, headers jsonb, content text, timed_out boolean,
          error_msg text)`,
      [id, answer],
    );
  }
  return queued.length;
}

async function send({ method, url, headers, body, timeout_milliseconds }: Queued): Promise<Answer> {
  // A header that is null is dropped, and the request goes out all the same.
  const all = new Headers();
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (value !== null) all.set(name, String(value));
  }
  if (!all.has("user-agent")) all.set("user-agent", AGENT);
  if (headers === null && body !== null) {
    all.set("content-type", "application/x-www-form-urlencoded");
  }
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), timeout_milliseconds);
  try {
    const response = await fetch(url, { method, headers: all, body, signal: patience.signal });
    return {
      status_code: response.status,
      content_type: response.headers.get("content-type"),
      headers: Object.fromEntries(response.headers),
      content: await response.text(),
      timed_out: false,
      error_msg: null,
    };
  } catch (error) {
    if (patience.signal.aborted) {
      const error_msg = `Timeout of ${timeout_milliseconds} ms reached. Total time: ` +
        `${timeout_milliseconds}.000000 ms`;
      return { ...NOTHING, timed_out: true, error_msg };
    }
    const error_msg = /dns|lookup/.test(String(error))
      ? "Couldn't resolve host name"
      : "Couldn't connect to server";
    return { ...NOTHING, timed_out: false, error_msg };
  } finally {
    clearTimeout(timer);
  }
}
