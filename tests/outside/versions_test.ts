/**
 * Every version of Evolution is observed in its own shape, through the real
 * wasm: the right status, nothing but questions, no more of them than needed.
 */
import assert from "node:assert/strict";
import { type Condition, type FinalCode, type Version, VERSIONS } from "../stack/evolution/mod.ts";
import type { Report } from "../stack/report.ts";
import { passTime } from "../stack/time.ts";
import { found, startWorld, timesAsked, type World } from "./support.ts";

interface Expected {
  status: string;
  reason: string | null;
}

const UNWATCHED = { status: "unknown", reason: "no_connection_to_watch" };
const CONNECTED = { status: "connected", reason: null };
const DOWN = { status: "disconnected", reason: null };
const UNKNOWN_TO_V1 = DOWN;

/** Each condition, and what is made of it after three checks; 1.x tells no more than not open. */
const CONDITIONS: Record<string, [Condition, v2: Expected, v1: Expected]> = {
  "open": [{ condition: "open" }, CONNECTED, CONNECTED],
  "open, old reason": [{ condition: "stale_reason" }, CONNECTED, CONNECTED],
  "redialling": [{ condition: "connecting" }, DOWN, DOWN],
  "close, paired": [{ condition: "close" }, DOWN, DOWN],
  "close, old reason": [{ condition: "close_stale" }, DOWN, DOWN],
  "QR on screen": [
    { condition: "waiting_scan" },
    { status: "waiting_qr", reason: "waiting_for_scan" },
    UNKNOWN_TO_V1,
  ],
  "QR limit": [
    { condition: "qr_limit" },
    { status: "waiting_qr", reason: "qr_limit" },
    UNKNOWN_TO_V1,
  ],
  "never paired": [
    { condition: "never_paired" },
    { status: "waiting_qr", reason: "never_paired" },
    UNKNOWN_TO_V1,
  ],
  "logged out": [
    { condition: "logged_out", code: 401 },
    { status: "waiting_qr", reason: "401" },
    UNKNOWN_TO_V1,
  ],
  "banned": [
    { condition: "logged_out", code: 403 },
    { status: "blocked", reason: "403" },
    UNKNOWN_TO_V1,
  ],
  "official interface": [
    { condition: "close", integration: "WHATSAPP-BUSINESS" },
    UNWATCHED,
    UNWATCHED,
  ],
  "booting": [
    { condition: "booting" },
    { status: "unknown", reason: "booting" },
    { status: "unknown", reason: "booting" },
  ],
};

const NAMES = Object.keys(CONDITIONS);

async function inWorld(version: Version, work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    world.gateway.upgrade(version);
    // Outages count after three checks, however fast they follow each other.
    await world.set({ down_after_s: 0, zombie_probe_every_s: 0 });
    await work(world);
  } finally {
    await world.stop();
  }
}

/** How often the gateway was asked for the row of an instance. */
function rowsAsked({ gateway }: World, name: string): number {
  const query = `?instanceName=${encodeURIComponent(name)}`;
  return gateway.requests.filter(({ path }) => path === `/instance/fetchInstances${query}`).length;
}

