/**
 * Where instances come from in production: two tables of the user, with all
 * their conditions, of which either may be missing or have fewer columns.
 */
import assert from "node:assert/strict";
import { migrate } from "../stack/migrate.ts";
import { Ledger, names, result } from "./ledger.ts";
import { onProduction, type Production, syncError, watched } from "./production.ts";
import { startDatabase } from "./support.ts";

const NEWER = "public.channel_instances";
const OLDER = "public.organization_channel_config";
const missing = (table: string, columns: string) =>
  `${table}: falta a coluna ${columns}. Até que exista, vale a última leitura desta tabela.`;

/** What a tick would ask for: `organization name key`, the organization by its name. */
async function claimed(production: Production): Promise<string[]> {
  const begun = await production.begin();
  await production.finish(begun, begun.instances.map((each) => result(each)));
  const organizations = await production.query<{ id: string; name: string }>(
    "select id::text, name from public.organizations",
  );
  return begun.instances.map(({ organization_id, name, api_key }) => {
    const organization = organizations.find(({ id }) => id === organization_id);
    return `${organization?.name} ${name} ${api_key}`;
  }).sort();
}

onProduction("the production schema", {
  async "gives the instances of all organizations, from both tables"(production) {
    await production.newer("n1", "a", { api_key: "k1" });
    await production.newer("n2", "a", { api_key: "k2", is_default: true });
    await production.newer("n3", "b", { api_key: "k3", instance_token: "t" });
    await production.older("o1", "b", { whatsapp_api_key: "k4" });
    await production.older("o2", "c", { whatsapp_api_key: "k5", whatsapp_instance_token: "t" });
    assert.deepEqual(await claimed(production), [
      "a n1 k1",
      "a n2 k2",
      "b n3 k3",
      "b o1 k4",
      "c o2 k5",
    ]);
    assert.equal(await syncError(production), null);
    const id = await production.organization("b");
    const { report } = await production.begin({ organization_id: id, report: true });
    assert.deepEqual(
      report.instances.map((each: { instance_name: string }) => each.instance_name),
      ["n3", "o1"],
    );
  },

  async "takes complete, enabled, present WhatsApp instances of Evolution, and no others"(
    production,
  ) {
    const { newer, older } = {
      newer: (name: string, columns = {}) => production.newer(name, "newer", columns),
      older: (name: string, columns = {}) => production.older(name, `of ${name}`, columns),
    };
    await newer("newer");
    await newer("airbnb", { channel: "airbnb" });
    await newer("waha", { provider: "waha" });
    await newer("disabled", { is_enabled: false });
    await newer("deleted", { deleted_at: new Date() });
    for (const column of ["api_url", "api_key"]) {
      await newer(`no ${column}`, { [column]: null });
      await newer(`blank ${column}`, { [column]: " " });
    }
    await newer(" ");
    await older("older");
    await older("disabled", { whatsapp_enabled: false });
    await older("neither", { whatsapp_enabled: null });
    await older("deleted", { deleted_at: new Date() });
    for (const column of ["whatsapp_api_url", "whatsapp_api_key", "whatsapp_instance_name"]) {
      await older(`no ${column}`, { [column]: null });
      await older(`blank ${column}`, { [column]: "" });
    }
    assert.deepEqual(names((await production.begin()).instances).sort(), ["newer", "older"]);
    assert.equal(await syncError(production), null);
  },

  async "asks with the key of channel_instances first, within one organization"(production) {
    await production.older("loja", "a", { whatsapp_api_key: "older key" });
    assert.deepEqual(await claimed(production), ["a loja older key"]);
    await production.newer("loja", "a", { api_key: "newer key" });
    await production.sync();
    assert.deepEqual((await watched(production)).length, 1);
    await production.pass(60);
    assert.deepEqual(await claimed(production), ["a loja newer key"]);
    await production.query(`update ${NEWER} set is_enabled = false`);
    await production.pass(60);
    assert.deepEqual(await claimed(production), ["a loja older key"], "not a moment without");
  },

  async "wants the webhook of the first row that names one, within one organization"(production) {
    await production.query("update whatsapp_monitor.settings set webhook_policy = 'manage'");
    const events = ["MESSAGES_UPSERT"];
    const url = (host: string) => ({
      webhook_url: `https://${host}.example`,
      webhook_events: events,
    });
    await production.newer("both", "a", url("newer"));
    await production.older("both", "a", url("older"));
    await production.newer("older", "b", { webhook_url: " " });
    await production.older("older", "b", url("older"));
    await production.newer("none", "c");
    await production.older("none", "d", url("stranger"));
    const { instances } = await production.begin();
    const wanted = instances.map(({ name, webhook }) => [
      name,
      webhook?.own_url,
      webhook?.own_events,
    ]);
    assert.deepEqual(wanted.sort(), [
      ["both", "https://newer.example", events],
      ["none", null, []],
      ["older", "https://older.example", events],
    ]);
  },

  async "an instance that moves from one table to the other is not due for that"(production) {
    await production.older("loja", "a");
    await claimed(production);
    const before = await production.row("loja");
    await production.newer("loja", "a");
    await production.query(`update ${OLDER} set deleted_at = now()`);
    await production.sync();
    assert.deepEqual(await production.row("loja"), before);
    const sources = await production.query("select source_table from whatsapp_monitor.sources");
    assert.deepEqual(sources, [{ source_table: "channel_instances" }]);
  },

  async "is read without touching a row of the user's"(production) {
    await production.newer("n", "a");
    await production.older("o", "b");
    const rows = () =>
      production.query(`select xmin::text, xmax::text, t::text from ${NEWER} t
        union all select xmin::text, xmax::text, t::text from ${OLDER} t`);
    const before = await rows();
    await production.sync();
    assert.deepEqual(await rows(), before);
  },
});

