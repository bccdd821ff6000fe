/**
 * Where instances come from: the rows of the user's table become instances,
 * move, leave and return, and no row of it can spoil another's. SQL alone.
 */
import assert from "node:assert/strict";
import { type Ledger, names, onLedger, result } from "./ledger.ts";
import { syncError, watched } from "./production.ts";

const TABLE = "public.organization_channel_config";

/** Where every row of ours lies and who has locked it last: any write shows. */
async function traces({ query }: Ledger): Promise<unknown[]> {
  return await query(
    ["gateways", "instances", "sources"].map((table) =>
      `select '${table}' as t, ctid::text, xmin::text, xmax::text from whatsapp_monitor.${table}`
    ).join(" union all ") + " order by 1, 2",
  );
}

onLedger("sync_sources", {
  async "makes one gateway of all spellings of its URL"(ledger) {
    const spellings = {
      "https://gw.example": [
        "https://gw.example",
        "https://gw.example/",
        "HTTPS://GW.Example//",
        " https://gw.example:443\n",
        "https://gw.example:443/",
      ],
      "http://gw.example": ["http://gw.example:80", "Http://GW.EXAMPLE:80/"],
      "https://gw.example:80": ["https://gw.example:80"],
      "http://gw.example:443": ["http://gw.example:443/"],
      "https://gw.example/Api": ["https://GW.example:443/Api/"],
      "https://gw.example:8443": ["https://gw.example:8443/"],
      "http://[::1]:8080": ["http://[::1]:8080/"],
      "não é URL": [" não é URL/ "],
      // What may be a secret is not kept.
      "https://***@gw.example": ["https://user:secret@GW.example/", "https://token@gw.example"],
      "https://gw.example/a?***": ["https://gw.example/a?apikey=secret", "https://gw.example/a#x"],
    };
    for (const [url, variants] of Object.entries(spellings)) {
      for (const [n, variant] of variants.entries()) {
        await ledger.add(`${url} ${n}`, { url: variant });
      }
    }
    await ledger.sync();
    const gateways = await ledger.query<{ url: string }>(
      "select url from whatsapp_monitor.gateways",
    );
    assert.deepEqual(gateways.map(({ url }) => url).sort(), Object.keys(spellings).sort());
    assert.equal((await watched(ledger)).length, Object.values(spellings).flat().length);
  },

  async "makes one instance of several rows that name it"(ledger) {
    await ledger.add("loja", { organization: "a" });
    await ledger.add("loja", { organization: "b", url: "HTTPS://gateway.example:443/" });
    await ledger.add("loja", { organization: "c", url: "https://other.example" });
    const begun = await ledger.begin();
    assert.deepEqual(begun.instances.map((each) => `${each.gateway_url} ${each.name}`).sort(), [
      "https://gateway.example loja",
      "https://other.example loja",
    ]);
    await ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    await ledger.pass(3600);
    for (const organization_id of ["a", "b"]) {
      const { instances } = await ledger.begin({ organization_id });
      assert.equal(instances.length, organization_id === "a" ? 1 : 0, "it is the same one");
    }
  },

  async "takes complete, enabled, present rows, and no others"(ledger) {
    await ledger.bare.database.exec(`
      alter table ${TABLE} alter organization_id drop not null,
        drop constraint organization_channel_config_instance_key`);
    await ledger.add("complete");
    await ledger.add("disabled", { enabled: false });
    await ledger.add("neither", { enabled: null });
    await ledger.add("deleted", { deleted: true });
    await ledger.add("no key", { key: null });
    await ledger.add("blank key", { key: "  " });
    await ledger.add("no url", { url: " " });
    await ledger.add(" ", { organization: "no name" });
    // What no index could hold, compressed or not.
    const long = Array.from({ length: 300 }, () => crypto.randomUUID()).join("");
    await ledger.add(long, { organization: "long name" });
    await ledger.add("long organization", { organization: long });
    await ledger.add("long url", { url: `https://gw.example/${long}` });
    const id = await ledger.add("no organization");
    await ledger.query(`update ${TABLE} set organization_id = null where id = $1`, [id]);

    assert.deepEqual(names((await ledger.begin()).instances), ["complete"]);
    assert.equal(await syncError(ledger), null);
    assert.deepEqual(await watched(ledger), ["https://gateway.example complete"]);
  },

  async "what leaves is no longer claimed, and has its memory again when it returns"(ledger) {
    await ledger.watch("stays", "leaves");
    const begun = await ledger.begin();
    await ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    const enable = (enabled: boolean) =>
      ledger.query(
        `update ${TABLE} set whatsapp_enabled = $1 where whatsapp_instance_name = 'leaves'`,
        [enabled],
      );
    await enable(false);
    await ledger.pass(3600);
    const without = await ledger.begin({ report: true });
    assert.deepEqual(names(without.instances), ["stays"]);
    const asked = await ledger.begin({ organization_id: "leaves" });
    assert.equal(asked.outcome, "unknown_organization");
    const gone = await ledger.row("leaves");
    assert.notEqual(gone.removed_at, null);
    assert.deepEqual([gone.state, gone.version], [{ found: "something" }, 1]);
    await ledger.finish(without, without.instances.map((claimed) => result(claimed)));
    const { report } = await ledger.begin({ report: true });
    assert.deepEqual(report.instances.length, 1);

    await enable(true);
    await ledger.pass(100);
    const [back, ...others] = (await ledger.begin()).instances;
    const { id, name, version, state } = back;
    assert.deepEqual({ id, name, version, state }, {
      id: gone.id,
      name: "leaves",
      version: 2,
      state: { found: "something" },
    }, "due at once");
    assert.deepEqual(names(others), ["stays"]);
  },

  async "what leaves and returns while a tick holds it stays that tick's"(ledger) {
    await ledger.watch("a");
    await ledger.set({ lease_s: 300 });
    const begun = await ledger.begin();
    await ledger.query(`update ${TABLE} set deleted_at = now()`);
    await ledger.sync();
    await ledger.query(`update ${TABLE} set deleted_at = null`);
    await ledger.sync();
    assert.deepEqual((await ledger.begin()).instances, []);
    const [a] = begun.instances;
    // What is found applies to what it is since.
    const [{ version }] = (await ledger.finish(begun, [result(a)])).stale;
    assert.deepEqual((await ledger.finish(begun, [result({ ...a, version })])).written, [a.id]);
    await ledger.query(`update ${TABLE} set deleted_at = now()`);
    await ledger.sync();
    await ledger.query(`update ${TABLE} set deleted_at = null`);
    await ledger.sync();
    assert.deepEqual(
      names((await ledger.begin()).instances),
      ["a"],
      "due at once, nobody holds it",
    );
  },

  async "a row that changes its gateway, name or organization takes its source along"(ledger) {
    await ledger.watch("old");
    await ledger.query(
      `update ${TABLE} set whatsapp_instance_name = 'new', whatsapp_api_url = 'https://gw2.example',
              organization_id = 'renamed'`,
    );
    const { instances } = await ledger.begin({ organization_id: "renamed" });
    assert.deepEqual(instances.map((each) => `${each.gateway_url} ${each.name}`), [
      "https://gw2.example new",
    ]);
    assert.deepEqual(await watched(ledger), ["https://gw2.example new"]);
    assert.equal((await ledger.query("select from whatsapp_monitor.sources")).length, 1);
    assert.equal((await ledger.begin({ organization_id: "old" })).outcome, "unknown_organization");
  },

  async "locks and writes nothing where nothing has changed"(ledger) {
    await ledger.watch("a", "b", "c");
    const before = await traces(ledger);
    await ledger.sync();
    assert.deepEqual(await traces(ledger), before);
    await ledger.query(`delete from ${TABLE} where organization_id = 'b'`);
    await ledger.sync();
    assert.notDeepEqual(await traces(ledger), before);
  },

  async "is done once a minute at most, by whoever begins"(ledger) {
    await ledger.begin();
    await ledger.add("a");
    assert.deepEqual((await ledger.begin()).instances, []);
    await ledger.pass(60);
    assert.deepEqual(names((await ledger.begin()).instances), ["a"]);
  },

  async "failing, does not keep what is known from being checked, and is seen"(ledger) {
    await ledger.watch("a");
    const sources = async (sql: string) => {
      await ledger.bare.database.exec(sql);
      await ledger.pass(60);
    };
    await sources(`
      alter table ${TABLE} rename to real_table;
      create view ${TABLE} as
        select id, organization_id, whatsapp_enabled, deleted_at, whatsapp_api_key,
               whatsapp_instance_name, (1 / (length(whatsapp_api_url) * 0))::text as whatsapp_api_url
        from public.real_table`);
    try {
      const begun = await ledger.begin();
      assert.deepEqual(names(begun.instances), ["a"]);
      assert.equal(
        await syncError(ledger),
        "public.organization_channel_config: division by zero",
      );
      assert.deepEqual(await watched(ledger), ["https://gateway.example a"]);
      await ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    } finally {
      await sources(`drop view ${TABLE}; alter table public.real_table rename to
        organization_channel_config`);
    }
    await ledger.begin();
    assert.equal(await syncError(ledger), null);
  },

  async "without the table nothing is watched, and that is no error"(ledger) {
    await ledger.watch("a");
    await ledger.bare.database.exec(`alter table ${TABLE} rename to elsewhere`);
    try {
      assert.deepEqual((await ledger.begin()).outcome, "accepted");
      assert.deepEqual(await watched(ledger), []);
      assert.equal(await syncError(ledger), null);
    } finally {
      await ledger.bare.database.exec(
        "alter table public.elsewhere rename to organization_channel_config",
      );
    }
  },
});

