/** Old rows are removed as fast as they come, a bounded number at a time. */
import assert from "node:assert/strict";
import { type Ledger, onLedger } from "./ledger.ts";

/** What one call removes of each kind. */
const BATCH = 5_000;

/** Cleans up if it is time, so long after the last time; gives how many changes are left. */
async function cleanUp(ledger: Ledger, after: string): Promise<number> {
  await ledger.query(
    "update whatsapp_monitor.housekeeping set cleaned_at = clock_timestamp() - $1::interval",
    [after],
  );
  await ledger.query("select whatsapp_monitor.clean_up_if_due()");
  const [{ left }] = await ledger.query<{ left: number }>(
    "select count(*) as left from whatsapp_monitor.status_changes",
  );
  return left;
}

onLedger("cleaning up", {
  async "comes once an hour, and every minute while more is left"(ledger) {
    await ledger.watch("loja");
    await ledger.query(
      `insert into whatsapp_monitor.status_changes (instance_id, at, from_status, to_status)
       select i.id, now() - interval '91 days', 'unknown', 'connected'
       from whatsapp_monitor.instances i, generate_series(1, ${2 * BATCH + 1})`,
    );
    assert.equal(await cleanUp(ledger, "59 minutes"), 2 * BATCH + 1);
    assert.equal(await cleanUp(ledger, "1 hour"), BATCH + 1);
    assert.equal(await cleanUp(ledger, "59 seconds"), BATCH + 1);
    assert.equal(await cleanUp(ledger, "1 minute"), 1);
    assert.equal(await cleanUp(ledger, "1 minute"), 0);
    const [{ more, error }] = await ledger.query(
      "select more, error from whatsapp_monitor.housekeeping",
    );
    assert.deepEqual([more, error], [false, null]);
  },

  async "says what went wrong, and comes again in an hour"(ledger) {
    await ledger.query("alter table whatsapp_monitor.polls rename to polls_away");
    try {
      await cleanUp(ledger, "1 hour");
    } finally {
      await ledger.query("alter table whatsapp_monitor.polls_away rename to polls");
    }
    const [{ more, error }] = await ledger.query<{ more: boolean; error: string }>(
      "select more, error from whatsapp_monitor.housekeeping",
    );
    assert.equal(more, false);
    assert.match(error, /polls/);
    await cleanUp(ledger, "1 hour");
    const [after] = await ledger.query("select error from whatsapp_monitor.housekeeping");
    assert.equal(after.error, null);
  },
});
