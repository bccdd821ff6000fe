/**
 * The lease: who works on an instance, when it is due again, and what becomes
 * of late, repeated and contradicting answers. SQL alone, through PostgREST's
 * interface as the service role.
 */
import assert from "node:assert/strict";
import { type Begun, FINISH, type Ledger, names, onLedger, result } from "./ledger.ts";

/** The answer of a `finish_tick` that had nothing to do. */
const NOTHING = {
  written: [],
  stale: [],
  lost: [],
  report: null,
  alerts: null,
  heartbeat: null,
};

/** Makes calls that all wait for one lock, and lets them go together. */
async function atOnce<T>(
  { bare: { database, concurrent } }: Ledger,
  table: string,
  calls: (() => Promise<T>)[],
): Promise<T[]> {
  let answers: Promise<T>[] = [];
  await database.transaction(null, async (query) => {
    await query(`lock table ${table} in exclusive mode`);
    answers = calls.map((call) => call());
    const waiting = `select 1 from pg_locks where not granted and relation = '${table}'::regclass`;
    while (concurrent && (await query(waiting)).length < calls.length) {
      /* they are on their way */
    }
  });
  return await Promise.all(answers);
}

/** When an instance is due again, in seconds after its claim. */
async function dueAfter({ query }: Ledger, name: string): Promise<number> {
  const [{ seconds }] = await query<{ seconds: number }>(
    `select extract(epoch from due_at - claimed_at)::float8 as seconds
     from whatsapp_monitor.instances where name = $1`,
    [name],
  );
  return seconds;
}

async function isFinished({ query }: Ledger, { tick_id }: Begun): Promise<boolean> {
  const [tick] = await query<{ finished: boolean }>(
    "select finished_at is not null as finished from whatsapp_monitor.ticks where id = $1",
    [tick_id],
  );
  return tick.finished;
}

/** Another writer than a tick: a webhook event, say. */
async function writeElsewhere({ query }: Ledger, name: string, state: unknown): Promise<void> {
  await query(
    `update whatsapp_monitor.instances set version = version + 1, state = $2 where name = $1`,
    [name, state],
  );
}

