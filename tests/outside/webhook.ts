/** A gateway's webhook, played by hand: events as Evolution sends them, to the function's receiver. */
import assert from "node:assert/strict";
import { passTime } from "../stack/time.ts";
import { inWorld, type World } from "./support.ts";

/** What an event may have besides, or in another way. */
export interface Event {
  event?: unknown;
  instance?: unknown;
  data?: unknown;
  date_time?: unknown;
  [field: string]: unknown;
}

export const RECEIVER = "/whatsapp/webhook";
export const HEADER = "x-monitor-webhook-secret";
export const BEGIN_EVENT = "whatsapp_monitor_begin_event";
export const FINISH_EVENT = "whatsapp_monitor_finish_event";

/** Gives an instance a webhook, if it has none yet; gives its secret. */
export async function secretOf({ database }: World, name: string): Promise<string> {
  await database.query(
    `insert into whatsapp_monitor.webhooks (instance_id)
     select id from whatsapp_monitor.instances where name = $1 on conflict do nothing`,
    [name],
  );
  const [{ secret }] = await database.query<{ secret: string }>(
    `select w.secret from whatsapp_monitor.webhooks w
     join whatsapp_monitor.instances i on i.id = w.instance_id where i.name = $1`,
    [name],
  );
  return secret;
}

/** Sends a body to the receiver, as it stands; gives the status. */
export async function post(
  world: World,
  body: BodyInit,
  headers: Record<string, string>,
  path = RECEIVER,
): Promise<number> {
  const answer = await fetch(world.functionUrl + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  await answer.body?.cancel();
  return answer.status;
}

/** One instance and its webhook. */
export interface Line {
  readonly name: string;
  readonly secret: string;
  /** The event as Evolution would send it now: each a second after the one before. */
  event(event: string, data: unknown, rest?: Event): Event;
  /** Sends an event that must be taken. */
  send(event: string | Event, data?: unknown): Promise<void>;
  /** Sends it, whatever is answered. */
  deliver(event: Event): Promise<number>;
  /** The row of the instance. */
  row(): Promise<Record<string, unknown>>;
  /** Status and reason. */
  shown(): Promise<[status: unknown, reason: unknown]>;
}

/** Noon by the gateway's clock, which is some hours off as Evolution's always is. */
const NOON = Date.UTC(2026, 10, 23, 9);

/** The line of an instance that is watched. */
export async function lineOf(world: World, name: string): Promise<Line> {
  const secret = await secretOf(world, name);
  let seconds = 0;
  const line: Line = {
    name,
    secret,
    event: (event, data, rest = {}) => ({
      event,
      instance: name,
      data,
      destination: world.functionUrl + RECEIVER,
      date_time: new Date(NOON + 1000 * seconds++).toISOString(),
      server_url: world.gateway.url,
      apikey: "TOKEN-IN-CLEAR",
      ...rest,
    }),
    async send(event, data = null) {
      const whole = typeof event === "string" ? line.event(event, data) : event;
      assert.equal(await line.deliver(whole), 200, JSON.stringify(whole));
    },
    deliver: (event) => post(world, JSON.stringify(event), { [HEADER]: secret }),
    row: () => world.row(name),
    async shown() {
      const { status, reason_code } = await line.row();
      return [status, reason_code];
    },
  };
  return line;
}

/** A world with one instance that was open for a while, and its webhook. */
export function onLine(work: (line: Line, world: World) => Promise<void>): Promise<void> {
  return inWorld(async (world) => {
    const line = await opened(world, "loja");
    await work(line, world);
  });
}

/** An instance that is open, checked and not due. */
export async function opened(world: World, name: string): Promise<Line> {
  world.gateway.set(name, "open");
  await world.watch(name);
  await world.tick();
  await passTime(world.database, 5);
  const line = await lineOf(world, name);
  assert.deepEqual(await line.shown(), ["connected", null]);
  return line;
}

/** The data of `connection.update`. */
export const update = (state: string, statusReason = 200) => ({
  instance: "loja",
  state,
  statusReason,
});

/** Whether the instance is due now. */
export async function isDue({ database }: World, name: string): Promise<boolean> {
  const [{ due }] = await database.query<{ due: boolean }>(
    "select due_at <= clock_timestamp() as due from whatsapp_monitor.instances where name = $1",
    [name],
  );
  return due;
}
