/** pg_net's worker: on a real project a part of Postgres, here run as long as it is told to. */
import type { Database } from "./database.ts";

const AGENT = "pg_net/0.20.4";
/** The requests that are sent at once; the slowest of them holds up the next. */
const BATCH_SIZE = 200;
/** How long an answer is kept. */
const TTL = "6 hours";
/** The real one is woken by a commit, and waits as long as a second between two batches. */
const PAUSE_MS = 100;

interface Queued {
  id: number;
  method: string;
  url: string;
  headers: Record<string, string | null> | null;
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

/** A worker that runs. */
export interface Worker {
  /** Lets the batch under way end; throws what went wrong meanwhile. */
  stop(): Promise<void>;
}

/** Sends whatever is queued, batch by batch, as soon as it is committed. */
export function startWorker(database: Database): Worker {
  let stopping = false;
  const running = (async () => {
    while (!stopping) {
      await sendRequests(database);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();
  running.catch(() => {}); // stop() tells it
  return {
    stop() {
      stopping = true;
      return running;
    },
  };
}

/** Sends a batch of what is queued, and keeps the answers when it has the last; gives their number. */
export async function sendRequests(database: Database): Promise<number> {
  await database.query("delete from net._http_response where created < now() - $1::interval", [
    TTL,
  ]);
  const queued = await database.query<Queued>(
    `delete from net.http_request_queue
     where id in (select id from net.http_request_queue order by id limit $1)
     returning id, method, url, convert_from(body, 'UTF8') as body, timeout_milliseconds,
       (select jsonb_object_agg(key, value) from jsonb_each_text(headers)) as headers`,
    [BATCH_SIZE],
  );
  if (queued.length === 0) return 0;
  const answers = queued.map(async ({ id, ...request }) => ({ id, ...await send(request) }));
  await database.query(
    `insert into net._http_response
       (id, status_code, content_type, headers, content, timed_out, error_msg)
     select * from jsonb_to_recordset($1::jsonb) as a
       (id bigint, status_code int, content_type text, headers jsonb, content text,
        timed_out boolean, error_msg text)`,
    [await Promise.all(answers)],
  );
  return queued.length;
}

async function send(
  { method, url, headers, body, timeout_milliseconds }: Omit<Queued, "id">,
): Promise<Answer> {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers ?? {})) {
    // What is null or empty is dropped, and the request goes out all the same.
    if (value?.trim()) all.set(name, value);
  }
  if (!all.has("user-agent")) all.set("user-agent", AGENT);
  if (body !== null && !all.has("content-type")) {
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
      content: await response.text() || null,
      timed_out: false,
      error_msg: null,
    };
  } catch (error) {
    if (patience.signal.aborted) {
      const total = `${timeout_milliseconds}.000000 ms`;
      const error_msg = `Timeout of ${timeout_milliseconds} ms reached. Total time: ${total} ` +
        "(DNS time: 0.000000 ms, TCP/SSL handshake time: 0.000000 ms, " +
        `HTTP Request/Response time: ${total})`;
      return { ...NOTHING, timed_out: true, error_msg };
    }
    return { ...NOTHING, timed_out: false, error_msg: curlError(String(error)) };
  } finally {
    clearTimeout(timer);
  }
}

/** What curl calls a failure. */
function curlError(error: string): string {
  if (/dns|lookup/.test(error)) return "Couldn't resolve host name";
  if (/closed before message completed|reset/.test(error)) {
    return "Server returned nothing (no headers, no data)";
  }
  return "Couldn't connect to server";
}
