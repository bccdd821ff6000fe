/**
 * `record_actions`: no action without lease, fence and budget; and what all
 * calls say to input that makes no sense. SQL alone, as the service role.
 */
import assert from "node:assert/strict";
import {
  ACT,
  BEGIN,
  type Begun,
  type Claimed,
  FINISH,
  type Ledger,
  onLedger,
  result,
} from "./ledger.ts";

type Budget = { window_s: number; max: number };

/** Asks for one action, a connect that needs no time unless told otherwise. */
async function ask(
  ledger: Ledger,
  { tick_id }: Pick<Begun, "tick_id">,
  { id, fence }: Pick<Claimed, "id" | "fence">,
  wanted: { kind?: string; min_lease_ms?: number; budgets?: Budget[] } = {},
): Promise<string> {
  const action = { instance_id: id, fence, kind: "connect", min_lease_ms: 0, ...wanted };
  const answer = await ledger.call(ACT, { tick_id, actions: [action] });
  const [granted, refused] = [answer.granted, answer.refused];
  assert.equal(granted.length + refused.length, 1);
  assert.equal(granted[0] ?? refused[0].instance_id, id);
  return granted.length === 1 ? "granted" : refused[0].why;
}

/** The actions on record, oldest first. */
async function recorded({ query }: Ledger): Promise<string[]> {
  const rows = await query<{ kind: string }>(
    "select kind from whatsapp_monitor.actions order by granted_at, id",
  );
  return rows.map(({ kind }) => kind);
}

/** A tick that holds the one instance there is; time passes until it can. */
async function hold(ledger: Ledger, after_s = 0): Promise<[Begun, Claimed]> {
  await ledger.pass(after_s);
  await ledger.query("update whatsapp_monitor.instances set due_at = '-infinity'");
  const begun = await ledger.begin();
  assert.equal(begun.instances.length, 1);
  return [begun, begun.instances[0]];
}

onLedger("record_actions", {
  async "grants to the tick that holds the instance, and to no other"(ledger) {
    await ledger.watch("a");
    const [tick, a] = await hold(ledger);
    const other = await ledger.begin();
    const unknown = { tick_id: crypto.randomUUID() };
    assert.equal(await ask(ledger, other, a), "lease");
    assert.equal(await ask(ledger, unknown, a), "lease");
    assert.equal(await ask(ledger, tick, { id: a.id, fence: a.fence + 1 }), "lease");
    assert.equal(await ask(ledger, tick, { id: a.id + 1, fence: a.fence }), "lease");
    assert.deepEqual(await recorded(ledger), [], "what is refused is not recorded");
    assert.equal(await ask(ledger, tick, a, { kind: "restart" }), "granted");
    assert.equal(await ask(ledger, tick, a, { kind: "connect" }), "busy", "one action a tick");
    assert.deepEqual(await recorded(ledger), ["restart"]);
    await ledger.finish(tick, [result(a)]);
    assert.equal(await ask(ledger, tick, a), "lease", "it has given it up");
  },

  async "grants nothing that the lease may not outlast"(ledger) {
    await ledger.watch("a");
    await ledger.set({ lease_s: 300 });
    const [tick, a] = await hold(ledger);
    assert.equal(await ask(ledger, tick, a, { min_lease_ms: 300_001 }), "lease");
    await ledger.pass(200);
    assert.equal(await ask(ledger, tick, a, { min_lease_ms: 100_001 }), "lease");
    assert.equal(await ask(ledger, tick, a, { min_lease_ms: 50_000 }), "granted");
    await ledger.pass(100);
    assert.equal(await ask(ledger, tick, a), "lease", "an old grant does not outlive the lease");
    assert.equal((await recorded(ledger)).length, 1, "and still counts");
  },

  async "keeps to every budget, whatever became of the actions"(ledger) {
    await ledger.watch("a");
    const budgets = [{ window_s: 300, max: 2 }, { window_s: 3600, max: 3 }];
    const attempt = async (after_s: number) => {
      // No tick finishes: no action ever gets a verdict.
      const [tick, a] = await hold(ledger, after_s);
      return await ask(ledger, tick, a, { budgets });
    };
    assert.equal(await attempt(0), "granted");
    assert.equal(await attempt(100), "granted");
    assert.equal(await attempt(100), "budget", "two in five minutes");
    assert.equal(
      await attempt(110),
      "granted",
      "the first is older than that; the refused is none",
    );
    assert.equal(await attempt(1000), "budget", "three in an hour");
    assert.equal(await attempt(2300), "granted");
    assert.equal((await recorded(ledger)).length, 4);
    const [tick, a] = await hold(ledger);
    assert.equal(await ask(ledger, tick, a, { budgets: [] }), "granted", "no budget, no limit");
  },

  async "counts each instance for itself"(ledger) {
    await ledger.watch("a", "b");
    const tick = await ledger.begin();
    const budgets = [{ window_s: 300, max: 1 }];
    for (const claimed of tick.instances) {
      assert.equal(await ask(ledger, tick, claimed, { budgets }), "granted");
    }
  },

  async "repeated grants the same again, and records it once"(ledger) {
    await ledger.watch("a", "b", "c");
    const tick = await ledger.begin();
    const [a, b, c] = tick.instances;
    const action = ({ id, fence }: Claimed) => ({
      instance_id: id,
      fence,
      kind: "connect",
      min_lease_ms: 10_000,
      budgets: [{ window_s: 300, max: 1 }],
    });
    const actions = [action(c), { ...action(b), fence: 7 }, action(a)];
    const request = { tick_id: tick.tick_id, actions };
    const first = await ledger.call(ACT, request);
    assert.deepEqual(first, {
      granted: [a.id, c.id],
      refused: [{ instance_id: b.id, why: "lease" }],
    });
    assert.deepEqual(await ledger.call(ACT, request), first);
    assert.equal((await recorded(ledger)).length, 2);
  },

  async "has nothing to say to nothing"(ledger) {
    const request = { tick_id: crypto.randomUUID(), actions: [] };
    assert.deepEqual(await ledger.call(ACT, request), { granted: [], refused: [] });
  },

  async "the verdict of an action stands beside the outage that it was for"(ledger) {
    await ledger.watch("a");
    const [tick, a] = await hold(ledger);
    await ledger.query(
      `insert into whatsapp_monitor.outages (instance_id, started_at, confirmed_at, ended_at)
       values ($1, now() - interval '20 min', now() - interval '18 min', now() - interval '9 min'),
              ($1, now() - interval '3 min', now() - interval '1 min', null)`,
      [a.id],
    );
    const [{ id }] = await ledger.query<{ id: number }>(
      `insert into whatsapp_monitor.actions (instance_id, tick_id, kind, granted_at, verdict)
       values ($1, $2, 'connect', now() - interval '10 min', 'worked') returning id`,
      [a.id, tick.tick_id],
    );
    const verdicts = [{ action_id: id, verdict: "made_worse" }];
    const down = { is_down: true, down_since_ms: tick.now_ms - 180_000 };
    await ledger.finish(tick, [result(a, { verdicts, ...down })]);
    const outages = await ledger.query<{ verdict: string | null }>(
      "select actions #>> '{0,verdict}' as verdict from whatsapp_monitor.outages order by started_at",
    );
    assert.deepEqual(outages.map(({ verdict }) => verdict), ["made_worse", null]);
  },
});

