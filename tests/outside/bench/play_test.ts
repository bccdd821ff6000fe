/** The benchmark from one end to the other, over few instances, without what takes a compiler. */
import assert from "node:assert/strict";
import type { Name } from "../../bench/outcome.ts";
import { playCells } from "../../bench/play.ts";
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