onLedger("begin_tick", {
  async "hands out what is due, with the credentials"(ledger) {
    await ledger.add("loja", { organization: "org", url: "https://gw.example/", key: "secret" });
    const begun = await ledger.begin();
    const [{ id }] = begun.instances;
    assert.deepEqual(begun.instances, [{
      id,
      organization_id: "org",
      gateway_url: "https://gw.example",
      name: "loja",
      api_key: "secret",
      fence: 1,
      version: 0,
      state: null,
      settled_ms: null,
      attempts: [],
      webhook: null,
    }]);
    assert.deepEqual(begun.gateways, [
      {
        url: "https://gw.example",
        version: null,
        version_due: true,
        open_elsewhere: false,
        answered_elsewhere: 0,
        state: null,
        state_version: 0,
      },
    ]);
    assert.deepEqual([begun.outcome, begun.claimed, begun.more_due], ["accepted", 1, false]);
    assert.equal(begun.report, null, "nobody asked for one");
    const [{ now_ms }] = await ledger.query<{ now_ms: number }>(
      `select floor(extract(epoch from started_at) * 1000)::bigint as now_ms
       from whatsapp_monitor.ticks where id = $1`,
      [begun.tick_id],
    );
    assert.equal(begun.now_ms, now_ms);
  },

  async "repeated gives the same rows again, and to nobody else"(ledger) {
    await ledger.watch("a", "b", "c");
    const first = await ledger.begin();
    const again = await ledger.begin({ tick_id: first.tick_id });
    assert.deepEqual(again.instances, first.instances);
    assert.equal(again.claimed, null);
    assert.deepEqual((await ledger.begin()).instances, []);
    await ledger.finish(first, first.instances.map((claimed) => result(claimed)));
    await ledger.pass(3600);
    const late = await ledger.begin({ tick_id: first.tick_id });
    assert.deepEqual(late.instances, [], "a tick claims once, even when they are due again");
  },

  async "called twice at the same time claims once"(ledger) {
    await ledger.watch("a", "b", "c");
    const tick_id = crypto.randomUUID();
    const call = () => ledger.begin({ tick_id });
    const [one, other] = await atOnce(ledger, "whatsapp_monitor.ticks", [call, call]);
    assert.deepEqual(one.instances, other.instances);
    assert.deepEqual(one.instances.map(({ fence }) => fence), [1, 1, 1]);
    assert.deepEqual([one.claimed, other.claimed].sort(), [3, null]);
  },

  async "eight at the same time share what is due"(ledger) {
    const all = Array.from({ length: 40 }, (_, n) => `loja-${n}`);
    await ledger.watch(...all);
    await ledger.set({ batch_size: 5 });
    const ticks = await atOnce(
      ledger,
      "whatsapp_monitor.ticks",
      Array.from({ length: 8 }, () => () => ledger.begin()),
    );
    const claimed = ticks.flatMap(({ instances }) => names(instances));
    assert.deepEqual(claimed.sort(), all.sort(), "each once, by somebody");
    assert.deepEqual(ticks.map((tick) => tick.claimed), Array(8).fill(5));
  },

  async "takes the oldest first, of these the never checked, batch_size at a time"(ledger) {
    await ledger.watch("second", "fifth", "fourth", "first", "third");
    const hours = { first: null, second: 3, third: 2, fourth: 2, fifth: 1 };
    for (const [name, ago] of Object.entries(hours)) {
      if (ago === null) continue; // never claimed: before all others
      await ledger.query(
        `update whatsapp_monitor.instances
         set due_at = now() - make_interval(hours => $2), checked_at = now() where name = $1`,
        [name, ago],
      );
    }
    const due = "select due_at from whatsapp_monitor.instances where name = 'third'";
    await ledger.query(
      `update whatsapp_monitor.instances set checked_at = null, due_at = (${due})
       where name = 'third'`,
    );
    await ledger.query(
      `update whatsapp_monitor.instances set due_at = (${due}) where name = 'fourth'`,
    );
    await ledger.set({ batch_size: 3 });
    const seen = [];
    for (let n = 0; n < 3; n++) {
      const { instances, claimed, more_due } = await ledger.begin();
      seen.push([names(instances), claimed, more_due]);
    }
    assert.deepEqual(seen, [
      [["first", "second", "third"], 3, true],
      [["fourth", "fifth"], 2, false],
      [[], 0, false],
    ]);
  },

  async "may be limited to one organization"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin({ organization_id: "b" });
    assert.deepEqual(names(begun.instances), ["b"]);
    assert.deepEqual(names((await ledger.begin()).instances), ["a"]);
    const idle = await ledger.begin({ organization_id: "b", report: true });
    const reported = idle.report.instances.map((row: { instance_name: string }) =>
      row.instance_name
    );
    assert.deepEqual([reported, idle.report.due], [["b"], 0]);
    assert.equal(await isFinished(ledger, idle), true, "nothing to do is done at once");
  },

  async "knows an organization that was added within the minute"(ledger) {
    await ledger.watch("a");
    await ledger.begin(); // reads the sources
    const request = { organization_id: "new" };
    assert.equal((await ledger.begin(request)).outcome, "unknown_organization");
    await ledger.add("new");
    await ledger.pass(10);
    assert.deepEqual(names((await ledger.begin(request)).instances), ["new"]);
    const [{ ticks }] = await ledger.query<{ ticks: number }>(
      "select count(*)::int as ticks from whatsapp_monitor.ticks",
    );
    assert.equal(ticks, 2, "what is refused is no tick");
  },

  async "takes each token that is in force"(ledger) {
    await ledger.watch("a");
    const digest = (character: string) => character.repeat(64);
    const outcome = async (...token_digests: string[]) =>
      (await ledger.begin({ caller: "token", token_digests })).outcome;
    assert.equal(await outcome(digest("a")), "unauthorized", "there is none");
    await ledger.query(
      `insert into whatsapp_monitor.trigger_tokens (digest, expires_at)
       values ($1, null), ($2, now() + interval '1 hour'), ($3, now() - interval '1 second')`,
      [digest("a"), digest("b"), digest("c")],
    );
    assert.equal(await outcome(digest("a")), "accepted");
    assert.equal(await outcome(digest("b")), "accepted", "two are in force during a rotation");
    assert.equal(await outcome(digest("c")), "unauthorized", "expired");
    assert.equal(await outcome(digest("d")), "unauthorized", "unknown");
    assert.equal(await outcome(), "unauthorized");
    assert.equal(await outcome(digest("d"), digest("a")), "accepted", "one of them is enough");
    assert.equal((await ledger.begin({ caller: "token" })).outcome, "unauthorized");
    await ledger.pass(3600);
    assert.equal(await outcome(digest("b")), "unauthorized", "expired by now");
    assert.equal((await ledger.begin({ caller: "environment" })).outcome, "accepted");
  },

  async "does nothing for a caller that it refuses"(ledger) {
    await ledger.add("a");
    await ledger.begin({ caller: "token", token_digests: ["0".repeat(64)] });
    for (const table of ["instances", "ticks"]) {
      assert.deepEqual(await ledger.query(`select from whatsapp_monitor.${table}`), [], table);
    }
  },
});

