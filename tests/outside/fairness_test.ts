/**
 * One failing instance never spoils another's check: bounded concurrency, a
 * time budget whose rest is carried over oldest first, and gateways that hang.
 */
import assert from "node:assert/strict";
import { startGateway } from "../stack/evolution/mod.ts";
import { found, inWorld, startHeldGateway, timesAsked, type World } from "./support.ts";

const names = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}-${String(index).padStart(3, "0")}`);

/** The instances that the gateway was asked about, in order. */
function asked(gateway: World["gateway"]): string[] {
  return gateway.requests
    .map(({ path }) => path.match(/^\/instance\/connectionState\/(.*)$/)?.[1])
    .filter((name) => name !== undefined);
}

Deno.test("no more questions are in flight than the setting allows, and each is asked once", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    for (const name of names("loja", 30)) {
      gateway.set(name, { condition: "open", delay_ms: 5 });
      await world.watch(name);
    }
    await world.set({ concurrency: 4 });
    const report = await world.tick();
    assert.equal(report.checked, 30);
    assert.equal(gateway.peakInFlight, 4 + 1, "four, and the version's");
    assert.deepEqual(asked(gateway).sort(), names("loja", 30));
  }));

Deno.test("instances that fail in every way spoil nothing for their neighbours", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    const healthy = names("boa", 10);
    for (const name of healthy) gateway.set(name, "open");
    gateway.set("hangs", { condition: "open", delay_ms: 60_000 });
    gateway.set("html", { condition: "open", body: "html" });
    gateway.set("huge", { condition: "open", body: "huge" });
    gateway.set("error", { condition: "open", status: 500 });
    const failing = ["hangs", "html", "huge", "error", "missing"];
    for (const name of [...failing, ...healthy]) await world.watch(name);
    await world.watch("nonsense", { url: "isto não é uma URL" });
    await world.watch("ftp", { url: "ftp://127.0.0.1/" });
    await world.watch("with a password", { url: gateway.url.replace("//", "//user:secret@") });
    await world.watch("refused", { url: "http://127.0.0.1:9" });
    await world.set({ concurrency: 2, request_timeout_ms: 500 });
    const report = await world.tick();
    assert.equal(report.success, true);
    assert.equal(report.carried_over, 0);
    for (const name of healthy) assert.equal(found(report, name).status, "connected", name);
    const reasons = {
      nonsense: "bad_url",
      ftp: "bad_url",
      "with a password": "bad_url",
      refused: "connection_refused",
      hangs: "timeout",
    };
    for (const [name, reason] of Object.entries(reasons)) {
      assert.equal(found(report, name).reason?.code, reason, name);
    }
    const reachable = new Map(report.gateways.map(({ url, reachable }) => [url, reachable]));
    assert.equal(reachable.get(gateway.url), true);
    assert.equal(reachable.get("http://127.0.0.1:9"), false);
    assert.equal(reachable.get("isto não é uma URL"), false);
  }));

Deno.test("state that cannot be read costs one instance its memory, not the others their check", () =>
  inWorld(async (world) => {
    const all = ["broken", "timeless", "fine"];
    for (const name of all) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    await world.tick();
    // No column can hold the second one's moment.
    await world.database.query(
      `update whatsapp_monitor.instances
       set state = case name when 'broken' then '{"status": 7}'
                             when 'timeless' then state || '{"since": 9000000000000000000}'
                             else state end`,
    );
    const report = await world.tick();
    assert.equal(report.success, true);
    for (const name of all) assert.equal(found(report, name).status, "connected", name);
  }));

Deno.test("what there is no time for is carried over, and comes first the next time", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    const all = names("loja", 12);
    for (const name of all) {
      gateway.set(name, { condition: "open", delay_ms: 60 });
      await world.watch(name);
    }
    await world.set({ concurrency: 1, tick_budget_ms: 400 });
    const rounds: string[][] = [];
    for (let done = 0; done < 3 * all.length; done += rounds.at(-1)!.length) {
      gateway.forget();
      await world.makeDueInTurn();
      const report = await (await world.trigger()).json();
      rounds.push(asked(gateway));
      assert.ok(rounds.at(-1)!.length > 0, "each trigger gets somewhere");
      assert.equal(report.checked, rounds.at(-1)!.length);
      assert.equal(report.carried_over, all.length - report.checked);
    }
    // Round after round in the same order: nobody twice before everybody once.
    const sequence = rounds.flat();
    assert.ok(rounds[0].length < all.length, "there was no time for all");
    sequence.forEach((name, index) => assert.equal(name, all[index % all.length]));
  }));

Deno.test("a gateway that hangs is left alone, and holds nobody else's instances", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    const hanging = await startGateway();
    try {
      for (const name of names("boa", 30)) {
        gateway.set(name, "open");
        await world.watch(name);
      }
      for (const name of names("presa", 30)) {
        hanging.set(name, "open");
        await world.watch(name, { url: hanging.url, key: hanging.key });
      }
      await world.set({ concurrency: 5, request_timeout_ms: 300, down_after_s: 0 });
      await hanging.behave("hang");
      const report = await world.tick();
      assert.equal(report.carried_over, 0);
      // One wave, and what was started before the third of it had timed out.
      const first = asked(hanging);
      assert.ok(first.length >= 5 && first.length <= 7, `${first.length} questions`);
      for (const name of names("boa", 30)) {
        assert.equal(found(report, name).status, "connected", name);
      }
      for (const name of names("presa", 30)) {
        assert.equal(found(report, name).status, "gateway_unreachable", name);
        assert.equal(found(report, name).reason?.code, "timeout", name);
      }
      // Who was not asked this time is asked first the next time.
      hanging.forget();
      await world.makeDueInTurn();
      await (await world.trigger()).body?.cancel();
      const second = asked(hanging);
      assert.ok(second.length >= 5);
      assert.deepEqual(second.filter((name) => first.includes(name)), []);

      await hanging.behave("up");
      const after = await world.tick();
      for (const name of names("presa", 30)) {
        assert.equal(found(after, name).status, "connected", name);
      }
    } finally {
      await hanging.stop();
    }
  }));

Deno.test("a trigger runs as many ticks as it takes", () =>
  inWorld(async (world) => {
    for (const name of names("loja", 25)) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    await world.set({ batch_size: 10 });
    const report = await world.tick();
    assert.equal(report.checked, 25);
    assert.equal(report.carried_over, 0);
    assert.equal(report.database_round_trips, 6, "two a tick");
    const ticks = await world.database.query(
      "select claimed, finished_at is not null as finished from whatsapp_monitor.ticks order by started_at",
    );
    assert.deepEqual(ticks, [10, 10, 5].map((claimed) => ({ claimed, finished: true })));
    for (const name of names("loja", 25)) assert.equal(timesAsked(world.gateway, name), 1);
  }));

Deno.test("a trigger that finds nothing due costs one round trip", () =>
  inWorld(async (world) => {
    const before = world.rest.calls.length;
    const response = await fetch(`${world.functionUrl}/whatsapp/monitor/start`, {
      method: "POST",
      headers: { "x-monitor-token": world.token },
    });
    assert.equal((await response.json()).success, true);
    await world.edge.idle();
    assert.deepEqual(world.rest.calls.slice(before).map(({ fn }) => fn), [
      "whatsapp_monitor_begin_tick",
    ]);
  }));

Deno.test("the answer does not wait for the work", () =>
  inWorld(async (world) => {
    const held = await startHeldGateway();
    try {
      await world.watch("held", { url: held.url });
      const response = await fetch(`${world.functionUrl}/whatsapp/monitor/start`, {
        method: "POST",
        headers: { "x-monitor-token": world.token },
      });
      const { tick_id, ...rest } = await response.json();
      assert.equal(response.status, 200);
      assert.deepEqual(rest, {
        success: true,
        message: "Monitoramento iniciado com sucesso",
        monitoring: true,
      });
      await held.arrived;
      assert.equal((await world.row("held")).status, "unknown");
      held.release();
      await world.edge.idle();
      const row = await world.row("held");
      assert.equal(row.status, "connected");
      assert.equal(row.checked_by, tick_id);
    } finally {
      await held.stop();
    }
  }));

Deno.test("limited to one organization, a trigger leaves the others alone", () =>
  inWorld(async (world) => {
    for (const name of ["a", "b"]) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    const report = await (await world.trigger({ body: { organization_id: "a" } })).json();
    assert.deepEqual(
      report.instances.map((instance: { organization_id: string }) => instance.organization_id),
      ["a"],
    );
    assert.equal(timesAsked(world.gateway, "b"), 0);
  }));
