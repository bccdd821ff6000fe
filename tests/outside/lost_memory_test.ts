/** What the database remembers, as somebody has edited it: one row that cannot be read spoils no other. */
import assert from "node:assert/strict";
import { checkFor, inWorld } from "./recovery.ts";
import { found } from "./support.ts";

/** JSON to Postgres, and to nobody else: no number of ours goes so far. */
const TOO_LARGE = '{"status": "disconnected", "since": 1e400}';

Deno.test("a memory that cannot be read counts as none, and the log tells whose it was", () =>
  inWorld(async (world) => {
    const { gateway, database } = world;
    for (const name of ["loja", "vizinha"]) {
      gateway.set(name, "open");
      await world.watch(name);
    }
    await checkFor(world, 60);
    const before = await world.row("vizinha");
    for (const state of [TOO_LARGE, '"text"', "[1]", '{"status": "splendid"}']) {
      await database.query(
        "update whatsapp_monitor.instances set state = $1::text::jsonb where name = 'loja'",
        [state],
      );
      const logged = world.edge.logs.length;
      const report = await world.tick();
      assert.deepEqual([report.success, report.checked], [true, 2], state);
      for (const name of ["loja", "vizinha"]) {
        assert.equal(found(report, name).status, "connected", `${name}: ${state}`);
      }
      const lost = world.edge.logs.slice(logged).filter((line) =>
        line.includes("Memória ilegível")
      );
      assert.equal(lost.length, 1, state);
      assert.ok(lost[0].includes("loja"), lost[0]);
    }
    const after = await world.row("vizinha");
    assert.deepEqual(after.status_since, before.status_since);
    await database.query(
      "update whatsapp_monitor.gateways set state = $1::text::jsonb",
      [TOO_LARGE],
    );
    assert.equal((await world.tick()).checked, 2, "nor does that of a gateway");
  }));
