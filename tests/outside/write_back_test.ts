/**
 * What the user's tables are told: each status, in both tables, whatever they
 * said before, and nothing else in the row. SQL alone, on the production schema.
 */
import assert from "node:assert/strict";
import { CHANNELS, CONFIG, onUserTables, type Row, type Table, TABLES } from "./user_tables.ts";

const LONG_AGO = "2026-01-01T00:00:00+00:00";
const SINCE = "2026-11-23T12:34:56.789+00:00";
const LATER = "2026-12-24T00:00:00+00:00";
const REDIALLING = "A conexão com o WhatsApp caiu; o gateway está tentando reconectar.";
const PROFILE = {
  phone_number: "5511999990000",
  profile_name: 'Pousada "São João" / d\'água',
  profile_picture_url: "https://pps.example/a.jpg?x=1&y='2'",
};

/** What a row says, in words of our own. Undefined: kept. */
interface Said {
  connected?: boolean;
  status?: string;
  error?: string | null;
}

/** Each status with what each table is to say then. */
const STATUSES: { knowledge: Row; config: Said; channel: Said }[] = [
  {
    knowledge: { status: "connected", reason_text: "Isto não é um erro." },
    config: { connected: true, status: "connected", error: null },
    channel: { status: "connected", error: null },
  },
  {
    knowledge: { status: "connecting", is_down: false, reason_text: "Reconectando." },
    config: { status: "connecting" },
    channel: {},
  },
  {
    knowledge: { status: "connecting", is_down: true },
    config: { connected: false, status: "connecting" },
    channel: {},
  },
  {
    knowledge: { status: "waiting_qr", is_down: true, reason_text: "Escaneie." },
    config: { connected: false, status: "waiting_qr", error: "Escaneie." },
    channel: { status: "qr_pending", error: "Escaneie." },
  },
  {
    knowledge: { status: "disconnected", is_down: true },
    config: { connected: false, status: "disconnected", error: REDIALLING },
    channel: { status: "disconnected", error: REDIALLING },
  },
  {
    knowledge: { status: "disconnected", is_down: true, reason_text: "Caiu." },
    config: { connected: false, status: "disconnected", error: "Caiu." },
    channel: { status: "disconnected", error: "Caiu." },
  },
  ...["blocked", "zombie", "gateway_unreachable", "misconfigured"].map((status) => ({
    knowledge: { status, reason_text: "Não funciona." },
    config: { connected: false, status: "error", error: "Não funciona." },
    channel: { status: "error", error: "Não funciona." },
  })),
  { knowledge: { status: "unknown", reason_text: "Iniciando." }, config: {}, channel: {} },
];

/** What a row may have said before; another writer may have left anything. */
const BEFORE: Record<Table, Row[]> = {
  [CONFIG]: [true, false, null].flatMap((whatsapp_connected) =>
    ["connected", "connecting", "waiting_qr", "disconnected", "error", "theirs", null].flatMap((
      whatsapp_connection_status,
    ) =>
      [null, "Erro antigo."].map((whatsapp_error_message) => ({
        whatsapp_connected,
        whatsapp_connection_status,
        whatsapp_error_message,
        whatsapp_last_connected_at: LONG_AGO,
        whatsapp_phone_number: "5511888880000",
      }))
    )
  ),
  [CHANNELS]: ["connected", "disconnected", "qr_pending", "error"].flatMap((status) =>
    [null, "Erro antigo."].map((error_message) => ({
      status,
      error_message,
      last_connected_at: LONG_AGO,
      connected_identifier: "5511888880000",
      profile_name: "Antigo",
      profile_picture_url: "https://pps.example/antigo.jpg",
    }))
  ),
};

/** The row as it has to be afterwards: whole. */
function expected(table: Table, before: Row, knowledge: Row, said: Said): Row {
  const connected = knowledge.status === "connected";
  const wanted: Row = table === CONFIG
    ? {
      whatsapp_connected: said.connected,
      whatsapp_connection_status: said.status,
      whatsapp_error_message: said.error,
      whatsapp_phone_number: connected ? PROFILE.phone_number : undefined,
      whatsapp_last_connected_at: connected && before.whatsapp_connected !== true
        ? SINCE
        : undefined,
    }
    : {
      status: said.status,
      error_message: said.error,
      connected_identifier: connected ? PROFILE.phone_number : undefined,
      profile_name: connected ? PROFILE.profile_name : undefined,
      profile_picture_url: connected ? PROFILE.profile_picture_url : undefined,
      last_connected_at: connected && before.status !== "connected" ? SINCE : undefined,
    };
  const told = Object.entries(wanted).filter(([, value]) => value !== undefined);
  return { ...before, ...Object.fromEntries(told) };
}

