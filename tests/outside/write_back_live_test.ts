/**
 * From the gateway to the user's tables: each condition is told within one
 * tick, through the real wasm, on the production schema.
 */
import assert from "node:assert/strict";
import type { Condition } from "../stack/evolution/mod.ts";
import { MIGRATIONS } from "../stack/migrate.ts";
import { startWorld, type World } from "./support.ts";
import { CHANNELS, CONFIG, PRODUCTION_SCHEMA, UserTables } from "./user_tables.ts";

interface Expected {
  name: string;
  /** What the gateway has; null where it does not know the instance. */
  condition: Condition | null;
  /** connected, config status, channel status; the rows said connected before. */
  first: [boolean, string, string];
  /** After the third check, where that differs. */
  third?: [boolean, string, string];
  /** What the error message says, once there is one. */
  error: RegExp | null;
}

const CONNECTED: [boolean, string, string] = [true, "connected", "connected"];
const WAITING: [boolean, string, string] = [false, "waiting_qr", "qr_pending"];
const ERROR: [boolean, string, string] = [false, "error", "error"];
const BLIP: [boolean, string, string] = [true, "connecting", "connected"];
const DOWN: [boolean, string, string] = [false, "disconnected", "disconnected"];

const INSTANCES: Expected[] = [
  { name: "open", condition: { condition: "open" }, first: CONNECTED, error: null },
  {
    name: "Pousada São João / recepção",
    condition: { condition: "open" },
    first: CONNECTED,
    error: null,
  },
  {
    name: "redialling",
    condition: { condition: "connecting" },
    first: BLIP,
    third: DOWN,
    error: /^A conexão com o WhatsApp caiu/,
  },
  {
    name: "close",
    condition: { condition: "close" },
    first: BLIP,
    third: DOWN,
    error: /^A conexão com o WhatsApp caiu/,
  },
  {
    name: "QR on screen",
    condition: { condition: "waiting_scan" },
    first: WAITING,
    error: /leitura do QR/,
  },
  { name: "never paired", condition: { condition: "never_paired" }, first: WAITING, error: /QR/ },
  {
    name: "logged out",
    condition: { condition: "logged_out", code: 401 },
    first: WAITING,
    error: /escaneie/,
  },
  {
    name: "blocked",
    condition: { condition: "logged_out", code: 403 },
    first: ERROR,
    error: /bloqueou/,
  },
  { name: "missing", condition: null, first: ERROR, error: /não conhece/ },
  // Nothing is known of it yet.
  { name: "booting", condition: { condition: "booting" }, first: CONNECTED, error: null },
];

/** The shipped migrations over the production schema. */
async function productionMigrations(): Promise<URL> {
  const folder = new URL(`file://${await Deno.makeTempDir()}/`);
  await Deno.copyFile(PRODUCTION_SCHEMA, new URL("00000000000000_production.sql", folder));
  for await (const { name } of Deno.readDir(MIGRATIONS)) {
    await Deno.copyFile(new URL(name, MIGRATIONS), new URL(name, folder));
  }
  return folder;
}

async function inProduction(work: (world: World, tables: UserTables) => Promise<void>) {
  const migrations = await productionMigrations();
  try {
    const world = await startWorld({ migrations });
    try {
      await world.set({ down_after_s: 0, request_timeout_ms: 500 });
      // The rows are put into the sources by hand, and stay.
      await world.database.query(
        "update whatsapp_monitor.source_sync set synced_at = 'infinity'",
      );
      await work(world, new UserTables(world.database));
    } finally {
      await world.stop();
    }
  } finally {
    await Deno.remove(migrations, { recursive: true });
  }
}

/** Adds an instance of the simulated gateway, named in both tables, which say connected. */
async function watch({ gateway }: World, tables: UserTables, name: string) {
  const place = { name, url: gateway.url };
  return {
    config: await tables.add(CONFIG, {
      whatsapp_api_key: gateway.key,
      whatsapp_connected: true,
      whatsapp_connection_status: "connected",
      whatsapp_last_connected_at: "2026-01-01T00:00:00Z",
      whatsapp_phone_number: KEPT,
    }, place),
    channel: await tables.add(CHANNELS, {
      api_key: gateway.key,
      status: "connected",
      last_connected_at: "2026-01-01T00:00:00Z",
      connected_identifier: KEPT,
    }, place),
  };
}

/** The number that stands in the rows before anything is known. */
const KEPT = "5511999990000";

/** The number that the gateway's row tells, or the one that is kept where none was to be had. */
function numbersOf({ gateway }: World, name: string): string[] {
  const number = gateway.instances.get(name)?.row.ownerJid?.split("@")[0];
  return number ? [number, KEPT] : [KEPT];
}

/** What both rows say. */
async function said(
  tables: UserTables,
  ids: { config: string; channel: string },
  numbers: string[],
) {
  const config = await tables.row(CONFIG, ids.config);
  const channel = await tables.row(CHANNELS, ids.channel);
  assert.equal(config.whatsapp_error_message, channel.error_message);
  assert.equal(
    new Date(config.whatsapp_last_connected_at as string).getTime(),
    new Date(channel.last_connected_at as string).getTime(),
  );
  assert.ok(numbers.includes(config.whatsapp_phone_number as string));
  assert.equal(config.whatsapp_phone_number, channel.connected_identifier);
  return {
    status: [config.whatsapp_connected, config.whatsapp_connection_status, channel.status],
    error: config.whatsapp_error_message as string | null,
    connectedAt: new Date(channel.last_connected_at as string).getTime(),
  };
}

Deno.test("each condition is in both tables of the user within one tick", () =>
  inProduction(async (world, tables) => {
    const ids = new Map<string, { config: string; channel: string }>();
    for (const { name, condition } of INSTANCES) {
      if (condition) world.gateway.set(name, condition);
      ids.set(name, await watch(world, tables, name));
    }
    for (const check of [1, 2, 3]) {
      assert.equal((await world.tick()).success, true);
      assert.deepEqual(await tables.failures(), []);
      if (check === 2) continue;
      for (const { name, first, third = first, error } of INSTANCES) {
        const now = await said(tables, ids.get(name)!, numbersOf(world, name));
        assert.deepEqual(now.status, check === 1 ? first : third, `${name}, check ${check}`);
        const blip = check === 1 && first === BLIP;
        if (error === null || blip) assert.equal(now.error, null, name);
        else assert.match(now.error ?? "", error, name);
        assert.equal(now.connectedAt, Date.parse("2026-01-01"), `${name}: nothing new`);
      }
    }
  }));

Deno.test("a gateway that is down, and is back", () =>
  inProduction(async (world, tables) => {
    world.gateway.set("loja", "open");
    const ids = await watch(world, tables, "loja");
    await world.tick();
    await world.gateway.behave("down");
    await world.tick();
    const down = await said(tables, ids, numbersOf(world, "loja").slice(0, 1));
    assert.deepEqual(down.status, ERROR);
    assert.match(down.error ?? "", /^O gateway recusou a conexão/);
    assert.equal(down.connectedAt, Date.parse("2026-01-01"), "kept");
    const before = Date.now();
    await world.gateway.behave("up");
    for (let check = 0; check < 2; check++) await world.tick();
    const up = await said(tables, ids, numbersOf(world, "loja").slice(0, 1));
    assert.deepEqual(up.status, CONNECTED);
    assert.equal(up.error, null);
    assert.ok(up.connectedAt >= before - 1000, "connected anew");
  }));
