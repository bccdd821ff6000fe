/** What a tick finds in life, found at every tick of a benchmark, whose clock stands still meanwhile. */
import type { Database } from "../stack/database.ts";
import { passTime } from "../stack/time.ts";

/**
 * The monitor looks at webhooks and for zombies in turns of the clock, each instance in its own
 * phase. Where only the past moves, the clock crosses such turns when it likes: so they are made this
 * long, and whose turn it is is told.
 */
const TURN_S = 86_400;

/** What comes to each instance in turn, and where it is remembered when it last came. */
const LOOKS = {
  webhooks: { table: "webhooks", id: "instance_id", memory: "memory", moment: "looked_at" },
  probes: { table: "instances", id: "id", memory: "state", moment: "probed_at" },
};

interface Rhythm extends Record<keyof typeof LOOKS, number> {
  interval_s: number;
}

/**
 * Takes the rhythm of life from the settings, and gives what lets an interval pass: all instances
 * are due, and as many of them as in life for a look at the webhook, and for a probe.
 */
export async function startLife(database: Database): Promise<() => Promise<void>> {
  const [{ interval_s, ...ticks }] = await database.query<Rhythm>(
    `select interval_s,
            case webhook_policy when 'off' then 0 else webhook_check_every_s / interval_s end
              as webhooks,
            zombie_probe_every_s / interval_s as probes
       from whatsapp_monitor.settings`,
  );
  await database.query(
    `update whatsapp_monitor.settings
        set webhook_check_every_s = $1,
            zombie_probe_every_s = case zombie_probe_every_s when 0 then 0 else $1 end`,
    [TURN_S],
  );
  const looks = (Object.keys(LOOKS) as (keyof typeof LOOKS)[]).filter((name) => ticks[name] > 0);
  let tick = 0;
  return async () => {
    await passTime(database, interval_s);
    for (const name of looks) {
      const { table, id, memory, moment } = LOOKS[name];
      // In an order of its own: who is probed is not who is looked at, and not all in one batch.
      await database.query(
        `update whatsapp_monitor.${table} t
            set ${memory} = jsonb_set(t.${memory}, '{${moment}}', to_jsonb(
                  (extract(epoch from clock_timestamp()) * 1000)::bigint
                  - case when o.place % $1 = $2 then ${TURN_S * 1000} else 0 end))
           from (select id, row_number() over (order by md5('${name}' || id)) as place
                   from whatsapp_monitor.instances) o
          where o.id = t.${id}`,
        [ticks[name], tick % ticks[name]],
      );
    }
    tick++;
  };
}
