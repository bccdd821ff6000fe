/**
 * What callers get wrong gets a clear error, changes nothing and harms nobody;
 * what they may leave out or spell differently works.
 */
import assert from "node:assert/strict";
import { openRequest, outcome, startWorld, type World } from "./support.ts";

/** What callers send that must not come back, nor into the log. */
const SECRET = "s3cr3t-of-the-caller";

/** The body that may just be read, in bytes. */
const LIMIT = 64 * 1024;

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD",
  "access-control-allow-headers":
    "Content-Type, Authorization, X-Requested-With, apikey, X-Auth-Token, x-client-info, Prefer, x-organization-id, x-monitor-token",
  "access-control-max-age": "86400",
  "access-control-expose-headers": "Retry-After",
};

/** What is true of every answer that Rust gives. */
function assertSound(headers: Headers, text: string): void {
  for (const [name, value] of Object.entries(CORS)) assert.equal(headers.get(name), value);
  assert.equal(headers.get("cache-control"), "no-store");
  assert(!text.includes(SECRET), text);
  if (text === "") return;
  assert.equal(headers.get("content-type"), "application/json; charset=utf-8");
}

/** Sends a request to the function and gives its answer, which must be sound. */
async function send(url: string, init: RequestInit = {}) {
  const answer = await fetch(url, { method: "POST", ...init });
  const { status, headers } = answer;
  const text = await answer.text();
  assertSound(headers, text);
  return { status, headers, body: text === "" ? null : JSON.parse(text) };
}

/** An error of this status: one sentence. */
async function refuses(status: number, sentence: RegExp, url: string, init?: RequestInit) {
  const { body, ...answer } = await send(url, init);
  assert.deepEqual(Object.keys(body).sort(), ["error", "success"]);
  assert.equal(body.success, false);
  assert.match(body.error, sentence);
  assert.equal(answer.status, status, body.error);
  return answer;
}

/** Everything that a trigger could change. */
const memory = ({ database }: World) =>
  database.query(
    "select (select count(*) from whatsapp_monitor.ticks) as ticks, i.* from whatsapp_monitor.instances i",
  );

