/**
 * Who may trigger: each door tried, with each secret that opens it and with
 * all that must not. Closed by default; wrong, missing and expired look alike.
 */
import assert from "node:assert/strict";
import { startEdge } from "../stack/edge.ts";
import { everything, startWorld, type World } from "./support.ts";

const ENVIRONMENT_TOKEN = "a token of the function's environment";

/** The ways to present a secret. */
const DOORS: Record<string, (secret: string) => { headers?: HeadersInit; query?: string }> = {
  "x-monitor-token": (secret) => ({ headers: { "x-monitor-token": secret } }),
  "bearer": (secret) => ({ headers: { authorization: `Bearer ${secret}` } }),
  "bearer, odd case": (secret) => ({ headers: { authorization: `bEARER  ${secret}` } }),
  "query": (secret) => ({ query: `?token=${encodeURIComponent(secret)}` }),
  "apikey": (secret) => ({ headers: { apikey: secret } }),
  "basic": (secret) => ({ headers: { authorization: `Basic ${btoa(`x:${secret}`)}` } }),
  "authorization, bare": (secret) => ({ headers: { authorization: secret } }),
  "cookie": (secret) => ({ headers: { cookie: `token=${secret}` } }),
  "x-cron-secret": (secret) => ({ headers: { "x-cron-secret": secret } }),
};
const TOKEN_DOORS = ["x-monitor-token", "bearer", "bearer, odd case", "query"];
const KEY_DOORS = ["bearer", "bearer, odd case", "apikey"];

async function knock(
  world: World,
  { headers, query = "" }: { headers?: HeadersInit; query?: string },
  method = "POST",
): Promise<{ status: number; body: string }> {
  const response = await fetch(`${world.functionUrl}/whatsapp/monitor/start${query}`, {
    method,
    headers,
  });
  return { status: response.status, body: await response.text() };
}

const hex = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const newToken = () => hex(crypto.getRandomValues(new Uint8Array(32)));

const digest = async (token: string) =>
  hex(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))));

async function register(world: World, token: string, expires: string | null): Promise<void> {
  await world.database.query(
    "insert into whatsapp_monitor.trigger_tokens (digest, expires_at) values ($1, now() + $2::interval)",
    [await digest(token), expires],
  );
}

Deno.test("the doors", async (t) => {
  const world = await startWorld({ env: { WHATSAPP_MONITOR_TOKEN: ENVIRONMENT_TOKEN } });
  const { token, keys } = world;
  const expired = newToken();
  const rotatedIn = newToken();
  const stranger = newToken();
  try {
    await register(world, expired, "-1 second");
    await register(world, rotatedIn, "1 hour");
    const open: [string, string, string[]][] = [
      ["the database's token", token, TOKEN_DOORS],
      ["the other one during a rotation", rotatedIn, TOKEN_DOORS],
      ["the environment's token", ENVIRONMENT_TOKEN, TOKEN_DOORS],
      ["the secret key", keys.service, KEY_DOORS],
      ["the legacy service-role key", keys.legacyService, KEY_DOORS],
    ];
    const shut: [string, string][] = [
      ["an expired token", expired],
      ["a token nobody knows", stranger],
      ["the digest of a token", await digestOf(world)],
      ["a token in capitals", token.toUpperCase()],
      ["most of a token", token.slice(0, 63)],
      ["more than a token", `${token}0`],
      ["nothing", ""],
      ["the word null", "null"],
      ["a wildcard", "%"],
      ["the anonymous key", keys.anon],
      ["the legacy anonymous key", keys.legacyAnon],
      ["another secret key", "sb_secret_0000000000000000000000"],
    ];
    let refusal: string | undefined;
    for (const [door, present] of Object.entries(DOORS)) {
      for (const [name, secret, doors] of open) {
        const opens = doors.includes(door);
        await t.step(`${name} ${opens ? "opens" : "does not open"} ${door}`, async () => {
          const { status } = await knock(world, present(secret));
          assert.equal(status, opens ? 200 : 401);
        });
      }
      for (const [name, secret] of shut) {
        await t.step(`${name} does not open ${door}`, async () => {
          const { status, body } = await knock(world, present(secret));
          assert.equal(status, 401);
          refusal ??= body;
          assert.equal(body, refusal, "all refusals look alike");
          assert.equal(JSON.parse(body).success, false);
        });
      }
    }
    await t.step("no credentials at all open nothing", async () => {
      assert.deepEqual(await knock(world, {}), { status: 401, body: refusal });
    });
    await t.step("GET and HEAD are as closed as POST, and as open", async () => {
      for (const method of ["GET", "HEAD"]) {
        assert.equal((await knock(world, {}, method)).status, 401);
        const { status, body } = await knock(world, DOORS.query(token), method);
        assert.equal(status, 200);
        assert.equal(body === "", method === "HEAD");
      }
    });
    await t.step("a frontend's anonymous keys beside the token do no harm", async () => {
      const { status } = await knock(world, {
        headers: {
          apikey: keys.anon,
          authorization: `Bearer ${keys.anon}`,
          "x-monitor-token": token,
        },
      });
      assert.equal(status, 200);
    });
    await t.step("what has not the shape of a token costs no query", async () => {
      // How many strangers came is told once a minute, however many they are.
      const asked = () =>
        world.rest.calls.filter(({ fn }) => !fn.endsWith("record_refusals")).length;
      const before = asked();
      for (const present of Object.values(DOORS)) {
        await knock(world, present("not-a-token"));
        await knock(world, present(token.slice(1)));
      }
      await knock(world, {});
      assert.equal(asked(), before);
    });
    await t.step("a revoked token opens nothing from then on", async () => {
      await world.database.query("update whatsapp_monitor.trigger_tokens set expires_at = now()");
      for (const door of TOKEN_DOORS) {
        assert.equal((await knock(world, DOORS[door](token))).status, 401);
      }
    });
    await t.step("no secret is in the log or in the database's tables", async () => {
      await world.edge.idle();
      const secrets = [token, rotatedIn, expired, stranger, ENVIRONMENT_TOKEN, keys.service];
      const seen = JSON.stringify(world.edge.logs) + await everything(world);
      for (const secret of secrets) assert.ok(!seen.includes(secret));
    });
  } finally {
    await world.stop();
  }
});

