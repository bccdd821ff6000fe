/**
 * The webhooks of a simulated gateway: what its instances announce goes over HTTP to the webhook
 * that is set, as Evolution sends it. Every change that `scan`, `disconnect`, `nextQr`, `advance`,
 * `reboot`, `remove` or a request makes is announced; a condition that is `set` is put into place
 * and announces nothing. A dial that waits says `connecting` when `advance` brings it there.
 *
 *     gateway.setWebhook("loja", url, { headers: { "x-secret": "…" } });
 *     gateway.disconnect("loja", 401);              // three events, in any order
 *     const { body } = await gateway.webhooks.delivered("loja", "logout.instance");
 *     const id = gateway.message("loja", { text: "oi" });   // messages.upsert
 *     await gateway.webhooks.idle();                // all delivered, dropped or given up
 *     gateway.webhooks.deliveries                   // every one: tries, statuses, outcome
 *
 * Tries that wait do so by a clock of their own, which tests stop and move:
 *
 *     gateway.webhooks.clock.stand();
 *     await gateway.webhooks.passTime(60);          // makes all tries of that minute
 *
 * What can go wrong: `settings` (late, lost, copies, timeout, one at a time, time zone), `hold` and `release`
 * (in another order), `repeat`, and `storm`.
 */

import { messageOf, retriesOf } from "./envelope.ts";
import { type Event, messageUpsert, type NewMessage, stateUpdate } from "./events.ts";
import type { Instance, Model } from "./model.ts";
import { Outbox } from "./outbox.ts";
import { wants } from "./webhook.ts";

/** What a storm can be told. */
export interface StormOptions {
  /** The event; `connecting` if not given. */
  event?: Event;
  /** How many a second, by their `date_time`; 133 if not given (B2). They go as fast as they can. */
  per_second?: number;
}

/** What a storm came to. */
export interface Storm {
  /** So many were sent. */
  sent: number;
  /** So many more were not, because the webhook did not ask for them at that moment. */
  unwanted: number;
}

/** See above. */
export class Webhooks extends Outbox {
  constructor(
    private readonly model: Model,
    /** The gateway's address and its clock. */
    private readonly server: () => { url: string; now: number },
  ) {
    super(() => retriesOf(model.version));
    model.announce = (instance, event) => void this.announce(instance, event);
  }

  /** Sends an event if the instance's webhook asks for it; resolves when its first try is over. */
  async announce(instance: Instance, event: Event, ahead_ms = 0): Promise<boolean> {
    const { webhook, mute } = instance;
    if (this.stopped || mute || !webhook || !wants(webhook, event.name)) return false;
    const { url, now } = this.server();
    const sender = {
      url,
      version: this.model.version,
      at: now + ahead_ms,
      zone_ms: this.settings.zone_ms,
      exposes_token: this.settings.exposes_tokens,
    };
    // As it is now: the model goes on while it waits.
    await this.send(structuredClone(messageOf(instance, webhook, event, sender)));
    return true;
  }

  /** Somebody writes: `messages.upsert`. Gives the message's id; null where it is not passed on. */
  message(name: string, message: NewMessage = {}): string | null {
    const instance = this.model.get(name);
    if (instance.memory !== "open" || instance.sockets === 0 || instance.deaf) return null;
    const event = messageUpsert(instance, message);
    void this.announce(instance, event);
    return (event.data as { key: { id: string } }).key.id;
  }

  /**
   * Announces the same event again and again, as a redial without end does. Whether the webhook
   * asks for it is looked at each time, as Evolution does.
   */
  async storm(name: string, count: number, options: StormOptions = {}): Promise<Storm> {
    const instance = this.model.get(name);
    const { per_second = 133 } = options;
    const event = options.event ?? stateUpdate(instance, "connecting", 200, this.model.version);
    const result = { sent: 0, unwanted: 0 };
    let next = 0;
    const one = async () => {
      while (next < count && !this.stopped) {
        const ahead_ms = (next++ - count) * 1000 / per_second;
        if (await this.announce(instance, event, ahead_ms)) result.sent++;
        else result.unwanted++;
      }
    };
    await Promise.all(Array.from({ length: this.settings.concurrency }, one));
    return result;
  }
}
