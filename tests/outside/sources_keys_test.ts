/**
 * Keys that change, and keys that contradict each other: what an instance is
 * asked with, when, and on whose behalf.
 */
import assert from "node:assert/strict";
import { names, result } from "./ledger.ts";
import { onProduction, type Production, syncError } from "./production.ts";

const NEWER = "public.channel_instances";
const OLDER = "public.organization_channel_config";

/** A tick on everything that is due; gives the names. */
async function tick(production: Production): Promise<string[]> {
  const begun = await production.begin();
  await production.finish(begun, begun.instances.map((each) => result(each)));
  return names(begun.instances).sort();
}

/** The organizations, by name, for which an instance is watched. */
async function watchers({ query }: Production, name: string): Promise<string[]> {
  const rows = await query<{ name: string }>(
    `select o.name from whatsapp_monitor.sources s
     join whatsapp_monitor.instances i on i.id = s.instance_id
     join public.organizations o on o.id::text = s.organization_id
     where i.name = $1 order by 1`,
    [name],
  );
  return rows.map(({ name }) => name);
}

onProduction("a changed key or URL", {
  async "is checked with at once, and nothing else is"(production) {
    await production.newer("changes", "a");
    await production.newer("stays", "a");
    await production.older("older", "b");
    assert.deepEqual(await tick(production), ["changes", "older", "stays"]);
    assert.deepEqual(await tick(production), []);

    await production.query(`update ${NEWER} set api_key = 'new' where instance_name = 'changes'`);
    await production.query(`update ${OLDER} set whatsapp_api_key = 'new'`);
    await production.sync();
    const { instances } = await production.begin();
    assert.deepEqual(instances.map(({ name, api_key }) => `${name} ${api_key}`).sort(), [
      "changes new",
      "older new",
    ]);
  },

  async "keeps what is known of the instance"(production) {
    await production.newer("loja", "a");
    await tick(production);
    const before = await production.row("loja");
    await production.query(`update ${NEWER} set api_key = 'new'`);
    await production.sync();
    const { id, status, state, version, checked_at } = before;
    const after = await production.row("loja");
    assert.deepEqual(after, { ...after, id, status, state, version, checked_at });
    const sources = () => production.query("select created_at from whatsapp_monitor.sources");
    const since = await sources();
    await production.query(`update ${NEWER} set api_key = 'newer'`);
    await production.sync();
    assert.deepEqual(await sources(), since, "it is still the one that came first");
  },

  async "waits for the tick that holds the instance, and not longer"(production) {
    await production.newer("finished", "a");
    await production.newer("carried over", "a");
    await production.newer("died", "a");
    const begun = await production.begin();
    await production.query(`update ${NEWER} set api_key = 'new'`);
    await production.sync();
    assert.deepEqual(await tick(production), [], "all are held");
    const by = (name: string) => begun.instances.filter((each) => each.name === name);
    const finished = await production.finish(
      begun,
      by("finished").map((each) => result(each)),
      by("carried over"),
    );
    assert.deepEqual(finished.written, by("finished").map(({ id }) => id));
    assert.deepEqual(await tick(production), ["carried over", "finished"]);
    await production.pass(20);
    assert.deepEqual(await tick(production), []);
    await production.pass(300);
    assert.ok((await tick(production)).includes("died"));
  },

  async "of the URL leads to the new gateway at once; the old instance keeps its history"(
    production,
  ) {
    await production.newer("loja", "a");
    await tick(production);
    await production.query(`update ${NEWER} set api_url = 'https://new.example'`);
    await production.sync();
    const { instances: [claimed], ...begun } = await production.begin();
    assert.equal(claimed.gateway_url, "https://new.example");
    assert.equal(claimed.state, null);
    await production.finish({ ...begun }, [result(claimed)]);
    const rows = await production.query(
      `select g.url, i.state, i.removed_at is not null as removed
       from whatsapp_monitor.instances i join whatsapp_monitor.gateways g on g.id = i.gateway_id
       order by i.id`,
    );
    const state = { found: "something" };
    assert.deepEqual(rows, [
      { url: "https://gateway.example", state, removed: true },
      { url: "https://new.example", state, removed: false },
    ]);
  },

  async "another spelling of the same URL is no change"(production) {
    await production.newer("loja", "a");
    await tick(production);
    const before = await production.row("loja");
    await production.query(`update ${NEWER} set api_url = 'HTTPS://Gateway.Example:443/'`);
    await production.sync();
    assert.deepEqual(await production.row("loja"), before);
  },
});

