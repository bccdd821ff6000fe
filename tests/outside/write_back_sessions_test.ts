/**
 * The user's tables while others work on them: locks, deadlocks and triggers
 * that take their time. Sessions side by side, so on a real Postgres alone.
 */
import assert from "node:assert/strict";
import type { Query } from "../stack/database.ts";
import { CHANNELS, CONFIG, difference, onUserTables, type UserTables } from "./user_tables.ts";

/** Runs `work` while another session holds what `hold` has locked. */
async function held(
  { database }: UserTables,
  hold: string,
  work: (other: Query) => Promise<void>,
): Promise<void> {
  await database.transaction(null, async (query) => {
    await query(hold);
    await work(query);
  }, { statement_timeout_ms: 0 });
}

/** Resolves when some session of this database waits for a lock. */
async function somebodyWaits({ query }: UserTables): Promise<void> {
  const waiting = `select from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`;
  while ((await query(waiting)).length === 0) {
    await new Promise((done) => setTimeout(done, 10));
  }
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const before = performance.now();
  await work();
  return (performance.now() - before) / 1000;
}

/** Which rows are told that the instance is connected. */
async function told({ query }: UserTables): Promise<string[]> {
  const rows = await query<{ id: string }>(
    `select id from ${CONFIG} where whatsapp_connected
     union all select id from ${CHANNELS} where status = 'connected' order by id`,
  );
  return rows.map(({ id }) => id);
}

/** The failures as `[id, error]`. */
async function errors(tables: UserTables): Promise<[string, string][]> {
  return (await tables.failures()).map(({ source_id, error }) => [source_id, error]);
}

/** A trigger on the one table that has this body for one row. */
function triggerFor(id: string, body: string): string {
  return `
    create function public.obstacle() returns trigger language plpgsql as $$
      begin if new.id = '${id}' then ${body} end if; return new; end $$;
    create trigger obstacle before update on ${CONFIG}
      for each row execute function public.obstacle()`;
}

const TAKE = "drop function public.obstacle() cascade";

