/** Time that passes without waiting. */
import assert from "node:assert/strict";
import { passTime } from "../../stack/time.ts";
import { startDatabase } from "../support.ts";

Deno.test("time passes for every moment that the monitor remembers, and for nothing else", async () => {
  const { database, stop } = await startDatabase();
  try {
    const { query } = database;
    const state = {
      status: "connected",
      since: 1_700_000_000_000,
      bad: { first: 1_700_000_030_000, checks: 3 },
      changes: [1_700_000_000_000, 1_700_000_060_000],
      known_reason: { code: 401, at: "2026-01-01T00:00:00.000Z" },
      halted_at: null,
    };
    const later = {
      ...state,
      since: 1_699_999_970_000,
      bad: { first: 1_700_000_000_000, checks: 3 },
      changes: [1_699_999_970_000, 1_700_000_030_000],
    };
    await query(
      `with g as (
         insert into whatsapp_monitor.gateways (url, state, version_asked_at)
         values ('https://a.example', $1, '2026-01-01T00:00:30Z') returning id),
       i as (
         insert into whatsapp_monitor.instances (gateway_id, name, state, claimed_at)
         select id, 'a', $1, '2026-01-01T00:00:30Z' from g returning id)
       insert into whatsapp_monitor.outages (instance_id, started_at, confirmed_at, ended_at, actions)
       select id, '2026-01-01T00:00:30Z', '2026-01-01T00:01:30Z', '2026-01-01T00:02:30Z',
              '[{"action": "connect", "at": "2026-01-01T00:01:00Z", "verdict": null}]' from i`,
      [state],
    );
    await passTime(database, 30);

    const [gateway] = await query("select * from whatsapp_monitor.gateways");
    const [instance] = await query(
      "select *, due_at::text as due from whatsapp_monitor.instances",
    );
    const [outage] = await query(
      "select *, extract(epoch from duration)::integer as lasted from whatsapp_monitor.outages",
    );
    assert.deepEqual(gateway.state, later);
    assert.deepEqual(instance.state, later);
    const moment = (text: string) => new Date(`2026-01-01T00:${text}Z`);
    assert.deepEqual(gateway.version_asked_at, moment("00:00"));
    assert.deepEqual(instance.claimed_at, moment("00:00"));
    assert.equal(instance.due, "-infinity");
    assert.deepEqual(
      [outage.started_at, outage.confirmed_at, outage.ended_at],
      [moment("00:00"), moment("01:00"), moment("02:00")],
    );
    assert.equal(outage.lasted, 120);
    const [{ at, ...rest }] = outage.actions as { at: string }[];
    assert.deepEqual(new Date(at), moment("00:30"));
    assert.deepEqual(rest, { action: "connect", verdict: null });
  } finally {
    await stop();
  }
});