async function digestOf(world: World): Promise<string> {
  const [{ digest }] = await world.database.query<{ digest: string }>(
    "select digest from whatsapp_monitor.trigger_tokens limit 1",
  );
  return digest;
}

Deno.test("a rotation: both tokens open while they overlap, and then the new one alone", async () => {
  const world = await startWorld();
  try {
    const [old, fresh] = [world.token, newToken()];
    const opens = async () => {
      const answers = [];
      for (const token of [old, fresh]) {
        for (const door of TOKEN_DOORS) {
          answers.push((await knock(world, DOORS[door](token))).status);
        }
      }
      return [...new Set(answers.slice(0, 4)), ...new Set(answers.slice(4))];
    };
    assert.deepEqual(await opens(), [200, 401]);
    await register(world, fresh, null);
    await world.database.query(
      `update whatsapp_monitor.trigger_tokens set expires_at = now() + interval '1 hour'
       where digest <> $1`,
      [await digest(fresh)],
    );
    assert.deepEqual(await opens(), [200, 200]);
    await world.database.query(
      "update whatsapp_monitor.trigger_tokens set expires_at = expires_at - interval '1 hour'",
    );
    assert.deepEqual(await opens(), [401, 200]);
  } finally {
    await world.stop();
  }
});

Deno.test("each of several secret keys opens, and none of the publishable ones", async () => {
  const [first, second] = ["sb_secret_first_of_the_test", "sb_secret_second_of_the_test"];
  const world = await startWorld();
  const { keys, url } = world;
  const named = JSON.stringify({ automation: first, default: keys.service, other: second });
  const edge = await startEdge({
    env: {
      SUPABASE_URL: url,
      SUPABASE_SECRET_KEYS: named,
      SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.anon }),
    },
  });
  try {
    const start = `${edge.url}/rendizy-server/whatsapp/monitor/start`;
    for (const door of Object.keys(DOORS)) {
      for (const key of [first, second, keys.service, keys.anon, named]) {
        const { headers, query = "" } = DOORS[door](key);
        const response = await fetch(start + query, { method: "POST", headers });
        await response.body?.cancel();
        const opens = KEY_DOORS.includes(door) && key.startsWith("sb_secret_");
        assert.equal(response.status, opens ? 200 : 401, `${key} at ${door}`);
      }
    }
  } finally {
    await edge.stop();
    await world.stop();
  }
});

Deno.test("without anything configured every door is shut", async () => {
  const world = await startWorld({
    env: {
      SUPABASE_SECRET_KEYS: "",
      SUPABASE_SERVICE_ROLE_KEY: "",
      WHATSAPP_MONITOR_TOKEN: "",
    },
  });
  try {
    for (const present of Object.values(DOORS)) {
      for (const secret of ["", "undefined", "null", world.keys.service]) {
        assert.equal((await knock(world, present(secret))).status, 401);
      }
    }
    // A token has its shape, but nobody can be asked about it.
    const { status, body } = await knock(world, DOORS.query(world.token));
    assert.equal(status, 503);
    assert.match(JSON.parse(body).error, /SUPABASE_URL/);
  } finally {
    await world.stop();
  }
});
