/** The user's tables as they are in production, and what the monitor knows of the rows in them. */
import assert from "node:assert/strict";
import type { Database } from "../stack/database.ts";
import { migrate } from "../stack/migrate.ts";
import { startDatabase } from "./support.ts";

export const PRODUCTION_SCHEMA = new URL("../fixtures/production_schema.sql", import.meta.url);

export const CONFIG = "organization_channel_config";
export const CHANNELS = "channel_instances";
export type Table = typeof CONFIG | typeof CHANNELS;
export const TABLES: Table[] = [CONFIG, CHANNELS];

/** A row by column. */
export type Row = Record<string, unknown>;

/** What the functions of a tick answer, as far as it matters here. */
interface Answer {
  instances: { id: number; fence: number; version: number }[];
  written: number[];
}

/** A failed write, as `write_backs` shows it. */
export interface Failure {
  source_table: string;
  source_id: string;
  attempts: number;
  error: string;
  tried: boolean;
}

/** What names the instance, in each table. */
const NAMING: Record<Table, (name: string, url: string) => Row> = {
  [CONFIG]: (name, url) => ({
    whatsapp_enabled: true,
    whatsapp_api_url: url,
    whatsapp_instance_name: name,
    whatsapp_api_key: "the key",
    whatsapp_instance_token: "the token",
  }),
  [CHANNELS]: (name, url) => ({
    channel: "whatsapp",
    provider: "evolution",
    instance_name: name,
    api_url: url,
    api_key: "the key",
    instance_token: "the token",
  }),
};

/** Something in every column that is not ours to write. */
const BYSTANDERS: Record<Table, Row> = {
  [CONFIG]: {
    whatsapp_qr_code: "data:image/png;base64,AAAA",
    sms_enabled: true,
    sms_account_sid: "sid",
    sms_auth_token: "sms token",
    sms_phone_number: "+55 11 4000-0000",
    sms_credits_used: 7,
    sms_last_recharged_at: "2026-01-01T00:00:00Z",
    automation_reservation_confirmation: true,
    automation_checkin_reminder: true,
    automation_checkout_review: true,
    automation_payment_reminder: true,
    webhook_url: "https://receiver.example",
    webhook_events: ["MESSAGES_UPSERT"],
    webhook_by_events: true,
  },
  [CHANNELS]: {
    webhook_url: "https://receiver.example",
    webhook_events: ["MESSAGES_UPSERT"],
    qr_code: "data:image/png;base64,AAAA",
    settings: { theirs: true },
    is_default: true,
    description: "Recepção",
    color: "#123456",
  },
};

/** One database with the production schema and the monitor. */
export class UserTables {
  constructor(readonly database: Database, readonly concurrent = false) {}

  get query() {
    return this.database.query;
  }

  get exec() {
    return this.database.exec;
  }

  /** Adds an instance and a row that names it; gives the row's id. */
  async add(
    table: Table,
    values: Row = {},
    { name = crypto.randomUUID() as string, url = "https://gateway.example" } = {},
  ): Promise<string> {
    const [{ organization_id }] = await this.query<{ organization_id: string }>(
      "insert into organizations (name) values ($1) returning id as organization_id",
      [name],
    );
    const row = { organization_id, ...NAMING[table](name, url), ...BYSTANDERS[table], ...values };
    const [{ id }] = await this.query<{ id: string }>(
      `insert into ${table} (${Object.keys(row)})
       select ${Object.keys(row).map((column) => `r.${column}`)}
       from jsonb_populate_record(null::${table}, $1::jsonb) r returning id`,
      [JSON.stringify(row)],
    );
    await this.query(
      `with gateway as (
         insert into whatsapp_monitor.gateways (url) values ($1)
         on conflict (url) do update set url = excluded.url returning id),
       instance as (
         insert into whatsapp_monitor.instances (gateway_id, name) select id, $2 from gateway
         on conflict (gateway_id, name) do update set name = excluded.name returning id)
       insert into whatsapp_monitor.sources (source_table, source_id, organization_id, instance_id)
       select $3, $4, $5, id from instance`,
      [url, name, table, id, organization_id],
    );
    return id;
  }

