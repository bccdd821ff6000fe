/**
 * Whatever goes wrong in the user's tables stays there: the tick commits, the
 * other rows are told, the failure shows, and is gone once the row can be written.
 */
import assert from "node:assert/strict";
import {
  CHANNELS,
  CONFIG,
  difference,
  onUserTables,
  type Table,
  TABLES,
  type UserTables,
} from "./user_tables.ts";

/** The column that says how it is. */
const STATUS = { [CONFIG]: "whatsapp_connection_status", [CHANNELS]: "status" };
const MESSAGE = { [CONFIG]: "whatsapp_error_message", [CHANNELS]: "error_message" };
const SECRET = "the key";

interface Obstacle {
  /** Puts it in the way of every write to the table. */
  put: (table: Table) => string;
  /** Takes it away. */
  take: (table: Table) => string;
  /** How it shows. */
  error: string;
}

/** A trigger with this body, which knows the row's secrets. */
function trigger(body: string, error: string, kind = "before update"): Obstacle {
  const constraint = kind.includes("deferrable") ? "constraint" : "";
  const [when, how = ""] = kind.split(";");
  return {
    put: (table) => `
      create function public.obstacle() returns trigger language plpgsql as $$
      declare secret text := to_jsonb(old)::text; begin ${body} return new; end $$;
      create ${constraint} trigger obstacle ${when} on public.${table} ${how}
        for each row execute function public.obstacle()`,
    take: () => "drop function public.obstacle() cascade",
    error,
  };
}

const OBSTACLES: Record<string, Obstacle> = {
  "a trigger that raises": trigger("raise exception '%', secret;", "P0001 exception in obstacle"),
  "a trigger that raises afterwards": trigger(
    "raise exception '%', secret using errcode = '22023';",
    "22023 in obstacle",
    "after update",
  ),
  "a deferred constraint trigger": trigger(
    "raise exception '%', secret;",
    "P0001 exception in obstacle",
    "after update ; deferrable initially deferred",
  ),
  "a trigger with a failing assertion": trigger("assert false, secret;", "P0004 in obstacle"),
  "a trigger that names a missing column": trigger("new.missing := now();", "42703 in obstacle"),
  "a trigger that skips the row": trigger(
    "return null;",
    "a trigger or a policy keeps the row as it is",
  ),
  "a CHECK that refuses": {
    put: (table) => `
      alter table public.${table} add constraint theirs check (${STATUS[table]} <> 'connected')`,
    take: (table) => `alter table public.${table} drop constraint theirs`,
    error: "23514 constraint theirs",
  },
  "a column that nobody may write": {
    put: (table) => `
      alter table public.${table} rename column ${MESSAGE[table]} to kept;
      alter table public.${table} add ${MESSAGE[table]} text generated always as ('theirs') stored`,
    take: (table) => `
      alter table public.${table} drop column ${MESSAGE[table]};
      alter table public.${table} rename column kept to ${MESSAGE[table]}`,
    error: "428C9",
  },
};

/** One instance, named in both tables. */
async function both(tables: UserTables): Promise<Record<Table, string>> {
  const name = crypto.randomUUID();
  return {
    [CONFIG]: await tables.add(CONFIG, {}, { name }),
    [CHANNELS]: await tables.add(CHANNELS, {}, { name }),
  };
}

async function says(tables: UserTables, table: Table, id: string): Promise<unknown> {
  return (await tables.row(table, id))[STATUS[table]];
}

for (const table of TABLES) {
  const other = table === CONFIG ? CHANNELS : CONFIG;
  onUserTables(
    `in ${table}`,
    Object.fromEntries(
      Object.entries(OBSTACLES).map(([name, { put, take, error }]) => [
        name,
        async (tables: UserTables) => {
          const ids = await both(tables);
          await tables.exec(put(table));
          try {
            const before = await tables.row(table, ids[table]);
            for (const attempts of [1, 2, 3]) {
              await tables.check({ status: "connected" });
              assert.deepEqual(difference(before, await tables.row(table, ids[table])), {});
              assert.equal(await says(tables, other, ids[other]), "connected", "the other table");
              const [failure, ...rest] = await tables.failures();
              assert.deepEqual(rest, []);
              assert.deepEqual(failure, {
                source_table: table,
                source_id: ids[table],
                attempts,
                error,
                tried: true,
              });
              assert.ok(!JSON.stringify(failure).includes(SECRET));
            }
          } finally {
            await tables.exec(take(table));
          }
          await tables.check({ status: "connected" });
          assert.equal(await says(tables, table, ids[table]), "connected");
          assert.deepEqual(await tables.failures(), []);
        },
      ]),
    ),
  );
}

