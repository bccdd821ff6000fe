/** A database with the tables that a Rendizy project has in production, and what tests of it need. */
import { migrate } from "../stack/migrate.ts";
import { Ledger } from "./ledger.ts";
import { startDatabase } from "./support.ts";

const SCHEMA = new URL("../fixtures/production_schema.sql", import.meta.url);

/** Rows of the user's table, as far as they differ from complete ones. */
export type Columns = Record<string, unknown>;

/** The ledger of a project with the production schema. */
export class Production extends Ledger {
  /** An organization; the same name gives the same one. Its id sorts as `rank` does. */
  async organization(name: string, rank = 5): Promise<string> {
    const [known] = await this.query<{ id: string }>(
      "select id from public.organizations where name = $1",
      [name],
    );
    if (known) return known.id;
    const id = `${rank}${crypto.randomUUID().slice(1)}`;
    await this.query("insert into public.organizations (id, name) values ($1, $2)", [id, name]);
    return id;
  }

  /** Adds a row to `channel_instances`; gives its id. */
  async newer(name: string, organization: string, columns: Columns = {}): Promise<string> {
    return await this.insert("channel_instances", {
      organization_id: await this.organization(organization),
      channel: "whatsapp",
      provider: "evolution",
      instance_name: name,
      api_url: "https://gateway.example",
      api_key: "the key",
      ...columns,
    });
  }

  /** Adds a row to `organization_channel_config`; gives its id. */
  async older(name: string, organization: string, columns: Columns = {}): Promise<string> {
    return await this.insert("organization_channel_config", {
      organization_id: await this.organization(organization),
      whatsapp_enabled: true,
      whatsapp_instance_name: name,
      whatsapp_api_url: "https://gateway.example",
      whatsapp_api_key: "the key",
      ...columns,
    });
  }

  private async insert(table: string, columns: Columns): Promise<string> {
    const names = Object.keys(columns);
    const [{ id }] = await this.query<{ id: string }>(
      `insert into public.${table} (${names}) values (${names.map((_, i) => `$${i + 1}`)})
       returning id::text`,
      Object.values(columns),
    );
    return id;
  }

  /** Runs `work` after `change`, and `back` in any case. */
  async changed(change: string, back: string, work: () => Promise<void>): Promise<void> {
    await this.bare.database.exec(change);
    try {
      await work();
    } finally {
      await this.bare.database.exec(back);
    }
  }

  override async reset(): Promise<void> {
    await super.reset();
    await this.bare.database.exec("truncate public.organizations cascade");
  }
}

/** Runs tests one after the other on one database with the production schema, each on an empty one. */
export function onProduction(
  suite: string,
  tests: Record<string, (production: Production) => Promise<void>>,
): void {
  Deno.test(suite, async (t) => {
    const bare = await startDatabase({ migrated: false });
    try {
      await bare.database.exec(await Deno.readTextFile(SCHEMA));
      await migrate(bare.database);
      for (const [name, test] of Object.entries(tests)) {
        await t.step(name, async () => {
          const production = new Production(bare);
          await production.reset();
          await test(production);
        });
      }
    } finally {
      await bare.stop();
    }
  });
}

/** What is watched now, as `gateway name`. */
export async function watched({ query }: Ledger): Promise<string[]> {
  const rows = await query<{ text: string }>(`
    select g.url || ' ' || i.name as text
    from whatsapp_monitor.instances i join whatsapp_monitor.gateways g on g.id = i.gateway_id
    where i.removed_at is null order by text`);
  return rows.map(({ text }) => text);
}

/** What went wrong when the sources were read. */
export async function syncError({ query }: Ledger): Promise<string | null> {
  const [{ error }] = await query<{ error: string | null }>(
    "select error from whatsapp_monitor.source_sync",
  );
  return error;
}
