/** The zombie: open, and no socket behind it. Looked for, told of, and never repaired. */
import assert from "node:assert/strict";
import { addNeighbour, checkFor, done, inWorld, kinds } from "./recovery.ts";
import { found, type World } from "./support.ts";

const DAY_S = 86_400;

/** How often each question about the socket was asked of an instance. */
function looks({ gateway }: World, name: string) {
  const asked = (path: string) =>
    gateway.requests.filter((request) => request.path === `${path}/${name}`);
  return {
    settings: asked("/settings/find").length,
    sockets: asked("/instance/setPresence").map(({ body }) => body),
  };
}

/** So many looks that all send what does no harm. */
const HARMLESS = (times: number) => ({
  settings: times,
  sockets: Array(times).fill({ presence: "unavailable" }),
});

/** The row of the user's table. */
async function told({ database }: World, name: string) {
  const [row] = await database.query(
    `select whatsapp_connected as connected, whatsapp_connection_status as status,
       whatsapp_error_message as error
     from public.organization_channel_config where whatsapp_instance_name = $1`,
    [name],
  );
  return row;
}

Deno.test("the socket is looked for once in so many seconds, and not where that is turned off", () =>
  inWorld(async (world) => {
    // So rarely that no test meets the moment between two of its checks.
    await world.set({ zombie_probe_every_s: DAY_S });
    world.gateway.set("loja", "open");
    await world.watch("loja");
    await checkFor(world, 90);
    assert.deepEqual(looks(world, "loja"), HARMLESS(0), "just seen open");
    for (let day = 1; day <= 3; day++) {
      await world.after(DAY_S);
      for (let again = 0; again < 2; again++) await world.tick();
      assert.deepEqual(looks(world, "loja"), HARMLESS(day), `day ${day}`);
    }
    await world.set({ zombie_probe_every_s: 0 });
    await world.after(DAY_S);
    assert.deepEqual(looks(world, "loja"), HARMLESS(3), "turned off");
    await world.set({ zombie_probe_every_s: 600 });
    await world.after(600);
    assert.deepEqual(looks(world, "loja"), HARMLESS(4));
    assert.equal((await world.row("loja")).status, "connected");
  }));

Deno.test("a zombie is found out by two looks, told of, left alone, and well again with a new process", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    await addNeighbour(world);
    gateway.set("loja", { condition: "open", dials: "login" });
    await world.watch("loja");
    await world.after(30);
    // The socket closes while the gateway's database is away (I10).
    await gateway.behave("database_down");
    gateway.disconnect("loja", 428);
    await gateway.behave("up");
    const once = await world.after(600);
    assert.deepEqual(looks(world, "loja"), HARMLESS(1));
    assert.equal(found(once, "loja").status, "connected", "one look is not enough");
    assert.deepEqual((await told(world, "loja")).error, null);

    const twice = await world.after(30);
    assert.deepEqual(looks(world, "loja"), HARMLESS(2));
    const { status, reason, action } = found(twice, "loja");
    assert.deepEqual([status, reason?.code, action], ["zombie", "zombie", "tell_operator"]);
    assert.deepEqual(await told(world, "loja"), {
      connected: false,
      status: "error",
      error: reason?.text,
    });
    assert.match(reason!.text, /reinicie o processo da Evolution/);
    const outage = async () => {
      const [row, ...others] = await world.database.query<{ reason: string; over: boolean }>(
        `select o.reason_code as reason, o.ended_at is not null as over
         from whatsapp_monitor.outages o`,
      );
      assert.deepEqual(others, [], "and of nobody else");
      return row;
    };
    assert.deepEqual(await outage(), { reason: "zombie", over: false });

    for (const report of await checkFor(world, 3600, 60)) {
      assert.deepEqual([found(report, "loja").status, found(report, "loja").action], [
        "zombie",
        "tell_operator",
      ]);
    }
    const writes = kinds(gateway).filter((kind) => !kind.startsWith("GET "));
    assert.deepEqual([...new Set(writes)], ["POST /instance/setPresence"]);
    assert.deepEqual(done(gateway, "loja"), [], "nothing that we could do would help");

    gateway.reboot();
    gateway.set("vizinha", "open");
    await checkFor(world, 60);
    assert.equal((await world.row("loja")).status, "connected");
    assert.deepEqual(await told(world, "loja"), {
      connected: true,
      status: "connected",
      error: null,
    });
    assert.deepEqual(await outage(), { reason: "zombie", over: true });
  }));

Deno.test("who is to be shown online always is not probed", () =>
  inWorld(async (world) => {
    world.gateway.set("loja", { condition: "open", always_online: true });
    await world.watch("loja");
    await world.after(30);
    for (let look = 1; look <= 5; look++) {
      await world.after(600);
      const { settings, sockets } = looks(world, "loja");
      assert.ok(settings >= look);
      assert.deepEqual(sockets, []);
    }
  }));

Deno.test("an answer that tells nothing of the socket raises no doubt", () =>
  inWorld(async (world) => {
    const { gateway } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    await world.after(30);
    for (let look = 1; look <= 3; look++) {
      gateway.upon("/instance/setPresence/loja", () => gateway.set("loja", { status: 500 }));
      await world.after(600);
      gateway.set("loja", {});
    }
    assert.ok(looks(world, "loja").sockets.length >= 3);
    assert.equal((await world.row("loja")).status, "connected");
  }));
