/**
 * Embedded Postgres: PGlite, in memory, in this process.
 *
 * It has one connection, so transactions run one after the other, and one
 * thread, so `statement_timeout` has no effect and `pg_sleep` stops everything.
 * After an SQL error it holds a JavaScript timer of up to 10 s, until it is
 * closed: tests that share one need their sanitizers off (Deno looks at each
 * test alone). Inside a transaction use its own `query`: `database.query` waits for its end.
 */
import { PGlite } from "@electric-sql/pglite";
import { type Database, transactionSettings } from "./database.ts";

/** Opens an empty database in memory. */
export async function openPglite(): Promise<Database> {
  const db = await createFromImage();
  return {
    query: async <T>(sql: string, params?: unknown[]) => (await db.query<T>(sql, params)).rows,
    exec: async (sql) => void await db.exec(sql),
    transaction: (role, work, options) =>
      db.transaction(async (tx) => {
        // A timeout could not interrupt anything and would leave a JavaScript timer behind.
        const untimed = { ...options, statement_timeout_ms: 0 };
        const settings = transactionSettings(role, untimed);
        await tx.query(settings.sql, settings.params);
        return await work(async <T>(sql: string, params?: unknown[]) =>
          (await tx.query<T>(sql, params)).rows
        );
      }),
    close: () => db.close(),
  };
}

const BIGINT_OID = 20;
const OPTIONS = { parsers: { [BIGINT_OID]: Number } };

/**
 * initdb takes 3.4 s here; loading what it made once takes 0.55 s. So its
 * result is kept in the user's cache folder, by PGlite version. Nothing depends
 * on it: where it cannot be read or written, initdb runs.
 */
async function createFromImage(): Promise<PGlite> {
  const folder = cacheFolder();
  const image = `${folder}/pglite-${pgliteVersion()}.tgz`;
  const kept = await Deno.readFile(image).catch(() => null);
  if (kept) {
    try {
      return await PGlite.create({ ...OPTIONS, loadDataDir: new Blob([kept]) });
    } catch {
      await Deno.remove(image).catch(() => {});
    }
  }
  const db = await PGlite.create(OPTIONS);
  try {
    const bytes = new Uint8Array(
      await (await db.dumpDataDir("gzip")).arrayBuffer(),
    );
    await Deno.mkdir(folder, { recursive: true });
    // Written aside and renamed: test files start at the same time.
    const aside = `${folder}/${crypto.randomUUID()}.tmp`;
    await Deno.writeFile(aside, bytes);
    await Deno.rename(aside, image);
  } catch {
    // Without the image the next start is slow, nothing else.
  }
  return db;
}

/** Where `build.sh` keeps its tools too. */
function cacheFolder(): string {
  const { WHATSAPP_MONITOR_CACHE, XDG_CACHE_HOME, HOME } = Deno.env.toObject();
  return WHATSAPP_MONITOR_CACHE ||
    `${XDG_CACHE_HOME || `${HOME}/.cache`}/whatsapp-monitor`;
}

function pgliteVersion(): string {
  const manifest = new URL(
    "../package.json",
    import.meta.resolve("@electric-sql/pglite"),
  );
  return JSON.parse(Deno.readTextFileSync(manifest)).version;
}
