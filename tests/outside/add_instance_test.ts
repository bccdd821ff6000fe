/** `whatsapp_monitor.add_instance`, for people: one call and it is watched, or told what to do. */
import assert from "node:assert/strict";
import { sqlError } from "../stack/database.ts";
import { migrate } from "../stack/migrate.ts";
import { Ledger, names, onLedger } from "./ledger.ts";
import { onProduction, watched } from "./production.ts";
import { startDatabase } from "./support.ts";

const OLDER = "public.organization_channel_config";
const NEWER = "public.channel_instances";
const URL = "https://gateway.example";

/** Calls it; gives the row for people, or what the error says to them. */
async function add(
  { query }: Ledger,
  ...[organization, url, name, key]: (string | null)[]
): Promise<Record<string, unknown>> {
  try {
    const [row] = await query("select * from whatsapp_monitor.add_instance($1, $2, $3, $4)", [
      organization,
      url,
      name,
      key,
    ]);
    return row;
  } catch (error) {
    const sql = sqlError(error);
    assert.equal(sql?.code, "22023", String(error));
    assert.ok((sql?.hint ?? "").length > 20, "there is a hint");
    return { error: sql!.message, hint: sql!.hint };
  }
}

/** All rows of the user's tables. */
async function rows({ query }: Ledger, table: string) {
  return await query(`select to_jsonb(t) as row from ${table} t order by 1`);
}