onLedger("credentials", {
  async "are those of the moment of the claim, and of no row that has left by then"(ledger) {
    await ledger.watch("changed", "disabled", "keyless");
    await ledger.begin({ organization_id: "nobody" }); // reads the sources, claims nothing
    await ledger.bare.database.exec(`
      update ${TABLE} set whatsapp_api_key = 'new key' where organization_id = 'changed';
      update ${TABLE} set whatsapp_enabled = false where organization_id = 'disabled';
      update ${TABLE} set whatsapp_api_key = '' where organization_id = 'keyless'`);
    const { instances } = await ledger.begin();
    assert.deepEqual(instances.map(({ name, api_key }) => [name, api_key]), [
      ["changed", "new key"],
    ]);
  },

  async "are those of the row that named the instance first"(ledger) {
    await ledger.add("shared", { organization: "first" });
    await ledger.sync();
    const id = await ledger.add("shared", { organization: "second" });
    await ledger.query(
      `update ${TABLE} set id = '00000000-0000-0000-0000-000000000000' where id = $1`,
      [id],
    );
    await ledger.sync();
    const { instances } = await ledger.begin();
    assert.deepEqual(instances.map(({ organization_id, api_key }) => [organization_id, api_key]), [
      ["first", "the key"],
    ]);
  },

  async "missing a column: nothing is checked, and the error says why"(ledger) {
    await ledger.watch("a");
    const rename = (from: string, to: string) =>
      ledger.bare.database.exec(`alter table ${TABLE} rename ${from} to ${to}`);
    await rename("whatsapp_api_key", "renamed");
    try {
      const begun = await ledger.begin();
      assert.deepEqual([begun.outcome, begun.instances], ["accepted", []]);
      assert.equal(
        await syncError(ledger),
        "public.organization_channel_config: falta a coluna whatsapp_api_key. " +
          "Até que exista, vale a última leitura desta tabela.",
      );
      assert.deepEqual(await watched(ledger), ["https://gateway.example a"]);
    } finally {
      await rename("renamed", "whatsapp_api_key");
    }
  },

  async "are kept nowhere but in the user's table"(ledger) {
    await ledger.add("a", { key: "a very secret key" });
    const begun = await ledger.begin();
    await ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    const tables = await ledger.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'whatsapp_monitor'",
    );
    assert.ok(tables.length >= 8);
    for (const { name } of tables) {
      const rows = await ledger.query(
        `select from whatsapp_monitor.${name} t where t::text like '%very secret%'`,
      );
      assert.deepEqual(rows, [], name);
    }
  },
});
