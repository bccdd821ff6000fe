/** The SQL functions of a tick, called as the edge function calls them, and a clock to turn. */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { type Bare, startDatabase } from "./support.ts";

/** What `begin_tick` hands out for each instance. */
export interface Claimed {
  id: number;
  organization_id: string;
  gateway_url: string;
  name: string;
  api_key: string;
  fence: number;
  version: number;
  state: unknown;
  settled_ms: number | null;
  webhook: { own_url: string | null; own_events: unknown } | null;
}

/** An accepted tick. */
export interface Begun {
  outcome: string;
  tick_id: string;
  now_ms: number;
  claimed: number | null;
  instances: Claimed[];
  // deno-lint-ignore no-explicit-any -- rows as the database has them
  gateways: any[];
  more_due: boolean | null;
  // deno-lint-ignore no-explicit-any -- rows as the database has them
  report: any;
}

export const BEGIN = "whatsapp_monitor_begin_tick";
export const FINISH = "whatsapp_monitor_finish_tick";
export const ACT = "whatsapp_monitor_record_actions";

/** A row of the user's table; what is left out is that of a complete one. */
export interface NewSource {
  organization?: string;
  url?: string;
  key?: string | null;
  enabled?: boolean | null;
  deleted?: boolean;
}

/** One database and what the tests of the SQL do with it again and again. */
export class Ledger {
  constructor(readonly bare: Bare) {}

  get query() {
    return this.bare.database.query;
  }

  /** Calls a function that must answer. */
  async call(fn: string, request: Record<string, unknown>) {
    const { status, body } = await this.bare.rpc(fn, { request });
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  }

  /** Begins a tick, a new one unless it is named. */
  async begin(request: Record<string, unknown> = {}): Promise<Begun> {
    const tick_id = crypto.randomUUID();
    const whole = { tick_id, caller: "service_key", ...request };
    return { ...await this.call(BEGIN, whole), tick_id: whole.tick_id };
  }

  /** Finishes a tick with these results, giving back the rest. */
  finish(
    { tick_id }: Pick<Begun, "tick_id">,
    results: ReturnType<typeof result>[],
    carried_over: Claimed[] = [],
  ) {
    return this.call(FINISH, {
      tick_id,
      results,
      carried_over: carried_over.map(({ id, fence }) => ({ id, fence })),
    });
  }

  /** Adds a row to the user's table; its organization has its name unless told otherwise. */
  async add(name: string, source: NewSource = {}): Promise<string> {
    const { organization = name, url = "https://gateway.example", key = "the key" } = source;
    const { enabled = true, deleted = false } = source;
    const [{ id }] = await this.query<{ id: string }>(
      `insert into public.organization_channel_config
         (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name,
          whatsapp_api_key, deleted_at)
       values ($1, $2, $3, $4, $5, case when $6 then now() end) returning id`,
      [organization, enabled, url, name, key, deleted],
    );
    return id;
  }

  /** Adds rows and reads them. */
  async watch(...names: string[]): Promise<void> {
    for (const name of names) await this.add(name);
    await this.sync();
  }

  async sync(): Promise<void> {
    await this.query("select whatsapp_monitor.sync_sources()");
  }

  /** An instance as the database has it. */
  async row(name: string): Promise<Record<string, unknown>> {
    const rows = await this.query("select * from whatsapp_monitor.instances where name = $1", [
      name,
    ]);
    assert.equal(rows.length, 1, name);
    return rows[0];
  }

  async set(settings: Record<string, number>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      await this.query(`update whatsapp_monitor.settings set ${name} = $1`, [value]);
    }
  }

  /** Time passes for all that the database remembers. */
  pass(seconds: number): Promise<void> {
    return passTime(this.bare.database, seconds);
  }

  /** Forgets everything, settings included. */
  async reset(): Promise<void> {
    await this.bare.database.exec(`
      truncate whatsapp_monitor.settings, whatsapp_monitor.source_sync, whatsapp_monitor.ticks,
        whatsapp_monitor.trigger_tokens, whatsapp_monitor.gateways, whatsapp_monitor.instances,
        whatsapp_monitor.sources, whatsapp_monitor.write_backs, whatsapp_monitor.actions,
        whatsapp_monitor.status_changes, whatsapp_monitor.outages, whatsapp_monitor.alerts,
        whatsapp_monitor.days, whatsapp_monitor.refusals, whatsapp_monitor.requests,
        whatsapp_monitor.heartbeat, whatsapp_monitor.environment, whatsapp_monitor.installation,
        whatsapp_monitor.webhooks, whatsapp_monitor.messages, whatsapp_monitor.polls,
        whatsapp_monitor.receiver_test,
        public.organization_channel_config;
      insert into whatsapp_monitor.receiver_test default values;
      insert into whatsapp_monitor.settings (webhook_policy) values ('off');
      insert into whatsapp_monitor.source_sync default values;
      insert into whatsapp_monitor.installation default values;
      insert into whatsapp_monitor.heartbeat default values;
      insert into whatsapp_monitor.environment default values;`);
  }
}

/** What a tick found out about an instance. */
export function result(claimed: Claimed, changes: Record<string, unknown> = {}) {
  const { id, fence, version } = claimed;
  const state = { found: "something" };
  const moments = { since_ms: 1_700_000_000_000, checked_ms: 1_700_000_000_000 };
  return { id, fence, version, status: "connected", ...moments, state, asked: true, ...changes };
}

export function names(claimed: Claimed[]): string[] {
  return claimed.map(({ name }) => name);
}

/** Runs tests one after the other on one database, each on an empty one. */
export function onLedger(
  suite: string,
  tests: Record<string, (ledger: Ledger) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const bare = await startDatabase();
    try {
      for (const [name, test] of Object.entries(tests)) {
        await t.step(name, async () => {
          const ledger = new Ledger(bare);
          await ledger.reset();
          await test(ledger);
        });
      }
    } finally {
      await bare.stop();
    }
  });
}
