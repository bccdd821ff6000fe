/**
 * Many ticks at once, while backends are killed, the server is restarted, and
 * the user's tables are full of deadlocks: nothing is lost, nothing is done
 * twice. On a real Postgres that is ours to kill alone.
 */
import assert from "node:assert/strict";
import { sqlError } from "../stack/database.ts";
import { passTime } from "../stack/time.ts";
import {
  callWitness,
  killInside,
  restartServer,
  seeded,
  shuffled,
  withIsolates,
  withMishaps,
} from "./chaos.ts";
import { ACT, type Begun, Ledger, names, result } from "./ledger.ts";
import { startReceiver } from "./receiver.ts";
import { done, recorded } from "./recovery.ts";
import { outcome, startDatabase, startWorld, timesAsked, type World } from "./support.ts";

const TABLE = "public.organization_channel_config";
const SEED = 20261123;

/** A world of so many instances where nothing becomes due by itself, and one check is enough. */
async function inWorld(
  instances: number,
  work: (world: World, names: string[]) => Promise<void>,
): Promise<void> {
  const world = await startWorld();
  const names = Array.from({ length: instances }, (_, n) => `loja-${100 + n}`);
  try {
    for (const name of names) {
      const { url, key } = world.gateway;
      world.gateway.set(name, "open");
      await world.addInstance({ organization: name, url, name, key });
    }
    await world.database.query("select whatsapp_monitor.sync_sources()");
    await world.set({ interval_s: 86_400, lease_s: 300, up_after_checks: 1, batch_size: 10 });
    await work(world, names);
  } finally {
    await world.stop();
  }
}

/** What the gateway can make of an instance, and what is to become of that. */
const OPEN = { status: "connected", condition: "open" } as const;
const DOWN = [
  { status: "waiting_qr", condition: "logged_out", code: 401 },
  { status: "blocked", condition: "logged_out", code: 403 },
  // Nothing comes of what is done about these.
  { status: "disconnected", condition: "close", dials: "fail" },
  { status: "disconnected", condition: "close_stale", dials: "fail" },
] as const;
type Truth = typeof OPEN | typeof DOWN[number];

/** All that became of one instance. */
interface Outcome {
  name: string;
  status: string;
  held: boolean;
  fence: number;
  /** Claims while somebody else held it, or with another fence than the next. */
  wrong_claims: number;
  claims: number;
  /** Writes by somebody who did not hold it. */
  wrong_writes: number;
  writes: number;
  /** Each change of status as `from → to`. */
  changes: string[];
  outages: number;
  open_outages: number;
  /** Alerts of each kind. */
  down_alerts: number;
  up_alerts: number;
  /** Seconds between the first check and the last that is booked, and the sums of the days. */
  elapsed: number;
  counted: number;
  /** What the user's table says. */
  told: string;
}

async function outcomes({ database }: World): Promise<Outcome[]> {
  return await database.query<Outcome>(`
    select i.name, i.status, i.lease_tick is not null as held, i.fence,
      (select count(*)::int from chaos.claims c where c.instance_id = i.id
       and (c.was_held or c.fence <> c.fence_before + 1)) as wrong_claims,
      (select count(*)::int from chaos.claims c where c.instance_id = i.id) as claims,
      (select count(*)::int from chaos.writes w where w.instance_id = i.id
       and w.tick is distinct from w.holder) as wrong_writes,
      (select count(*)::int from chaos.writes w where w.instance_id = i.id) as writes,
      (select array_agg(c.from_status || ' → ' || c.to_status order by c.id)
       from whatsapp_monitor.status_changes c where c.instance_id = i.id) as changes,
      (select count(*)::int from whatsapp_monitor.outages o where o.instance_id = i.id) as outages,
      (select count(*)::int from whatsapp_monitor.outages o where o.instance_id = i.id
       and o.ended_at is null) as open_outages,
      (select count(*)::int from whatsapp_monitor.alerts a join whatsapp_monitor.outages o
       on o.id = a.outage_id where o.instance_id = i.id and a.kind = 'down') as down_alerts,
      (select count(*)::int from whatsapp_monitor.alerts a join whatsapp_monitor.outages o
       on o.id = a.outage_id where o.instance_id = i.id and a.kind = 'up') as up_alerts,
      (select extract(epoch from i.booked_at - min(c.at))::float8
       from whatsapp_monitor.status_changes c where c.instance_id = i.id) as elapsed,
      (select coalesce(sum(d.connected_s + d.not_connected_s + d.unknown_s), 0)
       from whatsapp_monitor.days d where d.instance_id = i.id) as counted,
      (select t.whatsapp_connection_status || case when t.whatsapp_connected then ' +' else ' -' end
       from ${TABLE} t where t.whatsapp_instance_name = i.name) as told
    from whatsapp_monitor.instances i order by i.name`);
}

