// The SQL file that a user pastes, as it is committed: made from the present
// migrations, whole and in order.

import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { SQL_FILE, SQL_SOURCES, sqlStaleness, sqlText } from "../../build/sql.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

Deno.test("the SQL file is as new as the migrations", () => {
  const reason = sqlStaleness(root);
  assert(!reason, reason ?? "");
});

Deno.test("it holds one line to edit, one transaction, and the checklist last", () => {
  const text = readFileSync(join(root, SQL_FILE), "utf8");
  assert.equal(text.match(/^set whatsapp_monitor\.function_url = '';$/gm)?.length, 1);
  assert.deepEqual(text.match(/^(begin|commit);$/gm), ["begin;", "commit;"]);
  assert.match(text, /\ncommit;\n[^;]*\nselect \* from whatsapp_monitor\.checklist\(\);\n$/);
});

Deno.test("a change makes it old, in a clear sentence", () => {
  const folder = mkdtempSync(join(tmpdir(), "sql-test-"));
  const old = `${SQL_FILE} is older than the migrations: run ./build.sh and commit it`;
  try {
    const reset = () => {
      rmSync(join(folder, "supabase"), { recursive: true, force: true });
      mkdirSync(join(folder, "supabase"));
      for (const source of SQL_SOURCES) {
        cpSync(join(root, source), join(folder, source), { recursive: true });
      }
      writeFileSync(join(folder, SQL_FILE), sqlText(folder));
      assert.equal(sqlStaleness(folder), null);
    };
    reset();
    const first = "supabase/migrations/20261123000100_whatsapp_monitor_tables.sql";
    for (const changed of [first, "supabase/schedule/before.sql", "supabase/schedule/after.sql"]) {
      reset();
      appendFileSync(join(folder, changed), "\nselect 1;\n");
      assert.equal(sqlStaleness(folder), old, changed);
    }
    reset();
    writeFileSync(join(folder, "supabase/migrations/20991231000000_new.sql"), "select 1;\n");
    assert.equal(sqlStaleness(folder), old);
    rmSync(join(folder, SQL_FILE));
    assert.equal(
      sqlStaleness(folder),
      `${SQL_FILE} is not there: run ./build.sh and commit it`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
