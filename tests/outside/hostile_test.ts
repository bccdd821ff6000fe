/**
 * A gateway belongs to a tenant, and may be anybody's: what it sends harms no
 * other tenant's tick, and takes no more memory than its limit.
 */
import assert from "node:assert/strict";
import { found, startWorld } from "./support.ts";

/** Whatever a limit of 256 KiB lets through, with what is on its way in buffers. */
const MUCH = 16 * 1024 * 1024;

/** A gateway of raw bytes: gives each connection to the test's own function. */
function startRawGateway(answer: (connection: Deno.TcpConn, path: string) => Promise<void>) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving: Promise<void>[] = [];
  const serve = async (connection: Deno.TcpConn) => {
    try {
      const buffer = new Uint8Array(4096);
      const length = await connection.read(buffer) ?? 0;
      const [, path] = new TextDecoder().decode(buffer.subarray(0, length)).split(" ");
      await answer(connection, path);
    } catch {
      // The monitor has had enough.
    } finally {
      connection.close();
    }
  };
  const accepting = (async () => {
    for await (const connection of listener) serving.push(serve(connection));
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    async stop() {
      listener.close();
      await accepting;
      await Promise.all(serving);
    },
  };
}

const HEADS: Record<string, string> = {
  "a small length that is not true": "content-length: 10\r\ntransfer-encoding: chunked",
  "no length": "transfer-encoding: chunked",
  "a large length": `content-length: ${1024 ** 3}`,
};

for (const [what, headers] of Object.entries(HEADS)) {
  Deno.test(`an answer without an end is cut off: ${what}`, async () => {
    const chunked = headers.includes("chunked");
    let sent = 0;
    const endless = startRawGateway(async (connection) => {
      const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${headers}\r\n\r\n`;
      await connection.write(new TextEncoder().encode(head));
      const spaces = " ".repeat(65536);
      const piece = new TextEncoder().encode(chunked ? `10000\r\n${spaces}\r\n` : spaces);
      while (sent < 1024 ** 3) sent += await connection.write(piece);
    });
    const world = await startWorld();
    try {
      world.gateway.set("honest", "open");
      await world.watch("honest");
      await world.watch("endless", { url: endless.url });
      await world.set({ down_after_s: 0 });
      const report = await world.tick();
      assert.equal(found(report, "endless").reason?.code, "too_large");
      assert.equal(found(report, "honest").status, "connected");
    } finally {
      await world.stop();
      await endless.stop();
    }
    assert.ok(sent < MUCH, `${sent} bytes were taken`);
  });
}

Deno.test("what a gateway writes into its rows spoils nobody else's tick", async () => {
  const at = ["a\u0000b", "x".repeat(100_000), "\ud800", { "$gt": "" }, [[[]]]];
  const hostile = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const url = new URL(request.url);
    const name = url.searchParams.get("instanceName");
    if (name === null) {
      return Response.json({ instance: { instanceName: "\u0000", state: "open" } });
    }
    return Response.json([{
      name,
      connectionStatus: "open",
      disconnectionReasonCode: 401,
      disconnectionAt: at[Number(name.split("-")[1])],
      token: "a-token-of-the-gateway",
      profileName: "\u0000",
    }]);
  });
  const world = await startWorld();
  try {
    const url = `http://127.0.0.1:${hostile.addr.port}`;
    for (const index of at.keys()) await world.watch(`evil-${index}`, { url });
    world.gateway.set("honest", "open");
    await world.watch("honest");
    for (const report of [await world.tick(), await world.tick()]) {
      assert.equal(report.success, true);
      assert.equal(report.checked, at.length + 1);
      for (const { status } of report.instances) assert.equal(status, "connected");
    }
    const [{ longest, tokens }] = await world.database.query<{ longest: number; tokens: number }>(
      `select max(length(state::text)) as longest,
              count(*) filter (where i::text like '%a-token-of-the-gateway%') as tokens
       from whatsapp_monitor.instances i`,
    );
    assert.ok(longest < 1000, `${longest} characters are kept`);
    assert.equal(tokens, 0);
  } finally {
    await world.stop();
    await hostile.shutdown();
  }
});

Deno.test("secrets in a gateway's URL are neither used, nor stored, nor shown", async () => {
  const world = await startWorld();
  try {
    const { gateway } = world;
    const host = gateway.url.slice("http://".length);
    const urls = {
      password: `http://user:S3cret@${host}`,
      query: `http://${host}/?apikey=S3cret`,
      fragment: `http://${host}/#S3cret`,
      "no scheme": `user:S3cret@${host}`,
      "bare question mark": `http://${host}/?`,
    };
    for (const [name, url] of Object.entries(urls)) {
      gateway.set(name, "open");
      await world.watch(name, { url });
    }
    const report = await world.tick();
    for (const name of Object.keys(urls)) {
      assert.equal(found(report, name).status, "misconfigured", name);
      assert.equal(found(report, name).reason?.code, "bad_url", name);
    }
    assert.equal(gateway.requests.length, 0);
    const stored = await world.database.query(
      `select (select json_agg(g)::text from whatsapp_monitor.gateways g) as gateways,
              (select json_agg(i)::text from whatsapp_monitor.instances i) as instances,
              (select json_agg(s)::text from whatsapp_monitor.sources s) as sources`,
    );
    const seen = JSON.stringify([report, stored, world.edge.logs]).toLowerCase();
    assert.ok(!seen.includes("s3cret"));
  } finally {
    await world.stop();
  }
});

Deno.test("who names somebody else's instance later changes nothing for them", async () => {
  const world = await startWorld();
  try {
    const { gateway } = world;
    gateway.set("loja", "open");
    await world.watch("loja");
    // Several, so that no order of ids can be on the first one's side by chance.
    for (let index = 0; index < 8; index++) {
      await world.addInstance({
        organization: `intruder ${index}`,
        url: gateway.url,
        name: "loja",
        key: "not-the-key",
      });
    }
    await world.database.query("select whatsapp_monitor.sync_sources()");
    const report = await world.tick();
    assert.equal(found(report, "loja").status, "connected");
    assert.equal(report.checked, 1);
  } finally {
    await world.stop();
  }
});
