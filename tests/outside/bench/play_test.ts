/** The benchmark from one end to the other, over few instances, without what takes a compiler. */
import assert from "node:assert/strict";
import type { Name } from "../../bench/outcome.ts";
import { playCells } from "../../bench/play.ts";
import { startField } from "../../bench/field.ts";
import { MEASURES_PROCESSES } from "../../bench/process.ts";

const INSTANCES = 10;
const NAMES: Name[] = ["floor", "original", "ours", "defaults"];

Deno.test("a cell is played by all its contestants", async () => {
  const cell = { instances: INSTANCES, one_percent: false, latency_ms: 0 };
  const told: string[] = [];
  const [played, ...more] = await playCells(NAMES, [cell], 1, {}, (line) => told.push(line));

  assert.deepEqual(more, []);
  assert.deepEqual(told, ["10@0 …"]);
  assert.deepEqual(Object.keys(played.contestants), NAMES);
  const middles = (key: "gateway_requests" | "database_requests") =>
    Object.values(played.contestants).map((figures) => figures[key].median);
  assert.deepEqual(middles("gateway_requests").slice(0, 3), [1, 3, 1]);
  assert.ok(Math.abs(middles("gateway_requests")[3] - 1.2) < 0.02);
  assert.deepEqual(middles("database_requests"), [0, INSTANCES, 2, 2]);
  for (const [name, { cpu_ms, peak_mb, wall_ms }] of Object.entries(played.contestants)) {
    assert.ok(wall_ms.median > 0, name);
    if (MEASURES_PROCESSES) assert.ok(cpu_ms.median > 0 && peak_mb.median > 0, name);
  }
  assert.equal(played.targets.length, 3);
});

Deno.test("where time is short, a loop checks as many as it is told, and the monitor what a trigger can", async () => {
  // One after the other they would take four seconds.
  const settings = { concurrency: 1, tick_budget_ms: 1_000 };
  const { contestants, gateway, stop } = await startField(["floor", "ours"], INSTANCES, settings);
  try {
    await gateway.behave({ latency_ms: 400, one_percent: false });
    const sweep = async (name: Name) => {
      const contestant = contestants.get(name)!;
      await contestant.prepare();
      return (await contestant.sweep(4)).checks;
    };
    await gateway.traffic();
    assert.equal(await sweep("floor"), 4);
    assert.equal((await gateway.traffic()).requests, 4);
    const checks = await sweep("ours");
    assert.ok(0 < checks && checks < INSTANCES, `${checks}`);
  } finally {
    await stop();
  }
});
