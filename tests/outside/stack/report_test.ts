/** The report of a trigger: as text, as changes, several as one. */
import assert from "node:assert/strict";
import {
  isReport,
  mergeReports,
  renderChanges,
  renderReport,
  renderTable,
  type Report,
} from "../../stack/report.ts";

const REPORT: Report = {
  success: true,
  tick_id: "t",
  started_at: "2026-11-23T17:43:26.417Z",
  duration_ms: 41.4,
  trigger: "pg_cron",
  checked: 2,
  carried_over: 0,
  database_round_trips: 2,
  gateways: [{ url: "http://127.0.0.1:1", version: "2.3.6", reachable: true }],
  instances: [
    {
      organization_id: "a",
      instance_name: "Pousada São João / recepção",
      status: "connected",
      since: "2026-11-22T09:00:00Z",
      checked_now: true,
      reason: null,
      action: "none",
      verdict: null,
      next_check_at: "2026-11-23T17:43:51+00:00",
    },
    {
      organization_id: "b",
      instance_name: "x".repeat(60),
      status: "disconnected",
      since: null,
      checked_now: true,
      reason: {
        code: "close",
        text: "Sem conexão:\nreconectando",
        text_en: "No connection: reconnecting",
      },
      action: "connect",
      verdict: "ok",
      next_check_at: null,
    },
  ],
};

Deno.test("report: as text", () => {
  const long = "x".repeat(43) + "…";
  const name = "Pousada São João / recepção".padEnd(44);
  assert.deepEqual(renderReport(REPORT).split("\n"), [
    "Gateway http://127.0.0.1:1  2.3.6  reachable",
    "",
    "INSTANCE".padEnd(44) + "  STATUS        SINCE (UTC)       ACTION        NEXT CHECK  REASON",
    name + "  connected     2026-11-22 09:00  none          17:43:51    -",
    long + "  disconnected  -                 connect → ok  -           Sem conexão: reconectando",
    "",
    "2 checked, 0 carried over, 2 database round trips, 41 ms",
  ]);
  const nothing = { success: false, instances: [], gateways: [], database_round_trips: 1 };
  assert.equal(
    renderReport({ ...REPORT, ...nothing }),
    "No instances: nothing is configured yet.\n\n" +
      "2 checked, 0 carried over, 1 database round trip, 41 ms, NOT COMMITTED",
  );
});

Deno.test("report: a table counts decomposed accents as the letters they are", () => {
  const lines = renderTable([["a\u0303", "1"], ["bb", "2"]]);
  assert.deepEqual(lines, ["a\u0303   1", "bb  2"]);
});

Deno.test("report: what is one", () => {
  assert(isReport(REPORT));
  assert(!isReport({ success: false, error: "x" }));
  assert(!isReport(null));
});

Deno.test("report: changes", () => {
  assert.equal(
    renderChanges(REPORT, REPORT),
    "17:43:26  2 checked, 0 carried over, 2 database round trips, 41 ms",
  );
  const instance = { ...REPORT.instances[0], status: "zombie", checked_now: false };
  const lines = renderChanges(REPORT, { ...REPORT, instances: [instance] }).split("\n");
  assert.equal(lines.length, 4);
  assert.match(lines[2], /^Pousada São João \/ recepção {2}zombie/);
  assert.match(lines[3], /^x+: no longer configured$/);
});

Deno.test("report: sums", () => {
  const [first, second] = REPORT.instances;
  const rest = { ...second, checked_now: false, action: "none" };
  const merged = mergeReports([
    { ...REPORT, carried_over: 1 },
    { ...REPORT, tick_id: "u", checked: 1, instances: [first, rest] },
  ]);
  const { tick_id, checked, carried_over, database_round_trips, instances } = merged;
  assert.deepEqual([tick_id, checked, carried_over, database_round_trips], ["u", 3, 0, 4]);
  assert.equal(instances[1].action, "connect");
});
