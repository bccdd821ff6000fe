/**
 * What the function tells the database of itself: where it is called, and what
 * its environment's token is, by a digest. First as the function sends it, in
 * this process; then what the database makes of it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { NOTHING_DUE } from "./canned.ts";
import { BEGIN, onLedger } from "./ledger.ts";

const PROJECT = "https://abcdefghijklmnopqrst.supabase.co";
const KEY = "sb_secret_of_this_test";
const TOKEN = "a token of the function's environment";
const digest = (text: string) => createHash("sha256").update(text).digest("hex");

const told: Record<string, unknown>[] = [];
const { fetch } = globalThis;
globalThis.fetch = async (input, init) => {
  const request = new Request(input, init);
  if (!request.url.startsWith(PROJECT)) return await fetch(request);
  told.push((await request.json()).request);
  return Response.json(NOTHING_DUE);
};
globalThis.EdgeRuntime = { waitUntil() {} };
Deno.env.set("RENDIZY_SUPABASE_URL", `${PROJECT}/`);
Deno.env.set("SERVICE_ROLE_KEY", KEY);
Deno.env.set("WHATSAPP_MONITOR_TOKEN", TOKEN);
const { handler } = await import("../../supabase/functions/rendizy-server/index.ts");
Deno.env.delete("WHATSAPP_MONITOR_TOKEN");

Deno.test("it tells where it is called, as the project's gateway has it, and its token's digest", async () => {
  const below = "whatsapp/monitor/start";
  for (
    const [path, url] of [
      [`/rendizy-server/${below}`, `/functions/v1/rendizy-server/${below}`],
      [`/functions/v1/rendizy-server/${below}?token=x`, `/functions/v1/rendizy-server/${below}`],
      [
        `/own-name/make-server-67caf26a/${below}`,
        `/functions/v1/own-name/make-server-67caf26a/${below}`,
      ],
      [`/${below}`, null],
      [`/${"x".repeat(3000)}/${below}`, null],
    ]
  ) {
    const response = await handler(
      new Request(`http://internal:9999${path}`, { method: "POST", headers: { apikey: KEY } }),
    );
    assert.equal(response.status, 200);
    const { environment_token_digest, function_url, follow_up } = told.at(-1)!;
    assert.deepEqual(
      { environment_token_digest, function_url, follow_up },
      {
        environment_token_digest: digest(TOKEN),
        function_url: url && PROJECT + url,
        follow_up: false,
      },
      path!,
    );
  }
  assert.ok(!JSON.stringify(told).includes(TOKEN));
});

onLedger("what the database keeps of it", {
  async "the last that was told, and when"(ledger) {
    const environment = async () => {
      const [row] = await ledger.query<{ token_digest: string | null; age_min: number | null }>(`
        select token_digest, case when isfinite(reported_at)
          then floor(extract(epoch from clock_timestamp() - reported_at) / 60)::int end as age_min
        from whatsapp_monitor.environment`);
      return row;
    };
    const tell = (environment_token_digest: string | null) =>
      ledger.begin({ environment_token_digest });
    assert.deepEqual(await environment(), { token_digest: null, age_min: null });
    await ledger.begin();
    assert.deepEqual(await environment(), { token_digest: null, age_min: null }, "an old function");
    await tell(null);
    assert.deepEqual(await environment(), { token_digest: null, age_min: 0 }, "it has none");
    await tell(digest(TOKEN));
    assert.deepEqual(await environment(), { token_digest: digest(TOKEN), age_min: 0 });
    await ledger.pass(150);
    await ledger.begin();
    assert.deepEqual(await environment(), { token_digest: digest(TOKEN), age_min: 2 });
    await tell(digest(TOKEN));
    assert.deepEqual(await environment(), { token_digest: digest(TOKEN), age_min: 0 });
  },

  async "nothing of what strangers tell"(ledger) {
    const request = { environment_token_digest: digest("stranger") };
    const { outcome } = await ledger.begin({ ...request, caller: "token", token_digests: [] });
    assert.equal(outcome, "unauthorized");
    const [{ token_digest }] = await ledger.query(
      "select token_digest from whatsapp_monitor.environment",
    );
    assert.equal(token_digest, null);
  },

  async "no second time within the minute, so that ticks do not wait for each other"(ledger) {
    const version = async () =>
      (await ledger.query("select xmin::text as version from whatsapp_monitor.environment"))[0];
    await ledger.begin({ environment_token_digest: digest(TOKEN) });
    const before = await version();
    await ledger.begin({ environment_token_digest: digest(TOKEN) });
    assert.deepEqual(await version(), before);
    if (!ledger.bare.concurrent) return; // the embedded database would wait for itself
    await ledger.bare.database.transaction(null, async (query) => {
      await query("select from whatsapp_monitor.environment for update");
      const request = { environment_token_digest: digest("another") };
      assert.equal(
        (await ledger.call(BEGIN, {
          ...request,
          tick_id: crypto.randomUUID(),
          caller: "service_key",
        })).outcome,
        "accepted",
      );
    });
  },
});
