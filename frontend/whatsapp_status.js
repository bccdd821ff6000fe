/**
 * Asks for an organization's WhatsApp status again and again, politely: each
 * call is an invocation of the function, whatever is answered. No dependencies;
 * the types are in whatsapp_status.d.ts.
 */

/** Seconds between two questions, at the least. */
const LEAST_S = 30;

/** Seconds between two questions after failures, at the most; Retry-After may ask for more. */
const FAILING_S = 300;

/** The longest Retry-After that is heeded, in seconds. */
const RETRY_AFTER_S = 3600;

/** Seconds that an answer may take. */
const ANSWER_S = 15;

/** Seconds from one question to the next for somebody who comes back to the page. */
const COMES_BACK_S = 5;

/** What has failed, and for how many seconds to stay away where the server said so. */
class Failure extends Error {
  /** @param {string} message @param {number} retryAfter_s */
  constructor(message, retryAfter_s = 0) {
    super(message);
    this.retryAfter_s = retryAfter_s;
  }
}

/** @type {import("./whatsapp_status.d.ts").watchWhatsappStatus} */
export function watchWhatsappStatus(
  { url, organizationId, headers, everySeconds = LEAST_S, onStatus, signal },
) {
  const page = globalThis.document;
  let stopped = false;
  let failures = 0;
  let askedAt = -Infinity;
  let dueAt = Date.now();
  /** The last answer, which stays the best there is while others fail. */
  let last = null;
  /** The one question that is under way. */
  let asking = null;
  let timer;

  function wait() {
    clearTimeout(timer);
    if (stopped || asking || page?.visibilityState === "hidden") return;
    timer = setTimeout(ask, Math.max(0, dueAt - Date.now()));
  }

  function seen() {
    // What failed keeps its distance.
    if (failures === 0) dueAt = Math.min(dueAt, askedAt + COMES_BACK_S * 1000);
    wait();
  }

  async function ask() {
    const mine = asking = new AbortController();
    const late = setTimeout(() => mine.abort(), ANSWER_S * 1000);
    askedAt = Date.now();
    let pause_s = Math.max(LEAST_S, everySeconds);
    let error = null;
    try {
      const answer = await request(mine.signal);
      last = answer.data;
      failures = 0;
      if (answer.poll_after_s > pause_s) pause_s = answer.poll_after_s;
    } catch (thrown) {
      error = thrown;
      failures += 1;
      const doubled_s = pause_s * 2 ** Math.min(failures - 1, 8);
      pause_s = Math.max(pause_s, Math.min(FAILING_S, doubled_s), thrown.retryAfter_s ?? 0);
    } finally {
      clearTimeout(late);
    }
    if (stopped) return;
    asking = null;
    // Always later, so that many pages that failed together do not come back together.
    dueAt = Date.now() + pause_s * 1000 * (1 + Math.random() / 10);
    wait();
    onStatus(last, { stale: error !== null || last.stale === true, error });
  }

  async function request(signal) {
    const response = await fetch(url, {
      method: "POST",
      // A function, so that a session that was renewed meanwhile is the one that is sent.
      headers: typeof headers === "function" ? headers() : headers,
      // Without a content type: then a browser that sends no other header has no need to ask first.
      body: JSON.stringify({ organization_id: organizationId }),
      cache: "no-store",
      signal,
    });
    const answer = await response.json().catch(() => null);
    if (!response.ok || !answer?.success || typeof answer.data?.connected !== "boolean") {
      const reason = answer?.error ?? answer?.data?.error ?? "no status in the answer";
      throw new Failure(`${response.status}: ${reason}`, retryAfter(response));
    }
    return answer;
  }

  function stop() {
    stopped = true;
    clearTimeout(timer);
    asking?.abort();
    page?.removeEventListener("visibilitychange", seen);
    signal?.removeEventListener("abort", stop);
  }

  if (signal?.aborted) return () => {};
  page?.addEventListener("visibilitychange", seen);
  signal?.addEventListener("abort", stop);
  wait();
  return stop;
}

/** Seconds of a Retry-After, which is a number of them or a date. */
function retryAfter(response) {
  const text = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return seconds > 0 ? Math.min(seconds, RETRY_AFTER_S) : 0;
}
