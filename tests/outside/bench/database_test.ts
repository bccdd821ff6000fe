/** What the benchmark of the database plays is what the function does, and what it says of it is so. */
import assert from "node:assert/strict";
import type { DatabaseResults } from "../../bench/database.ts";
import { measureMonth } from "../../bench/database_growth.ts";
import { accesses, excessive, explainTick, plan } from "../../bench/database_plans.ts";
import { type Project, settle, startProject } from "../../bench/database_project.ts";
import { record, type Samples } from "../../bench/database_recording.ts";
import { databaseText } from "../../bench/database_text.ts";
import { measureCrowd, open } from "../../bench/database_ticks.ts";
import { Worker } from "../../bench/database_worker.ts";

const spread = { median: 1, q1: 1, q3: 1 };

/** Some work with a project of this size. */
async function withProject(size: number, work: (project: Project) => Promise<void>) {
  const project = await startProject(size);
  try {
    await work(project);
  } finally {
    await project.stop();
  }
}

Deno.test("the database's benchmark tells what the function tells", async (t) => {
  const samples = await record();

  await t.step("a check that found nothing new by its moment alone, and a look as a whole", () => {
    const { settled, looked, probed, down } = samples;
    assert.deepEqual(Object.keys(settled).sort(), ["checked_ms", "fence", "id", "version"]);
    assert.equal(looked.webhook.finding, "right");
    assert.deepEqual([probed.webhook, probed.status], [null, "connected"]);
    assert.deepEqual([down.status, down.is_down], ["waiting_qr", true]);
    for (const each of [looked, probed, down]) assert.equal(typeof each.state, "object");
  });

  // A server of one's own is needed: these look at its processes, statistics and plans.
  const ignore = !Deno.env.has("DATABASE");
  await t.step({ name: "a tick writes all that it claims", ignore, fn: () => writes(samples) });
  await t.step({ name: "many are told apart", ignore, fn: () => crowd(samples) });
  await t.step({ name: "a whole table that is read shows", ignore, fn: () => explained(samples) });
  await t.step({ name: "a month passes, and is forgotten", ignore, fn: () => month(samples) });
});

const writes = (samples: Samples) =>
  withProject(200, async (project) => {
    await settle(project, samples, false);
    const worker = await Worker.start(project.url, samples);
    try {
      const { claimed, begin, finish } = await worker.tick(open);
      assert.equal(new Set(claimed).size, 200);
      assert.ok(begin.wall_us > 0 && finish.wall_us > 0);
      assert.deepEqual((await worker.tick(open)).claimed, [], "none is due");
    } finally {
      await worker.stop();
    }
    const [row] = await project.database.query(
      `select count(*) filter (where settled_at is not null) as settled,
              count(*) filter (where version = 8 and lease_tick is null) as written,
              count(*) filter (where status = 'connected') as connected
       from whatsapp_monitor.instances`,
    );
    // Of twenty, two have their webhook looked at, and one its socket.
    assert.deepEqual(row, { settled: 170, written: 200, connected: 200 });
  });

const crowd = (samples: Samples) =>
  withProject(600, async (project) => {
    const { workers, rounds, deadlocks } = await measureCrowd(project, samples, 3, 1);
    assert.deepEqual([workers, rounds, deadlocks], [3, 1, 0]);
  });

const explained = (samples: Samples) =>
  withProject(4000, async (project) => {
    const reading = async () => {
      const plans = await explainTick(project, samples);
      assert.deepEqual(plans.map(({ call }) => call), ["begin_tick", "finish_tick"]);
      return plans.flatMap(excessive).filter(({ table }) => table === "instances");
    };
    assert.deepEqual(await reading(), []);
    await project.database.exec("drop index whatsapp_monitor.instances_due");
    assert.equal((await reading())[0].how, "Seq Scan");
  });

