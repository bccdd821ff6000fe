/** What leaves the user's tables: nothing is done to it any more, and its outage ends with it. */
import assert from "node:assert/strict";
import { ACT, FINISH, type Ledger, onLedger, result } from "./ledger.ts";

const CONNECT = { kind: "connect", min_lease_ms: 0 };

/** All outages, as people see them. */
const outages = ({ query }: Ledger) =>
  query<{ of: string; over: boolean; left_watch: boolean }>(
    `select coalesce(i.name, 'gateway') as of, o.ended_at is not null as over, o.left_watch
     from whatsapp_monitor.outages o
     left join whatsapp_monitor.instances i on i.id = o.instance_id order by o.id`,
  );

/** No row of the user's names this instance any more. */
async function leave(ledger: Ledger, name: string): Promise<void> {
  await ledger.query(
    "update public.organization_channel_config set deleted_at = now() where whatsapp_instance_name = $1",
    [name],
  );
  await ledger.sync();
}

async function comeBack(ledger: Ledger, name: string): Promise<void> {
  await ledger.query(
    "update public.organization_channel_config set deleted_at = null where whatsapp_instance_name = $1",
    [name],
  );
  await ledger.sync();
}

/** An outage of the one instance, or what a check makes of one. */
function down(since_ms: number) {
  const state = { status: "disconnected", bad: { first: since_ms }, down_since: since_ms };
  return { status: "disconnected", is_down: true, down_since_ms: since_ms, state };
}

onLedger("what leaves", {
  async "nothing is done to it"(ledger) {
    await ledger.watch("a");
    const tick = await ledger.begin();
    const [{ id, fence }] = tick.instances;
    await leave(ledger, "a");
    const request = { tick_id: tick.tick_id, actions: [{ ...CONNECT, instance_id: id, fence }] };
    const refused = [{ instance_id: id, why: "removed" }];
    assert.deepEqual(await ledger.call(ACT, request), { granted: [], refused });
    assert.deepEqual(await ledger.query("table whatsapp_monitor.actions"), []);
  },

  async "its outage ends, and nobody is told of it any more"(ledger) {
    await ledger.query("update whatsapp_monitor.settings set alert_url = 'https://hook.example'");
    await ledger.watch("a", "b");
    const tick = await ledger.begin();
    const since_ms = tick.now_ms - 60_000;
    await ledger.finish(tick, tick.instances.map((each) => result(each, down(since_ms))));
    await leave(ledger, "a");
    assert.deepEqual(await outages(ledger), [
      { of: "a", over: true, left_watch: true },
      { of: "b", over: false, left_watch: false },
    ]);
    const [{ held }] = await ledger.query<{ held: { alerts: { instance_name: string }[] } }>(
      "select whatsapp_monitor.claim_alerts(gen_random_uuid(), 20) as held",
    );
    assert.deepEqual(held.alerts.map(({ instance_name }) => instance_name), ["b"]);
    const alerts = await ledger.query<{ kind: string; given_up: boolean }>(
      `select a.kind, a.gave_up_at is not null as given_up from whatsapp_monitor.alerts a
       join whatsapp_monitor.outages o on o.id = a.outage_id where o.left_watch`,
    );
    assert.deepEqual(alerts, [{ kind: "down", given_up: true }]);
  },

  async "what it has when it returns is another outage"(ledger) {
    await ledger.watch("a");
    const tick = await ledger.begin();
    await ledger.finish(tick, [result(tick.instances[0], down(tick.now_ms - 60_000))]);
    const before = await ledger.row("a");
    await leave(ledger, "a");
    await comeBack(ledger, "a");
    const { state, version, is_down } = await ledger.row("a");
    assert.deepEqual([state, is_down], [{ status: "disconnected" }, false]);
    assert.equal(Number(version), Number(before.version) + 1, "whoever has it in hand looks again");
    await ledger.query("update whatsapp_monitor.instances set state = '7'");
    await leave(ledger, "a");
    await comeBack(ledger, "a");
    assert.equal((await ledger.row("a")).state, 7, "what makes no sense is left as it is");
  },

  async "a tick that still holds it opens no outage of it"(ledger) {
    await ledger.watch("a");
    const tick = await ledger.begin();
    await leave(ledger, "a");
    await ledger.finish(tick, [result(tick.instances[0], down(tick.now_ms - 60_000))]);
    assert.equal((await ledger.row("a")).status, "disconnected", "it is written all the same");
    assert.deepEqual(await outages(ledger), []);
  },

  async "the outage of a gateway ends with the last instance on it"(ledger) {
    await ledger.watch("a", "b");
    const { tick_id, now_ms, gateways: [{ url, state_version }] } = await ledger.begin();
    const fault = { code: "connection_refused", text: "…" };
    const seen = {
      url,
      state_version,
      state: { down_since: now_ms },
      fault,
      down_since_ms: now_ms,
    };
    await ledger.call(FINISH, { tick_id, results: [], gateways: [seen] });
    await leave(ledger, "a");
    const [outage] = await outages(ledger);
    assert.deepEqual(outage, { of: "gateway", over: false, left_watch: false }, "b is on it");
    await leave(ledger, "b");
    assert.deepEqual(await outages(ledger), [{ of: "gateway", over: true, left_watch: true }]);
    const [gateway] = await ledger.query(
      "select state, fault_code, down_since from whatsapp_monitor.gateways",
    );
    assert.deepEqual(gateway, { state: null, fault_code: null, down_since: null });
  },
});