onProduction("an instance that two organizations name", {
  async "with different keys is that of the first, and the second is told"(production) {
    await production.organization("a", 9);
    await production.organization("b", 1);
    await production.older("loja", "a", { whatsapp_api_key: "secret of a" });
    assert.deepEqual(await tick(production), ["loja"]);
    const id = await production.newer("loja", "b", { api_key: "secret of b" });
    await production.newer("other", "b");
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a"]);
    assert.deepEqual(await watchers(production, "other"), ["b"]);
    const [a, b] = [await production.organization("a"), await production.organization("b")];
    assert.equal(
      await syncError(production),
      `${NEWER}, id ${id}: a instância "loja" em https://gateway.example já é da organização ${a}, ` +
        `com outra chave. Esta linha, da organização ${b}, não conta.`,
    );
    const { instances } = await production.begin({ organization_id: b });
    assert.deepEqual(names(instances), ["other"]);
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a"], "nor the next time");

    await production.query(`update ${NEWER} set api_key = 'secret of a'`);
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a", "b"]);
    assert.equal(await syncError(production), null);
  },

  async "with one key is asked for in the name of the first"(production) {
    await production.older("loja", "a");
    await production.sync();
    await production.newer("loja", "b");
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a", "b"]);
    const { instances } = await production.begin();
    assert.deepEqual(
      instances.map(({ organization_id }) => organization_id),
      [await production.organization("a")],
    );
  },

  async "with one key is watched for both, until one of them changes it"(production) {
    await production.newer("loja", "a");
    await production.sync();
    await production.older("loja", "b");
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a", "b"]);
    await production.query(`update ${NEWER} set api_key = 'another'`);
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a"], "a came first");
    assert.match(await syncError(production) ?? "", /com outra chave/);
    await production.query(`update ${OLDER} set whatsapp_api_key = 'another'`);
    await production.sync();
    await production.query(`update ${OLDER} set whatsapp_api_key = 'a third'`);
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a"]);
  },

  async "is the second's when the first leaves, within one reading"(production) {
    await production.newer("loja", "a");
    await production.sync();
    await production.older("loja", "b", { whatsapp_api_key: "of b" });
    await production.older("loja", "c", { whatsapp_api_key: "of c" });
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a"]);
    await production.query(`update ${NEWER} set deleted_at = now()`);
    await production.sync();
    assert.equal((await watchers(production, "loja")).length, 1);
    assert.equal((await production.row("loja")).removed_at, null);
    assert.notDeepEqual(await watchers(production, "loja"), ["a"]);
  },

  async "at once goes to the older row"(production) {
    // Neither the order of the ids nor that of the tables decides.
    for (const [first, second] of [["p", "q"], ["r", "s"]]) {
      const older = first === "p" ? { rank: 9, method: "older" } : { rank: 1, method: "newer" };
      const other = first === "p" ? { rank: 1, method: "newer" } : { rank: 9, method: "older" };
      for (
        const [name, { rank, method }, day] of [
          [first, older, "2024-01-01"],
          [second, other, "2024-01-02"],
        ] as const
      ) {
        await production.organization(name, rank);
        await production[method as "older" | "newer"](`loja of ${first}`, name, {
          created_at: day,
          [method === "older" ? "whatsapp_api_key" : "api_key"]: `key of ${name}`,
        });
      }
    }
    await production.sync();
    assert.deepEqual(await watchers(production, "loja of p"), ["p"]);
    assert.deepEqual(await watchers(production, "loja of r"), ["r"]);
  },

  async "within one organization may have two keys"(production) {
    await production.newer("loja", "a", { api_key: "one" });
    await production.older("loja", "a", { whatsapp_api_key: "two" });
    await production.sync();
    assert.deepEqual(await watchers(production, "loja"), ["a", "a"]);
    assert.equal(await syncError(production), null);
  },

  async "keys are kept as digests alone, and no error names one"(production) {
    await production.newer("loja", "a", { api_key: "very secret one" });
    await production.older("loja", "b", { whatsapp_api_key: "very secret two" });
    assert.deepEqual(await tick(production), ["loja"]);
    assert.match(await syncError(production) ?? "", /com outra chave/);
    const tables = await production.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'whatsapp_monitor'",
    );
    for (const { name } of tables) {
      const rows = await production.query(
        `select from whatsapp_monitor.${name} t where t::text like '%very secret%'
           or t::text like '%' || encode('very secret one', 'hex') || '%'`,
      );
      assert.deepEqual(rows, [], name);
    }
  },
});