onProduction("a table with fewer columns", {
  async "has no condition where the column is missing"(production) {
    await production.newer("n", "a");
    await production.older("o", "b");
    await production.changed(
      `alter table ${NEWER} rename channel to x1; alter table ${NEWER} rename provider to x2;
       alter table ${NEWER} rename is_enabled to x3; alter table ${NEWER} rename deleted_at to x4;
       alter table ${NEWER} rename instance_token to x5;
       alter table ${NEWER} rename created_at to x6;
       alter table ${OLDER} rename whatsapp_enabled to x1;
       alter table ${OLDER} rename deleted_at to x2;
       alter table ${OLDER} rename whatsapp_instance_token to x3;
       alter table ${OLDER} rename created_at to x4;
       update ${NEWER} set x1 = 'sms', x2 = 'waha', x3 = false, x4 = now();
       update ${OLDER} set x1 = false, x2 = now();`,
      `alter table ${NEWER} rename x1 to channel; alter table ${NEWER} rename x2 to provider;
       alter table ${NEWER} rename x3 to is_enabled; alter table ${NEWER} rename x4 to deleted_at;
       alter table ${NEWER} rename x5 to instance_token;
       alter table ${NEWER} rename x6 to created_at;
       alter table ${OLDER} rename x1 to whatsapp_enabled;
       alter table ${OLDER} rename x2 to deleted_at;
       alter table ${OLDER} rename x3 to whatsapp_instance_token;
       alter table ${OLDER} rename x4 to created_at;`,
      async () => {
        assert.deepEqual(await claimed(production), ["a n the key", "b o the key"]);
        assert.equal(await syncError(production), null);
      },
    );
  },

  async "without one that is needed says so, and does not disturb the other"(production) {
    const needed = {
      [NEWER]: ["id", "organization_id", "api_url", "instance_name", "api_key"],
      [OLDER]: [
        "id",
        "organization_id",
        "whatsapp_api_url",
        "whatsapp_instance_name",
        "whatsapp_api_key",
      ],
    };
    await production.newer("n", "a");
    await production.older("o", "b");
    await production.sync();
    for (const [table, columns] of Object.entries(needed)) {
      for (const column of columns) {
        await production.changed(
          `alter table ${table} rename ${column} to elsewhere`,
          `alter table ${table} rename elsewhere to ${column}`,
          async () => {
            await production.pass(60);
            assert.deepEqual(
              await claimed(production),
              table === NEWER ? ["b o the key"] : ["a n the key"],
            );
            assert.equal(await syncError(production), missing(table, column));
            assert.equal((await watched(production)).length, 2, "what was known stays");
          },
        );
      }
    }
    await production.changed(
      `alter table ${NEWER} rename api_key to x1; alter table ${NEWER} rename api_url to x2;
       alter table ${OLDER} rename whatsapp_api_key to x1`,
      `alter table ${NEWER} rename x1 to api_key; alter table ${NEWER} rename x2 to api_url;
       alter table ${OLDER} rename x1 to whatsapp_api_key`,
      async () => {
        await production.sync();
        assert.equal(
          await syncError(production),
          `${missing(NEWER, "api_url, api_key")}\n${missing(OLDER, "whatsapp_api_key")}`,
        );
      },
    );
    await production.sync();
    assert.equal(await syncError(production), null);
  },

  async "that cannot be read does not disturb the other"(production) {
    await production.newer("n", "a");
    await production.sync();
    await production.changed(
      `alter table ${NEWER} rename to real_table;
       create view ${NEWER} as
         select id, organization_id, api_url, instance_name, (1 / (length(api_key) * 0))::text as api_key
         from public.real_table`,
      `drop view ${NEWER}; alter table public.real_table rename to channel_instances`,
      async () => {
        await production.older("o", "b");
        await production.pass(60);
        assert.deepEqual(await claimed(production), ["b o the key"]);
        assert.equal(await syncError(production), `${NEWER}: division by zero`);
      },
    );
    await production.pass(60);
    assert.deepEqual(await claimed(production), ["a n the key", "b o the key"]);
  },
});