/** Everything that the database holds beside the users' own tables, as text. */
async function allTables({ database }: World): Promise<string> {
  const tables = await database.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname = 'whatsapp_monitor'`,
  );
  assert.ok(tables.length > 0);
  const texts = [];
  for (const { name } of tables) {
    texts.push(...await database.query<{ row: string }>(`select t::text as row from ${name} t`));
  }
  return texts.map(({ row }) => row).join("\n");
}

for (const version of VERSIONS) {
  const v1 = version.startsWith("1.");
  Deno.test(`Evolution ${version} is observed in its own shape`, () =>
    inWorld(version, async (world) => {
      const { gateway } = world;
      for (const name of NAMES) {
        gateway.set(name, CONDITIONS[name][0]);
        await world.watch(name);
      }
      const reports: Report[] = [];
      for (let tick = 1; tick <= 3; tick++) reports.push(await world.tick());
      const last = reports[2];
      assert.equal(last.success, true);
      assert.deepEqual(last.gateways, [{ url: gateway.url, version, reachable: true }]);
      for (const name of NAMES) {
        const { status, reason } = CONDITIONS[name][v1 ? 2 : 1];
        const instance = found(last, name);
        assert.equal(instance.status, status, name);
        assert.equal(instance.reason?.code ?? null, reason, name);
        // That a session has ended is confirmed, once.
        const confirmed = !v1 && /^(logged out|banned)$/.test(name);
        assert.equal(timesAsked(gateway, name), confirmed ? 4 : 3, name);
      }

      // In a drop the row is asked for at every check, where it can tell; else once.
      for (const name of NAMES) {
        const drop = !v1 && CONDITIONS[name][1] === DOWN;
        const expected = name === "booting" ? 0 : drop ? 3 : 1;
        assert.equal(rowsAsked(world, name), expected, name);
      }
      // Five minutes later, once more for those that are not open.
      await passTime(world.database, 300);
      await world.tick();
      await world.tick();
      for (const name of NAMES) {
        const was = CONDITIONS[name][v1 ? 2 : 1];
        const drop = !v1 && was === DOWN;
        const expected = name === "booting"
          ? 0
          : drop
          ? 5
          : was === CONNECTED || was === UNWATCHED
          ? 1
          : 2;
        assert.equal(rowsAsked(world, name), expected, `${name}, later`);
      }

      // Nothing but questions was sent.
      assert.deepEqual([...new Set(gateway.requests.map(({ method }) => method))], ["GET"]);
      // No key and no token in a report, in the log or in a table.
      const told = JSON.stringify([reports, world.edge.logs]) + await allTables(world);
      for (const name of NAMES) {
        const { token } = gateway.instance(name).row;
        assert.ok(token.length > 30);
        assert.ok(!told.includes(token), name);
      }
      assert.ok(!told.includes(gateway.key));
    }));

  Deno.test(`Evolution ${version}: a drop, a logout and a new scan`, () =>
    inWorld(version, async (world) => {
      const { gateway } = world;
      const status = async () => found(await world.tick(), "loja").status;
      gateway.set("loja", "open");
      await world.watch("loja");
      assert.equal(await status(), "connected");
      assert.equal(await status(), "connected");
      assert.equal(rowsAsked(world, "loja"), 1);
      // The logout comes in the middle of the drop, and is seen at the next check.
      gateway.set("loja", { condition: "close" });
      assert.equal(await status(), "connecting");
      gateway.disconnect("loja", 401);
      assert.equal(await status(), v1 ? "connecting" : "waiting_qr");
      assert.equal(rowsAsked(world, "loja"), v1 ? 1 : 3);
      for (let check = 0; check < 4; check++) await world.tick();
      assert.equal(rowsAsked(world, "loja"), v1 ? 1 : 3);
      // A QR is shown: the live state has changed.
      gateway.nextQr("loja");
      assert.equal(await status(), v1 ? "disconnected" : "waiting_qr");
      assert.equal(rowsAsked(world, "loja"), v1 ? 1 : 4);
      gateway.scan("loja");
      await world.tick();
      assert.equal(await status(), "connected");
    }));

  Deno.test(`Evolution ${version}: what is misconfigured is told apart`, () =>
    inWorld(version, async (world) => {
      const { gateway } = world;
      gateway.set("locked", "open");
      await world.watch("locked", { key: "not-the-key" });
      gateway.set("by its token", "open");
      await world.watch("by its token", { key: gateway.instance("by its token").row.token });
      await world.watch("ghost");
      const report = await world.tick();
      const is = (name: string) => {
        const { status, reason } = found(report, name);
        return { status, reason: reason?.code ?? null };
      };
      assert.deepEqual(is("locked"), { status: "misconfigured", reason: "wrong_key" });
      assert.deepEqual(is("ghost"), { status: "misconfigured", reason: "unknown_instance" });
      assert.deepEqual(is("by its token"), CONNECTED);
    }));
}

Deno.test("Evolution 2.4 ends a session for a lost connection", () =>
  inWorld("2.4.0-rc2", async (world) => {
    const { gateway } = world;
    const code: FinalCode = 408;
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.tick();
    gateway.disconnect("loja", code);
    assert.equal(gateway.instance("loja").row.connectionStatus, "close");
    // The version is learned beside the check: let that be first.
    gateway.set("loja", { delay_ms: 300 });
    const { status, reason } = found(await world.tick(), "loja");
    assert.equal(status, "waiting_qr");
    assert.equal(reason?.code, "408");
  }));

Deno.test("Evolution 2.4 without its licence is misconfigured, and says so", () =>
  inWorld("2.4.0-rc2", async (world) => {
    const { gateway } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    await gateway.behave("licence");
    const locked = await world.tick();
    assert.equal(found(locked, "loja").status, "misconfigured");
    assert.equal(found(locked, "loja").reason?.code, "licence_required");
    assert.match(found(locked, "loja").reason?.text ?? "", /licença/);
    assert.equal(locked.gateways[0].version, "2.4.0-rc2");
    assert.equal(rowsAsked(world, "loja"), 0);
    await gateway.behave("up");
    assert.equal(found(await world.tick(), "loja").status, "connected");
  }));

Deno.test("an upgrade of the gateway is taken as it comes", () =>
  inWorld("1.8.2", async (world) => {
    const { gateway } = world;
    gateway.set("loja", { condition: "logged_out" });
    await world.watch("loja");
    for (let tick = 1; tick <= 3; tick++) await world.tick();
    assert.equal((await world.row("loja")).status, "disconnected");
    gateway.upgrade("2.3.6");
    await passTime(world.database, 300);
    const { status, reason } = found(await world.tick(), "loja");
    assert.equal(status, "waiting_qr");
    assert.equal(reason?.code, "401");
  }));

Deno.test("what goes to the database tells the account, and only when it was asked for", async () => {
  const world = await startWorld();
  try {
    const { gateway } = world;
    for (const version of VERSIONS) {
      gateway.upgrade(version);
      const name = `loja ${version}`;
      gateway.set(name, "open");
      const { row } = gateway.instance(name);
      row.profileName = "Pousada\u0000\n São João";
      row.profilePicUrl = "https://pps.whatsapp.net/v/1.jpg?ccb=11-4";
      const written: Record<string, unknown>[] = [];
      const spy = world.rest.handle.bind(world.rest);
      world.rest.handle = async (request: Request) => {
        if (request.url.endsWith("/whatsapp_monitor_finish_tick")) {
          const { results } = (await request.clone().json()).request;
          // deno-lint-ignore no-explicit-any -- what the function sent
          written.push(...results.filter((each: any) => each.phone_number ?? each.profile_name));
        }
        return await spy(request);
      };
      await world.watch(name);
      try {
        await world.tick();
        await world.tick();
      } finally {
        world.rest.handle = spy;
      }
      const told = written.map(({ phone_number, profile_name, profile_picture_url, is_down }) => (
        { phone_number, profile_name, profile_picture_url, is_down }
      ));
      assert.deepEqual(told, [{
        phone_number: row.ownerJid?.split("@")[0],
        profile_name: "Pousada São João",
        profile_picture_url: row.profilePicUrl,
        is_down: false,
      }], `${version}: at the first check, and not at the second`);
    }
  } finally {
    await world.stop();
  }
});
