/** A row of the user's tables that was found to agree is not compared again before something is new. */
import assert from "node:assert/strict";
import { migrate } from "../stack/migrate.ts";
import {
  CHANNELS,
  CONFIG,
  onUserTables,
  type Row,
  type Table,
  TABLES,
  type UserTables,
} from "./user_tables.ts";

const CONNECTED = {
  status: "connected",
  status_since: "2026-11-23T12:34:56.789+00:00",
  phone_number: "5511999990000",
  profile_name: "Pousada",
};

/** Tells the rows of all instances, and gives how many rows were compared for that. */
async function compared({ database }: UserTables): Promise<number> {
  return await database.transaction(null, async (query) => {
    await query("set local track_functions = 'pl'");
    const comparisons = async () => {
      const [{ calls }] = await query<{ calls: number }>(`
        select coalesce(sum(calls), 0)::integer as calls from pg_stat_xact_user_functions
        where schemaname = 'whatsapp_monitor' and funcname = 'changes'`);
      return calls;
    };
    const before = await comparisons();
    await query(`select whatsapp_monitor.write_back(
      array(select id from whatsapp_monitor.instances))`);
    return await comparisons() - before;
  });
}

/** A row of this table that is known to agree. */
async function agreeing(tables: UserTables, table: Table, knowledge: Row = CONNECTED) {
  const id = await tables.add(table);
  await tables.know(id, knowledge);
  await compared(tables);
  await compared(tables);
  assert.equal(await compared(tables), 0, "what agrees is not compared again");
  return id;
}

const STATUS = { [CONFIG]: "whatsapp_connection_status", [CHANNELS]: "status" };

for (const table of TABLES) {
  onUserTables(`what agrees, in ${table},`, {
    async "is compared once for each version of the row, and what another wrote is mended"(tables) {
      const id = await agreeing(tables, table);
      await tables.exec(`update ${table} set organization_id = organization_id`);
      assert.equal(await compared(tables), 1);
      assert.equal(await compared(tables), 0);
      await tables.exec(`update ${table} set ${STATUS[table]} = 'disconnected'`);
      assert.ok(await compared(tables) > 0);
      assert.equal((await tables.row(table, id))[STATUS[table]], "connected");
      assert.equal(await compared(tables), 1, "our own version of it");
      assert.equal(await compared(tables), 0);
    },

    async "is compared again with each thing that is new of the instance"(tables) {
      const id = await agreeing(tables, table);
      const news: Row[] = [
        { profile_name: "Loja" },
        { profile_picture_url: "https://p" },
        { phone_number: "5511" },
        { status_since: "2026-11-24T00:00:00Z" },
        { status: "connecting" },
        { is_down: true },
        { reason_text: "Caiu." },
        { qr_code: "data:image/png;base64,AAAA", qr_code_at: "2026-11-24T00:00:00Z" },
      ];
      for (const each of news) {
        await tables.know(id, each);
        assert.ok(await compared(tables) > 0, JSON.stringify(each));
        await compared(tables);
        assert.equal(await compared(tables), 0, JSON.stringify(each));
      }
      // What the monitor writes at every check.
      await tables.know(id, { version: 99, fence: 99, state: { new: true }, checked_at: "now" });
      assert.equal(await compared(tables), 0);
    },

    async "is compared again by another version of the monitor"(tables) {
      await agreeing(tables, table);
      await migrate(tables.database);
      assert.equal(await compared(tables), 1);
      assert.equal(await compared(tables), 0);
    },

    async "is compared again where the row stands for another instance"(tables) {
      await agreeing(tables, table);
      await tables.exec(`
        with other as (
          insert into whatsapp_monitor.instances (gateway_id, name, status, status_since,
                                                  phone_number, profile_name)
          select gateway_id, 'other', status, status_since, phone_number, profile_name
          from whatsapp_monitor.instances returning id)
        update whatsapp_monitor.sources set instance_id = other.id from other`);
      assert.equal(await compared(tables), 1);
    },

    async "is compared again where the table has other columns"(tables) {
      const column = { [CONFIG]: "whatsapp_phone_number", [CHANNELS]: "connected_identifier" };
      const name = column[table];
      const id = await agreeing(tables, table);
      await tables.exec(`alter table ${table} rename ${name} to kept`);
      assert.equal(await compared(tables), 1);
      assert.equal(await compared(tables), 0);
      await tables.exec(`alter table ${table} add ${name} text`);
      try {
        await compared(tables);
        assert.equal((await tables.row(table, id))[name], CONNECTED.phone_number);
      } finally {
        await tables.exec(`
          alter table ${table} drop ${name};
          alter table ${table} rename kept to ${name}`);
      }
    },

    async "is compared again where a column was dropped and added again"(tables) {
      const name = { [CONFIG]: "whatsapp_error_message", [CHANNELS]: "error_message" }[table];
      const id = await agreeing(tables, table);
      // The second time the columns have the same names in the same order.
      for (const said of ["Caiu.", "Caiu de novo."]) {
        await tables.exec(`
          alter table ${table} drop ${name} cascade;
          alter table ${table} add ${name} text default '${said}'`);
        await compared(tables);
        assert.equal((await tables.row(table, id))[name], null, said);
        await compared(tables);
        assert.equal(await compared(tables), 0);
      }
    },

    async "is not noted of a version whose transaction goes on"(tables) {
      const id = await agreeing(tables, table);
      await tables.database.transaction(null, async (query) => {
        const write = (status: string) =>
          query(`update ${table} set ${STATUS[table]} = '${status}'`);
        await query("savepoint earlier");
        await write("connected");
        await query(`select whatsapp_monitor.write_back(
          array(select id from whatsapp_monitor.instances))`);
        await write("disconnected");
        await query("release earlier");
      });
      await compared(tables);
      assert.equal((await tables.row(table, id))[STATUS[table]], "connected");
    },
  });
}