Deno.test("of the two tables either may be missing, or both, and ids may be of any type", async (t) => {
  const newer = (id: string, organization: string) => `
    create table ${NEWER} (id ${id} primary key, organization_id ${organization},
      api_url varchar(200), instance_name varchar(200), api_key varchar(200));`;
  const older = (id: string, organization: string) => `
    create table ${OLDER} (id ${id} primary key, organization_id ${organization},
      whatsapp_api_url text, whatsapp_instance_name text, whatsapp_api_key text);`;
  const uuid = "00000000-0000-0000-0000-000000000001";
  const row = (table: string, id: string, organization: string, name: string) =>
    `insert into ${table} values ('${id}', '${organization}', 'https://gw.example', '${name}', 'k');`;
  const bare = await startDatabase({ migrated: false });
  const ledger = new Ledger(bare);
  const { exec } = bare.database;
  const claims = async (expected: string[]) => {
    await ledger.pass(60);
    const begun = await ledger.begin();
    await ledger.finish(begun, begun.instances.map((each) => result(each)));
    assert.deepEqual(
      begun.instances.map(({ organization_id, name }) => `${organization_id} ${name}`).sort(),
      expected,
    );
    assert.equal(await syncError(ledger), null);
  };
  try {
    await exec(newer("bigint", "text"));
    await migrate(bare.database);
    await t.step("the newer one alone", async () => {
      await exec(row(NEWER, "7", "org", "n"));
      await claims(["org n"]);
    });
    await t.step("both, with ids of different types", async () => {
      await exec(older("uuid", "uuid") + row(OLDER, uuid, uuid, "o"));
      await claims([`${uuid} o`, "org n"]);
    });
    await t.step("an id that changes its type", async () => {
      await exec(`alter table ${NEWER} alter id type text`);
      await claims([`${uuid} o`, "org n"]);
    });
    await t.step("the older one alone", async () => {
      await exec(`drop table ${NEWER}`);
      await claims([`${uuid} o`]);
    });
    await t.step("neither", async () => {
      await exec(`drop table ${OLDER}`);
      await claims([]);
      assert.deepEqual(await watched(ledger), []);
    });
    await t.step("both again", async () => {
      await exec(newer("text", "integer") + row(NEWER, "x", "3", "n"));
      await exec(older("integer", "text") + row(OLDER, "1", "t", "o"));
      await claims(["3 n", "t o"]);
    });
  } finally {
    await bare.stop();
  }
});
