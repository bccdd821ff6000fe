/** The webhooks on their way: sent at once and all at a time, tried again, late, lost, held. */

import { Clock } from "./clock.ts";
import type { Message, Retries } from "./envelope.ts";

/** What became of a webhook. */
export type Outcome =
  /** It is under way, held, or waits for another try. */
  | "pending"
  /** It was answered by 2xx. */
  | "delivered"
  /** It was answered by a status after which Evolution does not try again. */
  | "dropped"
  /** All its tries failed. */
  | "gave_up"
  /** The process ended before. */
  | "forgotten";

/** A webhook and its story. */
export interface Delivery extends Message {
  readonly id: number;
  /** When each try set off, by the outbox's clock, and its status; null without an answer. */
  readonly tries: { at: number; status: number | null }[];
  outcome: Outcome;
}

/** How the way to the receiver is: `lost`, nothing arrives; `answers_lost`, no answer comes back. */
export const WAYS = ["clear", "lost", "answers_lost"] as const;

/** What can be set, at any time. */
export const DEFAULTS = {
  /** After which a try is given up. Real time, other than the waits between the tries. */
  timeout_ms: 30_000,
  /** So many tries at once; Evolution has no limit. With 1 they go one after the other. */
  concurrency: 50,
  /** Every event is sent so many times. */
  copies: 1,
  /** Half of them set off up to so much later, by the outbox's clock. */
  late_ms: 0,
  /** The way to the receiver. */
  way: "clear" as Way,
  /** By how much `date_time` is ahead of UTC: -3 h in São Paulo (L2). */
  zone_ms: 0,
  /** Whether `apikey` is the instance's token, or null. */
  exposes_tokens: true,
};

/** One of {@link WAYS}. */
export type Way = typeof WAYS[number];

/** The orders in which what was held can go on. */
export const ORDERS = ["sent", "reversed"] as const;

/** One of {@link ORDERS}, or any other. */
export type Order = typeof ORDERS[number] | ((held: Delivery[]) => Delivery[]);

/** Where nothing happens for so long, what somebody waits for never comes. */
const FUSE_MS = 30_000;

/** While time passes, tries that are due within this of each other go together. */
const GRAIN_MS = 1_000;

/** See above. */
export class Outbox {
  /** Every webhook that was sent, in that order. */
  readonly deliveries: Delivery[] = [];
  readonly settings = { ...DEFAULTS };
  /** By which the waits are measured. */
  readonly clock = new Clock();
  /** The most tries that were under way at once. */
  peakInFlight = 0;
  #serial = 0;
  #pending = 0;
  /** Tries under way, and those that wait for one to end. */
  #inFlight = 0;
  #queue: (() => void)[] = [];
  #held: Delivery[] = [];
  #holds: ((delivery: Delivery) => boolean) | null = null;
  #process = new AbortController();
  #stopped = false;
  #watchers = new Set<() => void>();
  readonly #client = Deno.createHttpClient({});

  constructor(private readonly retries: () => Retries) {}

