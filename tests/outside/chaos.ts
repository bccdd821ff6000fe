/**
 * What goes wrong while many ticks run, at points that a seed chooses: backends
 * killed from inside and from outside, answers lost, leases that run out under
 * a living tick, other writers. And a witness in the database, who writes down
 * who held what.
 */
import { type Database, sqlError } from "../stack/database.ts";
import { BEGIN, FINISH } from "./ledger.ts";
import { anotherEdge, expireLeases, type World } from "./support.ts";

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The same things in another order. */
export function shuffled<T>(things: T[], random: () => number): T[] {
  const keyed = things.map((thing) => ({ thing, key: random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ thing }) => thing);
}

/** Sees every claim and every write of a tick; what is undone was not seen. */
export async function callWitness({ exec }: Database): Promise<void> {
  await exec(`
    create schema chaos;
    create table chaos.claims (
      instance_id bigint, fence bigint, tick uuid, fence_before bigint, was_held boolean,
      primary key (instance_id, fence));
    create table chaos.writes (
      instance_id bigint, fence bigint, tick uuid, holder uuid, primary key (instance_id, fence));
    create function chaos.witness() returns trigger language plpgsql as $$
    begin
      if new.fence <> old.fence then
        insert into chaos.claims values (new.id, new.fence, new.lease_tick, old.fence,
          old.lease_tick is not null and old.lease_until > new.claimed_at);
      end if;
      if new.checked_by is distinct from old.checked_by then
        insert into chaos.writes values (new.id, new.fence, new.checked_by, old.lease_tick);
      end if;
      return null;
    end $$;
    create trigger witness after update on whatsapp_monitor.instances
      for each row execute function chaos.witness()`);
}

/** From now on one in so many writes to a row, by calls of the service, kills the backend that does it. */
export async function killInside(
  { exec }: Database,
  { seed, one_in }: { seed: number; one_in: number },
  tables: string[],
): Promise<void> {
  const triggers = tables.map((table) =>
    `create trigger killer after insert or update on ${table}
       for each row execute function chaos.killer();`
  );
  // What a sequence has counted stays counted when the transaction is undone.
  await exec(`
    create schema if not exists chaos;
    create sequence chaos.steps;
    create function chaos.killer() returns trigger language plpgsql as $$
    begin
      if current_setting('request.path', true) <> ''
         and hashint8extended(nextval('chaos.steps'), ${seed}) % ${one_in} = 0 then
        perform pg_terminate_backend(pg_backend_pid());
      end if;
      return null;
    end $$;
    ${triggers.join("\n")}`);
}

/** Kills the server's processes and starts it again, as `postgres_server.ts` offers it. */
export async function restartServer(): Promise<void> {
  const answer = await fetch(Deno.env.get("DATABASE_RESTART")!, { method: "POST" });
  if (!answer.ok) throw new Error(await answer.text());
  await answer.body?.cancel();
}

/** Does it, again while the server is away. */
async function despiteRestarts<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const state = sqlError(error)?.code;
      if (state && !state.startsWith("57")) throw error;
    }
  }
}

/** What may go wrong after a call, each with its share of all calls. */
const MISHAPS: [share: number, does: (world: World, random: () => number) => Promise<unknown>][] = [
  [0.06, ({ database }, random) =>
    database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and state = 'active'
         and query like '%whatsapp\\_monitor\\_%' and pid <> pg_backend_pid()
       order by pid offset $1 limit 1`,
      [Math.floor(random() * 4)],
    )],
  [0.1, ({ database }, random) =>
    database.query(
      `with held as (
         select id from whatsapp_monitor.instances
         where lease_tick = (select lease_tick from whatsapp_monitor.instances
                             where lease_tick is not null
                             order by lease_tick offset $1 limit 1)
         order by id for update)
       update whatsapp_monitor.instances i
       set lease_until = clock_timestamp() - interval '1 second',
           due_at = clock_timestamp() - interval '1 second'
       from held where i.id = held.id`,
      [Math.floor(random() * 20)],
    )],
  [0.06, ({ database }, random) =>
    database.query(
      `with some as (
         select id from whatsapp_monitor.instances where id % 9 = $1 order by id for update)
       update whatsapp_monitor.instances i set version = version + 1
       from some where i.id = some.id`,
      [Math.floor(random() * 9)],
    )],
  [0.03, ({ rest }) => Promise.resolve(rest.behave({ fn: BEGIN, how: "lose_answer" }))],
  [0.06, ({ rest }) => Promise.resolve(rest.behave({ fn: FINISH, how: "lose_answer" }))],
];

/** Does the work, and after each call of it a mishap or none. */
export async function withMishaps(
  world: World,
  random: () => number,
  work: () => Promise<void>,
): Promise<void> {
  let over = false;
  const working = work().finally(() => over = true);
  const end = working.catch(() => {});
  while (await Promise.race([end, world.rest.nextCall()]), !over) {
    let dice = random();
    const mishap = MISHAPS.find(([share]) => (dice -= share) < 0);
    // It may go wrong itself: the server is away, or this connection was killed.
    await mishap?.[1](world, random).catch(() => {});
  }
  await working;
  world.rest.heal();
}

/** Triggers that are under way at once. */
const AT_ONCE = 12;
/** Where nothing hangs, two or three are enough. */
const ROUNDS = 25;

/** Several isolates, and triggers to them until nothing is due. */
export async function withIsolates(
  world: World,
  count: number,
  work: (settle: () => Promise<{ statuses: number[] }>) => Promise<void>,
): Promise<void> {
  const others = await Promise.all(Array.from({ length: count - 1 }, () => anotherEdge(world)));
  const edges = [world.edge, ...others];
  const trigger = async (_: unknown, n: number) => {
    const url = `${edges[n % count].url}/rendizy-server/whatsapp/monitor/start?wait=true`;
    const headers = { "x-monitor-token": world.token };
    const answer = await fetch(url, { method: "POST", headers });
    await answer.body?.cancel();
    return answer.status;
  };
  const settle = async () => {
    const statuses: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      statuses.push(...await Promise.all(Array.from({ length: AT_ONCE }, trigger)));
      // All have ended: what is still held is held by the dead.
      await despiteRestarts(() => expireLeases(world));
      const [{ due }] = await despiteRestarts(() =>
        world.database.query<{ due: number }>(
          "select count(*)::int as due from whatsapp_monitor.instances where due_at <= now()",
        )
      );
      if (due === 0) return { statuses };
    }
    throw new Error(`it does not come to rest: ${statuses}`);
  };
  try {
    await work(settle);
  } finally {
    await Promise.all(others.map((edge) => edge.stop()));
  }
}
