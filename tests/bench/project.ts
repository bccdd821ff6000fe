/** A user's project: a database with instances in it, and the REST interface before it. */
import { type Bare, startDatabase } from "../outside/support.ts";
import { type Front, type Gateway, startFront } from "./traffic.ts";

/** Settings of the monitor that differ from the defaults. */
export type Settings = Record<string, number | string>;

/** What the monitor works on, and what counts its calls. */
export interface Project extends Pick<Bare, "database" | "keys"> {
  /** Of the instances. */
  readonly names: string[];
  readonly front: Front;
  stop(): Promise<void>;
}

/** The names of so many instances. */
export function instanceNames(instances: number, kind = "pousada"): string[] {
  return Array.from({ length: instances }, (_, n) => `${kind}-${String(n).padStart(5, "0")}`);
}

/** Starts one with these instances, each the only one of an organization, which has its name. */
export async function startProject(
  gateway: Gateway,
  names: string[],
  settings: Settings,
): Promise<Project> {
  const bare = await startDatabase();
  const { database, keys } = bare;
  const front = startFront(database, keys);
  const stop = async () => {
    await front.stop();
    await bare.stop();
  };
  try {
    await database.query(
      `insert into public.organization_channel_config
         (organization_id, whatsapp_enabled, whatsapp_api_url, whatsapp_instance_name, whatsapp_api_key)
       select name, true, $1, name, $2 from jsonb_array_elements_text($3) name`,
      [gateway.url, gateway.key, names],
    );
    const project = { database, keys, names, front, stop };
    await applySettings(project, settings);
    await database.query("select whatsapp_monitor.sync_sources()");
    return project;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Changes settings. */
export async function applySettings({ database }: Project, settings: Settings): Promise<void> {
  for (const [name, value] of Object.entries(settings)) {
    await database.query(`update whatsapp_monitor.settings set "${name}" = $1`, [value]);
  }
}
