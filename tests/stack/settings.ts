/** The settings row, changed for one run. */
import { type Database, sqlError } from "./database.ts";

/** What is not shown. */
const SECRET = new Set(["alert_url", "alert_secret", "forward_to"]);

/** A setting that does not exist, or a value it does not take. */
export class SettingError extends Error {}

/** A setting's value, as it may be shown. */
function shown(name: string, value: unknown): string {
  if (value === null || value === undefined) return "null";
  return SECRET.has(name) ? "(secret)" : String(value);
}

/** Changes settings in order; gives what puts the old values back. */
export async function changeSettings(
  database: Database,
  changes: { name: string; value: string }[],
): Promise<() => Promise<void>> {
  if (changes.length === 0) return () => Promise.resolve();
  const columns = await settingColumns(database);
  const [before] = await database.query<{ row: Record<string, unknown> }>(
    "select to_jsonb(s) as row from whatsapp_monitor.settings s",
  );
  if (!before) throw new SettingError("whatsapp_monitor.settings has no row");
  const listing = [...columns.keys()]
    .map((name) => `  ${name} = ${shown(name, before.row[name])}`)
    .join("\n");
  // All or none: a database that outlives the run is not left half changed.
  await database.transaction(null, async (query) => {
    for (const { name, value } of changes) {
      const type = columns.get(name);
      if (!type) {
        throw new SettingError(
          `There is no setting ${name}. The settings are:\n${listing}`,
        );
      }
      await query(
        `update whatsapp_monitor.settings set "${name}" = $1::text::${type}`,
        [value === "" ? null : value],
      ).catch((error) => {
        const sql = sqlError(error);
        if (!sql) throw error;
        throw new SettingError(
          `${name} does not take ${JSON.stringify(value)}: ${sql.message}. ` +
            `The settings are:\n${listing}`,
        );
      });
    }
  });
  return async () => {
    for (const name of new Set(changes.map((change) => change.name))) {
      await database.query(
        `update whatsapp_monitor.settings set "${name}" =
           (jsonb_populate_record(null::whatsapp_monitor.settings, $1::text::jsonb))."${name}"`,
        [JSON.stringify(before.row)],
      );
    }
  };
}

/** Name to type, without the key that keeps the row single. */
async function settingColumns(
  database: Database,
): Promise<Map<string, string>> {
  const rows = await database.query<{ name: string; type: string }>(
    `select a.attname as name, format_type(a.atttypid, a.atttypmod) as type
       from pg_attribute a
      where a.attrelid = to_regclass('whatsapp_monitor.settings')
        and a.attnum > 0 and not a.attisdropped
        and not exists (select from pg_index i
                         where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey))
      order by a.attnum`,
  );
  return new Map(rows.map(({ name, type }) => [name, type]));
}
