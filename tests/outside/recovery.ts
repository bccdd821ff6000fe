/** What the tests of the recovery have in common: time that passes, and what a gateway received. */
import assert from "node:assert/strict";
import type { Gateway } from "../stack/evolution/mod.ts";
import type { Report } from "../stack/report.ts";
import { startWorld, type World } from "./support.ts";

/** All that the monitor ever asks of a gateway, and with which body. */
const ALLOWED: Record<string, unknown> = {
  "GET /": null,
  "GET /instance/connect": null,
  "GET /instance/connectionState": null,
  "GET /instance/fetchInstances": null,
  "GET /settings/find": null,
  "POST /instance/restart": {},
  "POST /instance/setPresence": { presence: "unavailable" },
};

export const ALLOWED_KINDS = Object.keys(ALLOWED).sort();

/** Method and path of each request, without the name of the instance. */
export function kinds({ requests }: Gateway): string[] {
  return requests.map(({ method, path }) => {
    const [, first, second] = path.split(/[/?]/);
    return `${method} /${second === undefined ? first : `${first}/${second}`}`;
  });
}

/** Checks that a gateway received nothing but what it may. */
export function assertAllowed(gateway: Gateway): void {
  for (const [n, kind] of kinds(gateway).entries()) {
    assert.ok(kind in ALLOWED, `${kind} was sent`);
    assert.deepEqual(gateway.requests[n].body, ALLOWED[kind], kind);
  }
}

/** A world of its own, whose gateway never receives what it may not. */
export async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  const world = await startWorld();
  try {
    await work(world);
    assertAllowed(world.gateway);
  } finally {
    await world.stop();
  }
}

/** An instance that is open on the same gateway: WhatsApp can be reached from there. */
export async function addNeighbour(world: World): Promise<void> {
  world.gateway.set("vizinha", "open");
  await world.watch("vizinha");
}

/** Checks for so long, at so many seconds from each other; gives what each trigger reported. */
export async function checkFor(world: World, seconds: number, every_s = 30): Promise<Report[]> {
  const reports = [];
  for (let passed = 0; passed < seconds; passed += every_s) {
    reports.push(await world.after(every_s));
  }
  return reports;
}

/** What was done to an instance, as the gateway received it. */
export function done({ requests }: Gateway, name: string): string[] {
  return requests
    .map(({ method, path }) => `${method} ${path}`)
    .filter((request) => /^\w+ \/instance\/(connect|restart)\//.test(request))
    .filter((request) => request.endsWith(`/${encodeURIComponent(name)}`));
}

/** What was done to an instance, as the database has it; `s` is how long ago, in whole seconds. */
export async function recorded({ database }: World, name: string) {
  return await database.query<
    { kind: string; grounds: string; ack: string | null; verdict: string | null; s: number }
  >(
    `select a.kind, a.grounds, a.ack, a.verdict,
       floor(extract(epoch from now() - a.granted_at))::int as s
     from whatsapp_monitor.actions a
     join whatsapp_monitor.instances i on i.id = a.instance_id
     where i.name = $1 order by a.granted_at, a.id`,
    [name],
  );
}

/** Does this when a function of the database is called next, before the call or after it. */
export function uponCall(
  { rest }: World,
  fn: string,
  change: () => Promise<unknown>,
  when: "before" | "after" = "before",
): void {
  const handle = rest.handle;
  rest.handle = async (request) => {
    if (!request.url.endsWith(`/rpc/${fn}`)) return await handle(request);
    rest.handle = handle;
    if (when === "before") await change();
    const answer = await handle(request);
    if (when === "after") await change();
    return answer;
  };
}

/** Somebody else writes an instance. */
export function touch({ database }: World, name: string): Promise<unknown> {
  return database.query(
    "update whatsapp_monitor.instances set version = version + 1 where name = $1",
    [name],
  );
}
