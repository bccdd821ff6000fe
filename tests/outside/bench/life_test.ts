/** What a sweep of the benchmark finds is what a tick finds in life. */
import assert from "node:assert/strict";
import type { Edge } from "../../stack/edge.ts";
import { spread } from "../../bench/figures.ts";
import { startMonitor, triggered } from "../../bench/monitor.ts";
import { Parts } from "../../bench/parts.ts";
import {
  applySettings,
  instanceNames,
  type Project,
  type Settings,
  startProject,
} from "../../bench/project.ts";
import { type Gateway, startGateway } from "../../bench/traffic.ts";

const INSTANCES = 40;
/** Whole turns of looks and of probes. */
const SWEEPS = 20;
/** A sweep in which a day ends by the clock may find one more look due, or one more probe. */
const CHANCE = 2;

interface World {
  gateway: Gateway;
  project: Project;
  edge: Edge;
}

/** Sweeps under these settings, once all has come to rest; each makes so many requests for an instance. */
async function sweeps({ gateway, project, edge }: World, settings: Settings, each: number) {
  await applySettings(project, settings);
  const monitor = await triggered(edge, project);
  const sweep = async () => {
    await monitor.prepare();
    await gateway.traffic();
    monitor.stored();
    assert.deepEqual(await monitor.sweep(), { checks: INSTANCES, ticks: 1 });
    return (await gateway.traffic()).requests;
  };
  await sweep();
  for (let n = 0; !await monitor.isSettled(); n++) {
    assert.ok(n < 5, "every webhook is soon set, and found right");
    await sweep();
  }
  const asked = [];
  for (let n = 0; n < SWEEPS; n++) {
    asked.push(await sweep());
    assert.equal(monitor.stored().requests, 2);
  }
  const text = JSON.stringify(asked);
  const wanted = Math.round(each * INSTANCES);
  assert.equal(spread(asked).median, wanted, text);
  const more = asked.reduce((sum, n) => sum + n, 0) - wanted * SWEEPS;
  assert.ok(0 <= more && more <= CHANCE, text);
}

Deno.test("at every sweep the share of life is due", async (t) => {
  const parts = new Parts();
  try {
    const gateway = await parts.add(startGateway());
    const project = await parts.add(startProject(gateway, instanceNames(INSTANCES), {}));
    const edge = await parts.add(startMonitor(project));
    const step = (name: string, settings: Settings, each: number) =>
      t.step(name, () => sweeps({ gateway, project, edge }, settings, each));

    await step(
      "of the defaults, one look at a webhook in ten checks, and one probe in twenty, of two questions",
      {},
      1 + 1 / 10 + 2 / 20,
    );
    await step(
      "of other settings, as many as follow from them",
      { webhook_check_every_s: 60, zombie_probe_every_s: 120 },
      1 + 1 / 2 + 2 / 4,
    );
    await step(
      "of neither, nothing but the state",
      { webhook_policy: "off", zombie_probe_every_s: 0 },
      1,
    );
  } finally {
    await parts.stop();
  }
});
