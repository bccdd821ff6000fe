/** The monitor as a contestant. */
import { type Edge, startEdge } from "../stack/edge.ts";
import { type Contestant, demand } from "./contestant.ts";
import { startLife } from "./life.ts";
import type { Project } from "./project.ts";

/** A sweep that takes more triggers than this hangs. */
const MAX_TRIGGERS = 20;

/** The real function over a project. */
export function startMonitor(
  { front, keys }: Project,
  more: Partial<Parameters<typeof startEdge>[0]> = {},
): Promise<Edge> {
  const secrets = JSON.stringify({ default: keys.service });
  return startEdge({ env: { SUPABASE_URL: front.url, SUPABASE_SECRET_KEYS: secrets }, ...more });
}

/** A sweep ends when the last tick is committed and nothing goes on behind it. */
export async function triggered(
  edge: Edge,
  { database, front, keys, names }: Project,
): Promise<Contestant> {
  const url = `${edge.url}/rendizy-server/whatsapp/monitor/start`;
  const done = async () => {
    const [row] = await database.query<{ checks: number; ticks: number }>(
      `select coalesce(sum(checked), 0)::integer as checks, count(*)::integer as ticks
         from whatsapp_monitor.ticks where finished_at is not null and claimed > 0`,
    );
    return row;
  };
  return {
    pid: edge.pid!,
    prepare: await startLife(database),
    stored: front.traffic,
    async sweep(some) {
      const before = await done();
      for (let trigger = 0; trigger < MAX_TRIGGERS; trigger++) {
        await demand(fetch(url, { method: "POST", headers: { apikey: keys.service } }));
        await edge.idle();
        const after = await done();
        const checks = after.checks - before.checks;
        if (some || checks >= names.length) return { checks, ticks: after.ticks - before.ticks };
      }
      throw new Error(`the monitor did not come to an end:\n${edge.logs.slice(-20).join("\n")}`);
    },
    // All checked, and of those that are open, the webhook is set and was seen to be.
    async isSettled() {
      const [{ settled }] = await database.query<{ settled: boolean }>(
        `select bool_and(case i.status
                           when 'unknown' then false
                           when 'connected' then t.webhook_policy = 'off'
                                                 or w.finding is not distinct from 'right'
                           else true end) as settled
           from whatsapp_monitor.instances i
           left join whatsapp_monitor.webhooks w on w.instance_id = i.id
          cross join whatsapp_monitor.settings t`,
      );
      return settled;
    },
  };
}
