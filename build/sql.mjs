// The one SQL file that a user pastes: the migrations, between what comes before them and after them.
//
//   node build/sql.mjs write   writes it, if it is not what its sources give
//   node build/sql.mjs fresh   status 1, and one sentence, if it is not

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The file, relative to the root. */
export const SQL_FILE = "supabase/CRIAR_CRON_JOB_MONITORAMENTO_WHATSAPP.sql";

/** The folders of what it is made of. */
export const SQL_SOURCES = ["supabase/migrations", "supabase/schedule"];

/** What the file is to hold. */
export function sqlText(root) {
  const [migrations, schedule] = SQL_SOURCES;
  // By code unit, not by locale: the same order on every machine.
  const names = readdirSync(join(root, migrations)).filter((name) => name.endsWith(".sql")).sort();
  const parts = [`${schedule}/before.sql`, ...names.map((name) => `${migrations}/${name}`)];
  parts.push(`${schedule}/after.sql`);
  return "-- Gerado por build.sh de supabase/migrations e supabase/schedule: para mudar algo, mude lá.\n\n" +
    parts.map((part) => readFileSync(join(root, part), "utf8").trim()).join("\n\n") + "\n";
}

/** Why the file cannot be used, in one sentence, or null. */
export function sqlStaleness(root) {
  const remedy = "run ./build.sh and commit it";
  const file = join(root, SQL_FILE);
  if (!existsSync(file)) return `${SQL_FILE} is not there: ${remedy}`;
  return readFileSync(file, "utf8") === sqlText(root)
    ? null
    : `${SQL_FILE} is older than the migrations: ${remedy}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const reason = sqlStaleness(root);
  if (reason && process.argv[2] === "write") {
    writeFileSync(join(root, SQL_FILE), sqlText(root));
    console.error(`build: wrote ${SQL_FILE}`);
  } else if (reason) {
    console.error(reason);
    process.exitCode = 1;
  }
}
