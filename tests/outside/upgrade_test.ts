/**
 * A database that holds the previous version, at work: the migrations are
 * applied over it, and the present function goes on where the old one was.
 */
import assert from "node:assert/strict";
import { migrate } from "../stack/migrate.ts";
import { ACT, type Begun, type Claimed, FINISH, Ledger } from "./ledger.ts";
import { caller, leaveWebhooksAlone, startDatabase, startWorld, type World } from "./support.ts";

const PREVIOUS = new URL("../fixtures/previous_version/", import.meta.url);
const MINUTE = 60_000;

/** The result of a check as the previous version sends it: it knows of no outages. */
function oldResult(
  { id, fence, version }: Claimed,
  now_ms: number,
  status: string,
  { code = null as string | null, since_ms = now_ms, state = {} } = {},
) {
  return {
    ...{ id, fence, version, status, since_ms },
    reason: code && { code, text: "…" },
    // The memory as that version writes it.
    state: {
      ...{ status, since: since_ms, reason: null, bad: null, unanswered: null, down: false },
      ...{ good_checks: 0, last_open: null, known_reason: null, row_seen_open: false },
      ...state,
    },
    checked_ms: now_ms,
    asked: true,
  };
}

/** The rows of a table, each by column. */
async function rows({ query }: Ledger, table: string): Promise<Record<string, unknown>[]> {
  const found = await query<{ row: Record<string, unknown> }>(
    `select to_jsonb(t) as row from ${table} t order by to_jsonb(t)::text`,
  );
  return found.map(({ row }) => row);
}

const TABLES = [
  "settings",
  "trigger_tokens",
  "gateways",
  "instances",
  "sources",
  "ticks",
  "actions",
]
  .map((name) => `whatsapp_monitor.${name}`)
  .concat("public.organization_channel_config");

/** All that the previous version remembers. */
async function memory(ledger: Ledger): Promise<Map<string, Record<string, unknown>[]>> {
  const all = new Map();
  for (const table of TABLES) all.set(table, await rows(ledger, table));
  return all;
}

/** What there is now of what was: the same rows, in the columns that they had. */
function asBefore(
  before: Map<string, Record<string, unknown>[]>,
  now: Map<string, Record<string, unknown>[]>,
) {
  const key = (row: Record<string, unknown>, columns: string[]) =>
    Object.fromEntries(columns.map((column) => [column, row[column]]));
  return new Map([...now].map(([table, rows]) => {
    const columns = Object.keys(before.get(table)![0]);
    const cut = rows.map((row) => key(row, columns));
    const text = (row: unknown) => JSON.stringify(row);
    const order = before.get(table)!.map(text);
    return [table, cut.sort((a, b) => order.indexOf(text(a)) - order.indexOf(text(b)))];
  }));
}

/** What happened, as the tables of the present version tell it. */
async function history({ query }: Ledger) {
  return {
    changes: (await query<{ change: string }>(
      `select i.name || ': ' || from_status || ' → ' || to_status as change
       from whatsapp_monitor.status_changes c
       join whatsapp_monitor.instances i on i.id = c.instance_id order by change`,
    )).map(({ change }) => change),
    outages: await query<{ name: string; started_ms: number; open: boolean }>(
      `select i.name, whatsapp_monitor.epoch_ms(o.started_at) as started_ms, ended_at is null as open
       from whatsapp_monitor.outages o
       join whatsapp_monitor.instances i on i.id = o.instance_id order by i.name`,
    ),
  };
}

