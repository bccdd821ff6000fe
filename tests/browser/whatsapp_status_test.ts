/** The document's snippet, and frontend/whatsapp_status.js, in a real browser against the function. */
import assert from "node:assert/strict";
import { CHANNEL, ONE, type Polled } from "../outside/poll.ts";
import { passTime } from "../stack/time.ts";
import { inBrowser, type Visit } from "./visit.ts";

/** What comes between two questions may be longer by so much. */
const JITTER = 1.1;

const route = (world: Polled) => world.functionUrl + CHANNEL;

async function publish(world: Polled): Promise<void> {
  await world.database.query("update whatsapp_monitor.settings set public_organizations = $1", [
    `{${ONE}}`,
  ]);
}

/** Not before so many seconds have passed, and soon after that, the page asks once. */
async function asksAfter(visit: Visit, seconds: number, latest = seconds * JITTER): Promise<void> {
  const before = await visit.asked();
  await visit.pass(seconds - 0.1);
  assert.equal(await visit.asked(), before, `not within ${seconds} s`);
  // In small steps: the answer takes none of the page's time.
  for (let passed = seconds - 0.1; await visit.asked() === before; passed += 1) {
    assert.ok(passed <= latest, `after ${latest} s at the latest`);
    await visit.pass(1);
  }
  assert.equal(await visit.asked(), before + 1, `once after ${seconds} s`);
}

inBrowser("the document's snippet in a page", {
  async "sees what the monitor sees, every 30 seconds"(visit, world, site) {
    world.gateway.set("org_default", "open");
    await world.watch("org_default");
    await world.database.exec(
      "update whatsapp_monitor.settings set public_organizations = '{org_default}'",
    );
    await visit.run(`
      const projectUrl = ${JSON.stringify(new URL(site.functionUrl).origin)};
      const publicAnonKey = ${JSON.stringify(world.keys.anon)};
      setInterval(async () => {
        const response = await fetch(
          projectUrl + '/functions/v1/rendizy-server/channels/whatsapp/status',
          {
            method: 'POST',
            headers: { 'Authorization': 'Bearer ' + publicAnonKey },
            body: JSON.stringify({ organization_id: 'org_default' }),
          },
        );
        const status = await response.json();
        told({ status: status.data, stale: false, error: null });
      }, 30000);`);
    await visit.pass(30);
    const open = { connected: true, phone_number: null, state: null };
    assert.deepEqual((await visit.next()).status, open);
    assert.deepEqual(site.methods(), ["OPTIONS", "POST"], "the browser has asked whether it may");

    world.gateway.set("org_default", { condition: "logged_out", code: 401 });
    await passTime(world.database, 31);
    await visit.pass(30);
    assert.deepEqual((await visit.next()).status, { ...open, connected: false });
  },
});

