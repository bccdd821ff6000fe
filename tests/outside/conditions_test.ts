/**
 * Each condition of an instance and of a gateway gets its status and its
 * reason: trigger to database, through the real wasm.
 */
import assert from "node:assert/strict";
import type { Condition, GatewayMode } from "../stack/evolution/mod.ts";
import { passTime } from "../stack/time.ts";
import { found, startWorld, timesAsked, type World } from "./support.ts";

/** Outages count after three checks, however fast they follow each other. */
const HASTY = { down_after_s: 0, request_timeout_ms: 500 };

interface Expected {
  name: string;
  /** What the gateway has; null where it does not know the instance. */
  condition: Condition | null;
  key?: string;
  /** The status after one check, and where it differs, after three. */
  status: string;
  later?: string;
  /** The reason's code; null where none may be shown. */
  reason: string | null;
}

const INSTANCES: Expected[] = [
  { name: "open", condition: { condition: "open" }, status: "connected", reason: null },
  {
    name: "redialling",
    condition: { condition: "connecting" },
    status: "connecting",
    later: "disconnected",
    reason: null,
  },
  {
    name: "close, paired",
    condition: { condition: "close" },
    status: "connecting",
    later: "disconnected",
    reason: null,
  },
  {
    name: "QR on screen",
    condition: { condition: "waiting_scan" },
    status: "waiting_qr",
    reason: "waiting_for_scan",
  },
  {
    name: "never paired",
    condition: { condition: "never_paired" },
    status: "waiting_qr",
    reason: "never_paired",
  },
  {
    name: "QR limit",
    condition: { condition: "qr_limit" },
    status: "waiting_qr",
    reason: "qr_limit",
  },
  ...([[401, "waiting_qr"], [402, "blocked"], [403, "blocked"], [406, "blocked"]] as const)
    .map(([code, status]): Expected => ({
      name: `logged out ${code}`,
      condition: { condition: "logged_out", code },
      status,
      reason: `${code}`,
    })),
  {
    name: "open, old reason",
    condition: { condition: "stale_reason" },
    status: "connected",
    reason: null,
  },
  {
    name: "close, old reason",
    condition: { condition: "close_stale" },
    status: "connecting",
    later: "disconnected",
    reason: null,
  },
  { name: "booting", condition: { condition: "booting" }, status: "unknown", reason: "booting" },
  { name: "missing", condition: null, status: "misconfigured", reason: "unknown_instance" },
  {
    name: "wrong key",
    condition: { condition: "open" },
    key: "not-the-key",
    status: "misconfigured",
    reason: "wrong_key",
  },
  {
    name: "key that no header can hold",
    condition: { condition: "open" },
    key: "chave com espaço\n",
    status: "misconfigured",
    reason: "wrong_key",
  },
  {
    name: "Pousada São João / recepção",
    condition: { condition: "open" },
    status: "connected",
    reason: null,
  },
  { name: "100% ?#&+", condition: { condition: "open" }, status: "connected", reason: null },
  { name: "..", condition: null, status: "misconfigured", reason: "unknown_instance" },
  // Faults of one instance's answers: nothing is learned about it.
  ...([
    [{ status: 500 }, "server_error"],
    [{ status: 403 }, "unintelligible"],
    [{ body: "html" }, "not_json"],
    [{ body: "not_json" }, "not_json"],
    [{ body: "empty" }, "not_json"],
    [{ body: "huge" }, "too_large"],
    [{ delay_ms: 60_000 }, "timeout"],
  ] as const).map(([fault, reason]): Expected => ({
    name: `answers ${JSON.stringify(fault)}`,
    condition: { condition: "open", ...fault },
    status: "gateway_unreachable",
    reason,
  })),
];

/** A gateway's mode, and what all its instances get, an open one among them. */
const MODES: { mode: GatewayMode; status: string; reason: string | null }[] = [
  { mode: { mode: "down" }, status: "gateway_unreachable", reason: "connection_refused" },
  { mode: { mode: "hang" }, status: "gateway_unreachable", reason: "timeout" },
  { mode: { mode: "slow", delay_ms: 60_000 }, status: "gateway_unreachable", reason: "timeout" },
  { mode: { mode: "slow", delay_ms: 20 }, status: "connected", reason: null },
  { mode: { mode: "error", status: 500 }, status: "gateway_unreachable", reason: "server_error" },
  { mode: { mode: "error", status: 503 }, status: "gateway_unreachable", reason: "server_error" },
  { mode: { mode: "html" }, status: "gateway_unreachable", reason: "not_json" },
  { mode: { mode: "garbage" }, status: "gateway_unreachable", reason: "not_json" },
  {
    mode: { mode: "huge", streamed: false },
    status: "gateway_unreachable",
    reason: "too_large",
  },
  { mode: { mode: "huge", streamed: true }, status: "gateway_unreachable", reason: "too_large" },
  { mode: { mode: "redirect" }, status: "misconfigured", reason: "redirected" },
  { mode: { mode: "licence" }, status: "misconfigured", reason: "licence_required" },
  // The live state needs no database.
  { mode: { mode: "database_down" }, status: "connected", reason: null },
];

