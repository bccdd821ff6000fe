/**
 * The ledger: who triggered, when, how late, and what came of it; and who was
 * refused. Through the real wasm where the sender matters, and on the SQL where
 * time does.
 */
import assert from "node:assert/strict";
import { BEGIN, type Begun, type Ledger, onLedger, result } from "./ledger.ts";
import { everything, inWorld, startHeldGateway, type World } from "./support.ts";

const REFUSE = "whatsapp_monitor_record_refusals";

/** A row of the ledger; numbers as the database sends them. */
interface Trigger {
  source: string;
  late_ms: number | null;
  outcome: string;
  claimed: number;
  checked: number;
  ticks: number;
  caller: string;
  organization_id: string | null;
  tick_id: string;
}

/** All triggers, in order. */
function triggers({ query }: Pick<World["database"], "query">): Promise<Trigger[]> {
  return query<Trigger>(`
    select source, late_ms::float, outcome, claimed::int, checked::int, ticks::int, caller,
           organization_id, tick_id::text
    from whatsapp_monitor.triggers order by at`);
}

/** What came of each trigger, in order. */
const outcomes = async (from: Parameters<typeof triggers>[0]) =>
  (await triggers(from)).map(({ outcome, claimed, checked, ticks }) =>
    `${outcome} ${claimed} ${checked} ${ticks}`
  );

/** Calls the start route; gives the status, with the answer's text read. */
async function start(
  { functionUrl }: World,
  headers: Record<string, string>,
  { query = "", body, method = "POST" }: { query?: string; body?: string; method?: string } = {},
): Promise<number> {
  const url = `${functionUrl}/whatsapp/monitor/start${query}`;
  const response = await fetch(url, { method, headers, body });
  await response.text();
  return response.status;
}

