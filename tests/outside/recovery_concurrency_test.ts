/** Many actions on one gateway at once: no more of them in flight than questions may be. */
import assert from "node:assert/strict";
import { checkFor } from "./recovery.ts";
import { startWorld } from "./support.ts";

const NAMES = ["a", "b", "c", "d", "e"];
const CONCURRENCY = 2;

/** Long enough for all that is sent at once to arrive. */
const HOLD_MS = 100;

Deno.test("no more actions are in flight on a gateway than its share", async () => {
  let [restarts, in_flight, most] = [0, 0, 0];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    const [, , question, name] = pathname.split("/");
    if (pathname === "/") return Response.json({ version: "2.3.6" });
    if (question === "connectionState") {
      return Response.json({ instance: { instanceName: name, state: "connecting" } });
    }
    if (question === "fetchInstances") {
      const row = { name: searchParams.get("instanceName"), connectionStatus: "open" };
      return Response.json([row]);
    }
    if (question !== "restart") return Response.json({}, { status: 404 });
    restarts++;
    most = Math.max(most, ++in_flight);
    await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
    in_flight--;
    return Response.json({ instance: { instanceName: name, state: "connecting" } });
  });
  const world = await startWorld();
  try {
    await world.set({ concurrency: CONCURRENCY });
    await world.database.query("update whatsapp_monitor.settings set webhook_policy = 'off'");
    for (const name of NAMES) {
      await world.watch(name, { url: `http://127.0.0.1:${server.addr.port}` });
    }
    await checkFor(world, 120);
    assert.deepEqual([restarts, most], [NAMES.length, CONCURRENCY]);
  } finally {
    await world.stop();
    await server.shutdown();
  }
});
