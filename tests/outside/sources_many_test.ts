/** More rows than one reading of the sources takes in: each has its turn, and none is in another's way. */
import assert from "node:assert/strict";
import { type Ledger, onLedger } from "./ledger.ts";
import { watched } from "./production.ts";

/** What one reading takes in. */
const BATCH = 10_000;

const sync = async (ledger: Ledger) => {
  await ledger.sync();
  const [{ waiting, refused }] = await ledger.query(
    "select waiting, refused from whatsapp_monitor.source_sync",
  );
  const names = (await watched(ledger)).map((each) => each.split(" ")[1]);
  return { waiting, refused, names };
};

onLedger("sync_sources, many rows", {
  async "takes in the oldest first, what has gone last; what does not count keeps none waiting"(
    ledger,
  ) {
    await ledger.watch("leaves");
    await ledger.query("delete from public.organization_channel_config");
    await ledger.add("theirs", { organization: "owner" });
    // So many claim it, with another key, and came before everybody else.
    await ledger.query(
      `insert into public.organization_channel_config
         (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name,
          whatsapp_api_key, created_at)
       select 'stranger ' || n, true, 'https://gateway.example', 'theirs', 'a guess',
              now() + n * interval '1 millisecond'
       from generate_series(1, ${BATCH}) n`,
    );
    await ledger.add("late");
    await ledger.add("later");
    await ledger.query(
      `update public.organization_channel_config set created_at = now() + interval '1 day'
       where organization_id in ('late', 'later')`,
    );

    assert.deepEqual(await sync(ledger), {
      ...{ waiting: 4, refused: BATCH - 1 },
      names: ["leaves", "theirs"],
    });
    const [fontes] = await ledger.query(
      "select ok, detail from whatsapp_monitor.check_sources() where check_name = 'fontes'",
    );
    assert.equal(fontes.ok, false, "that rows do not count is the worse news");

    assert.deepEqual(await sync(ledger), {
      ...{ waiting: 0, refused: BATCH },
      names: ["late", "later", "theirs"],
    });

    await ledger.query(
      "delete from public.organization_channel_config where organization_id like 'stranger %'",
    );
    assert.deepEqual(await sync(ledger), {
      ...{ waiting: 0, refused: 0 },
      names: ["late", "later", "theirs"],
    });
  },

  async "are told of in the checklist while they wait"(ledger) {
    await ledger.query(
      "update whatsapp_monitor.source_sync set synced_at = clock_timestamp(), waiting = 7",
    );
    const [{ ok, detail }] = await ledger.query<{ ok: boolean | null; detail: string }>(
      "select ok, detail from whatsapp_monitor.check_sources() where check_name = 'fontes'",
    );
    assert.equal(ok, null);
    assert.match(detail, /7 linha\(s\)/);
  },
});
