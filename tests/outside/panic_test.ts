/**
 * A panic in Rust ends what its instance of the module was doing, and nothing
 * else: everything in flight is answered, the next request works, the process
 * lives, and what the dead tick held is free again after its lease.
 */
import assert from "node:assert/strict";
import { type Edge, startEdge } from "../stack/edge.ts";
import type { Report } from "../stack/report.ts";
import { openRequest, outcome, startHeldGateway, startWorld } from "./support.ts";

/** What becomes of a request whose instance of the module dies. */
const DEAD = { status: 500, body: { success: false, error: "Erro interno" } };

/** Posts, and waits for the answer. */
async function post(url: string, headers: Record<string, string>, body?: unknown) {
  const answer = fetch(url, { method: "POST", headers, body: body && JSON.stringify(body) });
  const response = await outcome(answer, url);
  return { status: response.status, body: await response.json() };
}

/** What the function says about panics, line by line. */
const panicsIn = ({ logs }: Edge) => logs.filter((line) => line.includes("Erro no monitor:"));

Deno.test("a panic while a tick, a background tick and another request are in flight", async (t) => {
  const world = await startWorld({ env: { WHATSAPP_MONITOR_DRILL: "on" } });
  const { edge, database, rest } = world;
  const { pid } = edge;
  const monitor = `${world.functionUrl}/whatsapp/monitor`;
  const token = { "x-monitor-token": world.token };
  const panic = (when: string) =>
    post(`${monitor}/drill?panic=${when}`, { apikey: world.serviceKey });
  const trigger = (organization_id: string, query = "") =>
    post(`${monitor}/start${query}`, token, { organization_id });

  /** To be called when the function is gone: it never reads the late answers. */
  const stops: (() => Promise<void>)[] = [];

  /** A whole tick of a new instance, from the trigger to the database, in the same process. */
  async function nextWorks(name: string): Promise<void> {
    world.gateway.set(name, "open");
    await world.watch(name);
    const before = rest.calls.length;
    const { status, body } = await trigger(name, "?wait=true");
    assert.deepEqual([status, body.success, body.checked], [200, true, 1]);
    assert.equal((await world.row(name)).status, "connected");
    assert.deepEqual(
      rest.calls.slice(before).map((call) => call.fn),
      ["whatsapp_monitor_begin_tick", "whatsapp_monitor_finish_tick"],
      "nobody else is at work",
    );
    assert.equal(edge.pid, pid, "the process lives");
  }

  try {
    for (const when of ["before", "after"]) {
      const held = [`waited for (${when})`, `behind (${when})`];
      const gateways = held.map(startHeldGateway);
      stops.push(...gateways.map((gateway) => gateway.stop));

      await t.step(`${when} the first await, each gets its 500 or its answer`, async () => {
        for (const [index, name] of held.entries()) {
          await world.watch(name, { url: gateways[index].url });
        }
        const waiting = trigger(held[0], "?wait=true");
        waiting.catch(() => {}); // it is awaited only after others
        const begun = await trigger(held[1]);
        assert.deepEqual([begun.status, begun.body.monitoring], [200, true]);
        await Promise.all(gateways.map((gateway) => gateway.arrived));
        let isIdle = false;
        const idle = edge.idle().then(() => isIdle = true);
        assert.equal((await trigger("nobody")).status, 400);
        assert(!isIdle, "there is work behind the answers");
        const half = await openRequest("POST", `${edge.url}/whatsapp/monitor/start`, {
          ...token,
          "transfer-encoding": "chunked",
        });
        await half.asked;

        const logged = panicsIn(edge).length;
        assert.deepEqual(await panic(when), DEAD);
        assert.deepEqual(await waiting, DEAD);
        const answer = await outcome(half.answer, "the request half sent");
        assert.deepEqual({ status: answer.status, body: JSON.parse(answer.body) }, DEAD);
        assert.equal(answer.headers.get("access-control-allow-origin"), "*");
        await outcome(idle, "waitUntil");
        assert.equal(panicsIn(edge).length, logged + 1);

        await nextWorks(`next (${when})`);
        // The rest of that body comes to an instance of the module that is gone.
        await half.write("2\r\n{}\r\n0\r\n\r\n");
        await nextWorks(`after the rest of the body (${when})`);
        half.close();
      });

      await t.step(
        `${when} the first await, what the dead ticks held is free after the lease`,
        async () => {
          for (const name of held) {
            const { lease_tick, lease_until, due_at, checked_at } = await world.row(name);
            assert.deepEqual([due_at, checked_at], [lease_until, null]);
            const [tick] = await database.query(
              "select finished_at from whatsapp_monitor.ticks where id = $1",
              [lease_tick],
            );
            assert.deepEqual(tick, { finished_at: null });
          }
          const early: Report = (await trigger(held[0], "?wait=true")).body;
          assert.deepEqual([early.success, early.checked], [true, 0], "the lease holds");

          // The answers that the dead ticks waited for come at last.
          for (const gateway of gateways) gateway.release();
          await nextWorks(`after late answers (${when})`);

          await database.query(
            `update whatsapp_monitor.instances
             set due_at = due_at - interval '1 hour', lease_until = lease_until - interval '1 hour'
             where lease_tick is not null`,
          );
          for (const name of held) {
            const report: Report = (await trigger(name, "?wait=true")).body;
            assert.deepEqual([report.success, report.checked], [true, 1]);
            const { status, version, checked_by } = await world.row(name);
            assert.deepEqual([status, version, checked_by], ["connected", 1, report.tick_id]);
          }
        },
      );
    }

    await t.step("panics in a row, and several at the same time", async () => {
      for (const when of ["before", "after", "after", "before", "after"]) {
        assert.deepEqual(await panic(when), DEAD);
      }
      await nextWorks("after many panics");
      const whens = ["before", "after", "after", "before", "after", "before"];
      for (const answer of await Promise.all(whens.map(panic))) assert.deepEqual(answer, DEAD);
      await nextWorks("after panics at the same time");
    });

    await t.step(
      "the log names the panic, and neither a path of the builder's nor a secret",
      () => {
        assert.match(panicsIn(edge)[0], /panicked at src\/api\/drill\.rs:\d+:\d+:$/);
        assert(edge.logs.includes("drill: before the first await"));
        assert(edge.logs.includes("drill: after the first await"));
        const log = edge.logs.join("\n");
        assert.doesNotMatch(log, /(^|[\s"'(])\/\w|file:\/\//m);
        const secrets = [
          world.token,
          world.serviceKey,
          world.gateway.key,
          ...Object.values(world.keys),
        ];
        for (const secret of secrets) assert(!log.includes(secret));
        // Nothing but the two lines of each panic, and what ticks say.
        const others = edge.logs.filter((line) =>
          !/^\[WhatsApp Monitor\] (🚀|🔍|✅|📝|💓)/u.test(line)
        );
        assert.equal(others.length, 2 * panicsIn(edge).length, log);
      },
    );
  } finally {
    await world.stop();
    for (const stop of stops) await stop();
  }
});

const SERVICE_KEY = "sb_secret_of_the_test";

/** The monitor in a function of somebody else's, with a database that refuses everything. */
async function mounted(work: (edge: Edge) => Promise<void>): Promise<void> {
  const rest = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => Response.json({}, { status: 403 }),
  );
  const edge = await startEdge({
    entry: "tests/outside/fixtures/mounted.ts",
    env: {
      SUPABASE_URL: `http://127.0.0.1:${rest.addr.port}`,
      SERVICE_ROLE_KEY: SERVICE_KEY,
      WHATSAPP_MONITOR_DRILL: "on",
    },
  });
  try {
    await work(edge);
  } finally {
    await edge.stop();
    await rest.shutdown();
  }
}

/** `handler` called several times in one turn of the event loop; the statuses. */
async function atOnce(edge: Edge, ...panics: string[]): Promise<number[]> {
  const query = new URLSearchParams(panics.map((when) => ["panic", when]));
  return (await post(`${edge.url}/at_once?${query}`, { apikey: SERVICE_KEY })).body;
}

Deno.test("two panics in one instance of the module: both are answered, the next one works", () =>
  mounted(async (edge) => {
    const { pid } = edge;
    for (const first of ["before", "after"]) {
      for (const second of ["before", "after"]) {
        assert.deepEqual(await atOnce(edge, first, second), [500, 500], `${first}, ${second}`);
        // No panic is asked for, so it is refused: by an instance that works.
        assert.deepEqual(await atOnce(edge, "never"), [400], `after ${first}, ${second}`);
      }
    }
    assert.equal(edge.pid, pid);
  }));

Deno.test("out of memory, a trap without a panic: all are answered, the next one works", () =>
  mounted(async (edge) => {
    const { pid } = edge;
    const start = `${edge.url}/whatsapp/monitor/start`;
    const key = { apikey: SERVICE_KEY };
    // The more there is left, the deeper in Rust it runs out, until at last it suffices.
    let left = 0;
    for (let trapped = true; trapped; left++) {
      const other = await openRequest("POST", start, { ...key, "content-length": "2" });
      await other.asked;
      await post(`${edge.url}/exhaust?but_for=${left}`, {});
      const answer = await post(start, key, { organization_id: "x".repeat(60_000) });
      trapped = answer.status === 500;
      if (trapped) {
        assert.deepEqual(answer, DEAD);
        const { status, body } = await outcome(other.answer, "the other request");
        assert.deepEqual({ status, body: JSON.parse(body) }, DEAD);
      }
      other.close();
      assert.deepEqual(await atOnce(edge, "never"), [400]);
      assert.equal(panicsIn(edge).length, trapped ? left + 1 : left);
    }
    assert(left > 2, "it ran out in more than one place");
    assert.equal(edge.pid, pid);
  }));

for (
  const [way, message] of [
    ["error", "a foreign error"],
    ["rejection", "a foreign rejection"],
    ["trap", "unreachable"],
  ]
) {
  Deno.test(`a foreign ${way} still ends the process, also after a panic`, () =>
    mounted(async (edge) => {
      assert.deepEqual(await atOnce(edge, "after"), [500]);
      await fetch(`${edge.url}/foreign/${way}`).then((answer) => answer.body?.cancel(), () => {});
      const end = await outcome(edge.exited, "the process");
      assert.equal(end.success, false);
      assert(edge.logs.some((line) => line.includes(message)), edge.logs.join("\n"));
    }));
}