/** The previous version at work: what it has found, and the ticks that it has not finished. */
async function atWork(world: World, ledger: Ledger) {
  const conditions = {
    "open": "open",
    "down": "close",
    "mended": "open",
    "logged out": "logged_out",
    "gone": "open",
    "new": "open",
    "held": "open",
    "given back": "open",
  } as const;
  for (const [name, condition] of Object.entries(conditions)) {
    world.gateway.set(name, condition);
    await world.watch(name);
  }
  await ledger.set({ interval_s: 60, down_after_checks: 2, lease_s: 300 });

  const begin = (organization_id: string) => ledger.begin({ organization_id });
  const check = async (name: string, status: string, told = {}) => {
    const tick = await begin(name);
    const result = oldResult(tick.instances[0], tick.now_ms, status, told);
    await ledger.call(FINISH, { tick_id: tick.tick_id, results: [result] });
    return tick;
  };
  const { now_ms, tick_id, instances: [{ id, fence }] } = await begin("open");
  await ledger.call(ACT, {
    tick_id,
    actions: [{ instance_id: id, fence, kind: "connect", min_lease_ms: 0 }],
  });
  await ledger.call(FINISH, {
    tick_id,
    results: [oldResult({ id, fence, version: 0 } as Claimed, now_ms, "connected", {
      state: { last_open: now_ms, row_seen_open: true },
    })],
  });
  const since_ms = now_ms - 10 * MINUTE;
  const fallen = {
    since_ms,
    state: {
      bad: { first: since_ms, checks: 10 },
      down: true,
      last_open: since_ms - MINUTE,
      row_seen_open: true,
    },
  };
  await check("down", "disconnected", fallen);
  await check("mended", "disconnected", fallen);
  await check("logged out", "waiting_qr", {
    code: "401",
    since_ms,
    state: { down: true, last_open: since_ms },
  });
  await check("gone", "connected");
  await ledger.query(
    "update public.organization_channel_config set deleted_at = now() where organization_id = 'gone'",
  );
  await ledger.sync();
  return { since_ms, held: await begin("held"), given_back: await begin("given back") };
}

Deno.test("over the previous version at work: all is kept, nothing invented, and it goes on", async () => {
  const world = await startWorld({ migrations: PREVIOUS });
  try {
    const ledger = new Ledger({ ...world, concurrent: false, rpc: caller(world.rest, world.keys) });
    const { since_ms, held, given_back } = await atWork(world, ledger);
    const before = await memory(ledger);
    for (const [table, all] of before) assert.ok(all.length > 0, `${table} has something to lose`);

    await migrate(world.database);
    await migrate(world.database);
    await leaveWebhooksAlone(world.database);
    assert.deepEqual(asBefore(before, await memory(ledger)), before);
    assert.deepEqual(await history(ledger), { changes: [], outages: [] });

    // The old function is still at it.
    const results = held.instances.map((each) => oldResult(each, held.now_ms, "connected"));
    const { tick_id } = held;
    const written = held.instances.map(({ id }) => id);
    for (const _ of ["the first time", "repeated"]) {
      // The old function reads no more than this.
      const { alerts: _a, heartbeat: _h, ...answer } = await ledger.call(FINISH, {
        tick_id,
        results,
      });
      assert.deepEqual(answer, { written, stale: [], lost: [], report: null });
    }
    await ledger.finish(given_back, [], given_back.instances);
    assert.deepEqual(await history(ledger), {
      changes: ["held: unknown → connected"],
      outages: [],
    });

    const report = await world.tick();
    assert.deepEqual([report.success, report.checked, report.carried_over], [true, 7, 0]);
    const found = await ledger.query(
      `select i.name, i.status, i.version, i.fence, i.lease_tick,
              whatsapp_connection_status as told
       from whatsapp_monitor.instances i
       join public.organization_channel_config c on c.whatsapp_instance_name = i.name
       where i.removed_at is null order by i.name`,
    );
    const row = (name: string, status: string, times: [version: number, fence: number]) => ({
      ...{ name, status, version: times[0], fence: times[1], lease_tick: null, told: status },
    });
    assert.deepEqual(found, [
      row("down", "disconnected", [2, 2]),
      row("given back", "connected", [1, 2]),
      row("held", "connected", [2, 2]),
      row("logged out", "waiting_qr", [2, 2]),
      row("mended", "connected", [2, 2]),
      row("new", "connected", [1, 1]),
      row("open", "connected", [2, 2]),
    ]);
    const { changes, outages } = await history(ledger);
    assert.deepEqual(changes, [
      "given back: unknown → connected",
      "held: unknown → connected",
      "mended: disconnected → connected",
      "new: unknown → connected",
    ]);
    // One began when the memory says; of the other it is known only that it is.
    assert.deepEqual(outages.map(({ name, open }) => [name, open]), [
      ["down", true],
      ["logged out", true],
    ]);
    assert.equal(outages[0].started_ms, since_ms);
    assert.ok(outages[1].started_ms >= held.now_ms);
  } finally {
    await world.stop();
  }
});

