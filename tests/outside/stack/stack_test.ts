/** The whole local stack: what passes between the function and the rest, and how each part fails. */
import assert from "node:assert/strict";
import { startStack } from "../../stack/stack.ts";
import { startWorld } from "../support.ts";
import { answer, ENTRY, MIGRATIONS, refusal } from "./harness.ts";

Deno.test("the stack: function, REST, gateway, faults", async (t) => {
  const stack = await startWorld({ migrations: MIGRATIONS, entry: ENTRY, env: { MINE: "1" } });
  const { edge, rest, database, gateway } = stack;
  const get = (path: string, init?: RequestInit) => fetch(`${stack.functionUrl}/${path}`, init);
  const text = async (path: string) => await (await get(path)).text();
  const json = async (path: string) => await (await get(path)).json();
  /** Two calls of the database by the function: the status and the count of each, or the error. */
  const calls = () => json("rpc");
  try {
    await t.step("the function sees its slug and nothing before it", async () => {
      const response = await get("echo/S%C3%A3o%20Jo%C3%A3o?a=%2F", {
        method: "PATCH",
        headers: { "x-test": "h" },
        body: "ção",
      });
      const { env, ...seen } = await response.json();
      assert.deepEqual(seen, {
        method: "PATCH",
        path: "/rendizy-server/echo/S%C3%A3o%20Jo%C3%A3o?a=%2F",
        header: "h",
        length: "5",
        body: "ção",
      });
      assert.deepEqual(Object.keys(env).sort(), [
        "MINE",
        "SUPABASE_ANON_KEY",
        "SUPABASE_PUBLISHABLE_KEYS",
        "SUPABASE_SECRET_KEYS",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_URL",
      ]);
      assert.equal(env.SUPABASE_URL, stack.url);
      assert.deepEqual(JSON.parse(env.SUPABASE_SECRET_KEYS), { default: stack.serviceKey });
    });

    await t.step("its world is the edge runtime's", async () => {
      assert.deepEqual(await json("world"), {
        window: true,
        main: false,
        read: "NotCapable",
        run: "NotCapable",
        exit: "did nothing",
      });
      assert(edge.logs.includes("a line") && edge.logs.includes("another"));
    });

    await t.step("methods, streams and unknown paths go through as they are", async () => {
      assert.deepEqual(await answer(get("echo", { method: "HEAD" })), [200, ""]);
      assert.equal(await text("stream"), "one two");
      assert.deepEqual(await answer(get("nope")), [404, ""]);
      const redirect = await get("redirect", { redirect: "manual" });
      assert.equal(redirect.status, 302);
      await redirect.body?.cancel();
      for (const path of ["functions/v1/other/x", "functions/v1/rendizy-server2", "x"]) {
        const [status] = await answer(fetch(`${stack.url}/${path}`));
        assert.equal(status, 404, path);
      }
    });

    await t.step("idle() waits for the background", async () => {
      await text("background");
      await edge.idle();
      assert.equal(await text("done"), "1");
    });

    await t.step("the background is for promises alone", async () => {
      assert.equal(await text("not_a_promise"), "TypeError");
    });

    await t.step("round trips are counted", async () => {
      const before = rest.calls.length;
      const next = rest.nextCall("add");
      assert.deepEqual(await calls(), [[200, 1], [200, 2]]);
      assert.equal(rest.calls.length, before + 2);
      assert.equal((await next).status, 200);
    });

    await t.step("lose_answer commits and says nothing, once", async () => {
      rest.behave({ how: "lose_answer", fn: "add" });
      const before = rest.calls.length;
      assert.deepEqual(await calls(), ["TypeError", [200, 4]]);
      assert.deepEqual(rest.calls.slice(before).map(({ status }) => status), [null, 200]);
    });

    await t.step("refuse does nothing", async () => {
      rest.behave({ how: "refuse", times: 2 });
      assert.deepEqual(await calls(), ["TypeError", "TypeError"]);
      assert.deepEqual(await calls(), [[200, 5], [200, 6]]);
    });

    await t.step("error and delay", async () => {
      rest.behave({ how: "error", status: 503, body: "{}" });
      rest.behave({ how: "delay", delay_ms: 60, fn: "add" });
      const begun = performance.now();
      assert.deepEqual(await calls(), [[503, null], [200, 7]]);
      assert(performance.now() - begun >= 60);
    });

    await t.step("down and up", async () => {
      rest.down();
      assert.deepEqual(await calls(), ["TypeError", "TypeError"]);
      rest.up();
      assert.deepEqual(await calls(), [[200, 8], [200, 9]]);
    });

    await t.step("token, instances, gateway", async () => {
      const { token } = await (await stack.trigger()).json();
      assert.match(token, /^[0-9a-f]{64}$/);
      const registered = await database.query(
        `select digest = encode(sha256(convert_to($1, 'UTF8')), 'hex') as ok
           from whatsapp_monitor.trigger_tokens`,
        [token],
      );
      assert.deepEqual(registered, [{ ok: true }]);
      const { url, key } = gateway;
      await stack.addInstance({ organization: "o", url, name: "n", key });
      const rows = await database.query(
        "select whatsapp_enabled, whatsapp_instance_name from organization_channel_config",
      );
      assert.deepEqual(rows, [{ whatsapp_enabled: true, whatsapp_instance_name: "n" }]);
    });

    await t.step("a death in the middle of a request, and a restart", async () => {
      assert.deepEqual(await refusal(get("die")), [502, "WORKER_ERROR"]);
      assert.equal((await edge.exited).success, false);
      assert(edge.logs.some((line) => line.includes("trapped")));
      assert.equal(edge.pid, null);
      assert.deepEqual(await refusal(get("done")), [502, "WORKER_ERROR"]);
      await edge.restart();
      assert.equal(await text("done"), "0");
      await edge.kill();
      assert.deepEqual(await refusal(get("done")), [502, "WORKER_ERROR"]);
      await edge.restart();
      assert.equal(await text("done"), "0");
    });

    await t.step("a port in use is an error of its own", async () => {
      const port = Number(new URL(stack.url).port);
      await assert.rejects(startStack({ port }), Deno.errors.AddrInUse);
    });
  } finally {
    await stack.stop();
  }
});
