/** What the function itself sends to the database in a tick, as samples for many more. */
import assert from "node:assert/strict";
import { anotherEdge, inWorld } from "../outside/support.ts";

/** A result of `finish_tick`, as the function sends it. */
// deno-lint-ignore no-explicit-any -- whatever it sends
export type Result = Record<string, any>;

/** Requests of one tick in which nothing was new. */
export interface Samples {
  /** Which Postgres that was. */
  server: string;
  begin: Record<string, unknown>;
  finish: Record<string, unknown>;
  /** What it said of one that is open. */
  open: Result;
  /** And of one that waits for a person. */
  down: Result;
}

/** After so many nothing is new any more: the outage is confirmed, the webhook looked at. */
const TICKS = 8;

/** Lets the function watch two instances for a while and listens to what it says. */
export async function record(): Promise<Samples> {
  const last: Record<string, Record<string, unknown>> = {};
  let server = "";
  await inWorld(async (world) => {
    const [{ version }] = await world.database.query<{ version: string }>("select version()");
    server = version.split(" (")[0];
    world.gateway.set("open", "open");
    world.gateway.set("down", "logged_out");
    await world.watch("open");
    await world.watch("down");
    const listener = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        const body = await request.text();
        const fn = pathname.match(/whatsapp_monitor_(begin|finish)_tick$/)?.[1];
        if (fn) last[fn] = JSON.parse(body).request;
        const { method, headers } = request;
        return await fetch(world.url + pathname, { method, headers, body });
      },
    );
    const edge = await anotherEdge({ ...world, url: `http://127.0.0.1:${listener.addr.port}` });
    try {
      for (let tick = 0; tick < TICKS; tick++) {
        await world.makeDue();
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
  const results = last.finish.results as Result[];
  const one = (status: string) => {
    const result = results.find((each) => each.status === status);
    assert.ok(result, `nothing was said of the one that is ${status}: ${JSON.stringify(results)}`);
    return result;
  };
  return {
    server,
    begin: last.begin,
    finish: last.finish,
    open: one("connected"),
    down: one("waiting_qr"),
  };
}