const month = (samples: Samples) =>
  withProject(50, async (project) => {
    const { tables, left_over, history_days } = await measureMonth(project, samples, 2);
    assert.equal(left_over, false);
    const rows = (name: string) => tables.find(({ table }) => table === name)?.rows ?? 0;
    assert.equal(rows("instances"), 50);
    assert.ok(rows("days") >= 50 * history_days, `${rows("days")}`);
    assert.ok(rows("days") <= 50 * (history_days + 2), `${rows("days")}`);
  });

Deno.test("a plan tells which tables it reads from end to end", () => {
  const node = (name: string, rows: number, index?: string) => ({
    "Node Type": index ? "Index Scan" : "Seq Scan",
    "Relation Name": name,
    ...index ? { "Index Name": index } : {},
    "Actual Rows": rows - 1,
    "Actual Loops": 1,
    "Actual Total Time": 0.5,
    "Rows Removed by Filter": 1,
    "Shared Hit Blocks": 3,
    "Shared Read Blocks": 1,
  });
  const statement = (root: unknown) =>
    `duration: 1 ms  plan:\n${JSON.stringify({ "Query Text": "select 1", Plan: root })}`;
  const inner = {
    ...node("instances", 1000),
    Plans: [node("sources", 2, "sources_instance"), node("sources", 3, "sources_instance")],
  };
  const read = plan("begin_tick", 1000, 2, [statement(inner), "not a plan"]);
  assert.deepEqual(excessive(read).map(({ table, how, rows }) => [table, how, rows]), [
    ["instances", "Seq Scan", 1000],
  ]);
  assert.deepEqual(accesses(read).map(({ table, index, rows }) => [table, index, rows]), [
    ["instances", null, 1000],
    ["sources", "sources_instance", 5],
  ]);
});

Deno.test("what the database costs is told with what must not be", () => {
  const reading = { call: "begin_tick", table: "instances", how: "Seq Scan", index: null };
  const table = { table: "days", rows: 9, table_bytes: 2048, index_bytes: 1024, bytes_half: 1024 };
  const results: DatabaseResults = {
    server: "PostgreSQL 17.1",
    load: [[1, 1, 1], [2, 2, 2]],
    ticks: [],
    seldom: [],
    plans: [{
      ...{ call: "begin_tick", size: 1000, instances: 10, pages: 30, ms: 1 },
      readings: [{ ...reading, rows: 1000, loops: 1, ms: 1, statement: "select" }],
    }],
    workers: [{ workers: 2, instances_per_s: spread, rounds: 3, deadlocks: 0 }],
    month: {
      ...{ size: 200, rounds_played: 60, rounds_a_day: 2880, history_days: 10, ledger_days: 7 },
      tables: [{ ...table, updates: 4, hot_share: 0.5, dead_per_row: 2, vacuums: 1 }],
      ...{ grown: ["days"], left_over: true, clean_up_ms: spread },
      ...{ history_bytes_per_day: 1024, standing_bytes: 2048, ledger_bytes_per_tick: 500 },
    },
  };
  const text = databaseText(results);
  for (
    const line of [
      /^PostgreSQL 17\.1$/m,
      /^ {2}1000 +begin_tick +3\.00 +instances 100 \(Seq Scan\)$/m,
      /^ {2}2 +1\.00 \(1\.00–1\.00\) +3 +0 +0 +0$/m,
      /^ {2}days +9 +3\.00 +1\.00 +1\.00 +4 +50\.0 % +2\.00 +1$/m,
      /larger after the month than after half of it: days/,
      /: what is too old/,
      /history 1\.00 kB a day, 90\.0 kB in the 90 days/,
      /of 5760 ticks a day, of 500 bytes, the 7 of ledger_days: 19\.2 MB/,
    ]
  ) assert.match(text, line);
  const well = databaseText({
    ...results,
    plans: [{ ...results.plans[0], readings: [] }],
    month: { ...results.month!, grown: [], left_over: false },
  });
  assert.match(well, /begin_tick +3\.00 +none/);
  assert.match(well, /half of it: none/);
  assert.match(well, /: nothing that is too old/);
});
