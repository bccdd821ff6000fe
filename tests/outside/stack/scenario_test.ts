/** The scenarios of `dev --scenario`: each is a test of the whole, through the real wasm. */
import assert from "node:assert/strict";
import { COMES_BACK } from "../../stack/scenarios/comes_back.ts";
import { SCENARIOS } from "../../stack/scenarios/mod.ts";
import { runScenario } from "../../stack/scenarios/run.ts";
import type { Ending, Life, Scenario } from "../../stack/scenarios/scenario.ts";
import { brokenPromises } from "../../stack/scenarios/story.ts";
import { inWorld } from "../support.ts";

/** Plays one; gives its status and what was printed. */
async function played(
  scenario: Scenario,
  { json = false } = {},
): Promise<{ status: number; text: string }> {
  const lines: string[] = [];
  let status = -1;
  await inWorld(async (world) => {
    status = await runScenario(world, scenario, { json }, (text) => lines.push(text));
  });
  return { status, text: lines.join("\n") };
}

Deno.test("every scenario comes out as it promises", async (t) => {
  for (const scenario of SCENARIOS) {
    await t.step(scenario.name, async () => {
      const { status, text } = await played(scenario);
      assert.equal(status, 0, text);
      assert.match(text, new RegExp(`\n${scenario.name} came out as promised\\.$`));
      const wide = text.split("\n").filter((line) => [...line].length > 100);
      assert.deepEqual(wide, [], "it is read at 100 columns");
    });
  }
});

Deno.test("without its fault, no scenario comes out as it promises", () => {
  for (const scenario of SCENARIOS) {
    const quiet: Life = {
      status: "connected",
      reason: null,
      changes: [],
      outages: [],
      actions: [],
    };
    const names = Object.keys(scenario.instances);
    const instances = Object.fromEntries(names.map((name) => [name, quiet]));
    const ending: Ending = { steps: [], instances, gateway_outages: [] };
    assert.notDeepEqual(brokenPromises(scenario, ending), [], scenario.name);
  }
});

const HUNG = COMES_BACK.find(({ name }) => name === "hung-dial")!;

Deno.test("a scenario that comes out otherwise says what is otherwise, and has status 1", async () => {
  const [turn] = HUNG.turns;
  // Nothing that the monitor may do helps.
  const condition = { condition: "close", dials: "fail" } as const;
  const hopeless: Scenario = {
    ...HUNG,
    until: "05:00",
    turns: [{ ...turn, does: ({ gateway }) => gateway.set("casa-da-praia", condition) }],
  };
  const { status, text } = await played(hopeless);
  assert.equal(status, 1);
  assert.match(text, /✗ casa-da-praia ends connected\n {4}it is: disconnected\n/);
  assert.match(
    text,
    /✗ .*: connect \(neighbour\): worked\n {4}it is: connect \(neighbour\): no_effect/,
  );
  assert.match(text, /✓ hotel-aurora: nothing but questions/);
  assert.match(text, /\nhung-dial did NOT come out as promised: 3 of 5 promises were broken\.$/);
});

Deno.test("a scenario tells what happens, what is asked, seen, decided and proven, in its order", async () => {
  const { text } = await played(HUNG);
  const told = [
    /^Scenario hung-dial$/,
    /^\+00:00 {2}the gateway$/,
    /^ {8}asked {3}GET \/ → 200$/,
    /^\+00:50 {2}» casa-da-praia loses its socket/,
    /^\+01:00 {2}casa-da-praia +close \/ open +connecting +wait$/,
    /^ {8}asked {3}GET connectionState → 200, GET fetchInstances → 200$/,
    /^ {8}… 2 checks without news$/,
    /^\+03:30 {2}casa-da-praia +close \/ open +disconnected +connect \(neighbour\)$/,
    /^ {8}asked .*GET connect → 200$/,
    /^\+05:00 {2}casa-da-praia +open \/ open +connected +none$/,
    /^ {8}proven {2}connect → worked$/,
    /^ {4}\+04:30 {2}connecting → connected$/,
    /^ {4}outage {2}from \+01:00 to \+04:00$/,
    /^ {4}action {2}\+03:30 connect \(neighbour\): the gateway's answer accepted, verdict worked$/,
  ];
  const lines = text.split("\n");
  let from = 0;
  for (const line of told) {
    const at = lines.findIndex((each, index) => index >= from && line.test(each));
    assert.ok(at >= 0, `${line} is not told after line ${from}:\n${text}`);
    from = at + 1;
  }
});

Deno.test("with --json, a scenario is one document that holds the same", async () => {
  const { status, text } = await played(SCENARIOS[0], { json: true });
  assert.equal(status, 0);
  const { scenario, success, steps, instances, promises } = JSON.parse(text);
  assert.deepEqual([scenario, success], ["blink", true]);
  assert.deepEqual(steps.filter((step: object) => "happened" in step).length, 2);
  assert.deepEqual(steps.filter((step: object) => "instances" in step).length, 7);
  assert.deepEqual(instances["casa-da-praia"].changes, [
    { at: "00:00", from: "unknown", to: "connected", reason: null },
    { at: "01:00", from: "connected", to: "connecting", reason: null },
    { at: "01:30", from: "connecting", to: "connected", reason: null },
  ]);
  assert.deepEqual(promises.length, SCENARIOS[0].promises.length);
  assert.ok(promises.every(({ kept }: { kept: boolean }) => kept));
});