/** Who calls how; what they are known by is not all that they send. */
const CALLERS: [source: string, method: string, agent: string][] = [
  ["pg_cron", "POST", "pg_net/0.20.4"],
  ["cron_job_org", "GET", "Mozilla/4.0 (compatible; cron-job.org; http://cron-job.org/abuse/)"],
  ["uptimerobot", "HEAD", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"],
  ["easycron", "GET", "EasyCron/1.0 (https://www.easycron.com/)"],
  ["person", "GET", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"],
  ["person", "POST", "curl/8.5.0"],
  ["other", "POST", "a-raw-agent-that-nobody-knows/1.0"],
];

Deno.test("each caller is known by what it sends, and nothing of that is kept", () =>
  inWorld(async (world) => {
    const { token } = world;
    for (const [, method, agent] of CALLERS) {
      const headers = { "user-agent": agent };
      assert.equal(await start(world, headers, { method, query: `?token=${token}` }), 200);
    }
    const known = { "x-monitor-token": token, "x-client-info": "supabase-js-node/2.84.0" };
    assert.equal(await start(world, known), 200);
    const words = ["webhook", "poll", "pg_cron", "somebody-else"];
    for (const source of words) {
      const body = JSON.stringify({ source });
      assert.equal(await start(world, { apikey: world.serviceKey }, { body }), 200);
    }
    assert.equal((await world.tick()).trigger, "pg_cron", "the report says it, too");
    const all = await triggers(world.database);
    assert.deepEqual(all.map(({ source }) => source), [
      ...CALLERS.map(([source]) => source),
      "person",
      ...["webhook", "poll", "pg_cron", "other"],
      "pg_cron",
    ]);
    assert.deepEqual(new Set(all.map(({ caller }) => caller)), new Set(["token", "service_key"]));

    await world.edge.idle();
    const kept = await everything(world) + world.edge.logs.join("\n");
    for (const raw of [token, ...CALLERS.map(([, , agent]) => agent), "supabase-js", words[3]]) {
      assert.ok(!kept.includes(raw), raw);
    }
  }));

Deno.test("what came of a trigger: working, busy, committed, nothing due", async () => {
  const held = startHeldGateway();
  await inWorld(async (world) => {
    await world.set({ interval_s: 3600 });
    for (const name of ["a", "b"]) await world.watch(name, { url: held.url });
    const first = world.tick();
    await held.arrived;
    const late = await (await world.trigger()).json();
    assert.deepEqual(await outcomes(world.database), ["working 2 0 1", "busy 0 0 1"]);
    held.release();
    const { tick_id } = await first;
    await world.trigger().then((answer) => answer.body?.cancel());
    const all = await triggers(world.database);
    assert.deepEqual(
      all.map(({ outcome, checked }) => [outcome, checked]),
      [["committed", 2], ["busy", 0], ["nothing_due", 0]],
    );
    assert.deepEqual(all.slice(0, 2).map((each) => each.tick_id), [tick_id, late.tick_id]);
  }).finally(held.stop);
});

Deno.test("a run of several ticks is one trigger, and costs no call more than before", () =>
  inWorld(async (world) => {
    const names = Array.from({ length: 12 }, (_, n) => `loja-${n}`);
    for (const name of names) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    await world.set({ batch_size: 5 });
    const report = await world.tick();
    assert.deepEqual([report.checked, report.database_round_trips], [12, 6]);
    const [{ late_ms, tick_id, ...rest }] = await triggers(world.database);
    assert.deepEqual({ late_ms, tick_id }, { late_ms: null, tick_id: report.tick_id });
    assert.deepEqual(
      [rest.outcome, rest.claimed, rest.checked, rest.ticks],
      ["committed", 12, 12, 3],
    );
    assert.equal((await triggers(world.database)).length, 1);
  }));

Deno.test("a trigger whose isolate is killed has died, once its lease is over", async () => {
  const held = startHeldGateway();
  await inWorld(async (world) => {
    await world.watch("a", { url: held.url });
    const killed = world.trigger();
    await held.arrived;
    await world.edge.kill();
    await (await killed).body?.cancel();
    assert.deepEqual(await outcomes(world.database), ["working 1 0 1"]);
    await world.database.query("update whatsapp_monitor.ticks set lease_until = now()");
    assert.deepEqual(await outcomes(world.database), ["died 1 0 1"]);
  }).finally(held.stop);
});

Deno.test("who is refused is counted by who it is and why, the first at once", () =>
  inWorld(async (world) => {
    const counts = () =>
      world.database.query("select source, why, count::int from whatsapp_monitor.refusals");
    const stranger = "0".repeat(64);
    const [[, , pgNet], , [, , robot]] = CALLERS;
    const refused: [Record<string, string>, number, string?][] = [
      [{ "user-agent": pgNet }, 401],
      [{ "user-agent": robot, authorization: "Bearer not-a-token" }, 401],
      [{ "user-agent": pgNet, "x-monitor-token": stranger }, 401],
      [{ "user-agent": "curl/8", "x-monitor-token": world.token }, 400, '{"organization_id":"x"}'],
    ];
    const seen = [];
    for (const [headers, status, body] of refused) {
      assert.equal(await start(world, headers, { body }), status);
      await world.edge.idle();
      seen.push(...await counts());
      // Another isolate tells its own first one at once.
      await world.database.exec("truncate whatsapp_monitor.refusals");
      await world.edge.restart();
    }
    assert.deepEqual(seen, [
      { source: "pg_cron", why: "no_token", count: 1 },
      { source: "uptimerobot", why: "no_token", count: 1 },
      { source: "pg_cron", why: "bad_token", count: 1 },
      { source: "person", why: "unknown_organization", count: 1 },
    ]);
    assert.deepEqual(await triggers(world.database), [], "it is no trigger");
    assert.equal(world.rest.calls.filter(({ fn }) => fn === REFUSE).length, 4);
  }));

/** Begins a tick as the function does; it claims nothing, and is done with. */
const came = (ledger: Ledger, source?: string, request: Record<string, unknown> = {}) =>
  ledger.begin({ source, ...request });

/** How late each trigger was, in seconds, to ten: a slow machine is not late. */
const lateness = async ({ bare }: Ledger) =>
  (await triggers(bare.database)).map(({ late_ms }) =>
    late_ms === null ? null : Math.floor(late_ms / 10_000) * 10
  );

onLedger("the ledger of triggers", {
  async "a trigger is late by what it exceeds the interval"(ledger) {
    for (const seconds of [30, 90, 10, 0]) {
      await came(ledger, "pg_cron");
      await ledger.pass(seconds);
    }
    await came(ledger, "pg_cron");
    assert.deepEqual(await lateness(ledger), [null, 0, 60, 0, 0]);
    await ledger.set({ interval_s: 60 });
    await ledger.pass(100);
    await came(ledger, "pg_cron");
    assert.equal((await lateness(ledger)).at(-1), 40);
  },

  async "it is measured against its own source, and its own organization"(ledger) {
    await ledger.watch("loja");
    await came(ledger, "pg_cron");
    await ledger.pass(100);
    await came(ledger, "cron_job_org");
    await came(ledger, "pg_cron", { organization_id: "loja" });
    await ledger.pass(50);
    await came(ledger, "pg_cron", { organization_id: "loja" });
    await came(ledger, "pg_cron");
    assert.deepEqual(await lateness(ledger), [null, null, null, 20, 120]);
  },

  async "who comes without a schedule is never late"(ledger) {
    for (const source of ["person", "poll", "webhook"]) {
      await came(ledger, source);
      await ledger.pass(100);
      await came(ledger, source);
    }
    assert.deepEqual(await lateness(ledger), Array(6).fill(null));
  },

  async "the later ticks of a run are neither triggers nor what the next is measured by"(ledger) {
    const { tick_id } = await came(ledger, "pg_cron");
    await ledger.pass(40);
    await came(ledger, "pg_cron", { run_id: tick_id });
    await ledger.pass(20);
    await came(ledger, "pg_cron");
    assert.deepEqual(await lateness(ledger), [null, 30]);
    assert.deepEqual((await triggers(ledger.bare.database)).map(({ ticks }) => ticks), [2, 1]);
    const [{ late }] = await ledger.query(
      "select count(late_ms)::int as late from whatsapp_monitor.ticks where run_id <> id",
    );
    assert.equal(late, 0);
  },

  async "a repeated begin_tick is one trigger, as late as it was"(ledger) {
    await ledger.watch("a");
    await came(ledger, "pg_cron");
    await ledger.pass(100);
    const { tick_id } = await came(ledger, "pg_cron");
    const before = await triggers(ledger.bare.database);
    await ledger.pass(1);
    await came(ledger, "pg_cron", { tick_id });
    assert.deepEqual(await triggers(ledger.bare.database), before);
  },

  async "a repeated finish_tick counts nothing twice"(ledger) {
    await ledger.watch("a", "b");
    const begun = await came(ledger, "pg_cron");
    const [a, b] = begun.instances;
    for (let time = 0; time < 2; time++) await ledger.finish(begun, [result(a)], [b]);
    assert.deepEqual(await outcomes(ledger.bare.database), ["committed 2 1 1"]);
  },

  async "what another writes first is checked by that one alone"(ledger) {
    await ledger.watch("a");
    const slow = await came(ledger, "pg_cron");
    await ledger.pass(3600);
    const quick = await came(ledger, "cron_job_org");
    await ledger.finish(quick, quick.instances.map((each) => result(each)));
    assert.deepEqual(await outcomes(ledger.bare.database), ["died 1 0 1", "committed 1 1 1"]);
    await ledger.finish(slow, slow.instances.map((each) => result(each)));
    assert.deepEqual(await outcomes(ledger.bare.database), ["committed 1 0 1", "committed 1 1 1"]);
  },

  async "busy is only who waits for what others hold"(ledger) {
    await ledger.watch("a", "b");
    const first: Begun = await came(ledger, "pg_cron", { organization_id: "a" });
    await came(ledger, "person", { organization_id: "a" });
    const other = await came(ledger, "person", { organization_id: "b" });
    await ledger.finish(other, other.instances.map((each) => result(each)));
    await came(ledger, "person", { organization_id: "b" });
    await came(ledger, "person");
    await ledger.finish(first, first.instances.map((each) => result(each)));
    await came(ledger, "person");
    assert.deepEqual(
      (await triggers(ledger.bare.database)).map(({ outcome }) => outcome),
      ["committed", "busy", "committed", "nothing_due", "busy", "nothing_due"],
    );
  },

  async "several at once are one tick's work, and the others' wait"(ledger) {
    const { database, concurrent } = ledger.bare;
    await ledger.watch("a");
    const sources = ["pg_cron", "pg_cron", "cron_job_org", "uptimerobot", "easycron", "person"];
    await Promise.all(sources.map((source) => came(ledger, source)));
    const all = await triggers(database);
    assert.deepEqual(all.map(({ source }) => source).sort(), [...sources].sort());
    assert.deepEqual(
      all.map(({ outcome, claimed }) => `${outcome} ${claimed}`).sort(),
      [...Array(5).fill("busy 0"), "working 1"],
    );
    if (!concurrent) return; // the embedded database would wait for itself
    await ledger.pass(3600);
    await database.transaction(null, async (query) => {
      // Somebody claims, and has not committed yet.
      await query("select from whatsapp_monitor.instances for update");
      await came(ledger, "webhook");
    });
    assert.equal((await triggers(database)).at(-1)?.outcome, "busy");
  },

  async "a function of an older version is somebody else's trigger"(ledger) {
    await ledger.watch("a");
    const begun = await ledger.begin();
    await ledger.finish(begun, begun.instances.map((each) => result(each)));
    await came(ledger, "a-name-that-a-newer-version-knows");
    assert.deepEqual(
      (await triggers(ledger.bare.database)).map(({ source, outcome }) => [source, outcome]),
      [["other", "committed"], ["other", "nothing_due"]],
    );
  },

  async "ticks from before the ledger are no triggers"(ledger) {
    await ledger.query(`
      insert into whatsapp_monitor.ticks (id, caller, claimed, started_at)
      values (gen_random_uuid(), 'token', 1, now())`);
    assert.deepEqual(await triggers(ledger.bare.database), []);
  },

  async "refusals add up by minute, source and reason"(ledger) {
    const kind = { source: "person", why: "no_token" };
    for (
      const refusals of [
        [{ ...kind, count: 3, ago_ms: 0 }, { ...kind, count: 4, ago_ms: 3_600_000.0 }],
        [{ ...kind, count: 5, ago_ms: 1 }, { ...kind, count: 1, ago_ms: 2 }],
        [{ source: "new-one", why: "bad_token", count: 1, ago_ms: 0 }],
      ]
    ) await ledger.call(REFUSE, { refusals });
    // A minute may have ended meanwhile.
    const rows = await ledger.query(`
      select source, why, sum(count)::int as count, minute < now() - interval '30 min' as old
      from whatsapp_monitor.refusals group by source, why, old order by count`);
    assert.deepEqual(rows, [
      { source: "other", why: "bad_token", count: 1, old: false },
      { ...kind, count: 4, old: true },
      { ...kind, count: 9, old: false },
    ]);
    const whole = await ledger.query(`
      select from whatsapp_monitor.refusals where minute <> date_trunc('minute', minute)`);
    assert.deepEqual(whole, []);
  },

  async "both are kept for ledger_days"(ledger) {
    await came(ledger, "pg_cron");
    const refusal = { source: "person", why: "no_token", count: 1 };
    const days = (count: number) => count * 86_400_000;
    const refusals = [{ ...refusal, ago_ms: days(2) }, { ...refusal, ago_ms: 0 }];
    await ledger.call(REFUSE, { refusals });
    await ledger.pass(2 * 86_400);
    await came(ledger, "person");
    const kept = async () => {
      await ledger.query("select whatsapp_monitor.clean_up()");
      const [{ count }] = await ledger.query(
        "select count(*)::int as count from whatsapp_monitor.refusals",
      );
      return [(await triggers(ledger.bare.database)).map(({ source }) => source), count];
    };
    assert.deepEqual(await kept(), [["pg_cron", "person"], 2]);
    await ledger.set({ ledger_days: 1 });
    assert.deepEqual(await kept(), [["person"], 1]);
  },

  async "with a long ledger and many instances, a trigger looks at few rows"(ledger) {
    await ledger.query(`
      insert into whatsapp_monitor.ticks (id, run_id, source, caller, claimed, started_at)
      select u, u, 'pg_cron', 'token', 0, now() - n * interval '30 seconds'
      from (select n, gen_random_uuid() as u from generate_series(1, 20000) n) t`);
    await ledger.query(`
      insert into public.organization_channel_config
        (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name,
         whatsapp_api_key)
      select n, true, 'https://gateway.example', n, 'key' from generate_series(1, 3000) n`);
    await ledger.sync();
    await ledger.query("update whatsapp_monitor.instances set due_at = now() + interval '1 hour'");
    for (const table of ["ticks", "instances"]) {
      await ledger.query(`vacuum analyze whatsapp_monitor.${table}`);
    }
    await ledger.query("select whatsapp_monitor.clean_up_if_due()");
    const looked = await ledger.bare.database.transaction(null, async (query) => {
      const read = () =>
        query<{ name: string; rows: number }>(`
          select relname as name, (seq_tup_read + idx_tup_fetch)::int as rows
          from pg_stat_xact_all_tables
          where relid in ('whatsapp_monitor.ticks'::regclass,
                          'whatsapp_monitor.instances'::regclass)
          order by relname`);
      const before = await read();
      const request = { tick_id: crypto.randomUUID(), caller: "service_key", source: "pg_cron" };
      await query(`select public.${BEGIN}($1)`, [request]);
      await query("select * from whatsapp_monitor.triggers order by at desc limit 20");
      return (await read()).map(({ name, rows }, index) => ({
        name,
        rows: rows - before[index].rows,
      }));
    });
    for (const { name, rows } of looked) assert.ok(rows < 100, `${rows} of ${name}`);
    assert.equal((await lateness(ledger)).at(-1), 0);
  },
});