Deno.test("the present function over the previous version's SQL: every check is written", async () => {
  const world = await startWorld({ migrations: PREVIOUS });
  try {
    world.gateway.set("open", "open");
    await world.watch("open");
    for (let check = 1; check <= 3; check++) {
      const { success, checked } = await world.tick();
      const rows = await world.database.query(
        `update whatsapp_monitor.instances set due_at = '-infinity'
           returning version, lease_tick`,
      );
      assert.deepEqual([success, checked, rows], [true, 1, [{ version: check, lease_tick: null }]]);
    }
  } finally {
    await world.stop();
  }
});

Deno.test("what the previous version's function sends and reads is still understood", async () => {
  const bare = await startDatabase();
  try {
    const ledger = new Ledger(bare);
    await ledger.watch("a", "b");
    const request = { tick_id: crypto.randomUUID(), caller: "service_key", organization_id: null };
    const begun: Begun = await ledger.call("whatsapp_monitor_begin_tick", {
      ...request,
      report: true,
    });
    const has = (fields: Record<string, string>, value: object, where: string) => {
      for (const [name, type] of Object.entries(fields)) {
        const is = (value as Record<string, unknown>)[name];
        assert.equal(is === null ? "null" : typeof is, type, `${where}: ${name}`);
      }
    };
    has(
      {
        outcome: "string",
        now: "string",
        now_ms: "number",
        settings: "object",
        more_due: "boolean",
      },
      begun,
      "begin_tick",
    );
    const [a, b] = begun.instances;
    has(
      {
        ...{ id: "number", organization_id: "string", gateway_url: "string", name: "string" },
        ...{ api_key: "string", fence: "number", version: "number", state: "null" },
      },
      a,
      "an instance",
    );
    const { settings } = begun as unknown as { settings: object };
    has(
      {
        ...{ interval_s: "number", down_after_checks: "number", down_after_s: "number" },
        ...{ up_after_checks: "number", request_timeout_ms: "number", concurrency: "number" },
        ...{ tick_budget_ms: "number", batch_size: "number", lease_s: "number" },
      },
      settings,
      "settings",
    );

    const action = { instance_id: a.id, fence: a.fence, kind: "connect", min_lease_ms: 0 };
    const { tick_id } = request;
    assert.deepEqual(await ledger.call(ACT, { tick_id, actions: [action] }), {
      granted: [a.id],
      refused: [],
    });
    await ledger.query("update whatsapp_monitor.instances set version = 7 where name = 'b'");
    const finished = await ledger.call(FINISH, {
      ...{ tick_id, organization_id: null, report: true, carried_over: [] },
      results: [
        oldResult(a, begun.now_ms, "disconnected"),
        oldResult(b, begun.now_ms, "connected"),
      ],
    });
    assert.deepEqual(
      [finished.written, finished.stale, finished.lost],
      [[a.id], [{ id: b.id, version: 7, state: null, settled_ms: null }], []],
    );
    has({ due: "number", instances: "object" }, finished.report, "the report");
    has(
      {
        ...{ id: "number", organization_id: "string", instance_name: "string", status: "string" },
        ...{ since: "string", reason: "null", next_check_at: "string" },
      },
      finished.report.instances[0],
      "a reported instance",
    );
    assert.deepEqual(await history(ledger), {
      changes: ["a: unknown → disconnected"],
      outages: [],
    });
  } finally {
    await bare.stop();
  }
});
