/** The database of the local stack, the same whichever Postgres it is, and what prepares it. */
import assert from "node:assert/strict";
import { sqlError } from "../../stack/database.ts";
import { applyStandIns, migrate } from "../../stack/migrate.ts";
import { changeSettings, SettingError } from "../../stack/settings.ts";
import { onDatabase, onServer } from "./harness.ts";

onDatabase("database", {
  async "values go in and come out by their types"({ database }) {
    const rows = await database.query(
      `select $1::jsonb as a, $2::jsonb as b, 3::bigint as c, 1.5::numeric as d, array['x'] as e,
              $3::text as f, null as g, true as h, '{"a":[1]}'::json as i`,
      [{ x: 1 }, '{"y":2}', "text"],
    );
    assert.deepEqual(rows, [{
      a: { x: 1 },
      b: { y: 2 },
      c: 3,
      d: "1.5",
      e: ["x"],
      f: "text",
      g: null,
      h: true,
      i: { a: [1] },
    }]);
    const [{ now }] = await database.query("select now()");
    assert(now instanceof Date);
  },

  async "an error has its SQLSTATE"({ database }) {
    const error = await database.query("select whatsapp_monitor.no()").catch(sqlError);
    assert.equal((error as { code: string }).code, "42883");
  },

  async "many statements are all or nothing"({ database }) {
    const half = database.exec("create table public.half (); select 1/0");
    await assert.rejects(half, { code: "22012" });
    const rows = await database.query("select to_regclass('public.half') as t");
    assert.deepEqual(rows, [{ t: null }]);
  },

  async "a transaction has its role, and a throw rolls it back"({ database }) {
    const user = "select current_user as u";
    const failing = database.transaction("service_role", async (query) => {
      assert.deepEqual(await query(user), [{ u: "service_role" }]);
      await query("select public.add('rolled back')");
      throw new Error("on purpose");
    });
    await assert.rejects(failing, /on purpose/);
    const counters = "select * from public.counters";
    assert.deepEqual(await database.query(`${counters} where name like 'rolled%'`), []);
    const refused = database.transaction("anon", (query) => query(counters));
    await assert.rejects(refused, { code: "42501" });
    assert.notDeepEqual(await database.query(user), [{ u: "anon" }]);
  },
});

onServer("database on a server", {
  async "a transaction has its limit of time"({ database }) {
    const slow = database.transaction(null, (query) => query("select pg_sleep(5)"), {
      statement_timeout_ms: 20,
    });
    await assert.rejects(slow, { code: "57014" });
  },
});

onDatabase("preparing a database", {
  async "Supabase's default privileges reach what a migration forgets to revoke"({ database }) {
    await applyStandIns(database);
    await database.exec("create table public.forgotten (x integer)");
    const [row] = await database.query(
      `select has_table_privilege('anon', 'public.forgotten', 'select') as "table",
              has_function_privilege('anon', 'public.who()', 'execute') as function,
              has_function_privilege('anon', 'public.add(text, integer)', 'execute') as revoked`,
    );
    assert.deepEqual(row, { table: true, function: true, revoked: false });
  },

  async "migrations: in name order, each whole, errors name the file"({ database }) {
    const path = await Deno.makeTempDir();
    const folder = new URL(`file://${path}/`);
    const write = (name: string, sql: string) => Deno.writeTextFile(new URL(name, folder), sql);
    try {
      await write("2_second.sql", "insert into public.ordered values (2);");
      await write("1_first.sql", "create table public.ordered (n integer);");
      await write("readme.md", "not sql");
      assert.deepEqual(await migrate(database, folder), ["1_first.sql", "2_second.sql"]);

      await write("3_third.sql", "insert into public.ordered values (3); select broken;");
      await Deno.remove(new URL("1_first.sql", folder));
      const error = { code: "42703", message: /^3_third\.sql: column/ };
      await assert.rejects(migrate(database, folder), error);
      const rows = await database.query("select n from public.ordered order by n");
      assert.deepEqual(rows, [{ n: 2 }, { n: 2 }]);
    } finally {
      await Deno.remove(path, { recursive: true });
    }
  },

  async "settings: changed, refused with the list, put back"({ database }) {
    const settings = async () => {
      const [row] = await database.query(
        "select interval_s, alert_url, backoff_s from whatsapp_monitor.settings",
      );
      return row;
    };
    const before = await settings();
    const restore = await changeSettings(database, [
      { name: "interval_s", value: "5" },
      { name: "interval_s", value: "6" },
      { name: "alert_url", value: "http://x" },
      { name: "backoff_s", value: "{1,2}" },
    ]);
    const changed = { interval_s: 6, alert_url: "http://x", backoff_s: [1, 2] };
    assert.deepEqual(await settings(), changed);
    await restore();
    assert.deepEqual(await settings(), before);

    const refused: [string, string, RegExp][] = [
      ["intervall", "5", /no setting intervall[\s\S]*interval_s = 30[\s\S]*alert_url = null/],
      ["one", "false", /no setting one/],
      ["interval_s", "often", /interval_s does not take "often": invalid input/],
      ["interval_s", "0", /interval_s does not take "0".*check constraint/],
      ["interval_s", "", /interval_s does not take ""/],
    ];
    for (const [name, value, message] of refused) {
      await assert.rejects(changeSettings(database, [{ name, value }]), (error) => {
        assert(error instanceof SettingError);
        assert.match(error.message, message);
        return true;
      });
    }
    assert.deepEqual(await settings(), before);
  },
});