inBrowser("the module in a page", {
  async "asks at once, and then every 30 seconds, with the session of its user"(
    visit,
    world,
    site,
  ) {
    const headers = { "X-Auth-Token": await world.session() };
    await visit.watch({ url: site.functionUrl + CHANNEL, headers });
    const first = await visit.next();
    assert.deepEqual([first.stale, first.error, first.status?.connected], [false, null, true]);
    assert.equal(first.status?.instances?.[0].instance_name, ONE);
    assert.deepEqual(site.methods(), ["OPTIONS", "POST"]);

    world.gateway.set(ONE, { condition: "logged_out", code: 401 });
    await passTime(world.database, 31);
    await asksAfter(visit, 30);
    const second = await visit.next();
    assert.deepEqual([second.status?.connected, second.status?.status], [false, "waiting_qr"]);
    assert.match(second.status?.reason?.text ?? "", /QR/);
    world.gateway.set(ONE, "open");
    for (let n = 0; n < 3; n++) {
      await asksAfter(visit, 30);
      assert.equal((await visit.next()).error, null);
    }
  },

  async "needs no preflight for an organization that is public"(visit, world, site) {
    await publish(world);
    site.methods();
    await visit.watch({ url: site.functionUrl + CHANNEL, organizationId: ONE });
    const { status, stale } = await visit.next();
    assert.deepEqual([typeof status?.connected, status?.instances, stale], [
      "boolean",
      undefined,
      false,
    ]);
    assert.deepEqual(site.methods(), ["POST"]);
  },

  async "asks as rarely as it is told to, and never more often than every 30 seconds"(
    visit,
    world,
  ) {
    const organizationId = ONE;
    await visit.watch({ url: route(world), organizationId, everySeconds: 1 });
    await visit.next();
    await asksAfter(visit, 30);
    await visit.next();
    await visit.run("stop()");

    await visit.watch({ url: route(world), organizationId, everySeconds: 90 });
    await visit.next();
    await asksAfter(visit, 90);
    await visit.next();
    await visit.run("stop()");

    await world.set({ interval_s: 120 });
    await visit.watch({ url: route(world), organizationId });
    await visit.next();
    await asksAfter(visit, 120);
    await visit.next();
    await world.set({ interval_s: 30 });
  },

  async "rests while nobody looks, and asks at once when somebody does again"(visit, world) {
    await visit.watch({ url: route(world), organizationId: ONE });
    await visit.next();
    await visit.look("hidden");
    await visit.pass(3600);
    assert.equal(await visit.asked(), 1);
    await visit.look("visible");
    assert.equal(await visit.asked(), 2);
    await visit.next();
    // Whoever goes to and fro is no reason to ask each time.
    for (let n = 0; n < 10; n++) {
      await visit.look("hidden");
      await visit.look("visible");
    }
    assert.equal(await visit.asked(), 2);
    await visit.pass(5);
    assert.equal(await visit.asked(), 3);
    await visit.next();
    await asksAfter(visit, 30);
    await visit.next();
  },

  async "begins when it is seen"(visit, world) {
    await visit.look("hidden");
    await visit.watch({ url: route(world), organizationId: ONE });
    await visit.pass(600);
    assert.equal(await visit.asked(), 0);
    await visit.look("visible");
    assert.equal((await visit.next()).error, null);
  },

  async "stays away longer and longer from what fails, and says that its status is old"(
    visit,
    world,
  ) {
    await visit.watch({ url: route(world), organizationId: ONE });
    const { status } = await visit.next();
    world.rest.behave({
      fn: "whatsapp_monitor_status_of",
      how: "error",
      status: 400,
      times: Infinity,
    });
    for (const seconds of [30, 30, 60, 120, 240, 300, 300]) {
      await asksAfter(visit, seconds);
      const told = await visit.next();
      assert.deepEqual([told.status, told.stale], [status, true]);
      assert.match(told.error!, /503: /);
    }
    // Nor does it help to look elsewhere and back.
    const asked = await visit.asked();
    await visit.look("hidden");
    await visit.look("visible");
    await visit.pass(60);
    assert.equal(await visit.asked(), asked);
    world.rest.heal();
    await asksAfter(visit, 240 - 0.1, 300 * JITTER - 60);
    const healed = await visit.next();
    assert.deepEqual([healed.stale, healed.error], [false, null]);
    await asksAfter(visit, 30);
    await visit.next();
  },

  async "has no status where it was refused from the beginning"(visit, world) {
    await visit.watch({ url: route(world), headers: { "X-Auth-Token": "0".repeat(128) } });
    const { status, stale, error } = await visit.next();
    assert.deepEqual([status, stale], [null, true]);
    assert.match(error!, /401: Não autorizado/);
  },

  async "keeps away for as long as Retry-After says, in seconds or as a date"(visit, _, site) {
    const refuse = (value: string) => () =>
      new Response("{}", {
        status: 429,
        headers: {
          "retry-after": value,
          "access-control-allow-origin": "*",
          "access-control-expose-headers": "Retry-After",
        },
      });
    site.answer = refuse("1200");
    await visit.watch({ url: site.elsewhere });
    await visit.next();
    const now_ms = await visit.run("Date.now()") as number;
    site.answer = refuse(new Date(now_ms + (1200 * JITTER + 900) * 1000).toUTCString());
    await asksAfter(visit, 1200);
    await visit.next();
    // Some of the time until that date had passed when it was told; it tells whole seconds.
    site.answer = refuse("1");
    await asksAfter(visit, 899, (900 + 1200 * (JITTER - 1)) * JITTER);
    await visit.next();
    await asksAfter(visit, 120);
    await visit.next();
  },

  async "asks nothing while it waits for an answer, and not for ever"(visit, _, site) {
    const held = Promise.withResolvers<Response>();
    site.answer = () => held.promise;
    await visit.watch({ url: site.elsewhere });
    await visit.pass(10);
    await visit.look("hidden");
    await visit.look("visible");
    await visit.pass(4.9);
    assert.deepEqual([await visit.asked(), visit.unread], [1, 0]);
    await visit.pass(0.2);
    const { status, stale, error } = await visit.next();
    assert.deepEqual([status, stale], [null, true]);
    assert.match(error!, /Abort/);
    assert.equal(await visit.asked(), 1);
    held.resolve(Response.json({}));
  },

  async "does nothing any more once it is stopped, by its function or by the signal"(
    visit,
    world,
    site,
  ) {
    for (const end of ["stop()", "unmount.abort()"]) {
      const before = await visit.asked();
      await visit.watch({ url: route(world), organizationId: ONE });
      await visit.next();
      await visit.run(end);
      await visit.look("hidden");
      await visit.look("visible");
      await visit.pass(3600);
      assert.equal(await visit.asked(), before + 1, end);

      const held = Promise.withResolvers<Response>();
      const arrived = Promise.withResolvers<void>();
      site.answer = () => {
        arrived.resolve();
        return held.promise;
      };
      await visit.watch({ url: site.elsewhere });
      await arrived.promise;
      await visit.run(end);
      held.resolve(Response.json({ success: true, data: { connected: true } }));
      await visit.pass(3600);
      assert.deepEqual([await visit.asked(), visit.unread], [before + 2, 0], end);
    }
    const before = await visit.asked();
    await visit.run(`
      watchWhatsappStatus({ url: "/", onStatus: told, signal: AbortSignal.abort() })`);
    await visit.pass(60);
    assert.equal(await visit.asked(), before);
  },
});