  /** The monitor knows this of the row's instance from now on. */
  async know(id: string, knowledge: Row): Promise<void> {
    const columns = Object.keys(knowledge);
    await this.query(
      `update whatsapp_monitor.instances i set (${columns}) = (
         select ${columns.map((column) => `r.${column}`)}
         from jsonb_populate_record(i, $1::jsonb) r)
       from whatsapp_monitor.sources s where s.instance_id = i.id and s.source_id = $2`,
      [JSON.stringify(knowledge), id],
    );
  }

  /** Tells the rows of all instances, as the service does at the end of a tick. */
  async writeBack({ statement_timeout_ms = 8000 } = {}): Promise<void> {
    await this.database.transaction(null, async (query) => {
      await query(`select whatsapp_monitor.write_back(
        array(select id from whatsapp_monitor.instances))`);
    }, { statement_timeout_ms });
  }

  /**
   * A tick that finds this out about all instances, from its claim to its end. It claims what rows
   * of {@link CONFIG} name.
   */
  async check(found: Row, { statement_timeout_ms = 8000 } = {}) {
    // The rows are known already, and stay.
    await this.exec(`
      update whatsapp_monitor.source_sync set synced_at = 'infinity';
      update whatsapp_monitor.instances set due_at = '-infinity'`);
    const call = (fn: string, request: Row) =>
      this.database.transaction("service_role", async (query) => {
        const [{ answer }] = await query<{ answer: Answer }>(
          `select public.whatsapp_monitor_${fn}($1::jsonb) as answer`,
          [JSON.stringify(request)],
        );
        return answer;
      }, { statement_timeout_ms });
    const tick_id = crypto.randomUUID();
    const { instances } = await call("begin_tick", { tick_id, caller: "service_key" });
    const results = instances.map(({ id, fence, version }) => ({
      ...{ id, fence, version, status: "connected", state: {}, asked: true },
      ...{ since_ms: 1_790_000_000_000, checked_ms: 1_790_000_000_000, ...found },
    }));
    const { written } = await call("finish_tick", { tick_id, results });
    assert.equal(written.length, instances.length, "our own state commits, whatever else happens");
    assert.ok(written.length > 0);
  }

  /** A whole row, as JSON has it. */
  async row(table: Table, id: string): Promise<Row> {
    const [{ row }] = await this.query<{ row: Row }>(
      `select to_jsonb(t) as row from ${table} t where id = $1`,
      [id],
    );
    return row;
  }

  /** What the monitor knows, and writes; gives what that changed in the row. */
  async told(table: Table, id: string, knowledge: Row): Promise<Row> {
    await this.know(id, knowledge);
    const before = await this.row(table, id);
    await this.writeBack();
    assert.deepEqual(await this.failures(), []);
    return difference(before, await this.row(table, id));
  }

  async failures(): Promise<Failure[]> {
    return await this.query<Failure>(
      `select source_table, source_id, attempts, error, last_at is not null as tried
       from whatsapp_monitor.write_backs order by source_table, source_id`,
    );
  }

  async reset(): Promise<void> {
    await this.exec(`truncate organizations, whatsapp_monitor.gateways cascade`);
  }
}

/** The columns that differ, as they are now; updated_at belongs to the table's own trigger. */
export function difference(before: Row, after: Row): Row {
  const changed = Object.entries(after).filter(([column, value]) =>
    column !== "updated_at" && JSON.stringify(value) !== JSON.stringify(before[column])
  );
  return Object.fromEntries(changed);
}

/** Runs tests one after the other on one database, each with empty tables. */
export function onUserTables(
  suite: string,
  tests: Record<string, (tables: UserTables) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const bare = await startDatabase({ migrated: false });
    const tables = new UserTables(bare.database, bare.concurrent);
    try {
      await tables.exec(await Deno.readTextFile(PRODUCTION_SCHEMA));
      await migrate(bare.database);
      for (const [name, test] of Object.entries(tests)) {
        await t.step(name, async () => {
          await tables.reset();
          await test(tables);
        });
      }
    } finally {
      await bare.stop();
    }
  });
}
