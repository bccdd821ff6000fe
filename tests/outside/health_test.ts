/**
 * The dead man's switch: 200 while ticks arrive and commit, 503 as soon as they
 * do not, or nobody can tell; for anybody, and about nobody.
 */
import assert from "node:assert/strict";
import { type Here, here } from "./here.ts";
import { onLedger } from "./ledger.ts";

const HEALTH = "whatsapp_monitor_health";
const CACHED_MS = 5_000;

/** Asks, after what was cached is forgotten. */
async function ask(world: Here, init?: RequestInit) {
  world.skip(CACHED_MS);
  const response = await world.ask("/health", init);
  return { status: response.status, text: await response.text() };
}

async function status(world: Here): Promise<number> {
  const { status, text } = await ask(world);
  assert.equal(JSON.parse(text).success, status === 200, text);
  return status;
}

/** All ticks committed so many seconds earlier. */
const age = ({ database }: Here, seconds: number) =>
  database.query(
    "update whatsapp_monitor.ticks set finished_at = clock_timestamp() - make_interval(secs => $1)",
    [seconds],
  );

Deno.test("the health of the monitor", async (t) => {
  await here(async (world) => {
    await t.step("is bad before the first tick", async () => {
      const { status, text } = await ask(world);
      assert.equal(status, 503);
      assert.match(JSON.parse(text).error, /^O monitor ainda não fez nenhuma verificação/);
    });

    world.gateway.set("loja", "open");
    await world.watch("loja");
    await world.tick();

    await t.step("is good after it, for anybody, and tells of nobody", async () => {
      const { status, text } = await ask(world);
      const { last_tick_age_s, ...body } = JSON.parse(text);
      assert.equal(status, 200);
      assert.ok(last_tick_age_s >= 0 && last_tick_age_s < 60);
      assert.deepEqual(body, { success: true, message: body.message, interval_s: 30 });
      assert.match(
        body.message,
        /^O monitor está funcionando: a última verificação terminou há \d+ s$/,
      );
      for (const word of ["loja", world.gateway.url]) assert.ok(!text.includes(word));
      // The deployed one says the same.
      const deployed = await fetch(`${world.functionUrl}/whatsapp/monitor/health`);
      assert.equal(deployed.status, 200);
      assert.deepEqual(Object.keys(await deployed.json()), Object.keys(JSON.parse(text)));
    });

    await t.step("is told to HEAD without a body, and to no other verb", async () => {
      assert.deepEqual(await ask(world, { method: "HEAD" }), { status: 200, text: "" });
      assert.equal((await ask(world, { method: "POST" })).status, 405);
    });

    await t.step("is bad after three intervals without a tick", async () => {
      await age(world, 80);
      assert.equal(await status(world), 200);
      await age(world, 100);
      const { status: late, text } = await ask(world);
      assert.equal(late, 503);
      assert.match(JSON.parse(text).error, /^O monitor parou: .* há 1 min; veja select /);
      assert.deepEqual(await ask(world, { method: "HEAD" }), { status: 503, text: "" });
      await world.set({ interval_s: 300 });
      assert.equal(await status(world), 200);
      await age(world, 1_000);
      assert.equal(await status(world), 503);
      await world.set({ interval_s: 30 });
    });

    await t.step("is good again with a tick that finds nothing due", async () => {
      await world.trigger().then((each) => each.body?.cancel());
      assert.equal(await status(world), 200);
    });

    await t.step("is not bettered by ticks that only wait, die, or serve a frontend", async () => {
      for (
        const [source, busy, finished_at] of [
          ["pg_cron", true, "now()"],
          ["pg_cron", false, "null"],
          ["poll", false, "now()"],
          ["webhook", false, "now()"],
        ]
      ) {
        await age(world, 1_000);
        await world.database.query(
          `insert into whatsapp_monitor.ticks
             (id, caller, source, busy, claimed, started_at, finished_at)
           values (gen_random_uuid(), 'token', $1, $2, 0, now(), ${finished_at})`,
          [source, busy],
        );
        assert.equal(await status(world), 503, `${source} ${busy} ${finished_at}`);
      }
      await world.database.exec("truncate whatsapp_monitor.ticks cascade");
      await world.tick();
    });

    await t.step("costs one question in five seconds, however many ask", async () => {
      world.skip(CACHED_MS);
      const asked = () => world.rest.calls.filter(({ fn }) => fn === HEALTH).length;
      const before = asked();
      const answers = await Promise.all(
        Array.from(
          { length: 200 },
          (_, n) => world.ask("/health", { method: n % 2 ? "GET" : "HEAD" }),
        ),
      );
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      await Promise.all(answers.map((each) => each.body?.cancel()));
      assert.equal(asked(), before + 1);
      await age(world, 1_000);
      world.skip(CACHED_MS - 1_000);
      assert.equal((await world.ask("/health")).status, 200, "what was told just now");
      assert.equal(asked(), before + 1);
      assert.equal(await status(world), 503);
      assert.equal(asked(), before + 2);
      await world.tick();
    });

    await t.step("is bad while the database is away, and not for longer", async () => {
      world.rest.behave({ fn: HEALTH, how: "error", status: 503, times: Infinity });
      const { status: away, text } = await ask(world);
      assert.equal(away, 503);
      assert.match(JSON.parse(text).error, /^O banco de dados não responde/);
      world.rest.heal();
      assert.equal(await status(world), 200);
      await world.database.exec("alter function public.whatsapp_monitor_health rename to gone");
      assert.equal(await status(world), 503);
      await world.database.exec("alter function public.gone rename to whatsapp_monitor_health");
      assert.equal(await status(world), 200);
    });
  });
});

onLedger("the health in SQL", {
  async "looks at few rows of a long ledger"(ledger) {
    await ledger.query(`
      insert into whatsapp_monitor.ticks
        (id, run_id, source, caller, claimed, busy, started_at, finished_at)
      select u, u, 'pg_cron', 'token', 0, n < 19000, now() - n * interval '30 seconds',
             now() - n * interval '30 seconds'
      from (select n, gen_random_uuid() as u from generate_series(1, 20000) n) t`);
    await ledger.query("vacuum analyze whatsapp_monitor.ticks");
    const [rows, health] = await ledger.bare.database.transaction(null, async (query) => {
      const read = async () => {
        const [{ rows }] = await query<{ rows: number }>(`
          select (seq_tup_read + idx_tup_fetch)::int as rows from pg_stat_xact_all_tables
          where relid = 'whatsapp_monitor.ticks'::regclass`);
        return rows;
      };
      const before = await read();
      const [{ health }] = await query<{ health: { age_ms: number } }>(
        `select public.${HEALTH}('{}') as health`,
      );
      return [await read() - before, health] as const;
    });
    assert.ok(rows < 10, `${rows} rows`);
    assert.ok(health.age_ms >= 19_000 * 30_000 && health.age_ms < 19_001 * 30_000);
  },
});
