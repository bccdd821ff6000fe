/** What becomes of the benchmark's figures. */
import assert from "node:assert/strict";
import type { Results } from "../../bench/bench.ts";
import { grid, hold, ratio, short, shown, spread } from "../../bench/figures.ts";
import { type Name, outcome, type Sweep } from "../../bench/outcome.ts";
import { text } from "../../bench/table.ts";

Deno.test("figures are told by their middle and their quartiles", () => {
  assert.deepEqual(spread([5, 1, 4, 2, 3]), { median: 3, q1: 2, q3: 4 });
  assert.deepEqual(spread([1, 2]), { median: 1.5, q1: 1.25, q3: 1.75 });
  assert.deepEqual(spread([7]), { median: 7, q1: 7, q3: 7 });
  assert.ok(Number.isNaN(spread([NaN]).median));
});

Deno.test("a ratio is that of the same round", () => {
  // Round by round it is 2, though the middles are 2 and 4 of what drifted.
  assert.deepEqual(ratio([2, 4, 60], [1, 2, 30]), { median: 2, q1: 2, q3: 2 });
});

Deno.test("figures are shown with three digits, and a dash where there is none", () => {
  const figures = [0, 0.01234, 0.9996, 1.2345, 12.345, 123.45, 12345.6, NaN, Infinity];
  assert.deepEqual(
    figures.map(short),
    ["0.00", "0.012", "1.000", "1.23", "12.3", "123", "12346", "–", "–"],
  );
  assert.equal(shown({ median: 1.5, q1: 1, q3: 2 }), "1.50 (1.00–2.00)");
  assert.equal(shown(spread([NaN])), "–");
});

Deno.test("what was not to be had holds no target", () => {
  assert.equal(hold("", 1, 1).ok, true);
  assert.equal(hold("", 1, 1.001).ok, false);
  assert.equal(hold("", 1, NaN).ok, false);
});

Deno.test("columns are as wide as what is in them", () => {
  assert.equal(grid([["a", "bb"], ["ccc", ""]]), "  a    bb\n  ccc");
});

const CELL = { instances: 100, one_percent: false, latency_ms: 50 };

/** The sweeps of contestants whose CPU is this, in each round. */
function sweeps(cpu_ms: Partial<Record<Name, number[]>>): Map<Name, Sweep[]> {
  const rest = {
    checks: 100,
    wall_ms: 500,
    peak_mb: 100,
    gateway_requests: 1,
    gateway_bytes: 60,
    database_requests: 2,
    database_bytes: 2000,
    database_ms: 80,
  };
  return new Map(
    Object.entries(cpu_ms).map(([name, each]) => [
      name as Name,
      each.map((cpu_ms) => ({ cpu_ms, ...rest })),
    ]),
  );
}

Deno.test("ours is held to the targets, and the defaults are told beside it", () => {
  const { ratios, targets, contestants, name } = outcome(
    CELL,
    2,
    sweeps({ floor: [1, 2], naive: [2, 4], original: [10, 20], ours: [2, 4], defaults: [4, 8] }),
  );
  const middles = (of: typeof ratios.ours) =>
    Object.fromEntries(Object.entries(of!).map(([key, { median }]) => [key, median]));
  // Seven rounds of sixteen, of 50 ms each, are 350 ms: 500 less the database's 80 are 1.2 times that.
  assert.deepEqual(middles(ratios.ours), { naive: 1, floor: 2, original: 0.2, wall: 1.2 });
  assert.deepEqual(middles(ratios.defaults), { naive: 2, floor: 4, original: 0.4, wall: 1.2 });
  assert.deepEqual(targets.map(({ what, ok }) => [what, ok]), [
    ["100@50: CPU, ours / naive wasm", true],
    ["100@50: CPU, ours / floor", false],
    ["100@50: CPU, ours / original", true],
    ["100@50: database round trips a tick", true],
    ["100@50: wall time / ideal", false],
  ]);
  assert.equal(name, "100@50");
  assert.equal(contestants.naive?.cpu_ms.median, 3);
});

Deno.test("what did not take part is compared with nothing", () => {
  const { ratios, targets, contestants } = outcome(CELL, 1, sweeps({ floor: [1], ours: [1] }));
  assert.deepEqual(Object.keys(contestants), ["floor", "ours"]);
  assert.deepEqual(Object.keys(ratios), ["ours"]);
  assert.deepEqual(Object.keys(ratios.ours!), ["floor", "wall"]);
  assert.equal(targets.length, 3);
  assert.deepEqual(outcome(CELL, 1, sweeps({ floor: [1] })).targets, []);
});

Deno.test("where some are not open, and where nothing takes time, less is held to a target", () => {
  const targets = (cell: Partial<typeof CELL>) =>
    outcome({ ...CELL, ...cell }, 1, sweeps({ naive: [1], ours: [1] })).targets
      .map(({ what }) => what);
  assert.deepEqual(targets({ one_percent: true }), ["100@50-1%: wall time / ideal"]);
  assert.deepEqual(targets({ latency_ms: 0 }), [
    "100@0: CPU, ours / naive wasm",
    "100@0: database round trips a tick",
  ]);
});

Deno.test("the table shows who took part, and dashes for the others", () => {
  const results: Results = {
    resolution: "resolution",
    database: "embedded",
    load: [[0.1, 0.2, 0.3], [1, 2, 3]],
    cells: [outcome(CELL, 1, sweeps({ floor: [1], ours: [1.5] }))],
    start: null,
    memory: null,
    left_out: [{ name: "10000@500", why: "too long" }],
  };
  const table = text(results);
  assert.match(table, /^ {2}100@50 +ours +– +1\.50 \(1\.50–1\.50\) +– +1\.20 \(1\.20–1\.20\)$/m);
  assert.match(table, /^ {2}100@50 +floor +1\.00/m);
  assert.match(table, /^ +ours +1\.50 /m);
  assert.match(table, /^ {2}ok +100@50: CPU, ours \/ floor +1\.50 +at most 1\.8$/m);
  assert.match(table, /^ {2}10000@500: too long$/m);
  assert.doesNotMatch(table, /naive wasm {2}\d|defaults {2}|NaN|undefined/);
});