  /** Sends a message; resolves when its first try is over, or put off. */
  async send(message: Message): Promise<void> {
    const sent = Array.from({ length: this.settings.copies }, () => this.#sendOne(message));
    await Promise.all(sent);
  }

  /** Sends the same once more, as after an answer that was lost. */
  repeat({ instance, event, url, headers, body }: Delivery): Promise<void> {
    return this.#sendOne({ instance, event, url, headers, body });
  }

  /** From now on every try is held, or those of the deliveries that this says. */
  hold(which: (delivery: Delivery) => boolean = () => true): void {
    this.#holds = which;
  }

  /** Ends the hold; what was held goes one after the other. Resolves when it went. */
  async release(order: Order = "sent"): Promise<void> {
    const held = this.#held.splice(0);
    this.#holds = null;
    if (order === "reversed") held.reverse();
    for (const each of typeof order === "function" ? order(held) : held) await this.#try(each);
  }

  /**
   * Lets so many seconds pass: every try that falls due meanwhile is made, in order, with those
   * that follow from it. Resolves when the last of them is over.
   */
  async passTime(seconds: number): Promise<void> {
    const until = this.clock.now() + seconds * 1000;
    await this.tried();
    const due = (by: number) => (this.clock.next() ?? Infinity) <= by;
    while (due(until)) {
      const end = Math.min(this.clock.next()! + GRAIN_MS, until);
      while (due(end)) this.clock.move(Math.max(0, this.clock.next()! - this.clock.now()));
      await this.tried();
    }
    this.clock.move(Math.max(0, until - this.clock.now()));
    await this.tried();
  }

  /** Resolves when no try is under way; some may be held, or wait for another. */
  tried(): Promise<void> {
    return this.#until(() => this.#inFlight === 0 || undefined, "no try under way").then(() => {});
  }

  /** Resolves when nothing is pending any more. */
  idle(): Promise<void> {
    return this.#until(() => this.#pending === 0 || undefined, "nothing pending").then(() => {});
  }

  /** The so manieth delivered webhook of an instance and event, waited for if need be. */
  delivered(instance: string, event: string, nth = 1): Promise<Delivery> {
    const fits = (one: Delivery) => one.instance === instance && one.event === event;
    const look = () =>
      this.deliveries.filter((one) => fits(one) && one.outcome === "delivered")[nth - 1];
    return this.#until(look, `${event} of ${instance} delivered ${nth} times`);
  }

  /** How many came to which end. */
  outcomes(): Partial<Record<Outcome, number>> {
    const counts: Partial<Record<Outcome, number>> = {};
    for (const { outcome } of this.deliveries) counts[outcome] = (counts[outcome] ?? 0) + 1;
    return counts;
  }

  /** Forgets the record of all that is not pending, and the peak. */
  forget(): void {
    const kept = this.deliveries.filter(({ outcome }) => outcome === "pending");
    this.deliveries.splice(0, Infinity, ...kept);
    this.peakInFlight = this.#inFlight;
  }

  /** The process ends: what is pending is in its memory alone, and lost. */
  reboot(): void {
    this.clock.clear();
    this.#held = [];
    for (const each of this.deliveries) this.#end(each, "forgotten");
    this.#process.abort();
    this.#process = new AbortController();
  }

  /** Ends all that is pending. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.reboot();
    await this.tried();
    for (const look of this.#watchers) look();
    this.#client.close();
  }

  /** Nothing is sent any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  async #sendOne(message: Message): Promise<void> {
    if (this.#stopped) return;
    const id = ++this.#serial;
    const delivery: Delivery = { ...message, id, tries: [], outcome: "pending" };
    this.deliveries.push(delivery);
    this.#pending++;
    const { late_ms } = this.settings;
    if (late_ms === 0 || Math.random() < 0.5) return await this.#go(delivery);
    this.clock.in(Math.random() * late_ms, () => void this.#go(delivery));
  }

  #go(delivery: Delivery): Promise<void> | void {
    if (this.#holds?.(delivery)) this.#held.push(delivery);
    else return this.#try(delivery);
  }

  async #try(delivery: Delivery): Promise<void> {
    if (this.#inFlight++ >= this.settings.concurrency) {
      await new Promise<void>((free) => this.#queue.push(free));
    }
    const running = this.#inFlight - this.#queue.length;
    this.peakInFlight = Math.max(this.peakInFlight, running);
    if (delivery.outcome === "pending") {
      const at = this.clock.now();
      const status = await this.#post(delivery);
      delivery.tries.push({ at, status });
      if (delivery.outcome === "pending") this.#judge(delivery, status);
    }
    this.#inFlight--;
    this.#queue.shift()?.();
    this.#changed();
  }

  /** Makes one try; null where there is no answer. */
  async #post({ url, headers, body }: Delivery): Promise<number | null> {
    const { way, timeout_ms } = this.settings;
    if (way === "lost") return null;
    const timeout = new AbortController();
    const timer = this.retries().timed ? setTimeout(() => timeout.abort(), timeout_ms) : undefined;
    try {
      const response = await fetch(url, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.any([this.#process.signal, timeout.signal]),
        client: this.#client,
      });
      await response.arrayBuffer();
      return way === "answers_lost" ? null : response.status;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  #judge(delivery: Delivery, status: number | null): void {
    const { tries, drops, wait_ms } = this.retries();
    const attempt = delivery.tries.length;
    if (status !== null && status >= 200 && status <= 299) this.#end(delivery, "delivered");
    else if (status !== null && drops.includes(status)) this.#end(delivery, "dropped");
    else if (attempt >= tries) this.#end(delivery, "gave_up");
    else this.clock.in(wait_ms(attempt, Math.random()), () => void this.#go(delivery));
  }

  #end(delivery: Delivery, outcome: Outcome): void {
    if (delivery.outcome !== "pending") return;
    delivery.outcome = outcome;
    this.#pending--;
    this.#changed();
  }

  #changed(): void {
    for (const look of this.#watchers) look();
  }

  /** Resolves with what `look` finds, as soon as it finds something. */
  #until<T>(look: () => T | undefined, what: string): Promise<T> {
    const found = look();
    if (found !== undefined) return Promise.resolve(found);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const never = (why: string) =>
      reject(new Error(`never ${what} (${why}): ${JSON.stringify(this.outcomes())}`));
    const burn = () =>
      setTimeout(() => {
        this.#watchers.delete(again);
        never(`nothing happens for ${FUSE_MS} ms`);
      }, FUSE_MS);
    const again = () => {
      clearTimeout(fuse);
      const found = look();
      if (found !== undefined) resolve(found);
      else if (this.#stopped && this.#inFlight === 0) never("the gateway was stopped");
      else {
        fuse = burn();
        return;
      }
      this.#watchers.delete(again);
    };
    let fuse = burn();
    this.#watchers.add(again);
    return promise;
  }
}
