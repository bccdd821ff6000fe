/** Time that passes without waiting: what the database remembers is moved back. */
import type { Database } from "./database.ts";

const SCHEMA = "whatsapp_monitor";

/** Every moment in the monitor's tables. One that is part of a key stays: it might meet the next row. */
const MOMENTS = `
  select c.relname as name, array_agg(a.attname::text) as columns
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
   where c.relnamespace = '${SCHEMA}'::regnamespace and c.relkind = 'r'
     and a.atttypid = 'timestamptz'::regtype and a.attnum > 0 and not a.attisdropped
     and not exists (select from pg_index i
                      where i.indrelid = c.oid and i.indisunique and a.attnum = any (i.indkey))
   group by c.relname`;

/** The monitor's memories, which hold their moments in milliseconds. */
const MEMORIES = [
  { table: "instances", id: "id", memory: "state" },
  { table: "gateways", id: "id", memory: "state" },
  { table: "webhooks", id: "instance_id", memory: "memory" },
];

/** Every number from here on is a moment: milliseconds since 1970 that lie after 2001. */
const FIRST_MOMENT_MS = 1e12;

/**
 * Lets so many seconds pass: everything that the monitor remembers happened so much earlier, and
 * what was due in so many seconds is due now. Not while a tick is running. The gateway's own moments
 * stay.
 */
export async function passTime(database: Database, seconds: number): Promise<void> {
  await database.transaction(null, async (query) => {
    const tables = await query<{ name: string; columns: string[] }>(MOMENTS);
    for (const { name, columns } of tables) {
      const changes = columns.map((each) => `"${each}" = "${each}" - make_interval(secs => $1)`);
      await query(`update ${SCHEMA}."${name}" set ${changes}`, [seconds]);
    }
    for (const { table, id, memory } of MEMORIES) {
      const rows = await query<{ id: number; memory: unknown }>(
        `select ${id} as id, ${memory} as memory from ${SCHEMA}.${table}
          where ${memory} is not null`,
      );
      const moved = rows.map(({ id, memory }) => ({ id, memory: earlier(memory, seconds * 1000) }));
      await query(
        `update ${SCHEMA}.${table} t set ${memory} = r.memory
           from jsonb_to_recordset($1::jsonb) as r (id bigint, memory jsonb) where t.${id} = r.id`,
        [JSON.stringify(moved)],
      );
    }
    await query(
      `update ${SCHEMA}.outages o
          set actions = (select jsonb_agg(jsonb_set(a, '{at}',
                           to_jsonb((a ->> 'at')::timestamptz - make_interval(secs => $1))))
                           from jsonb_array_elements(o.actions) a)
        where jsonb_typeof(o.actions) = 'array'`,
      [seconds],
    );
  });
}

/** The same memory, each moment in it so many milliseconds earlier. */
function earlier(memory: unknown, ms: number): unknown {
  if (typeof memory === "number") return memory >= FIRST_MOMENT_MS ? memory - ms : memory;
  if (Array.isArray(memory)) return memory.map((each) => earlier(each, ms));
  if (typeof memory !== "object" || memory === null) return memory;
  const fields = Object.entries(memory);
  return Object.fromEntries(
    // The one moment of the gateway's that is a number.
    fields.map(([key, each]) => [key, key === "sent_ms" ? each : earlier(each, ms)]),
  );
}