Deno.test("bad input", async (t) => {
  const world = await startWorld({ env: { WHATSAPP_MONITOR_DRILL: "on" } });
  const { edge } = world;
  const token = { "x-monitor-token": world.token };
  const start = `${world.functionUrl}/whatsapp/monitor/start`;
  /** The same without the local front, which strips `/functions/v1` and reads bodies on its own. */
  const direct = `${edge.url}/whatsapp/monitor/start`;
  world.gateway.set("loja", "open");
  await world.watch("loja");

  const silent = await openRequest("POST", direct, { ...token, "content-length": "20" });

  /** A step in which nothing may change, and after which the function works. */
  const harmless = (name: string, work: () => Promise<unknown>) =>
    t.step(name, async () => {
      const [before, logged] = [await memory(world), edge.logs.length];
      await work();
      await edge.idle();
      assert.deepEqual(await memory(world), before);
      assert.deepEqual(edge.logs.slice(logged), []);
      assert.equal((await world.tick()).checked, 1);
    });
  const post = (body: BodyInit, headers: Record<string, string> = {}) => ({
    method: "POST",
    headers: { ...token, ...headers },
    body,
  });
  const bytes = (...parts: (string | number)[]) =>
    new Uint8Array(
      parts.flatMap((part) =>
        typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]
      ),
    );

  try {
    assert.equal((await world.tick()).checked, 1);

    for (
      const [name, body] of [
        ["half an object", `{"organization_id":"${SECRET}`],
        ["something behind it", `{} ${SECRET}`],
        ["single quotes", `{'organization_id':'${SECRET}'}`],
        ["truncated UTF-8", bytes('{"organization_id":"', 0xc3)],
        ["broken UTF-8", bytes('{"organization_id":"', 0xc3, '"}')],
        ["half a surrogate pair", '{"organization_id":"\\ud83d"}'],
        ["UTF-16", bytes(0xff, 0xfe, "{", 0, "}", 0)],
        ["a form", `organization_id=${SECRET}`],
        ["very deep", "[".repeat(30_000)],
      ] as const
    ) {
      await harmless(
        `no JSON: ${name}`,
        () =>
          refuses(400, /^O corpo não é JSON válido \(linha 1, coluna \d+\)$/, start, post(body)),
      );
    }

    const wrong = ["5", "true", `["${SECRET}"]`, `{"${SECRET}":"loja"}`];
    for (const value of wrong) {
      const body = `{"organization_id":${value}}`;
      await harmless(
        `a wrong type: ${body}`,
        () => refuses(400, /^organization_id deve ser um texto$/, start, post(body)),
      );
    }

    for (const body of ["5", "true", "null", "[]", '["loja"]', `"${SECRET}"`]) {
      await harmless(
        `no object: ${body}`,
        () => refuses(400, /^O corpo deve ser um objeto JSON$/, start, post(body)),
      );
    }

    for (const id of [SECRET, "LOJA", "x".repeat(60_000), "' or 1=1 --", "a\u0000b"]) {
      await harmless(
        `an organization that does not exist: ${JSON.stringify(id).slice(0, 20)}`,
        () =>
          refuses(
            400,
            /^WhatsApp não configurado para esta organização$/,
            start,
            post(JSON.stringify({ organization_id: id })),
          ),
      );
    }

    await harmless("wait is true or false", async () => {
      for (const wait of ["maybe", "", "1", "TRUE", SECRET]) {
        await refuses(400, /^wait deve ser true ou false$/, `${start}?wait=${wait}`, post("{}"));
      }
    });

    await harmless("unknown routes", async () => {
      for (
        const path of [
          "",
          "/",
          "/whatsapp/monitor",
          "/whatsapp/monitor/start/",
          "/whatsapp/monitor/start/now",
          "/whatsapp/monitor/st%61rt",
          "/Whatsapp/Monitor/Start",
          `/${SECRET}`,
          "/a/b/whatsapp/monitor/start",
        ]
      ) {
        for (const method of ["GET", "POST", "DELETE"]) {
          const init = { method, headers: token };
          await refuses(404, /^Rota não encontrada$/, `${world.functionUrl}${path}`, init);
        }
      }
    });

    await harmless("unknown verbs", async () => {
      for (const method of ["PUT", "PATCH", "DELETE", "BREW"]) {
        const sentence = /^Método não permitido$/;
        const { headers } = await refuses(405, sentence, start, { method, headers: token });
        assert.equal(headers.get("allow"), "POST, GET, HEAD, OPTIONS");
        const drill = start.replace(/start$/, "drill");
        const other = await refuses(405, sentence, drill, { method, headers: token });
        assert.equal(other.headers.get("allow"), "POST, OPTIONS");
      }
    });

    await harmless("no token, no matter what comes with it", async () => {
      for (const body of ["{}", "{", '{"organization_id":"loja"}']) {
        for (const header of ["x-monitor-token", "authorization", "apikey"]) {
          for (const value of [SECRET, `Bearer ${SECRET}`]) {
            await refuses(401, /^Não autorizado/, start, { headers: { [header]: value }, body });
          }
        }
        await refuses(401, /^Não autorizado/, `${start}?token=${SECRET}`, { body });
      }
    });

    const huge = [LIMIT + 1, 100 * 2 ** 20, 5 * 2 ** 30];
    for (
      const [status, headers, length] of [
        [401, { "x-monitor-token": SECRET }, 20],
        ...huge.map((length) => [413, token, length] as const),
      ] as const
    ) {
      await harmless(`a body of ${length} bytes is refused unread: ${status}`, async () => {
        const all = { ...headers, "content-length": String(length) };
        const request = await openRequest("POST", direct, all);
        const answer = await Promise.race([request.answer, request.asked]);
        request.close();
        assert(answer, "it is asked for");
        assertSound(answer.headers, answer.body);
        assert.equal(answer.status, status);
        assert.match(JSON.parse(answer.body).error, /^O corpo passa de 64 KiB$|^Não autorizado/);
      });
    }

    await harmless("a body that goes on and on: it is not read on, nor held", async () => {
      const request = await openRequest("POST", direct, {
        ...token,
        "transfer-encoding": "chunked",
      });
      await request.asked;
      const chunk = bytes("10000\r\n", " ".repeat(LIMIT), "\r\n");
      const offered = 1024;
      let taken = 0;
      try {
        for (; taken < offered; taken++) await request.write(chunk);
        await request.write("0\r\n\r\n");
      } catch {
        // The function has closed the connection.
      }
      const answer = await outcome(request.answer, "the function");
      request.close();
      assertSound(answer.headers, answer.body);
      assert.equal(answer.status, 413);
      assert.match(JSON.parse(answer.body).error, /^O corpo passa de 64 KiB$/);
      // What is on its way at any time, the buffers of the sockets hold: some MiB.
      assert(taken < offered / 4, `${taken} of ${offered} chunks were taken`);
    });

    await harmless("a caller that hangs up in the middle of its body", async () => {
      const request = await openRequest("POST", direct, { ...token, "content-length": "20" });
      await request.asked;
      await request.write('{"organization_id"');
      request.close();
      await request.answer.catch(() => {});
    });

    await harmless("a compressed body", async () => {
      const gzip = new Blob(["{}"]).stream().pipeThrough(new CompressionStream("gzip"));
      const body = await new Response(gzip).bytes();
      await refuses(400, /^O corpo não é JSON válido/, start, {
        body,
        headers: { ...token, "content-encoding": "gzip" },
      });
    });

    await t.step("what may be left out or spelled differently works", async () => {
      const padding = " ".repeat(LIMIT - 2);
      const bodies: [string, RequestInit][] = [
        ["none", {}],
        ["empty", { body: "" }],
        ["blank", { body: " \r\n\t" }],
        ["an empty object", { body: "{}" }],
        ["no organization", { body: '{"organization_id":null}' }],
        ["more than is asked for", { body: `{"organization_id":"loja","${SECRET}":[]}` }],
        ["no content type", { body: bytes("{}") }],
        ["another content type", { body: "{}", headers: { "content-type": "text/html" } }],
        ["just not too long", { body: `{}${padding}` }],
        ["the same in pieces", { body: new Blob(["{}", padding]).stream() }],
      ];
      for (const [name, init] of bodies) {
        const headers = { ...init.headers as Record<string, string>, ...token };
        const { status, body } = await send(start, { ...init, headers });
        assert.deepEqual([status, body.monitoring], [200, true], name);
      }
      await edge.idle();
    });

    await t.step("every form of the path", async () => {
      const slug = world.functionUrl;
      for (
        const path of [
          slug,
          `${slug}/make-server-67caf26a`,
          `${edge.url}`,
          `${edge.url}/rendizy-server`,
          `${edge.url}/another-slug`,
          `${edge.url}/make-server-67caf26a`,
          `${edge.url}/rendizy-server/make-server-67caf26a`,
          `${edge.url}/functions/v1/rendizy-server`,
          `${edge.url}/functions/v1/rendizy-server/make-server-67caf26a`,
        ]
      ) {
        for (const method of ["POST", "GET"]) {
          const url = `${path}/whatsapp/monitor/start?token=${world.token}`;
          const { status, body } = await send(url, { method });
          assert.deepEqual([status, body.monitoring], [200, true], path);
        }
      }
      await edge.idle();
    });

    await t.step("HEAD is GET without the body", async () => {
      for (
        const [status, url] of [
          [200, `${start}?token=${world.token}`],
          [200, `${start}?wait=true&token=${world.token}`],
          [400, `${start}?wait=maybe&token=${world.token}`],
          [401, start],
          [404, `${world.functionUrl}/nowhere`],
          [405, start.replace(/start$/, "drill")],
        ] as const
      ) {
        const [get, head] = [
          await send(url, { method: "GET" }),
          await send(url, { method: "HEAD" }),
        ];
        assert.deepEqual([get.status, head.status, head.body], [status, status, null], url);
        assert.equal(head.headers.get("allow"), get.headers.get("allow"));
      }
      await edge.idle();
    });

    await harmless("a browser may ask before it asks, anywhere and without a token", async () => {
      for (const url of [start, `${world.functionUrl}/nowhere`, direct]) {
        const { status, body } = await send(url, { method: "OPTIONS" });
        assert.deepEqual([status, body], [204, null]);
      }
    });

    await harmless("a body that never comes is not waited for", async () => {
      const answer = await outcome(silent.answer, "the function");
      silent.close();
      assertSound(answer.headers, answer.body);
      assert.equal(answer.status, 408);
      assert.match(JSON.parse(answer.body).error, /^O corpo não chegou a tempo$/);
    });

    await t.step("a browser may read even the answer to a panic", async () => {
      const answer = await fetch(start.replace(/start$/, "drill?panic=after"), {
        method: "POST",
        headers: { apikey: world.serviceKey },
      });
      assert.equal(answer.status, 500);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
      assert.deepEqual(Object.keys(await answer.json()), ["success", "error"]);
    });

    await t.step("after all of that it works, and the log holds no secret", async () => {
      assert.equal((await world.tick()).checked, 1);
      const log = edge.logs.join("\n");
      for (const secret of [SECRET, world.token, world.serviceKey, world.gateway.key]) {
        assert(!log.includes(secret), log);
      }
    });
  } finally {
    await world.stop();
  }
});