/** The same moment, spelled the same. */
function normal(row: Row): Row {
  const { updated_at: _, ...rest } = row;
  for (const [column, value] of Object.entries(rest)) {
    if (column.endsWith("_at") && typeof value === "string") {
      rest[column] = new Date(value).toISOString();
    }
  }
  return rest;
}

onUserTables(
  "write_back",
  Object.fromEntries(TABLES.map((table) => [
    `each status in ${table}, whatever it said before, and nothing else in the row`,
    async (tables) => {
      for (const { knowledge, ...words } of STATUSES) {
        await tables.reset();
        const ids: string[] = [];
        for (const values of BEFORE[table]) ids.push(await tables.add(table, values));
        const before = await Promise.all(ids.map((id) => tables.row(table, id)));
        const reason_text = null;
        for (const id of ids) {
          await tables.know(id, { reason_text, ...PROFILE, status_since: SINCE, ...knowledge });
        }
        await tables.writeBack();
        assert.deepEqual(await tables.failures(), []);
        const said = table === CONFIG ? words.config : words.channel;
        for (const [n, id] of ids.entries()) {
          assert.deepEqual(
            normal(await tables.row(table, id)),
            normal(expected(table, before[n], knowledge, said)),
            JSON.stringify([knowledge, BEFORE[table][n]]),
          );
        }
      }
    },
  ])),
);

onUserTables("what is written", {
  async "goes to every row that names the instance, in both tables"(tables) {
    const name = "loja";
    const rows = [
      [CONFIG, await tables.add(CONFIG, {}, { name })],
      [CONFIG, await tables.add(CONFIG, {}, { name })],
      [CHANNELS, await tables.add(CHANNELS, {}, { name })],
    ] as const;
    const other = await tables.add(CONFIG);
    const untouched = await tables.row(CONFIG, other);
    await tables.know(rows[0][1], { status: "connected", status_since: SINCE });
    await tables.writeBack();
    for (const [table, id] of rows) {
      const row = await tables.row(table, id);
      assert.equal(table === CONFIG ? row.whatsapp_connected : row.status === "connected", true);
    }
    assert.deepEqual(await tables.row(CONFIG, other), untouched);
  },

  async "goes only to the instances that are named"(tables) {
    const id = await tables.add(CONFIG);
    await tables.know(id, { status: "connected" });
    await tables.query("select whatsapp_monitor.write_back('{}')");
    await tables.query("select whatsapp_monitor.write_back(null)");
    assert.equal((await tables.row(CONFIG, id)).whatsapp_connected, false);
  },

  async "is nothing where nothing differs"(tables) {
    const trace = async () =>
      JSON.stringify(
        await tables.query(
          TABLES.map((table) => `select id, xmin::text, ctid::text from ${table}`).join(
            " union all ",
          ) + " order by 1",
        ),
      );
    for (const { knowledge } of STATUSES) {
      await tables.reset();
      for (const table of TABLES) {
        const id = await tables.add(table);
        await tables.know(id, { ...PROFILE, status_since: SINCE, ...knowledge });
      }
      await tables.writeBack();
      const before = await trace();
      await tables.writeBack();
      assert.equal(await trace(), before, JSON.stringify(knowledge));
    }
  },

  async "mends what another writer has broken"(tables) {
    const config = await tables.add(CONFIG);
    const channel = await tables.add(CHANNELS);
    for (const id of [config, channel]) {
      await tables.know(id, { status: "connected", status_since: SINCE, ...PROFILE });
    }
    await tables.writeBack();
    const before = [await tables.row(CONFIG, config), await tables.row(CHANNELS, channel)];
    await tables.exec(`
      update ${CONFIG} set whatsapp_connected = false, whatsapp_connection_status = 'disconnected',
        whatsapp_last_connected_at = null, whatsapp_phone_number = null;
      update ${CHANNELS} set status = 'disconnected', connected_identifier = null,
        profile_name = null, last_connected_at = null`);
    await tables.writeBack();
    assert.deepEqual(
      [await tables.row(CONFIG, config), await tables.row(CHANNELS, channel)].map(normal),
      before.map(normal),
    );
  },

  async "is not for a row that names the instance no longer, or is off or deleted"(tables) {
    const changes: [Table, Row][] = [
      [CONFIG, { whatsapp_enabled: false }],
      [CONFIG, { deleted_at: LONG_AGO }],
      [CONFIG, { whatsapp_instance_name: "outra" }],
      [CONFIG, { whatsapp_api_url: "https://other.example" }],
      [CHANNELS, { is_enabled: false }],
      [CHANNELS, { deleted_at: LONG_AGO }],
      [CHANNELS, { instance_name: "outra" }],
      [CHANNELS, { api_url: "https://other.example" }],
    ];
    for (const [table, change] of changes) {
      const id = await tables.add(table, change);
      assert.deepEqual(
        await tables.told(table, id, { status: "connected" }),
        {},
        JSON.stringify(change),
      );
    }
    const id = await tables.add(CONFIG, { whatsapp_api_url: "HTTPS://Gateway.example:443/" });
    const told = await tables.told(CONFIG, id, { status: "connected" });
    assert.equal(told.whatsapp_connected, true, "another spelling is the same gateway");
  },
});