/** What a row of the user's table says about an instance of this status. */
const TOLD: Record<Truth["status"], string> = {
  connected: "connected +",
  waiting_qr: "waiting_qr -",
  blocked: "error -",
  disconnected: "disconnected -",
};

/** Checks that an instance went through exactly this, from wave to wave. */
function assertTrue(world: World, outcome: Outcome, waves: Truth[]): void {
  const statuses = ["unknown", ...waves.map(({ status }) => status)];
  const steps = statuses.filter((status, n) => status !== statuses[n - 1]);
  const changes = steps.slice(1).map((status, n) => `${steps[n]} → ${status}`);
  const down = waves.at(-1) !== OPEN;
  const outages = steps.filter((status) => !["unknown", "connected"].includes(status)).length;
  const { name, fence, claims, writes, elapsed, counted, ...rest } = outcome;
  assert.deepEqual(rest, {
    status: steps.at(-1),
    held: false,
    wrong_claims: 0,
    wrong_writes: 0,
    changes,
    outages,
    open_outages: down ? 1 : 0,
    down_alerts: outages,
    up_alerts: down ? outages - 1 : outages,
    told: TOLD[waves.at(-1)!.status],
  }, name);
  assert.equal(claims, fence, `${name}: every claim has a fence of its own`);
  assert.ok(writes >= waves.length, `${name}: checked in every wave`);
  const asked = timesAsked(world.gateway, name);
  // That a session has ended is confirmed by a second look.
  assert.ok(
    writes <= asked && asked <= 2 * claims,
    `${name}: ${writes} ≤ ${asked} ≤ 2 × ${claims}`,
  );
  // Each second between two checks belongs to one sum, once.
  assert.ok(Math.abs(counted - elapsed) < 0.01, `${name}: ${counted} s of ${elapsed} s`);
}

/** Seconds between two waves: what is closed is steadily so by the next one, and may be acted upon. */
const BETWEEN_WAVES_S = 200;

/**
 * Checks that what was done to an instance was granted once in a wave, and sent at most once; gives
 * how many were granted and how many sent.
 */
async function assertDoneOnce(world: World, name: string, waves: Truth[]): Promise<number[]> {
  const sent = done(world.gateway, name);
  const actions = await recorded(world, name);
  const steady = waves.filter((truth, n) =>
    truth.status === "disconnected" && truth === waves[n - 1]
  );
  assert.ok(actions.length <= steady.length, `${name}: ${actions.length} ≤ ${steady.length}`);
  for (const [n, { kind, grounds, s }] of actions.entries()) {
    assert.deepEqual([kind, grounds], ["connect", "neighbour"]);
    if (n > 0) assert.ok(actions[n - 1].s - s >= BETWEEN_WAVES_S / 2, `${name}: one in a wave`);
  }
  const known = actions.filter(({ ack }) => ack !== null).length;
  assert.ok(known <= sent.length && sent.length <= actions.length, `${name}: ${sent}`);
  return [actions.length, sent.length];
}

async function ticksThroughAllMishaps(): Promise<void> {
  const receiver = startReceiver();
  try {
    await inWorld(150, (world, names) => goThroughAllMishaps(world, names, receiver.url));
  } finally {
    await receiver.stop();
  }
}

