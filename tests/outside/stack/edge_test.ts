/** The edge function's own process: which entries serve in it, and which say why they do not. */
import assert from "node:assert/strict";
import { startEdge } from "../../stack/edge.ts";

/** Starts an entry point by its source. */
const start = (source: string) =>
  startEdge({ env: {}, entry: `data:text/javascript,${encodeURIComponent(source)}` });

Deno.test("edge: an entry that does not start says why", async () => {
  const broken = "function handler() {} throw new Error('no way');";
  await assert.rejects(start(broken), /did not start:[\s\S]*no way/);
  const silent = "function handler() {}";
  await assert.rejects(start(silent), /neither called Deno\.serve/);
});

Deno.test("edge: an entry may serve in every way there is", async () => {
  const ways = [
    "Deno.serve(handler);",
    "Deno.serve({ port: 8000 }, handler);",
    "Deno.serve({ port: 8000, handler });",
    "export { handler }; if (import.meta.main) Deno.serve(handler);",
    "export default handler;",
    "export default { fetch: handler };",
  ];
  for (const way of ways) {
    const edge = await start(`const handler = () => new Response("served"); ${way}`);
    try {
      const response = await fetch(`${edge.url}/x`);
      assert.deepEqual([response.status, await response.text()], [200, "served"], way);
    } finally {
      await edge.stop();
    }
  }
});
