/** Applies the shipped SQL files, unchanged, the way `supabase db push` does. */
import { type Database, sqlError } from "./database.ts";

/** Where the shipped migrations are. */
export const MIGRATIONS = new URL(
  "../../supabase/migrations/",
  import.meta.url,
);

/** Applies every `*.sql` of `folder` in name order, each file all or nothing. Gives their names. */
export async function migrate(
  database: Database,
  folder: URL = MIGRATIONS,
): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && entry.name.endsWith(".sql")) names.push(entry.name);
  }
  names.sort();
  for (const name of names) {
    await applyFile(database, new URL(encodeURIComponent(name), folder));
  }
  return names;
}

/** Extensions of a Supabase project, by the schemas that they make. */
const EXTENSIONS = ["cron", "net", "vault"];

/**
 * Applies the stand-ins for what a Supabase project has before any migration, as far as it is not
 * there: of the extensions, those that are asked for.
 */
export async function applyStandIns(database: Database, extensions = EXTENSIONS): Promise<void> {
  await applyFile(database, new URL("supabase.sql", import.meta.url));
  const missing = await database.query<{ name: string }>(
    "select name from unnest($1::text[]) as e (name) where to_regnamespace(name) is null",
    [extensions],
  );
  for (const { name } of missing) {
    await applyFile(database, new URL(`extensions/${name}.sql`, import.meta.url));
  }
}

/** One file is one simple query, which Postgres runs as one transaction. */
async function applyFile(database: Database, file: URL): Promise<void> {
  try {
    await database.exec(await Deno.readTextFile(file));
  } catch (error) {
    // The name of the file is what whoever reads this needs first.
    const sql = sqlError(error);
    if (error instanceof Error && sql) {
      const name = decodeURIComponent(file.pathname.split("/").at(-1)!);
      error.message = [`${name}: ${sql.message}`, sql.detail, sql.hint].filter(
        Boolean,
      ).join("\n");
    }
    throw error;
  }
}
