/** The end of a tick: what it takes over about an instance, and which rows it tells. */
import assert from "node:assert/strict";
import { names, onLedger, result } from "./ledger.ts";
import { CONFIG, onUserTables, type UserTables } from "./user_tables.ts";

/** What the monitor knows of its one instance. */
async function known({ query }: UserTables) {
  const [row] = await query<Record<string, unknown>>(
    `select is_down, phone_number, profile_name, profile_picture_url
     from whatsapp_monitor.instances`,
  );
  return Object.values(row);
}

onUserTables("a finished tick", {
  async "says whether an outage is confirmed, whatever the status"(tables) {
    await tables.add(CONFIG);
    for (const status of ["connecting", "waiting_qr", "disconnected", "unknown"]) {
      for (const told of [true, false]) {
        await tables.check({ status, is_down: told });
        assert.equal((await known(tables))[0], told, status);
      }
      // Who does not say so has confirmed nothing: SQL does not judge by the status.
      await tables.check({ status });
      assert.equal((await known(tables))[0], false, status);
    }
  },

  async "keeps of the profile what it is not told"(tables) {
    await tables.add(CONFIG);
    const profile = {
      phone_number: "5511",
      profile_name: "Loja",
      profile_picture_url: "https://p",
    };
    await tables.check({ ...profile });
    assert.deepEqual(await known(tables), [false, "5511", "Loja", "https://p"]);
    await tables.check({});
    await tables.check({ phone_number: null, profile_name: null, profile_picture_url: null });
    assert.deepEqual(await known(tables), [false, "5511", "Loja", "https://p"]);
    await tables.check({ profile_name: "Outra" });
    assert.deepEqual(await known(tables), [false, "5511", "Outra", "https://p"]);
  },

  async "tells the rows of an instance whose status did not change as well"(tables) {
    const id = await tables.add(CONFIG);
    await tables.check({ status: "connected" });
    await tables.exec(`update ${CONFIG} set whatsapp_connected = false`);
    await tables.check({ status: "connected" });
    assert.equal((await tables.row(CONFIG, id)).whatsapp_connected, true);
  },

  async "believes the outage before the status"(tables) {
    const id = await tables.add(CONFIG);
    const connected = async () => (await tables.row(CONFIG, id)).whatsapp_connected;
    await tables.check({ status: "connected" });
    await tables.check({ status: "connecting", is_down: false });
    assert.equal(await connected(), true, "a blip");
    await tables.check({ status: "connecting", is_down: true });
    assert.equal(await connected(), false, "an outage");
    await tables.check({ status: "connecting", is_down: false });
    assert.equal(await connected(), false, "kept");
  },
});

onLedger("the rows that a tick tells", {
  async "are those of the results that it has written"(ledger) {
    await ledger.watch("written", "carried over", "stale");
    const begun = await ledger.begin();
    const [written, carried, stale] = ["written", "carried over", "stale"].map((name) =>
      begun.instances.find((claimed) => claimed.name === name)!
    );
    await ledger.query(
      "update whatsapp_monitor.instances set status = 'connected', version = version + 1 " +
        "where name <> 'written'",
    );
    await ledger.finish(begun, [result(written), result(stale)], [carried]);
    const told = async () => {
      const rows = await ledger.query<{ name: string }>(
        `select whatsapp_instance_name as name from public.${CONFIG} where whatsapp_connected`,
      );
      return rows.map(({ name }) => name);
    };
    assert.deepEqual(await told(), ["written"]);
    await ledger.finish(begun, [result(written), result({ ...stale, version: 1 })]);
    assert.deepEqual((await told()).sort(), ["stale", "written"]);
  },

  async "are told once, however often the end is repeated"(ledger) {
    await ledger.watch("a");
    const begun = await ledger.begin();
    assert.deepEqual(names(begun.instances), ["a"]);
    const results = begun.instances.map((claimed) => result(claimed));
    await ledger.finish(begun, results);
    await ledger.query(`update public.${CONFIG} set whatsapp_connected = false`);
    await ledger.finish(begun, results);
    const [row] = await ledger.query(`select whatsapp_connected as c from public.${CONFIG}`);
    assert.deepEqual(row, { c: false }, "the next check sees to it");
  },

  async "have the columns of the table that we make ourselves"(ledger) {
    const id = await ledger.add("a");
    const begun = await ledger.begin();
    const phone_number = "5511999990000";
    await ledger.finish(begun, begun.instances.map((each) => result(each, { phone_number })));
    const [row] = await ledger.query(`select * from public.${CONFIG} where id = $1`, [id]);
    assert.equal(row.whatsapp_connected, true);
    assert.equal(row.whatsapp_connection_status, "connected");
    assert.equal(row.whatsapp_phone_number, phone_number);
    assert.deepEqual(row.whatsapp_last_connected_at, new Date(1_700_000_000_000));
    assert.deepEqual(await ledger.query("select from whatsapp_monitor.write_backs"), []);
  },
});