onLedger("the lease", {
  async "ends, and then the instance is due at once, however long the interval is"(ledger) {
    await ledger.watch("a");
    await ledger.set({ interval_s: 86_400, lease_s: 300 });
    const dead = await ledger.begin();
    await ledger.pass(270);
    assert.deepEqual((await ledger.begin()).instances, []);
    await ledger.pass(30);
    const repeated = await ledger.begin({ tick_id: dead.tick_id });
    assert.deepEqual(repeated.instances, [], "it holds nothing any more");
    const next = await ledger.begin();
    assert.deepEqual(next.instances.map(({ fence }) => fence), [2]);
    assert.equal(await isFinished(ledger, dead), false, "nobody says that it ended");
  },

  async "outlasts the budget, one request and the write, whatever its setting"(ledger) {
    await ledger.watch("a", "b");
    await ledger.set({ lease_s: 1 });
    await ledger.begin({ organization_id: "a" });
    assert.equal(await dueAfter(ledger, "a"), 45);
    await ledger.set({ tick_budget_ms: 60_000, request_timeout_ms: 30_000 });
    await ledger.begin({ organization_id: "b" });
    assert.equal(await dueAfter(ledger, "b"), 107);
  },

  async "given up by a check: due again after the interval, counted from the claim"(ledger) {
    await ledger.watch("a");
    await ledger.set({ interval_s: 600, lease_s: 300 });
    const begun = await ledger.begin();
    await ledger.pass(100);
    await ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    assert.equal(await dueAfter(ledger, "a"), 595);
    await ledger.pass(450);
    assert.deepEqual((await ledger.begin()).instances, []);
    await ledger.pass(45);
    const [again] = (await ledger.begin()).instances;
    assert.deepEqual([again.fence, again.version, again.state], [2, 1, { found: "something" }]);
  },

  async "a changed interval counts at once, and takes no lease from anybody"(ledger) {
    await ledger.watch("checked", "given back", "held");
    await ledger.set({ interval_s: 3600, lease_s: 300 });
    const begun = await ledger.begin();
    const [checked, givenBack, held] = begun.instances;
    await ledger.finish(begun, [result(checked)], [givenBack]);
    await ledger.set({ interval_s: 60 });
    assert.equal(await dueAfter(ledger, "checked"), 55);
    await ledger.set({ interval_s: 7200 });
    assert.equal(await dueAfter(ledger, "checked"), 7195);
    assert.equal(await dueAfter(ledger, "held"), 300);
    assert.deepEqual(names((await ledger.begin()).instances), ["given back"]);
    await ledger.finish(begun, [result(held)]);
    assert.equal(await dueAfter(ledger, "held"), 7195);
  },

  async "what is given back comes first, oldest first"(ledger) {
    await ledger.watch("a", "b", "c");
    for (const [days, name] of ["a", "b", "c"].entries()) {
      await ledger.query(
        `update whatsapp_monitor.instances set due_at = now() - make_interval(days => $2)
         where name = $1`,
        [name, days + 1],
      );
    }
    const begun = await ledger.begin();
    assert.deepEqual(names(begun.instances), ["c", "b", "a"]);
    const [c, b, a] = begun.instances;
    await ledger.finish(begun, [result(c)], [a, b]);
    assert.equal(await isFinished(ledger, begun), true);
    assert.deepEqual((await ledger.begin({ tick_id: begun.tick_id })).instances, []);
    await ledger.watch("younger");
    await ledger.query(
      "update whatsapp_monitor.instances set due_at = now() where name = 'younger'",
    );
    const next = await ledger.begin();
    assert.deepEqual(names(next.instances), ["b", "a", "younger"], "at once, without a lease");
    await ledger.finish(begun, [result(c)], [a, b]);
    assert.deepEqual((await ledger.begin()).instances, [], "a repeat takes nothing from the next");
  },

  async "what was concluded without asking comes before what was asked"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin();
    const [a, b] = begun.instances;
    await ledger.finish(begun, [result(a), result(b, { asked: false })]);
    assert.equal((await ledger.row("b")).checked_at, null);
    await ledger.pass(3600);
    assert.deepEqual(names((await ledger.begin()).instances), ["b", "a"]);
  },
});

