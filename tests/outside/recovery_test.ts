/** The table of the policy, row by row, through the real wasm: what is decided, and what is sent. */
import assert from "node:assert/strict";
import type { Condition } from "../stack/evolution/mod.ts";
import {
  addNeighbour,
  ALLOWED_KINDS,
  checkFor,
  done,
  inWorld,
  kinds,
  recorded,
} from "./recovery.ts";
import { found } from "./support.ts";

interface Row {
  /** What the gateway has; null where it does not know the instance. */
  condition: Condition | null;
  /** What it has from the second check on, where that is something else. */
  then?: Condition;
  key?: string;
  /** Whether a step of its dial is taken before each check. */
  advances?: boolean;
  /** What is decided, check after check, each once. */
  decided: string[];
  /** What is sent. */
  sent?: string;
}

const ROWS: Record<string, Row> = {
  "open": { condition: { condition: "open" }, decided: ["none"] },
  "open, old reason": { condition: { condition: "stale_reason" }, decided: ["none"] },
  "zombie": { condition: { condition: "zombie" }, decided: ["none", "tell_operator"] },
  "comes and goes": {
    condition: { condition: "fight" },
    advances: true,
    decided: ["none", "wait", "none", "wait", "tell_operator"],
  },
  "wrong key": {
    condition: { condition: "close" },
    key: "not-the-key",
    decided: ["tell_operator"],
  },
  "unknown": { condition: null, decided: ["tell_operator"] },
  "booting": { condition: { condition: "booting" }, decided: ["wait", "tell_operator"] },
  "401": { condition: { condition: "logged_out", code: 401 }, decided: ["ask_for_qr"] },
  "402": { condition: { condition: "logged_out", code: 402 }, decided: ["ask_owner"] },
  "403": { condition: { condition: "logged_out", code: 403 }, decided: ["ask_owner"] },
  "406": { condition: { condition: "logged_out", code: 406 }, decided: ["ask_owner"] },
  "logged out, nothing says why": {
    condition: { condition: "open" },
    then: { condition: "never_paired" },
    decided: ["none", "ask_for_qr"],
  },
  "never paired": { condition: { condition: "never_paired" }, decided: ["ask_for_qr"] },
  "QR on screen": { condition: { condition: "waiting_scan" }, decided: ["ask_for_qr"] },
  "QR limit": { condition: { condition: "qr_limit" }, decided: ["ask_for_qr"] },
  "official interface": {
    condition: { condition: "close", integration: "WHATSAPP-BUSINESS" },
    decided: ["none"],
  },
  "redialling in vain": {
    condition: { condition: "close", dials: "fail", dialling: true },
    advances: true,
    decided: ["wait"],
  },
  "stuck in connecting": {
    condition: { condition: "connecting", dials: "login" },
    decided: ["wait", "restart", "none"],
    sent: "POST /instance/restart",
  },
  "paired, steady close": {
    condition: { condition: "close", dials: "login" },
    decided: ["wait", "connect", "none"],
    sent: "GET /instance/connect",
  },
  "paired, steady close, old reason": {
    condition: { condition: "close_stale", dials: "login" },
    decided: ["wait", "connect", "none"],
    sent: "GET /instance/connect",
  },
};

Deno.test("to each condition its decision, and to the gateway nothing else", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    // So often that time, which the tests move in steps, is never between two looks.
    await world.set({ zombie_probe_every_s: 60 });
    for (const [name, { condition, key }] of Object.entries(ROWS)) {
      if (condition) gateway.set(name, condition);
      await world.watch(name, { key });
    }
    const decided = new Map<string, string[]>();
    for (let check = 0; check < 20; check++) {
      const [report] = await checkFor(world, 60, 60);
      for (const [name, { advances, then }] of Object.entries(ROWS)) {
        const { action } = found(report, name);
        const so_far = decided.get(name) ?? [];
        if (so_far.at(-1) !== action) decided.set(name, [...so_far, action]);
        if (advances) gateway.advance(name);
        if (then && check === 0) gateway.set(name, then);
      }
    }
    for (const [name, { decided: expected, sent }] of Object.entries(ROWS)) {
      assert.deepEqual(decided.get(name), expected, name);
      const requests = sent ? [`${sent}/${encodeURIComponent(name)}`] : [];
      assert.deepEqual(done(gateway, name), requests, name);
      const actions = await recorded(world, name);
      assert.deepEqual(actions.map(({ verdict }) => verdict), sent ? ["worked"] : [], name);
    }
    assert.deepEqual([...new Set(kinds(gateway))].sort(), ALLOWED_KINDS);
  }));

Deno.test("what is not open is left alone while its row is not to be had", () =>
  inWorld(async (world) => {
    await addNeighbour(world);
    await world.after(30);
    world.gateway.set("loja", "close");
    await world.watch("loja");
    // The live state is in the gateway's memory, the row in its database.
    await world.gateway.behave("database_down");
    for (const report of await checkFor(world, 1200, 60)) {
      assert.equal(found(report, "loja").action, "wait");
    }
    assert.deepEqual(done(world.gateway, "loja"), []);
    await world.gateway.behave("up");
    await world.after(60);
    assert.deepEqual(done(world.gateway, "loja"), ["GET /instance/connect/loja"]);
  }));

for (const version of ["1.8.2", "2.4.0-rc2"] as const) {
  Deno.test(`Evolution ${version} is looked at, and never acted upon or probed`, () =>
    inWorld(async (world) => {
      const { gateway } = world;
      gateway.upgrade(version);
      await world.set({ zombie_probe_every_s: 60 });
      await addNeighbour(world);
      gateway.set("fechada", "close");
      gateway.set("discando", { condition: "connecting", dials: "hang" });
      gateway.set("zumbi", "zombie");
      for (const name of ["fechada", "discando", "zumbi"]) await world.watch(name);
      for (const report of await checkFor(world, 1800, 60)) {
        assert.equal(found(report, "fechada").action, "wait");
        assert.equal(found(report, "discando").action, "wait");
        assert.equal(found(report, "zumbi").status, "connected");
      }
      assert.deepEqual([...new Set(kinds(gateway))].sort(), [
        "GET /",
        "GET /instance/connectionState",
        "GET /instance/fetchInstances",
      ]);
      assert.deepEqual(await world.database.query("table whatsapp_monitor.actions"), []);
    }));
}
