/** `GET /whatsapp/monitor/status`: how everything is, for those who may know. */
import assert from "node:assert/strict";
import { startWorld } from "./support.ts";

Deno.test("the status of every instance", async (t) => {
  const world = await startWorld();
  try {
    const { gateway, token, keys } = world;
    const url = `${world.functionUrl}/whatsapp/monitor/status`;
    const get = async (query = "", headers: HeadersInit = { "x-monitor-token": token }) => {
      const response = await fetch(url + query, { headers });
      return { status: response.status, body: await response.json() };
    };
    gateway.set("aberta", "open");
    gateway.set("fechada", { condition: "logged_out", code: 401 });
    for (const name of ["aberta", "fechada", "nova"]) await world.watch(name);
    await world.trigger({ body: { organization_id: "aberta" } }).then((each) => each.text());
    await world.trigger({ body: { organization_id: "fechada" } }).then((each) => each.text());

    await t.step("says of each what the last check found", async () => {
      const { status, body } = await get();
      assert.equal(status, 200);
      assert.equal(body.success, true);
      const now = new Date(body.now).getTime();
      const [open, ended, fresh] = body.instances;
      for (const instance of [open, ended]) {
        for (const moment of [instance.since, instance.checked_at]) {
          assert.ok(now - new Date(moment).getTime() < 60_000, moment);
        }
      }
      const { since: _s, checked_at: _c, ...rest } = open;
      assert.deepEqual(rest, {
        organization_id: "aberta",
        instance_name: "aberta",
        gateway: gateway.url,
        status: "connected",
        reason: null,
        down_since: null,
        last_action: null,
      });
      assert.deepEqual([ended.status, ended.reason.code], ["waiting_qr", "401"]);
      assert.equal(ended.down_since, ended.since);
      assert.deepEqual([fresh.status, fresh.since, fresh.checked_at], ["unknown", null, null]);
    });

    await t.step("of one organization, and of none that is not there", async () => {
      const { body } = await get("?organization_id=fechada");
      assert.deepEqual(
        body.instances.map(({ instance_name }: { instance_name: string }) => instance_name),
        ["fechada"],
      );
      for (const other of ["outra", "", "%00", "'; drop table x; --"]) {
        const { status, body } = await get(`?organization_id=${other}`);
        assert.deepEqual([status, body.instances], [200, []], other);
      }
    });

    await t.step("holds the last action, once there is one", async () => {
      const tick_id = crypto.randomUUID();
      await world.database.query(
        `insert into whatsapp_monitor.ticks (id, caller, claimed, started_at)
         values ($1, 'token', 1, now())`,
        [tick_id],
      );
      await world.database.query(
        `insert into whatsapp_monitor.actions (instance_id, tick_id, kind, granted_at)
         select id, $1, 'connect', now() from whatsapp_monitor.instances where name = 'aberta'`,
        [tick_id],
      );
      const { body } = await get("?organization_id=aberta");
      assert.equal(body.instances[0].last_action.action, "connect");
    });

    await t.step("is for those who may trigger, and for nobody else", async () => {
      const closed: HeadersInit[] = [
        {},
        { "x-monitor-token": "0".repeat(64) },
        { apikey: keys.anon, authorization: `Bearer ${keys.anon}` },
      ];
      for (const headers of closed) {
        const { status, body } = await get("", headers);
        assert.deepEqual([status, body.success, body.instances], [401, false, undefined]);
      }
      assert.equal((await get("", { apikey: keys.service })).status, 200);
      assert.equal((await get(`?token=${token}`, {})).status, 200);
    });

    await t.step("is read and not posted", async () => {
      const posted = await fetch(url, { method: "POST", headers: { "x-monitor-token": token } });
      assert.deepEqual([posted.status, posted.headers.get("allow")], [405, "GET, HEAD, OPTIONS"]);
      await posted.body?.cancel();
      const head = await fetch(url, { method: "HEAD", headers: { "x-monitor-token": token } });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
    });

    await t.step("without a database: 503", async () => {
      world.rest.down();
      const { status, body } = await get();
      assert.deepEqual([status, body.success], [503, false]);
      world.rest.up();
    });

    await t.step("holds no key and asks no gateway", async () => {
      gateway.forget();
      const { body } = await get();
      assert.ok(!JSON.stringify(body).includes(gateway.key));
      assert.equal(gateway.requests.length, 0);
    });
  } finally {
    await world.stop();
  }
});