const TESTS: Record<string, (tables: UserTables) => Promise<void>> = {
  async "a row that somebody has locked is skipped, and told at the next check"(tables) {
    const [locked, free] = [await tables.add(CONFIG), await tables.add(CONFIG)];
    await held(tables, `select from ${CONFIG} where id = '${locked}' for update`, async () => {
      const took = await seconds(() => tables.check({ status: "connected" }));
      assert.ok(took < 1, `nobody waits: ${took} s`);
      assert.deepEqual(await told(tables), [free]);
      assert.deepEqual(await errors(tables), [[locked, "the row is locked by another session"]]);
    });
    await tables.check({ status: "connected" });
    assert.deepEqual(await told(tables), [locked, free].sort());
    assert.deepEqual(await errors(tables), []);
  },

  async "a row that another one refers to meanwhile is none that is locked"(tables) {
    const id = await tables.add(CHANNELS);
    await tables.know(id, { status: "connected" });
    await held(tables, `select from ${CHANNELS} for key share`, () => tables.writeBack());
    assert.deepEqual(await told(tables), [id]);
  },

  async "a source that somebody has locked holds up nothing"(tables) {
    const id = await tables.add(CONFIG);
    await tables.check({ status: "connected" });
    await held(tables, "select from whatsapp_monitor.sources for update", async () => {
      const took = await seconds(() => tables.check({ status: "connected" }));
      assert.ok(took < 1, `nobody waits: ${took} s`);
    });
    assert.deepEqual(await told(tables), [id]);
    assert.deepEqual(await errors(tables), []);
  },

  async "a table that somebody has locked costs two seconds and leaves the tick alone"(tables) {
    const ids = [];
    for (let n = 0; n < 5; n++) ids.push(await tables.add(CHANNELS));
    for (const id of ids) await tables.know(id, { status: "connected" });
    await held(tables, `lock table ${CHANNELS} in access exclusive mode`, async () => {
      const took = await seconds(() => tables.writeBack());
      assert.ok(took > 0.9 && took < 3.5, `${took} s`);
      assert.deepEqual(
        new Set((await errors(tables)).map(([, error]) => error)),
        new Set(["55P03 locked by another session", "no time was left"]),
      );
      assert.equal((await tables.failures()).length, 5, "all show");
    });
    await tables.writeBack();
    assert.deepEqual(await told(tables), ids.sort());
    assert.deepEqual(await errors(tables), []);
  },

  async "a deadlock ends with our own state written and the user's session unharmed"(tables) {
    const [id, free] = [await tables.add(CONFIG), await tables.add(CONFIG)];
    await tables.exec(`
      create table public.counter (n integer);
      insert into public.counter values (0);
      ${triggerFor(id, "update counter set n = n + 1;")}`);
    try {
      await held(tables, "update counter set n = 10", async (other) => {
        const check = tables.check({ status: "connected" });
        await somebodyWaits(tables);
        // Now each waits for the other.
        await other(`update ${CONFIG} set sms_credits_used = 99 where id = '${id}'`);
        await check;
        const [[failed, error], ...rest] = await errors(tables);
        assert.deepEqual([failed, rest], [id, []]);
        assert.match(error, /^(40P01 deadlock|55P03 locked by another session) in obstacle$/);
        assert.deepEqual(await told(tables), [free]);
      });
      await tables.check({ status: "connected" });
      assert.deepEqual(await told(tables), [id, free].sort());
      assert.equal((await tables.row(CONFIG, id)).sms_credits_used, 99);
      assert.deepEqual(await errors(tables), []);
    } finally {
      await tables.exec(`${TAKE}; drop table public.counter`);
    }
  },

  async "a trigger that sleeps into the statement's timeout holds up no other row"(tables) {
    const ids = [];
    for (let n = 0; n < 4; n++) ids.push(await tables.add(CONFIG));
    const [slow, ...rest] = ids.sort();
    await tables.exec(triggerFor(slow, "perform pg_sleep(30);"));
    try {
      const before = await tables.row(CONFIG, slow);
      const check = () => tables.check({ status: "connected" }, { statement_timeout_ms: 500 });
      const took = await seconds(check);
      assert.ok(took < 2, `${took} s`);
      assert.deepEqual(await told(tables), [], "it came first");
      assert.deepEqual(await errors(tables), [
        [slow, "57014 took too long in obstacle"],
        ...rest.map((id) => [id, "no time was left"] as [string, string]),
      ]);
      assert.deepEqual((await tables.failures()).map(({ attempts }) => attempts), [1, 0, 0, 0]);
      await check();
      assert.deepEqual(await told(tables), rest, "now it comes last");
      assert.deepEqual(await errors(tables), [[slow, "57014 took too long in obstacle"]]);
      assert.deepEqual(difference(before, await tables.row(CONFIG, slow)), {});
    } finally {
      await tables.exec(TAKE);
    }
    await tables.check({ status: "connected" });
    assert.deepEqual(await told(tables), ids);
    assert.deepEqual(await errors(tables), []);
  },

  async "rows that take their time are told two seconds' worth at each check"(tables) {
    const ids = [];
    for (let n = 0; n < 5; n++) ids.push(await tables.add(CONFIG));
    await tables.exec(`
      create function public.obstacle() returns trigger language plpgsql as $$
        begin perform pg_sleep(0.8); return new; end $$;
      create trigger obstacle before update on ${CONFIG}
        for each row execute function public.obstacle()`);
    try {
      assert.ok(await seconds(() => tables.check({ status: "connected" })) < 4);
      assert.equal((await told(tables)).length, 3);
      assert.deepEqual((await errors(tables)).map(([, error]) => error), [
        "no time was left",
        "no time was left",
      ]);
      await tables.check({ status: "connected" });
      assert.equal((await told(tables)).length, 5);
      assert.deepEqual(await errors(tables), []);
    } finally {
      await tables.exec(TAKE);
    }
  },

  async "what another session writes between the look and the write is not undone"(tables) {
    const id = await tables.add(CONFIG);
    await tables.know(id, { status: "connected", reason_text: null });
    let write: Promise<void> | undefined;
    // The other row, which comes first, gives us the time: its trigger waits for the lock.
    const first = await tables.add(CHANNELS);
    await tables.know(first, { status: "connected" });
    await tables.exec(`
      create table public.gate ();
      create function public.obstacle() returns trigger language plpgsql as $$
        begin lock table public.gate in share mode; return new; end $$;
      create trigger obstacle before update on ${CHANNELS}
        for each row execute function public.obstacle()`);
    try {
      await held(tables, "lock table public.gate in exclusive mode", async () => {
        write = tables.writeBack();
        await somebodyWaits(tables);
        await tables.query(`update ${CONFIG} set whatsapp_enabled = false`);
      });
      await write;
      assert.deepEqual(await told(tables), [first], "it was switched off meanwhile");
      assert.deepEqual(await errors(tables), []);
    } finally {
      await tables.exec(`${TAKE}; drop table public.gate`);
    }
  },
};

if (Deno.env.has("DATABASE")) onUserTables("the user's tables, while others work on them", TESTS);