async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    await world.set(HASTY);
    await work(world);
  } finally {
    await world.stop();
  }
}

Deno.test("each condition of an instance gets its status and its reason", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    for (const { name, condition, key } of INSTANCES) {
      if (condition) gateway.set(name, condition);
      await world.watch(name, { key });
    }
    const first = await world.tick();
    assert.equal(first.success, true);
    assert.equal(first.checked, INSTANCES.length);
    assert.equal(first.carried_over, 0);
    assert.deepEqual(first.gateways, [{ url: gateway.url, version: "2.3.6", reachable: true }]);
    await world.tick();
    const third = await world.tick();
    for (const { name, status, later = status, reason } of INSTANCES) {
      for (const [report, expected] of [[first, status], [third, later]] as const) {
        const instance = found(report, name);
        assert.equal(instance.status, expected, name);
        assert.equal(instance.reason?.code ?? null, reason, name);
        assert.equal(instance.checked_now, true, name);
        assert.equal(instance.organization_id, name);
      }
      // What the report says is what the database holds.
      const row = await world.row(name);
      assert.equal(row.status, later, name);
      assert.equal(row.reason_code, reason, name);
      assert.equal(row.reason_text, found(third, name).reason?.text ?? null, name);
    }
    // Nothing but questions was sent.
    assert.deepEqual([...new Set(gateway.requests.map(({ method }) => method))], ["GET"]);
    assert.deepEqual(
      [...new Set(gateway.requests.map(({ path }) => path.split(/[/?]/).slice(1, 3).join("/")))]
        .sort(),
      ["", "instance/connectionState", "instance/fetchInstances"],
    );
    // No key, no token of a row, in the report or in the log.
    for (const secret of [gateway.key, "not-the-key", gateway.instance("open").row.token]) {
      assert.ok(!JSON.stringify([first, third, world.edge.logs]).includes(secret), secret);
    }
  }));

Deno.test("each condition of a gateway gets its status and its reason", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    assert.equal(found(await world.tick(), "loja").status, "connected");
    for (const { mode, status, reason } of MODES) {
      await gateway.behave(mode);
      const instance = found(await world.tick(), "loja");
      const told = JSON.stringify(mode);
      assert.equal(instance.status, status, told);
      assert.equal(instance.reason?.code ?? null, reason, told);
      await gateway.behave("up");
      assert.equal(found(await world.tick(), "loja").status, "connected", `after ${told}`);
    }
    // The redirect was not followed.
    assert.equal(gateway.requests.filter(({ path }) => path === "/redirected").length, 0);
  }));

Deno.test("a gateway whose database is down is not a wrong key", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    gateway.set("loja", "open");
    const { token } = gateway.instance("loja").row;
    await world.watch("loja", { key: token });
    assert.equal(found(await world.tick(), "loja").status, "connected");
    // An instance's own token is answered with 401 then (I5).
    await gateway.behave("database_down");
    const during = found(await world.tick(), "loja");
    assert.equal(during.status, "gateway_unreachable");
    assert.equal(during.reason?.code, "gateway_database_down");
    await gateway.behave("up");
    assert.equal(found(await world.tick(), "loja").status, "connected");
  }));

Deno.test("with the settings as they come, an outage takes time and a fault shows at once", async () => {
  const world = await startWorld();
  try {
    const { gateway, database } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.tick();
    gateway.set("loja", "close");
    for (let check = 1; check <= 4; check++) {
      assert.equal(found(await world.tick(), "loja").status, "connecting", `check ${check}`);
    }
    await passTime(database, 55);
    const down = found(await world.tick(), "loja");
    assert.equal(down.status, "disconnected");
    gateway.set("loja", "open");
    assert.equal(found(await world.tick(), "loja").status, "connecting", "one good check");
    assert.equal(found(await world.tick(), "loja").status, "connected", "two");

    await gateway.behave("down");
    const early = found(await world.tick(), "loja");
    assert.equal(early.status, "connected");
    assert.equal(early.reason?.code, "connection_refused");
    await passTime(database, 55);
    assert.equal(found(await world.tick(), "loja").status, "gateway_unreachable");
  } finally {
    await world.stop();
  }
});

Deno.test("the row is asked for once after an open, and while it is not open", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    const rowsAsked = () =>
      gateway.requests.filter(({ path }) => path.startsWith("/instance/fetchInstances")).length;
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.tick();
    await world.tick();
    await world.tick();
    assert.equal(timesAsked(gateway, "loja"), 3);
    assert.equal(rowsAsked(), 1);
    gateway.set("loja", "close");
    await world.tick();
    assert.equal(rowsAsked(), 2);
  }));
