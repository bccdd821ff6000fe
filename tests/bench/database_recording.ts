/** What the function itself sends to the database in a tick, as samples for many more. */
import assert from "node:assert/strict";
import { anotherEdge, inWorld } from "../outside/support.ts";
import { startLife } from "./life.ts";

/** What `finish_tick` is told of one instance, as the function tells it. */
// deno-lint-ignore no-explicit-any -- whatever it sends
export type Result = Record<string, any>;

/** What the function says in a tick once it knows its instances. */
export interface Samples {
  /** Which Postgres that was. */
  server: string;
  begin: Record<string, unknown>;
  finish: Record<string, unknown>;
  /** Of one that is open as it was: what goes into `settled`, and not into `results`. */
  settled: Result;
  /** Of one that is open, and at whose webhook it has looked. */
  looked: Result;
  /** Of one that is open, and whose socket it has looked for. */
  probed: Result;
  /** Of one that waits for a person. */
  down: Result;
}

/** After so many nothing is new any more: the outage is confirmed, the profile known. */
const TICKS_UNTIL_KNOWN = 8;
/** In so many each look has come at least once. */
const TICKS = TICKS_UNTIL_KNOWN + 20;

/** Lets the function watch two instances for a while, as in life, and listens to what it says. */
export async function record(): Promise<Samples> {
  const begins: Record<string, unknown>[] = [];
  const finishes: Record<string, unknown>[] = [];
  let server = "";
  await inWorld(async (world) => {
    const [{ version }] = await world.database.query<{ version: string }>("select version()");
    server = version.split(" (")[0];
    world.gateway.set("open", "open");
    world.gateway.set("down", "logged_out");
    await world.watch("open");
    await world.watch("down");
    await world.set({ webhook_policy: "manage" });
    const pass = await startLife(world.database);
    const listener = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        const body = await request.text();
        if (pathname.endsWith("_begin_tick")) begins.push(JSON.parse(body).request);
        if (pathname.endsWith("_finish_tick")) finishes.push(JSON.parse(body).request);
        const { method, headers } = request;
        return await fetch(world.url + pathname, { method, headers, body });
      },
    );
    const edge = await anotherEdge({ ...world, url: `http://127.0.0.1:${listener.addr.port}` });
    try {
      for (let tick = 0; tick < TICKS; tick++) {
        await pass();
        const answer = await fetch(`${edge.url}/rendizy-server/whatsapp/monitor/start`, {
          method: "POST",
          headers: { "x-monitor-token": world.token, "user-agent": "pg_net/0.20.4" },
        });
        assert.equal(answer.status, 200, await answer.text());
        await edge.idle();
      }
    } finally {
      await edge.stop();
      await listener.shutdown();
    }
  });
  const late = finishes.slice(TICKS_UNTIL_KNOWN);
  const results = late.flatMap(({ results }) => results as Result[]);
  const settled = late.flatMap(({ settled }) => settled as Result[]);
  const last = (what: string, of: Result[], is: (each: Result) => boolean = () => true) => {
    const found = of.findLast(is);
    assert.ok(found, `nothing was said of one that is ${what}: ${JSON.stringify(results)}`);
    return found;
  };
  return {
    server,
    begin: begins.at(-1)!,
    finish: finishes.at(-1)!,
    settled: last("settled", settled),
    looked: last("looked at", results, (each) => each.status === "connected" && each.webhook),
    probed: last("probed", results, (each) => each.status === "connected" && !each.webhook),
    down: last("down", results, (each) => each.status === "waiting_qr"),
  };
}