onLedger("add_instance", {
  async "adds to our own table, several an organization, and reads at once"(ledger) {
    const { source_id, instance_id, ...row } = await add(
      ledger,
      "org",
      " HTTPS://Gateway.Example/ ",
      "loja",
      "key-1",
    );
    assert.deepEqual(row, {
      organization_id: "org",
      gateway_url: URL,
      instance_name: "loja",
      source_table: "organization_channel_config",
    });
    assert.match(String(source_id), /^[0-9a-f-]{36}$/);
    await add(ledger, "org", `${URL}/api`, "loja 2 & ção", "key-2");
    await add(ledger, "another", URL, "loja", "key-1");
    const { instances } = await ledger.begin();
    assert.equal(instances[0].id, instance_id);
    assert.deepEqual(instances.map((each) => `${each.gateway_url} ${each.name} ${each.api_key}`), [
      `${URL} loja key-1`,
      `${URL}/api loja 2 & ção key-2`,
    ]);
  },

  async "refuses what cannot work, writes nothing, and says what to do"(ledger) {
    const [o, u, n, k] = ["org", URL, "loja", "key"];
    const cases: Record<string, (string | null)[][]> = {
      "A organização": [["", u, n, k], [" \t", u, n, k], [null, u, n, k]],
      "A URL": [
        ...["", null, "gateway.example", "ftp://gateway.example", "https://", "https:///path"],
        ...["https://user:pw@gw.example", "https://gw.example?a=b", "https://gw.example/#a"],
        ...[
          "https://gw.example/a b",
          "https://gw .example",
          "https://gw.example/?",
          "javascript:1",
        ],
      ].map((url) => [o, url, n, k]),
      "O nome": ["", " ", ".", "..", " .. ", null].map((name) => [o, u, name, k]),
      "A chave": ["", " ", "a b", "key\n", "chavé", null].map((key) => [o, u, n, key]),
      "A organização, a URL ou o nome": [[o, u, "x".repeat(2001), k]],
    };
    for (const [beginning, calls] of Object.entries(cases)) {
      for (const call of calls) {
        const { error, hint } = await add(ledger, ...call);
        assert.ok(String(error).startsWith(beginning), `${call}: ${error}`);
        assert.match(String(hint), /add_instance\('organização', 'https:/);
      }
    }
    assert.deepEqual(await rows(ledger, OLDER), []);
    assert.deepEqual(await watched(ledger), []);
  },

  async "names a duplicate"(ledger) {
    const { source_id } = await add(ledger, "org", URL, "loja", "key");
    for (const key of ["key", "another"]) {
      const { error, hint } = await add(ledger, "org", `${URL}:443/`, "loja", key);
      assert.equal(
        error,
        `A instância "loja" em ${URL} já está cadastrada para a organização org: ${OLDER}, id ${source_id}.`,
      );
      // What the hint says works.
      await ledger.query(String(hint).replace("Para trocar a chave: ", ""));
      assert.equal((await ledger.begin()).instances.at(0)?.api_key, "nova chave");
      await ledger.query(`update ${OLDER} set whatsapp_api_key = 'key'`);
      await ledger.query("update whatsapp_monitor.instances set lease_tick = null, due_at = now()");
      await ledger.query("update whatsapp_monitor.source_sync set synced_at = '-infinity'");
    }
    const foreign = await add(ledger, "other", URL, "loja", "another-secret");
    assert.equal(
      foreign.error,
      `A instância "loja" em ${URL} já é da organização org, com outra chave.`,
    );
    assert.doesNotMatch(JSON.stringify(foreign), /another-secret/);
    await ledger.query(`update ${OLDER} set whatsapp_enabled = false`);
    const disabled = await add(ledger, "org", URL, "loja", "key");
    assert.equal(disabled.error, `${OLDER} já tem uma linha no lugar desta.`);
    assert.match(String(disabled.hint), /desativada/);
    assert.equal((await rows(ledger, OLDER)).length, 1);
  },

  async "where a trigger of the table changes the row, says that it does not count"(ledger) {
    await ledger.bare.database.exec(`
      create function public.spoil() returns trigger language plpgsql
        as 'begin new.whatsapp_enabled := false; return new; end';
      create trigger spoil before insert on ${OLDER} for each row execute function public.spoil()`);
    try {
      const { error } = await add(ledger, "org", URL, "loja", "key");
      assert.match(String(error), /não guardou a instância como foi dada/);
      assert.deepEqual(await rows(ledger, OLDER), []);
    } finally {
      await ledger.bare.database.exec("drop function public.spoil() cascade");
    }
  },
});

onProduction("add_instance with the production schema", {
  async "adds to organization_channel_config and touches nothing else of it"(production) {
    const organization = await production.organization("a");
    const { source_table } = await add(production, organization.toUpperCase(), URL, "loja", "key");
    assert.equal(source_table, "organization_channel_config");
    assert.deepEqual(names((await production.begin()).instances), ["loja"]);
    assert.deepEqual(await rows(production, NEWER), []);
  },

  async "says what is wrong with an organization"(production) {
    const organization = await production.organization("a");
    const no = await add(production, "a", URL, "loja", "key");
    assert.equal(no.error, `A organização "a" não serve: em ${OLDER} ela é do tipo uuid.`);
    const unknown = crypto.randomUUID();
    const { error } = await add(production, unknown, URL, "loja", "key");
    assert.equal(error, `A organização ${unknown} não existe.`);
    await add(production, organization, URL, "loja", "key");
    const second = await add(production, organization, URL, "loja 2", "key");
    assert.equal(second.error, `${OLDER} já tem uma linha no lugar desta.`);
    const named = await add(production, organization, URL, "loja", "key");
    assert.match(String(named.error), /já está cadastrada/);
  },

  async "adds to channel_instances where the other table cannot hold it"(production) {
    const organization = await production.organization("a");
    const add_two = async () => {
      for (const name of ["one", "two"]) {
        const { source_table } = await add(production, organization, URL, name, "key");
        assert.equal(source_table, "channel_instances");
      }
      const clash = await add(production, organization, `${URL}/other`, "one", "key");
      assert.equal(clash.error, `${NEWER} já tem uma linha no lugar desta.`);
      const same = await add(production, organization, URL, "one", "key");
      assert.match(String(same.hint), /update public\.channel_instances set api_key/);
    };
    await production.changed(
      `alter table ${OLDER} rename whatsapp_api_key to elsewhere`,
      `alter table ${OLDER} rename elsewhere to whatsapp_api_key`,
      add_two,
    );
    assert.deepEqual(names((await production.begin()).instances).sort(), ["one", "two"]);
  },

  async "says so where neither table can hold it, or one wants more"(production) {
    const organization = await production.organization("a");
    const call = () => add(production, organization, URL, "loja", "key");
    const hide = (table: string) => `alter table ${table} rename to hidden_${table.slice(7)};`;
    const show = (table: string) =>
      `alter table public.hidden_${table.slice(7)} rename to ${table.slice(7)};`;
    await production.changed(
      hide(OLDER) + hide(NEWER),
      show(OLDER) + show(NEWER),
      async () => {
        const { error } = await call();
        assert.match(String(error), /^Não há tabela que possa guardar a instância\. Não existe/);
      },
    );
    await production.changed(
      `alter table ${OLDER} rename id to x; ${hide(NEWER)}`,
      `alter table ${OLDER} rename x to id; ${show(NEWER)}`,
      async () => assert.match(String((await call()).error), /falta a coluna id/),
    );
    await production.changed(
      `alter table ${OLDER} add column wanted text not null`,
      `alter table ${OLDER} drop column wanted`,
      async () => assert.match(String((await call()).error), /exige mais do que add_instance/),
    );
  },
});

Deno.test("our own table of the previous version takes several instances an organization", async () => {
  const bare = await startDatabase();
  const ledger = new Ledger(bare);
  try {
    // As the previous version made it.
    await bare.database.exec(`
      alter table ${OLDER} drop constraint organization_channel_config_instance_key,
        add constraint organization_channel_config_organization_id_key unique (organization_id);
      comment on table ${OLDER} is
        'Created by the WhatsApp monitor: one row per organization that it watches.';
      alter table whatsapp_monitor.sources drop column key_digest, drop column row_digest;`);
    const [{ id }] = await bare.database.query<{ id: string }>(
      `insert into ${OLDER} (organization_id, whatsapp_enabled, whatsapp_api_url,
         whatsapp_instance_name, whatsapp_api_key)
       values ('org', true, $1, 'loja', 'key') returning id`,
      [URL],
    );
    await bare.database.query(
      `with g as (insert into whatsapp_monitor.gateways (url) values ($1) returning id),
         i as (insert into whatsapp_monitor.instances (gateway_id, name, due_at)
               select id, unnest(array['loja', 'gone']), 'infinity' from g returning id, name)
       insert into whatsapp_monitor.sources (source_table, source_id, organization_id, instance_id)
       select 'organization_channel_config', case name when 'loja' then $2 else 'gone' end, 'org', id
       from i`,
      [URL, id],
    );
    const since = () =>
      bare.database.query("select created_at from whatsapp_monitor.sources where source_id = $1", [
        id,
      ]);
    const before = { row: await ledger.row("loja"), since: await since() };
    await migrate(bare.database);
    await ledger.sync();
    assert.deepEqual({ row: await ledger.row("loja"), since: await since() }, before);
    assert.deepEqual(await watched(ledger), [`${URL} loja`]);
    await add(ledger, "org", URL, "loja 2", "key");
    assert.deepEqual(names((await ledger.begin()).instances), ["loja 2"]);
  } finally {
    await bare.stop();
  }
});