async function goThroughAllMishaps(world: World, names: string[], alert_url: string) {
  const random = seeded(SEED);
  const { database, gateway, rest } = world;
  // A drop is an outage at once.
  await world.set({ down_after_checks: 1, down_after_s: 0 });
  await database.query("update whatsapp_monitor.settings set alert_url = $1", [alert_url]);
  await callWitness(database);
  const written = ["instances", "ticks", "status_changes", "outages", "days", "actions", "alerts"];
  await killInside(database, { seed: SEED, one_in: 200 }, [
    ...written.map((table) => `whatsapp_monitor.${table}`),
    TABLE,
  ]);
  // Long enough for somebody else to come meanwhile.
  await gateway.behave({ mode: "up", delay_ms: 20 });
  const history = new Map<string, Truth[]>(names.map((name) => [name, []]));
  await withIsolates(world, 3, async (settle) => {
    for (let wave = 0; wave < 5; wave++) {
      for (const [name, waves] of history) {
        const before = waves.at(-1);
        const other = before === OPEN ? DOWN[Math.floor(random() * DOWN.length)] : OPEN;
        const truth = before && random() < 0.4 ? before : other;
        waves.push(truth);
        const { status: _, ...condition } = truth;
        if (truth !== before) gateway.set(name, condition);
      }
      await passTime(database, BETWEEN_WAVES_S);
      await world.makeDue();
      const restart = wave % 2 === 1
        ? (async () => {
          for (let calls = 5 + Math.floor(random() * 10); calls > 0; calls--) {
            await rest.nextCall();
          }
          await restartServer();
        })()
        : undefined;
      await withMishaps(world, random, async () => void await settle());
      await restart;
      await settle();
    }
  });
  const found = await outcomes(world);
  const sums = [0, 0];
  for (const outcome of found) {
    const waves = history.get(outcome.name)!;
    assertTrue(world, outcome, waves);
    for (const [n, count] of (await assertDoneOnce(world, outcome.name, waves)).entries()) {
      sums[n] += count;
    }
  }
  assert.equal(found.length, names.length);
  const [granted, sent] = sums;
  assert.ok(granted > 8 && sent > 5, `${granted} actions granted, ${sent} sent`);
  // All that was to go wrong did.
  const failed = rest.calls.filter(({ status }) => status === 503).length;
  const lost = rest.calls.filter(({ status }) => status === null).length;
  const repeated = found.filter(({ claims, writes }) => claims > writes).length;
  assert.ok(failed > 10 && lost > 5 && repeated > 10, `${[failed, lost, repeated]}`);
}

/** Writes rows of the user's table, two in a transaction in no order, until it is told to stop. */
async function writeInPairs(
  { database }: World,
  names: string[],
  random: () => number,
  goesOn: () => boolean,
): Promise<{ pairs: number; deadlocks: number }> {
  const done = { pairs: 0, deadlocks: 0 };
  while (goesOn()) {
    const pair = shuffled(names, random).slice(0, 2);
    try {
      await database.transaction(null, async (query) => {
        for (const name of pair) {
          await query(
            `update ${TABLE} set their_own = their_own + 1 where whatsapp_instance_name = $1`,
            [name],
          );
        }
      });
      done.pairs++;
    } catch (error) {
      assert.equal(sqlError(error)?.code, "40P01");
      done.deadlocks++;
    }
  }
  return done;
}

async function deadlocksInTheUsersTable(): Promise<void> {
  const random = seeded(SEED);
  await inWorld(60, async (world, names) => {
    const { database, gateway, rest } = world;
    await callWitness(database);
    // Whoever writes a row locks one of a few others, in whatever order the rows come.
    await database.exec(`
      alter table ${TABLE} add column their_own integer not null default 0;
      create table public.totals (id integer primary key, writes integer not null);
      insert into public.totals select n, 0 from generate_series(0, 6) n;
      create function public.count_up() returns trigger language plpgsql as $$
      begin
        update totals set writes = writes + 1 where id = abs(hashtext(new.whatsapp_instance_name)) % 7;
        return new;
      end $$;
      create trigger count_up before update on ${TABLE}
        for each row execute function public.count_up();
      do $$ begin
        execute format('alter database %I set deadlock_timeout = 10', current_database());
      end $$`);
    const errors = new Set<string>();
    await withIsolates(world, 2, async (settle) => {
      let writing = true;
      const writers = Array.from(
        { length: 3 },
        () => writeInPairs(world, names, random, () => writing),
      );
      for (let wave = 0; wave < 6; wave++) {
        for (const name of names) gateway.set(name, wave % 2 === 0 ? "logged_out" : "open");
        await world.makeDue();
        const { statuses } = await settle();
        assert.deepEqual(new Set(statuses), new Set([200]), "no tick fails because of it");
        const failures = await database.query<{ error: string }>(
          "select error from whatsapp_monitor.write_backs",
        );
        for (const { error } of failures) errors.add(error);
      }
      writing = false;
      const wrote = await Promise.all(writers);
      const pairs = wrote.reduce((sum, each) => sum + each.pairs, 0);
      const [{ sum }] = await database.query(`select sum(their_own)::int as sum from ${TABLE}`);
      assert.equal(sum, pairs * 2, "what the user writes stays written");
      assert.ok(
        errors.has("40P01 deadlock in count_up"),
        `${[...errors]}: there was a deadlock with the write-back`,
      );

      // Nobody else is there any more: what has failed is told at the next check.
      await world.set({ batch_size: 1000 });
      await world.tick();
      assert.deepEqual(await database.query("select * from whatsapp_monitor.write_backs"), []);
    });
    for (const outcome of await outcomes(world)) {
      const { name, told, held, fence, writes, wrong_claims, wrong_writes } = outcome;
      assert.deepEqual(
        { told, held, fence, writes, wrong_claims, wrong_writes },
        {
          told: TOLD.connected,
          held: false,
          fence: 7,
          writes: 7,
          wrong_claims: 0,
          wrong_writes: 0,
        },
        name,
      );
    }
    const failed = rest.calls.filter(({ status }) => status !== 200);
    assert.deepEqual(failed, [], "a deadlock in the user's table is nobody's business but its own");
  });
}