onUserTables("the profile", {
  async "is kept where it is not known, and while the connection is lost"(tables) {
    const theirs = {
      connected_identifier: "theirs",
      profile_name: "theirs",
      profile_picture_url: "theirs",
    };
    const id = await tables.add(CHANNELS, theirs);
    await tables.told(CHANNELS, id, { status: "connected", phone_number: "5511999990000" });
    const row = await tables.row(CHANNELS, id);
    assert.deepEqual(
      [row.connected_identifier, row.profile_name, row.profile_picture_url],
      ["5511999990000", "theirs", "theirs"],
    );
    // Whoever logs out by hand empties these: they stay as they are.
    await tables.exec(`update ${CHANNELS} set connected_identifier = null, profile_name = null`);
    const told = await tables.told(CHANNELS, id, { ...PROFILE, status: "waiting_qr" });
    assert.deepEqual(Object.keys(told).sort(), ["error_message", "status"]);
  },
});

onUserTables(
  "last_connected_at",
  Object.fromEntries(TABLES.map((table) => [
    `in ${table}`,
    async (tables) => {
      const column = table === CONFIG ? "whatsapp_last_connected_at" : "last_connected_at";
      const id = await tables.add(table);
      const after = async (knowledge: Row) => {
        await tables.told(table, id, knowledge);
        const value = (await tables.row(table, id))[column];
        return value === null ? null : new Date(value as string).toISOString();
      };
      const [first, second, third] = ["2026-02-01", "2026-03-01", "2026-04-01"].map((day) =>
        `${day}T00:00:00.000Z`
      );
      assert.equal(await after({ status: "disconnected", status_since: LONG_AGO }), null);
      assert.equal(await after({ status: "connected", status_since: first }), first);
      assert.equal(
        await after({ status: "connecting", status_since: second, is_down: false }),
        first,
      );
      if (table === CONFIG) {
        assert.equal(
          await after({ status: "connected", status_since: second }),
          first,
          "a blip is none",
        );
      }
      for (const status of ["disconnected", "waiting_qr", "blocked", "misconfigured", "unknown"]) {
        assert.equal(await after({ status, status_since: second }), first, `kept while ${status}`);
      }
      assert.equal(await after({ status: "connected", status_since: third }), third);
      // Somebody else's disconnect, while we see it connected all the time: never back in time.
      await tables.exec(
        table === CONFIG
          ? `update ${table} set whatsapp_connected = false, ${column} = '${LATER}'`
          : `update ${table} set status = 'disconnected', ${column} = '${LATER}'`,
      );
      assert.equal(await after({ status: "connected" }), new Date(LATER).toISOString());
      await tables.exec(`update ${table} set ${column} = null`);
      assert.equal(await after({ status: "connected" }), third, "never null while connected");
    },
  ])),
);