onLedger("finish_tick", {
  async "writes what was found"(ledger) {
    await ledger.watch("a");
    const begun = await ledger.begin();
    const [a] = begun.instances;
    const reason = { code: "401", text: "Saiu." };
    const found = result(a, { status: "waiting_qr", reason, since_ms: 1_600_000_000_000 });
    const answer = await ledger.finish(begun, [found]);
    assert.deepEqual(answer, { ...NOTHING, written: [a.id] });
    const row = await ledger.row("a");
    assert.deepEqual(
      {
        status: row.status,
        since: row.status_since,
        reason: [row.reason_code, row.reason_text],
        state: row.state,
        version: row.version,
        checked: row.checked_at,
        by: row.checked_by,
        lease: [row.lease_tick, row.lease_until],
      },
      {
        status: "waiting_qr",
        since: new Date(1_600_000_000_000),
        reason: ["401", "Saiu."],
        state: { found: "something" },
        version: 1,
        checked: new Date(1_700_000_000_000),
        by: begun.tick_id,
        lease: [null, null],
      },
    );
    assert.equal(await isFinished(ledger, begun), true);
  },

  async "repeated changes nothing"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin();
    const results = begun.instances.map((claimed) => result(claimed));
    const first = await ledger.finish(begun, results);
    const before = [await ledger.row("a"), await ledger.row("b")];
    assert.deepEqual(await ledger.finish(begun, results), first);
    assert.deepEqual([await ledger.row("a"), await ledger.row("b")], before);
  },

  async "called twice at the same time writes once"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin();
    const call = () => ledger.finish(begun, begun.instances.map((claimed) => result(claimed)));
    const [one, other] = await atOnce(ledger, "whatsapp_monitor.instances", [call, call]);
    assert.deepEqual(one, other);
    assert.equal(one.written.length, 2);
    assert.equal((await ledger.row("a")).version, 1);
  },

  async "is lost where somebody has claimed since"(ledger) {
    await ledger.watch("a");
    const late = await ledger.begin();
    await ledger.pass(3600);
    const next = await ledger.begin();
    const before = await ledger.row("a");
    const [a] = late.instances;
    const lost = { ...NOTHING, lost: [a.id] };
    assert.deepEqual(await ledger.finish(late, [result(a)]), lost);
    assert.deepEqual(await ledger.finish(late, [], [a]), { ...lost, lost: [] });
    assert.deepEqual(
      await ledger.row("a"),
      before,
      "nothing of it changed, the lease least of all",
    );
    const [mine] = next.instances;
    assert.deepEqual((await ledger.finish(next, [result(mine)])).written, [a.id]);
    const after = await ledger.row("a");
    assert.deepEqual(await ledger.finish(late, [result(a)]), lost);
    assert.deepEqual(await ledger.row("a"), after);
  },

  async "is late and still counts where nobody has claimed since"(ledger) {
    await ledger.watch("a");
    const begun = await ledger.begin();
    await ledger.pass(3600);
    const [a] = begun.instances;
    assert.deepEqual((await ledger.finish(begun, [result(a)])).written, [a.id]);
  },

  async "meets what somebody else has written, gives it back, and then goes on top"(ledger) {
    await ledger.watch("calm", "moved");
    const begun = await ledger.begin();
    const [calm, moved] = begun.instances;
    await writeElsewhere(ledger, "moved", { said: "a webhook" });
    const answer = await ledger.finish(begun, [result(calm), result(moved)]);
    const present = {
      ...{ id: moved.id, version: 1, state: { said: "a webhook" } },
      settled_ms: null,
    };
    assert.deepEqual(answer, { ...NOTHING, written: [calm.id], stale: [present] });
    const row = await ledger.row("moved");
    assert.deepEqual([row.lease_tick, row.checked_by], [begun.tick_id, null], "still ours");
    assert.equal(await isFinished(ledger, begun), false);
    assert.deepEqual((await ledger.begin()).instances, []);

    await writeElsewhere(ledger, "moved", { said: "another" });
    const second = await ledger.finish(begun, [result(moved, { version: 1 })]);
    assert.deepEqual(second.stale.map(({ version }: { version: number }) => version), [2]);

    const both = { said: "another", found: "something" };
    const third = await ledger.finish(begun, [result(moved, { version: 2, state: both })]);
    assert.deepEqual(third.written, [moved.id]);
    const { version, state, lease_tick } = await ledger.row("moved");
    assert.deepEqual({ version, state, lease_tick }, { version: 3, state: both, lease_tick: null });
    assert.equal(await isFinished(ledger, begun), true);
    assert.equal((await ledger.row("calm")).version, 1);
  },

  async "reports all instances, or those of one organization"(ledger) {
    await ledger.watch("a", "b");
    const begun = await ledger.begin();
    const request = { tick_id: begun.tick_id, report: true };
    const results = begun.instances.map((claimed) => result(claimed));
    const all = await ledger.call(FINISH, { ...request, results });
    assert.deepEqual(
      all.report.instances.map((
        row: Record<string, unknown>,
      ) => [row.instance_name, row.status, row.since]),
      ["a", "b"].map((name) => [name, "connected", "2023-11-14T22:13:20+00:00"]),
    );
    assert.equal(all.report.due, 0);
    await ledger.query("update whatsapp_monitor.instances set due_at = now() where name = 'b'");
    const one = await ledger.call(FINISH, { ...request, organization_id: "b" });
    assert.deepEqual([one.report.instances.length, one.report.due], [1, 1]);
  },
});