onUserTables("what fails", {
  async "is tried at every check, though nothing is new"(tables) {
    const id = await agreeing(tables, CONFIG);
    await tables.exec(`
      create function public.obstacle() returns trigger language plpgsql as $$
      begin raise exception 'no'; end $$;
      create trigger obstacle before update on ${CONFIG}
        for each row execute function public.obstacle()`);
    try {
      await tables.know(id, { status: "disconnected" });
      for (const attempts of [1, 2, 3]) {
        await compared(tables);
        assert.deepEqual((await tables.failures()).map((each) => each.attempts), [attempts]);
      }
      await tables.know(id, CONNECTED);
      await compared(tables);
      assert.deepEqual(await tables.failures(), [], "it says so already");
    } finally {
      await tables.exec("drop function public.obstacle() cascade");
    }
  },
});

/** Tables whose rows have no version that shows every change. */
const UNVERSIONED = {
  "a view": `create view ${CHANNELS} as select * from theirs`,
  "a table with another below it": `
    create table ${CHANNELS} (like theirs including all);
    insert into ${CHANNELS} select * from theirs;
    create table below () inherits (${CHANNELS})`,
  "a partitioned table": `
    create table ${CHANNELS} (like theirs including defaults) partition by list (channel);
    create table below partition of ${CHANNELS} default;
    insert into ${CHANNELS} select * from theirs`,
};

onUserTables(
  "what agrees is compared at every check in",
  Object.fromEntries(
    Object.entries(UNVERSIONED).map(([kind, create]) => [
      kind,
      async (tables: UserTables) => {
        const id = await agreeing(tables, CHANNELS);
        await tables.exec(`alter table ${CHANNELS} rename to theirs; ${create}`);
        try {
          assert.equal(await compared(tables), 1);
          assert.equal(await compared(tables), 1);
          await tables.exec(`update ${CHANNELS} set status = 'error'`);
          await compared(tables);
          assert.equal((await tables.row(CHANNELS, id)).status, "connected");
          assert.deepEqual(await tables.failures(), []);
        } finally {
          const kind = create.includes("create view") ? "view" : "table";
          await tables.exec(`
            drop ${kind} ${CHANNELS} cascade;
            alter table theirs rename to ${CHANNELS}`);
        }
      },
    ]),
  ),
);
