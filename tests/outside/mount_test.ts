/**
 * Mounted into a function that has routes of its own, the monitor takes the
 * listed ones and leaves all others alone. The application runs in this
 * process, as a mounted monitor does.
 */
import assert from "node:assert/strict";
import { type Context, Hono } from "hono";
import { found, startWorld } from "./support.ts";

Deno.test("mounted into a Hono application", async (t) => {
  const world = await startWorld();
  // The names that win over all others, whatever another test has left in the environment.
  Deno.env.set("RENDIZY_SUPABASE_URL", world.url);
  Deno.env.set("SERVICE_ROLE_KEY", world.serviceKey);
  const { mount } = await import("../../supabase/functions/rendizy-server/index.ts");

  /** An application like the one that is there already, with or without the monitor. */
  function application(monitor?: ReturnType<typeof mount>): Hono {
    const app = new Hono();
    if (monitor) {
      app.use("*", async (c, next) => await monitor(c.req.raw) ?? await next());
    }
    const own = (c: Context) => c.json({ own: c.req.path, method: c.req.method });
    app.get("/rendizy-server/whatsapp/status", own);
    app.post("/rendizy-server/chat/channels/whatsapp/webhook", own);
    app.get("/rendizy-server/whatsapp/monitor/own", own);
    app.options("/rendizy-server/*", (c) => c.text("own preflight"));
    app.post("/rendizy-server/echo", async (c) => c.json(await c.req.json()));
    app.notFound((c) => c.json({ message: "Not Found" }));
    return app;
  }
  const at = (path: string) => `http://edge.test/rendizy-server${path}`;
  const headers = { "x-monitor-token": world.token };

  try {
    world.gateway.set("loja", "open");
    await world.watch("loja");

    await t.step("its routes are answered by the monitor", async () => {
      const app = application(mount());
      const url = at("/whatsapp/monitor/start?wait=true");
      const response = await app.fetch(new Request(url, { method: "POST", headers }));
      assert.equal(response.status, 200);
      assert.equal(found(await response.json(), "loja").status, "connected");
      const refused = await app.fetch(new Request(at("/whatsapp/monitor/status")));
      assert.equal(refused.status, 401);
      await refused.body?.cancel();
    });

    await t.step(
      "all other requests are the application's, as if nothing were mounted",
      async () => {
        const [mounted, alone] = [application(mount()), application()];
        const requests: [string, RequestInit?][] = [
          ["/whatsapp/status"],
          ["/chat/channels/whatsapp/webhook", { method: "POST", body: "{}" }],
          ["/echo", { method: "POST", body: '{"a":1}' }],
          ["/whatsapp/monitor/own"],
          ["/whatsapp/monitor/nothing"],
          ["/whatsapp/monitor"],
          ["/whatsapp/monitor/drill?panic=before", { method: "POST" }],
          ["/nothing"],
          ["/whatsapp/status", { method: "OPTIONS" }],
        ];
        for (const [path, init] of requests) {
          const [ours, theirs] = await Promise.all(
            [mounted, alone].map(async (app) => {
              const response = await app.fetch(new Request(at(path), init));
              return [response.status, [...response.headers], await response.text()];
            }),
          );
          assert.deepEqual(ours, theirs, path);
        }
      },
    );

    await t.step("it takes exactly the routes that it is given", async () => {
      const app = application(mount(["/whatsapp/monitor/status"]));
      const status = await app.fetch(new Request(at("/whatsapp/monitor/status"), { headers }));
      assert.equal((await status.json()).success, true);
      const start = await app.fetch(
        new Request(at("/whatsapp/monitor/start"), { method: "POST", headers }),
      );
      assert.deepEqual(await start.json(), { message: "Not Found" });
    });

    await t.step(
      "a body that the application has read already is an error, not an end",
      async () => {
        const app = new Hono();
        const monitor = mount();
        app.use("*", async (c, next) => {
          await c.req.raw.text();
          return await monitor(c.req.raw) ?? await next();
        });
        const request = new Request(at("/whatsapp/monitor/start"), {
          method: "POST",
          headers,
          body: "{}",
        });
        const response = await app.fetch(request);
        assert.equal(response.status, 400);
        assert.equal((await response.json()).success, false);
      },
    );
  } finally {
    await world.stop();
  }
});