onLedger("bad input", {
  async "is refused with 400 and a clear error, and nothing happens"(ledger) {
    await ledger.watch("a");
    const tick_id = crypto.randomUUID();
    const known = { tick_id, caller: "service_key" };
    const needsId = "tick_id is required";
    const needsCaller = "a known caller is required";
    const noUuid = 'invalid input syntax for type uuid: "tomorrow"';
    const bad: [fn: string, request: unknown, message: string | RegExp][] = [
      [BEGIN, { caller: "service_key" }, needsId],
      [BEGIN, { tick_id }, needsCaller],
      [BEGIN, { tick_id, caller: "somebody" }, needsCaller],
      [BEGIN, {}, needsId],
      [BEGIN, null, needsId],
      [BEGIN, [], needsId],
      [BEGIN, "text", needsId],
      [BEGIN, { ...known, tick_id: "tomorrow" }, noUuid],
      [BEGIN, { tick_id, caller: "token", token_digests: "x" }, /cannot extract elements/],
      [BEGIN, { tick_id, caller: "token", token_digests: { a: 1 } }, /cannot extract elements/],
      [FINISH, {}, needsId],
      [FINISH, { tick_id: "tomorrow" }, noUuid],
      [FINISH, { tick_id, results: "none" }, /./],
      [FINISH, { tick_id, results: [{ id: "first" }] }, /invalid input syntax for type bigint/],
      [ACT, {}, needsId],
      [ACT, { tick_id: "tomorrow" }, noUuid],
      [ACT, { tick_id, actions: { instance_id: 1 } }, /non-array/],
    ];
    await ledger.query(
      "insert into whatsapp_monitor.trigger_tokens (digest) values (repeat('a', 64))",
    );
    const before = [await ledger.row("a"), await ledger.query("table whatsapp_monitor.ticks")];
    for (const [fn, request, message] of bad) {
      const { status, body } = await ledger.bare.rpc(fn, { request });
      const what = `${fn} ${JSON.stringify(request)}: ${JSON.stringify(body)}`;
      assert.equal(status, 400, what);
      if (typeof message === "string") assert.equal(body.message, message, what);
      else assert.match(body.message, message, what);
    }
    assert.deepEqual(
      [await ledger.row("a"), await ledger.query("table whatsapp_monitor.ticks")],
      before,
    );
    for (const fn of [BEGIN, FINISH, ACT]) {
      const { status, body } = await ledger.bare.rpc(fn, { requests: known });
      assert.deepEqual([status, body.code], [404, "PGRST202"], "the argument's name is wrong");
    }
  },

  async "in one result spoils the whole answer, which may be sent again"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin();
    const [a, b] = begun.instances;
    const { tick_id } = begun;
    const results = [result(a), result(b, { status: "splendid" })];
    const { status, body } = await ledger.bare.rpc(FINISH, { request: { tick_id, results } });
    assert.deepEqual([status, body.code], [400, "23514"]);
    assert.equal((await ledger.row("a")).version, 0, "all or nothing");
    assert.equal((await ledger.finish(begun, [result(a), result(b)])).written.length, 2);
  },
});