onUserTables("a table like no other", {
  async "columns may be missing: the others are written"(tables) {
    const columns = {
      [CONFIG]: [
        "whatsapp_connected",
        "whatsapp_connection_status",
        "whatsapp_phone_number",
        "whatsapp_error_message",
        "whatsapp_last_connected_at",
        "deleted_at",
      ],
      [CHANNELS]: [
        "status",
        "connected_identifier",
        "profile_name",
        "profile_picture_url",
        "error_message",
        "last_connected_at",
      ],
    };
    const knowledge = {
      ...{ status: "connected", phone_number: "5511999990000", profile_name: "Loja" },
      ...{ profile_picture_url: "https://pps.example/a.jpg", status_since: "2026-11-23T00:00Z" },
    };
    await tables.exec("drop view v_channel_instances_active");
    for (const table of TABLES) {
      const told = async () => {
        const before: Record<string, unknown> = { [MESSAGE[table]]: "Erro antigo." };
        const id = await tables.add(table, before);
        return Object.keys(await tables.told(table, id, knowledge)).sort();
      };
      const all = await told();
      assert.equal(all.length, columns[table].filter((column) => column !== "deleted_at").length);
      for (const missing of columns[table]) {
        await tables.exec(`alter table ${table} rename column ${missing} to hidden`);
        try {
          if (missing === MESSAGE[table]) continue;
          assert.deepEqual(await told(), all.filter((column) => column !== missing), missing);
        } finally {
          await tables.exec(`alter table ${table} rename column hidden to ${missing}`);
        }
      }
    }
  },

  async "a whole table may be missing"(tables) {
    for (const missing of TABLES) {
      const ids = await both(tables);
      const there = missing === CONFIG ? CHANNELS : CONFIG;
      await tables.exec(`alter table ${missing} rename to hidden`);
      try {
        await tables.told(there, ids[there], { status: "connected" });
        assert.equal(await says(tables, there, ids[there]), "connected");
      } finally {
        await tables.exec(`alter table hidden rename to ${missing}`);
      }
    }
  },

  async "types may be others"(tables) {
    await tables.exec(`
      alter table ${CONFIG} alter whatsapp_connected drop default,
        alter whatsapp_connected type text,
        alter whatsapp_last_connected_at type timestamp`);
    try {
      const id = await tables.add(CONFIG);
      await tables.told(CONFIG, id, { status: "connected", status_since: "2026-11-23T00:00Z" });
      const row = await tables.row(CONFIG, id);
      assert.equal(row.whatsapp_connected, "true");
      assert.equal(row.whatsapp_last_connected_at, "2026-11-23T00:00:00");
      assert.deepEqual(await tables.told(CONFIG, id, { status: "connected" }), {});
    } finally {
      await tables.exec(`
        truncate ${CONFIG};
        alter table ${CONFIG}
          alter whatsapp_connected type boolean using whatsapp_connected::boolean,
          alter whatsapp_connected set default false,
          alter whatsapp_last_connected_at type timestamptz`);
    }
  },

  async "one row that cannot even be compared keeps no other from being told"(tables) {
    await tables.exec(`alter table ${CONFIG} alter whatsapp_last_connected_at type text`);
    try {
      const bad = await tables.add(CONFIG, { whatsapp_last_connected_at: "ontem" });
      const good = await tables.add(CONFIG);
      await tables.check({ status: "connected" });
      assert.deepEqual(await says(tables, CONFIG, good), "connected");
      assert.deepEqual(await says(tables, CONFIG, bad), "disconnected");
      const failures = await tables.failures();
      assert.deepEqual(failures.map(({ source_id, error }) => [source_id, error]), [
        [bad, "22007"],
      ]);
    } finally {
      await tables.exec(`
        truncate ${CONFIG};
        alter table ${CONFIG} alter whatsapp_last_connected_at type timestamptz
          using whatsapp_last_connected_at::timestamptz`);
    }
  },

  async "its triggers find the user's tables without their schema"(tables) {
    const id = await tables.add(CHANNELS);
    await tables.exec(`
      create table public.audit (what text);
      create function public.audit() returns trigger language plpgsql as $$
        begin insert into audit values (new.status); return new; end $$;
      create trigger audit after update on ${CHANNELS} for each row execute function audit()`);
    try {
      await tables.told(CHANNELS, id, { status: "connected" });
      assert.deepEqual(await tables.query("select what from audit"), [{ what: "connected" }]);
    } finally {
      await tables.exec("drop function public.audit() cascade; drop table public.audit");
    }
  },

  async "a trigger that changes what is written shows, and what it leaves stays"(tables) {
    const ids = await both(tables);
    await tables.exec(`
      create function public.change() returns trigger language plpgsql as $$
        begin new.connected_identifier := '+' || new.connected_identifier; return new; end $$;
      create trigger change before update on ${CHANNELS} for each row execute function change()`);
    try {
      await tables.check({ status: "connected", phone_number: "5511999990000" });
      assert.equal(await says(tables, CHANNELS, ids[CHANNELS]), "connected");
      const failures = await tables.failures();
      assert.deepEqual(failures.map(({ source_id, error }) => [source_id, error]), [
        [ids[CHANNELS], "a trigger changes what is written"],
      ]);
    } finally {
      await tables.exec("drop function public.change() cascade");
    }
  },

  async "a failure goes with its row"(tables) {
    const id = await tables.add(CONFIG);
    await tables.exec(OBSTACLES["a CHECK that refuses"].put(CONFIG));
    try {
      await tables.check({ status: "connected" });
      assert.equal((await tables.failures()).length, 1);
      await tables.query(`delete from ${CONFIG} where id = $1`, [id]);
      await tables.query("select whatsapp_monitor.sync_sources()");
      assert.deepEqual(await tables.failures(), []);
    } finally {
      await tables.exec(OBSTACLES["a CHECK that refuses"].take(CONFIG));
    }
  },
});
