/** The command line of `bench`, and what follows from it. */
import assert from "node:assert/strict";
import { parseArgs, UsageError } from "../../bench/args.ts";
import { cellName, CELLS, checksPerSweep, idealMs } from "../../bench/cells.ts";
import { NAMES } from "../../bench/outcome.ts";
import { plan } from "../../bench/plan.ts";

/** Parses a line whose words have no spaces in them. */
const parse = (line: string) => parseArgs(line.split(" ").filter(Boolean));
const planned = (line: string) => plan(parse(line));
const cells = (line: string) => planned(line).groups.flatMap(({ cells }) => cells.map(cellName));

Deno.test("bench arguments: what they mean", () => {
  const none = {
    help: false,
    database: false,
    json: false,
    quick: false,
    full: false,
    embedded: false,
    only: [],
    contestants: [],
    rounds: null,
    settings: {},
  };
  assert.deepEqual(parse(""), none);
  assert.deepEqual(parse("--json --quick --full --embedded --help"), {
    ...none,
    ...{ help: true, json: true, quick: true, full: true, embedded: true },
  });
  assert.deepEqual(
    parse(
      "--only 100@50 --only 1000@0-1% --only memory --rounds 7 --set a_1=2 --set b=0 " +
        "--contestant ours --contestant floor",
    ),
    {
      ...none,
      only: ["100@50", "1000@0-1%", "memory"],
      rounds: 7,
      settings: { a_1: 2, b: 0 },
      contestants: ["ours", "floor"],
    },
  );
  assert.deepEqual(parse("--only sizes --only growth --database --quick --json"), {
    ...none,
    ...{ database: true, quick: true, json: true, only: ["sizes", "growth"] },
  });
});

Deno.test("bench arguments: what is wrong with them", () => {
  for (
    const [line, message] of [
      ["--nope", /unknown option: --nope/],
      ["quick", /unknown option: quick/],
      ["--only", /--only cannot be nothing/],
      ["--only 7@0", /--only cannot be 7@0/],
      ["--only 1@0-1%", /--only cannot be 1@0-1%/],
      ["--rounds 0", /--rounds cannot be 0/],
      ["--rounds x", /--rounds cannot be x/],
      ["--set a", /--set cannot be a/],
      ["--set a=x", /--set cannot be a=x/],
      ["--contestant me", /--contestant cannot be me/],
      ["--only sizes", /--only cannot be sizes/],
      ["--database --only start", /--only cannot be start/],
      ["--rounds 3 --database", /--rounds does not go with --database/],
      ["--database --full", /--full does not go with --database/],
      ["--database more", /unknown option: more/],
    ] as [string, RegExp][]
  ) {
    assert.throws(() => parse(line), (error) => {
      assert(error instanceof UsageError, line);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("a bench plays every cell, or tells why not", () => {
  for (const line of ["", "--full"]) {
    const { groups, left_out, contestants, start_rounds, memory_ticks } = planned(line);
    const told = left_out.map(({ name }) => name);
    assert.deepEqual([...cells(line), ...told].sort(), CELLS.map(cellName).sort());
    for (const { cells, rounds } of groups) {
      assert.equal(new Set(cells.map(({ instances }) => instances)).size, 1);
      assert.ok(rounds >= 3);
    }
    assert.deepEqual(contestants, NAMES);
    assert.ok(start_rounds > 0 && memory_ticks > 0);
  }
  assert.deepEqual(planned("--full").left_out, []);
});

Deno.test("what a trigger has no time for is measured as far as it comes in 20 s", () => {
  const least = (instances: number, latency_ms: number) => {
    const cell = { instances, latency_ms, one_percent: false };
    const checks = checksPerSweep(cell);
    return [checks, idealMs(cell, checks)];
  };
  assert.deepEqual(least(1, 500), [1, 500]);
  assert.deepEqual(least(1_000, 50), [1_000, 3_150]);
  assert.deepEqual(least(10_000, 0), [10_000, 0]);
  assert.deepEqual(least(10_000, 50), [6_400, 20_000]);
  assert.deepEqual(least(10_000, 500), [640, 20_000]);
});

Deno.test("a quick bench is one round of one instance, and one start", () => {
  assert.deepEqual(cells("--quick"), ["1@0"]);
  const { groups, start_rounds, memory_ticks } = planned("--quick");
  assert.deepEqual([groups[0].rounds, start_rounds, memory_ticks], [1, 1, 0]);
});

Deno.test("a bench of parts plays these alone, even those that are left out otherwise", () => {
  assert.deepEqual(cells("--only 10000@500 --only 1@0"), ["1@0", "10000@500"]);
  assert.deepEqual(cells("--only start"), []);
  assert.deepEqual(planned("--only start").left_out, []);
  assert.equal(planned("--only start").memory_ticks, 0);
  assert.ok(planned("--only start").start_rounds > 0);
  assert.equal(planned("--only memory").start_rounds, 0);
  assert.equal(planned("--only 1@0 --rounds 9").groups[0].rounds, 9);
  assert.deepEqual(planned("--contestant ours").contestants, ["ours"]);
});