async function claimBesideOthers(): Promise<void> {
  const bare = await startDatabase();
  try {
    const ledger = new Ledger(bare);
    await ledger.watch("a", "b");
    await bare.database.transaction(null, async (query) => {
      await query("select from whatsapp_monitor.instances where name = 'a' for update");
      const { instances } = await outcome(ledger.begin(), "a claim");
      assert.deepEqual(names(instances), ["b"]);
    });
    assert.deepEqual(names((await ledger.begin()).instances), ["a"], "it lost nothing by that");
  } finally {
    await bare.stop();
  }
}

/** Asks again while the backend is killed, as the function does. */
async function insist(ledger: Ledger, fn: string, request: Record<string, unknown>) {
  for (;;) {
    const { status, body } = await ledger.bare.rpc(fn, { request });
    if (status === 200) return body;
    assert.equal(status, 503, JSON.stringify(body));
  }
}

async function actionsOfRivals(): Promise<void> {
  const random = seeded(SEED);
  const bare = await startDatabase();
  try {
    const ledger = new Ledger(bare);
    const names = Array.from({ length: 20 }, (_, n) => `loja-${100 + n}`);
    await ledger.watch(...names);
    await ledger.set({ batch_size: 5 });
    await killInside(bare.database, { seed: SEED, one_in: 60 }, ["whatsapp_monitor.actions"]);
    const granted = new Map<number, number>();
    const stale: Begun[] = [];
    for (let round = 0; round < 5; round++) {
      await ledger.query("update whatsapp_monitor.instances set due_at = '-infinity'");
      const ticks = await Promise.all(Array.from({ length: 4 }, () => ledger.begin()));
      const claimed = ticks.flatMap(({ instances }) => instances);
      assert.equal(claimed.length, names.length);
      // Each asks for all, twice at once, as one does whose answer was lost; so do those of old.
      const asked = [...ticks, ...ticks, ...stale].map(async ({ tick_id, instances }) => {
        const actions = shuffled(claimed, random).map(({ id, fence }) => ({
          instance_id: id,
          fence,
          kind: "connect",
          min_lease_ms: 0,
          budgets: [{ window_s: 3600, max: 3 }],
        }));
        const { granted, refused } = await insist(ledger, ACT, { tick_id, actions });
        assert.equal(granted.length + refused.length, claimed.length);
        return { tick_id, own: instances.map(({ id }) => id), granted: granted as number[] };
      });
      const answers = await Promise.all(asked);
      for (const [n, { tick_id, own, granted: mine }] of answers.entries()) {
        const entitled = stale.some((tick) => tick.tick_id === tick_id) || round >= 3 ? [] : own;
        assert.deepEqual(mine.sort(), entitled.sort(), "its own, all, and no other's");
        if (n < ticks.length) {
          for (const id of mine) granted.set(id, (granted.get(id) ?? 0) + 1);
        }
      }
      for (const tick of ticks) {
        await ledger.finish(tick, tick.instances.map((each) => result(each)));
      }
      stale.push(...ticks);
    }
    const recorded = await ledger.query<{ id: number; times: number }>(
      `select instance_id as id, count(*)::int as times from whatsapp_monitor.actions
       group by instance_id order by instance_id`,
    );
    assert.deepEqual(recorded.map(({ times }) => times), Array(names.length).fill(3));
    assert.deepEqual(new Map(recorded.map(({ id, times }) => [id, times])), granted);
  } finally {
    await bare.stop();
  }
}

if (Deno.env.has("DATABASE_RESTART")) {
  Deno.test("many ticks, killed and restarted: each change is written once, and told", () =>
    ticksThroughAllMishaps());
  Deno.test("deadlocks in the user's table: our state commits, and the table ends true", () =>
    deadlocksInTheUsersTable());
  Deno.test("a claim waits for nobody: what another session has locked is left out", () =>
    claimBesideOthers());
  Deno.test("rivals for one action: it is granted once, to whoever holds the instance", () =>
    actionsOfRivals());
}
