/** What a tick is told of those instances of its gateways that it does not hold itself. */
import assert from "node:assert/strict";
import { type Claimed, type Ledger, onLedger, result } from "./ledger.ts";

/** What the next tick, which holds the instance "a" alone, is told of the others. */
async function told(ledger: Ledger) {
  await ledger.query(
    `update whatsapp_monitor.instances
     set due_at = case name when 'a' then '-infinity' else 'infinity' end::timestamptz`,
  );
  const tick = await ledger.begin();
  assert.deepEqual(tick.instances.map(({ name }) => name), ["a"]);
  const [{ open_elsewhere, answered_elsewhere }] = tick.gateways;
  await ledger.finish(tick, [], tick.instances);
  return [open_elsewhere, answered_elsewhere];
}

/** One check of "a" and of others, each with this result. */
async function check(ledger: Ledger, results: Record<string, Record<string, unknown>>) {
  await ledger.watch("a", ...Object.keys(results));
  const tick = await ledger.begin();
  const checked_ms = tick.now_ms;
  const of = ({ name }: Claimed) => ({ status: "disconnected", checked_ms, ...results[name] });
  await ledger.finish(tick, tick.instances.map((each) => result(each, of(each))));
}

const OPEN = { status: "connected" };
const SILENT = { state: { unanswered: { first: 0, checks: 1 } } };

onLedger("neighbours", {
  async "one that is open is evidence, and what answers counts"(ledger) {
    await check(ledger, { b: OPEN, c: { status: "waiting_qr" }, d: { status: "misconfigured" } });
    assert.deepEqual(await told(ledger), [true, 2]);
  },

  async "one whose last check failed shows nothing, whatever it was before"(ledger) {
    await check(ledger, { b: { ...OPEN, ...SILENT }, c: SILENT });
    assert.deepEqual(await told(ledger), [false, 0]);
  },

  async "one that nobody has looked at lately shows nothing"(ledger) {
    await check(ledger, { b: OPEN });
    await ledger.pass(45);
    assert.deepEqual(await told(ledger), [true, 1]);
    await ledger.pass(45);
    assert.deepEqual(await told(ledger), [false, 0]);
  },

  async "one that is watched no more shows nothing"(ledger) {
    await check(ledger, { b: OPEN });
    await ledger.query("update whatsapp_monitor.instances set removed_at = now() where name = 'b'");
    assert.deepEqual(await told(ledger), [false, 0]);
  },

  async "no more are counted than could outvote a tick"(ledger) {
    await check(ledger, { b: OPEN, c: OPEN, d: OPEN });
    await ledger.set({ batch_size: 1 });
    assert.deepEqual(await told(ledger), [true, 2]);
  },
});
