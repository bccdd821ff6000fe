/** The stand-ins of the local stack, held to what the real ones do. */
import assert from "node:assert/strict";
import { parseArgs, UsageError } from "../stack/args.ts";
import { type Database, sqlError } from "../stack/database.ts";
import { startEdge } from "../stack/edge.ts";
import { generateKeys } from "../stack/keys.ts";
import { applyStandIns, migrate } from "../stack/migrate.ts";
import { openPglite } from "../stack/pglite.ts";
import { openPostgres } from "../stack/postgres.ts";
import { createRest } from "../stack/postgrest.ts";
import {
  isReport,
  mergeReports,
  renderChanges,
  renderReport,
  renderTable,
  type Report,
} from "../stack/report.ts";
import { changeSettings, SettingError } from "../stack/settings.ts";
import { type Stack, startStack } from "../stack/stack.ts";

/** In place of the shipped migrations: as little as the stack itself needs, and functions to call. */
const SCHEMA = `
create schema whatsapp_monitor;
create table whatsapp_monitor.trigger_tokens (
  digest text primary key, created_at timestamptz default now(), expires_at timestamptz);
create table whatsapp_monitor.settings (
  one boolean primary key default true check (one),
  interval_s integer not null default 30 check (interval_s > 0),
  alert_url text, backoff_s integer[] not null default '{90,120}');
insert into whatsapp_monitor.settings default values;
create table whatsapp_monitor.source_sync (synced_at timestamptz);
create table public.organization_channel_config (
  id uuid primary key default gen_random_uuid(), organization_id text not null unique,
  whatsapp_enabled boolean, whatsapp_api_url text, whatsapp_instance_name text, whatsapp_api_key text);

create table public.counters (name text primary key, n integer not null default 0);
revoke all on public.counters from anon, authenticated;
create function public.add(name text, n integer default 1) returns jsonb language sql security definer
  set search_path = '' as $$
  insert into public.counters values (add.name, add.n)
  on conflict (name) do update set n = counters.n + excluded.n
  returning jsonb_build_object('name', counters.name, 'n', counters.n) $$;
revoke execute on function public.add(text, integer) from public, anon, authenticated;
create function public.whole(jsonb) returns jsonb language sql immutable as $$ select $1 || '{"whole":true}'::jsonb $$;
create function public.nothing() returns void language sql as $$ select null::void $$;
create function public.numbers(up_to integer) returns table (n integer, square bigint) language sql stable as $$
  select i, i::bigint * i from generate_series(1, up_to) i $$;
create function public.names() returns setof text language sql stable as $$ values ('a'), ('b') $$;
create function public.pair(out a integer, out b text) language sql stable as $$ select 1, 'x' $$;
create function public.big() returns jsonb language sql stable as $$ select '12345678901234567890'::jsonb $$;
create function public.empty() returns jsonb language sql stable as $$ select null::jsonb $$;
create function public.who() returns jsonb language sql stable as $$
  select jsonb_build_object('role', current_user, 'claims', current_setting('request.jwt.claims')::jsonb, 'path', current_setting('search_path')) $$;
create function public.timeout() returns jsonb language sql stable as $$
  select to_jsonb(current_setting('statement_timeout')) $$;
create function public.impatient() returns void language sql stable set statement_timeout = '50ms' as $$
  select pg_sleep(2) $$;
create function public.fails(code text) returns void language plpgsql as $$
begin raise exception 'it failed' using errcode = code, detail = 'the detail', hint = 'the hint'; end $$;
create function public.writes() returns void language sql volatile security definer as $$
  insert into public.counters values ('read only?', 1) $$;
create function public.overloaded(a integer) returns integer language sql as $$ select 1 $$;
create function public.overloaded(a text) returns integer language sql as $$ select 2 $$;
`;

const pglite = await openPglite();
await prepare(pglite);

/**
 * A test on the shared database. After an SQL error PGlite keeps a timer (Postgres's own, for its
 * statistics) that fires some seconds later, in whichever test runs then.
 */
function databaseTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

async function prepare(database: Database): Promise<void> {
  await applyStandIns(database);
  await database.exec(SCHEMA);
}

const keys = generateKeys();
const rest = createRest(pglite, keys);

/** Calls a function as the service role, straight through the handler. */
function rpc(
  fn: string,
  body: unknown = {},
  init: RequestInit & { headers?: Record<string, string> } = {},
): Promise<Response> {
  return rest.handle(
    new Request(`http://127.0.0.1/rest/v1/rpc/${fn}`, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: {
        apikey: keys.service,
        "content-type": "application/json",
        ...init.headers,
      },
    }),
  );
}

async function answer(
  response: Response | Promise<Response>,
): Promise<[number, unknown]> {
  const { status } = await response;
  const text = await (await response).text();
  return [status, text === "" ? "" : JSON.parse(text)];
}

databaseTest(
  "rpc: named arguments, defaults, every kind of result",
  async () => {
    assert.deepEqual(await answer(rpc("add", { name: "a" })), [200, {
      name: "a",
      n: 1,
    }]);
    assert.deepEqual(await answer(rpc("add", { n: 4, name: "a" })), [200, {
      name: "a",
      n: 5,
    }]);
    assert.deepEqual(await answer(rpc("whole", { x: 1 })), [200, {
      x: 1,
      whole: true,
    }]);
    assert.deepEqual(await answer(rpc("nothing")), [204, ""]);
    assert.deepEqual(await answer(rpc("nothing", "")), [204, ""]);
    assert.deepEqual(await answer(rpc("numbers", { up_to: 2 })), [200, [
      { n: 1, square: 1 },
      { n: 2, square: 4 },
    ]]);
    assert.deepEqual(await answer(rpc("numbers", { up_to: 0 })), [200, []]);
    assert.deepEqual(await answer(rpc("names")), [200, ["a", "b"]]);
    assert.deepEqual(await answer(rpc("pair")), [200, { a: 1, b: "x" }]);
    assert.deepEqual(await answer(rpc("empty")), [200, null]);
    assert.equal(await (await rpc("big")).text(), "12345678901234567890");
  },
);

databaseTest("rpc: what it does not find", async () => {
  assert.deepEqual(await answer(rpc("add", { name: "a", nn: 1 })), [404, {
    code: "PGRST202",
    message:
      "Could not find the function public.add(name, nn) in the schema cache",
    details:
      "Searched for the function public.add with parameters name, nn or with a single " +
      "unnamed json/jsonb parameter, but no matches were found in the schema cache.",
    hint: null,
  }]);
  assert.equal(
    (await rpc("add", { n: 1 })).status,
    404,
    "a required argument is missing",
  );
  assert.deepEqual((await answer(rpc("nope")))[1], {
    code: "PGRST202",
    message:
      "Could not find the function public.nope without parameters in the schema cache",
    details:
      "Searched for the function public.nope without parameters or with a single " +
      "unnamed json/jsonb parameter, but no matches were found in the schema cache.",
    hint: null,
  });
  const [status, body] = await answer(rpc("overloaded", { a: 1 }));
  assert.deepEqual([status, (body as { code: string }).code], [
    300,
    "PGRST203",
  ]);
});

databaseTest("rpc: bad requests", async () => {
  assert.deepEqual(await answer(rpc("add", "{")), [400, {
    code: "PGRST102",
    message: "Empty or invalid json",
    details: null,
    hint: null,
  }]);
  const codes = async (response: Promise<Response>) => {
    const [status, body] = await answer(response);
    return [status, (body as { code: string }).code];
  };
  const text = { headers: { "content-type": "text/plain" } };
  assert.deepEqual(await codes(rpc("add", "{}", text)), [400, "PGRST102"]);
  const hidden = { headers: { "content-profile": "whatsapp_monitor" } };
  assert.deepEqual(await codes(rpc("add", {}, hidden)), [406, "PGRST106"]);
  assert.deepEqual(await codes(rpc("add", {}, { method: "DELETE" })), [
    405,
    "PGRST101",
  ]);
  assert.deepEqual(await codes(rpc("add", { name: 1, n: "one" })), [
    400,
    "22P02",
  ]);
});

databaseTest("rpc: GET reads and cannot write", async () => {
  const get = (path: string) =>
    rpc(path, undefined, { method: "GET", body: undefined });
  assert.equal((await answer(get("numbers?up_to=1")))[0], 200);
  const [status, body] = await answer(get("writes"));
  assert.deepEqual([status, (body as { code: string }).code], [405, "25006"]);
});

databaseTest("rpc: keys and roles", async () => {
  const as = async (headers: Record<string, string>, fn = "who") => {
    const [status, body] = await answer(rest.handle(
      new Request(`http://127.0.0.1/rest/v1/rpc/${fn}`, {
        method: "POST",
        headers,
      }),
    ));
    const { role, message, code } = body as Record<string, string>;
    return [status, role ?? code ?? message];
  };
  const { service, anon, legacyService } = keys;
  assert.deepEqual(await as({}), [401, "No API key found in request"]);
  assert.deepEqual(await as({ apikey: "sb_secret_other" }), [
    401,
    "Invalid API key",
  ]);
  assert.deepEqual(await as({ apikey: service }), [200, "service_role"]);
  assert.deepEqual(await as({ apikey: anon }), [200, "anon"]);
  assert.deepEqual(
    await as({ apikey: service, authorization: `Bearer ${service}` }),
    [401, "PGRST301"],
  );
  assert.deepEqual(await as({ apikey: legacyService }), [200, "anon"]);
  assert.deepEqual(
    await as({
      apikey: legacyService,
      authorization: `Bearer ${legacyService}`,
    }),
    [200, "service_role"],
  );
  assert.equal(
    (await as({ apikey: service, "user-agent": "Mozilla/5.0" }))[0],
    401,
  );

  const refused = await answer(
    rpc("add", { name: "x" }, { headers: { apikey: anon } }),
  );
  assert.deepEqual(refused, [401, {
    code: "42501",
    message: "permission denied for function add",
    details: null,
    hint: null,
  }]);
  const [, who] = await answer(rpc("who"));
  assert.deepEqual(who, {
    role: "service_role",
    claims: { role: "service_role" },
    path: '"public", "extensions"',
  });
});

databaseTest("rpc: SQLSTATEs become statuses", async () => {
  const statuses: Record<string, number> = {
    "23505": 409,
    "23503": 409,
    "42501": 403,
    "42883": 404,
    "P0001": 400,
    "57014": 500,
    "40001": 500,
    "53300": 503,
    "08006": 503,
    "PT418": 418,
    "22023": 400,
  };
  for (const [code, status] of Object.entries(statuses)) {
    assert.deepEqual(await answer(rpc("fails", { code })), [status, {
      code,
      message: "it failed",
      details: "the detail",
      hint: "the hint",
    }]);
  }
});

databaseTest("a lost connection to the database is 503", async () => {
  const gone = {
    ...pglite,
    query: () => Promise.reject(new Error("connection refused")),
  };
  const response = createRest(gone as Database, keys).handle(
    new Request("http://127.0.0.1/rest/v1/rpc/who", {
      method: "POST",
      headers: { apikey: keys.service },
    }),
  );
  const [status, body] = await answer(response);
  assert.deepEqual([status, (body as { code: string }).code], [
    503,
    "PGRST000",
  ]);
});

databaseTest(
  "Supabase's default privileges reach what a migration forgets to revoke",
  async () => {
    await applyStandIns(pglite);
    await pglite.exec("create table public.forgotten (x integer)");
    const [row] = await pglite.query(
      `select has_table_privilege('anon', 'public.forgotten', 'select') as "table",
            has_function_privilege('anon', 'public.who()', 'execute') as function,
            has_function_privilege('anon', 'public.add(text, integer)', 'execute') as revoked`,
    );
    assert.deepEqual(row, { table: true, function: true, revoked: false });
  },
);

/** What has to be the same whichever Postgres it is. */
async function checkDatabase(database: Database): Promise<void> {
  assert.deepEqual(
    await database.query(
      `select $1::jsonb as a, $2::jsonb as b, 3::bigint as c, 1.5::numeric as d, array['x'] as e,
              $3::text as f, null as g, true as h, '{"a":[1]}'::json as i`,
      [{ x: 1 }, '{"y":2}', "text"],
    ),
    [{
      a: { x: 1 },
      b: { y: 2 },
      c: 3,
      d: "1.5",
      e: ["x"],
      f: "text",
      g: null,
      h: true,
      i: { a: [1] },
    }],
  );
  const [{ now }] = await database.query<{ now: Date }>("select now()");
  assert(now instanceof Date);
  const error = await database.query("select whatsapp_monitor.no()").catch(
    sqlError,
  );
  assert.equal((error as { code: string }).code, "42883");
  // All or nothing.
  await assert.rejects(
    database.exec("create table public.half (); select 1/0"),
    { code: "22012" },
  );
  assert.deepEqual(
    await database.query("select to_regclass('public.half') as t"),
    [{ t: null }],
  );
  const failing = database.transaction("service_role", async (query) => {
    assert.deepEqual(await query("select current_user as u"), [{
      u: "service_role",
    }]);
    await query("select public.add('rolled back')");
    throw new Error("on purpose");
  });
  await assert.rejects(failing, /on purpose/);
  assert.deepEqual(
    await database.query(
      "select * from public.counters where name like 'rolled%'",
    ),
    [],
  );
  await assert.rejects(
    database.transaction(
      "anon",
      (query) => query("select * from public.counters"),
    ),
    { code: "42501" },
  );
  assert.notDeepEqual(await database.query("select current_user as u"), [{
    u: "anon",
  }]);
}

databaseTest("database: PGlite", () => checkDatabase(pglite));

const url = Deno.env.get("TEST_DATABASE_URL");
Deno.test({
  name: "database: a server, by TEST_DATABASE_URL (an empty one)",
  ignore: !url,
  fn: async () => {
    const database = await openPostgres(url!);
    try {
      await prepare(database);
      await applyStandIns(database);
      await checkDatabase(database);
      await assert.rejects(
        database.transaction(null, (query) => query("select pg_sleep(5)"), {
          statement_timeout_ms: 20,
        }),
        { code: "57014" },
      );
      const served = createRest(database, keys);
      const call = (fn: string, body: unknown = {}, apikey = keys.service) =>
        answer(served.handle(
          new Request(`http://127.0.0.1/rest/v1/rpc/${fn}`, {
            method: "POST",
            headers: { apikey, "content-type": "application/json" },
            body: JSON.stringify(body),
          }),
        ));
      assert.deepEqual(await call("add", { name: "server" }), [200, {
        name: "server",
        n: 1,
      }]);
      // Supabase's limits by role; a function's own goes for the whole request.
      assert.deepEqual(await call("timeout"), [200, "8s"]);
      assert.deepEqual(await call("timeout", {}, keys.anon), [200, "3s"]);
      const [status, error] = await call("impatient");
      assert.deepEqual([status, (error as { code: string }).code], [
        500,
        "57014",
      ]);
    } finally {
      await database.close();
    }
  },
});

databaseTest(
  "migrations: in name order, each whole, errors name the file",
  async () => {
    const folder = new URL(`file://${await Deno.makeTempDir()}/`);
    const write = (name: string, sql: string) =>
      Deno.writeTextFile(new URL(name, folder), sql);
    await write("2_second.sql", "insert into public.ordered values (2);");
    await write("1_first.sql", "create table public.ordered (n integer);");
    await write("readme.md", "not sql");
    assert.deepEqual(await migrate(pglite, folder), [
      "1_first.sql",
      "2_second.sql",
    ]);
    await write(
      "3_third.sql",
      "insert into public.ordered values (3); select broken;",
    );
    await Deno.remove(new URL("1_first.sql", folder));
    await assert.rejects(migrate(pglite, folder), {
      code: "42703",
      message: /^3_third\.sql: column/,
    });
    assert.deepEqual(
      await pglite.query("select n from public.ordered order by n"),
      [
        { n: 2 },
        { n: 2 },
      ],
    );
    await Deno.remove(folder, { recursive: true });
  },
);

databaseTest("settings: changed, refused with the list, put back", async () => {
  const settings = async () =>
    (await pglite.query(
      "select interval_s, alert_url, backoff_s from whatsapp_monitor.settings",
    ))[0];
  const before = await settings();
  const restore = await changeSettings(pglite, [
    { name: "interval_s", value: "5" },
    { name: "interval_s", value: "6" },
    { name: "alert_url", value: "http://x" },
    { name: "backoff_s", value: "{1,2}" },
  ]);
  assert.deepEqual(await settings(), {
    interval_s: 6,
    alert_url: "http://x",
    backoff_s: [1, 2],
  });
  await restore();
  assert.deepEqual(await settings(), before);
  for (
    const [name, value, message] of [
      [
        "intervall",
        "5",
        /no setting intervall[\s\S]*interval_s = 30[\s\S]*alert_url = null/,
      ],
      ["one", "false", /no setting one/],
      [
        "interval_s",
        "often",
        /interval_s does not take "often": invalid input/,
      ],
      ["interval_s", "0", /interval_s does not take "0".*check constraint/],
      ["interval_s", "", /interval_s does not take ""/],
    ] as const
  ) {
    await assert.rejects(changeSettings(pglite, [{ name, value }]), (error) => {
      assert(error instanceof SettingError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(await settings(), before);
});

// Nothing of it is left for the tests that follow.
databaseTest("the shared database ends", () => pglite.close());

/** A function that shows what its process can do. Both of the ways to serve are tried. */
const ENTRY = `
let background = 0;
async function handler(request) {
  const url = new URL(request.url);
  switch (url.pathname.split("/")[2]) {
    case "echo": return Response.json({
      method: request.method, path: url.pathname + url.search,
      header: request.headers.get("x-test"), length: request.headers.get("content-length"),
      body: await request.text(), env: Deno.env.toObject() });
    case "world": return Response.json({
      window: globalThis.window === globalThis, main: import.meta.main,
      read: await Deno.readTextFile(new URL(import.meta.url)).catch((e) => e.name),
      run: await (async () => await new Deno.Command("/bin/true").output())().catch((e) => e.name),
      exit: Deno.exit(1) ?? "did nothing" });
    case "background":
      EdgeRuntime.waitUntil(new Promise((done) => setTimeout(() => { background++; done() }, 50)));
      return new Response();
    case "count": return new Response(String(background));
    case "not_a_promise": try { EdgeRuntime.waitUntil({ then() {} }) } catch (e) { return new Response(e.name) }
    case "die": setTimeout(() => { throw new Error("trapped") }); return new Promise(() => {});
    case "stream": return new Response(new ReadableStream({ async start(c) {
      const bytes = (text) => new TextEncoder().encode(text);
      c.enqueue(bytes("one ")); await new Promise((r) => setTimeout(r, 10)); c.enqueue(bytes("two")); c.close() } }));
    case "redirect": return Response.redirect("http://127.0.0.1:1/", 302);
    case "rpc": {
      const tries = [];
      for (let i = 0; i < 2; i++) tries.push(await fetch(Deno.env.get("SUPABASE_URL") + "/rest/v1/rpc/add", {
        method: "POST", body: '{"name":"edge"}',
        headers: { "content-type": "application/json", apikey: JSON.parse(Deno.env.get("SUPABASE_SECRET_KEYS")).default } },
      ).then(async (r) => [r.status, (await r.json()).n ?? null], (e) => e.name));
      return Response.json(tries);
    }
    case "whatsapp": return Response.json(report(request));
    default: return new Response(null, { status: 404 });
  }
}
/** What a trigger answers: the first has one instance of two left, the next has none. */
let triggers = 0;
function report(request) {
  const last = ++triggers > 1;
  const instance = (instance_name, checked_now) => ({ organization_id: "o", instance_name, status: "connected",
    since: null, checked_now, reason: null, action: "none", verdict: null, next_check_at: null });
  return { success: true, tick_id: String(triggers), started_at: new Date().toISOString(), duration_ms: 1,
    trigger: "token", token: request.headers.get("x-monitor-token"),
    own_token: Deno.env.get("WHATSAPP_MONITOR_TOKEN") ?? null,
    checked: 1, carried_over: last ? 0 : 1, database_round_trips: 2, gateways: [],
    instances: [instance("first", !last), instance("second", last)] };
}
console.log("a line");
console.error("another");
`;

async function writeEntry(ending: string): Promise<string> {
  const file = `${await Deno.makeTempDir()}/index.ts`;
  await Deno.writeTextFile(file, ENTRY + ending);
  return `file://${file}`;
}

Deno.test("edge: an entry that does not start says why", async () => {
  const entry = await writeEntry("throw new Error('no way');");
  await assert.rejects(
    startEdge({ env: {}, entry }),
    /did not start:[\s\S]*no way/,
  );
  const silent = await writeEntry("");
  await assert.rejects(
    startEdge({ env: {}, entry: silent }),
    /neither called Deno\.serve/,
  );
});

Deno.test("edge: an entry that serves only as the main module", async () => {
  const entry = await writeEntry(
    "export { handler }; if (import.meta.main) Deno.serve(handler);",
  );
  const edge = await startEdge({ env: {}, entry });
  assert.deepEqual(
    await answer(
      fetch(`${edge.url}/x/not_a_promise`).then((r) => r.text()).then((t) =>
        new Response(JSON.stringify(t))
      ),
    ),
    [200, "TypeError"],
  );
  await edge.stop();
});

Deno.test("the stack: function, REST, gateway, faults", async (t) => {
  const migrations = new URL(`file://${await Deno.makeTempDir()}/`);
  await Deno.writeTextFile(new URL("1.sql", migrations), SCHEMA);
  const entry = await writeEntry("Deno.serve({ port: 8000 }, handler);");
  const stack: Stack = await startStack({
    migrations,
    entry,
    env: { MINE: "1" },
  });
  const get = (path: string) => fetch(`${stack.functionUrl}/${path}`);
  try {
    await t.step(
      "the function sees its slug and nothing before it",
      async () => {
        const response = await fetch(
          `${stack.functionUrl}/echo/S%C3%A3o%20Jo%C3%A3o?a=%2F`,
          {
            method: "PATCH",
            headers: { "x-test": "h" },
            body: "ção",
          },
        );
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
        assert.deepEqual(JSON.parse(env.SUPABASE_SECRET_KEYS), {
          default: stack.serviceKey,
        });
      },
    );

    await t.step("its world is the edge runtime's", async () => {
      assert.deepEqual(await (await get("world")).json(), {
        window: true,
        main: false,
        read: "NotCapable",
        run: "NotCapable",
        exit: "did nothing",
      });
      assert(
        stack.edge.logs.includes("a line") &&
          stack.edge.logs.includes("another"),
      );
    });

    await t.step(
      "methods, streams and unknown paths go through as they are",
      async () => {
        const head = await fetch(`${stack.functionUrl}/echo`, {
          method: "HEAD",
        });
        assert.deepEqual([head.status, await head.text()], [200, ""]);
        assert.equal(await (await get("stream")).text(), "one two");
        assert.deepEqual(await answer(get("nope")), [404, ""]);
        const redirect = await fetch(`${stack.functionUrl}/redirect`, {
          redirect: "manual",
        });
        assert.equal(redirect.status, 302);
        await redirect.body?.cancel();
        for (
          const path of [
            "functions/v1/other/x",
            "functions/v1/rendizy-server2",
            "x",
          ]
        ) {
          const [status] = await answer(fetch(`${stack.url}/${path}`));
          assert.equal(status, 404);
        }
      },
    );

    await t.step("idle() waits for the background", async () => {
      await (await get("background")).text();
      await stack.edge.idle();
      assert.equal(await (await get("count")).text(), "1");
    });

    const calls = async () => await (await get("rpc")).json();
    await t.step("round trips are counted", async () => {
      const before = stack.rest.calls.length;
      const next = stack.rest.nextCall("add");
      assert.deepEqual(await calls(), [[200, 1], [200, 2]]);
      assert.equal(stack.rest.calls.length, before + 2);
      assert.equal((await next).status, 200);
    });

    await t.step("lose_answer commits and says nothing, once", async () => {
      stack.rest.behave({ how: "lose_answer", fn: "add" });
      const before = stack.rest.calls.length;
      assert.deepEqual(await calls(), ["TypeError", [200, 4]]);
      assert.deepEqual(
        stack.rest.calls.slice(before).map((call) => call.status),
        [null, 200],
      );
    });

    await t.step("refuse does nothing", async () => {
      stack.rest.behave({ how: "refuse", times: 2 });
      assert.deepEqual(await calls(), ["TypeError", "TypeError"]);
      assert.deepEqual(await calls(), [[200, 5], [200, 6]]);
    });

    await t.step("error and delay", async () => {
      stack.rest.behave({ how: "error", status: 503, body: "{}" });
      stack.rest.behave({ how: "delay", delay_ms: 60, fn: "add" });
      const begun = performance.now();
      assert.deepEqual(await calls(), [[503, null], [200, 7]]);
      assert(performance.now() - begun >= 60);
    });

    await t.step("down and up", async () => {
      stack.rest.down();
      assert.deepEqual(await calls(), ["TypeError", "TypeError"]);
      stack.rest.up();
      assert.deepEqual(await calls(), [[200, 8], [200, 9]]);
    });

    await t.step("token, instances, gateway", async () => {
      const { token } = await (await stack.trigger()).json();
      assert.match(token, /^[0-9a-f]{64}$/);
      const [registered] = await stack.database.query(
        `select digest = encode(sha256(convert_to($1, 'UTF8')), 'hex') as ok
           from whatsapp_monitor.trigger_tokens`,
        [token],
      );
      assert.deepEqual(registered, { ok: true });
      const gateway = stack.gateway!;
      await stack.addInstance({
        organization: "o",
        url: gateway.url,
        name: "n",
        key: gateway.key,
      });
      const rows = await stack.database.query(
        "select whatsapp_enabled, whatsapp_instance_name from organization_channel_config",
      );
      assert.deepEqual(rows, [{
        whatsapp_enabled: true,
        whatsapp_instance_name: "n",
      }]);
    });

    await t.step(
      "a death in the middle of a request, and a restart",
      async () => {
        const [status, body] = await answer(get("die"));
        assert.deepEqual([status, (body as { code: string }).code], [
          502,
          "WORKER_ERROR",
        ]);
        assert.equal((await stack.edge.exited).success, false);
        assert(stack.edge.logs.some((line) => line.includes("trapped")));
        assert.equal(stack.edge.pid, null);
        assert.equal((await answer(get("count")))[0], 502);
        await stack.edge.restart();
        assert.equal(await (await get("count")).text(), "0");
        await stack.edge.kill();
        assert.equal((await answer(get("count")))[0], 502);
        await stack.edge.restart();
        assert.equal(await (await get("count")).text(), "0");
      },
    );

    await t.step("a port in use is an error of its own", async () => {
      const port = Number(new URL(stack.url).port);
      await assert.rejects(startStack({ port }), Deno.errors.AddrInUse);
    });
  } finally {
    await stack.stop();
  }
});

/** Runs `dev` with the throwaway function and schema, in a process of its own. */
async function runDev(...args: string[]): Promise<Deno.ChildProcess> {
  const migrations = `file://${await Deno.makeTempDir()}/`;
  await Deno.writeTextFile(new URL("1.sql", migrations), SCHEMA);
  const entry = await writeEntry("Deno.serve(handler);");
  const dev = new URL("../stack/dev.ts", import.meta.url).href;
  const script = `import { main } from ${JSON.stringify(dev)};
    await main(Deno.args, {
      entry: ${JSON.stringify(entry)},
      migrations: new URL(${JSON.stringify(migrations)}),
    });`;
  const file = `${await Deno.makeTempDir()}/dev.ts`;
  await Deno.writeTextFile(file, script);
  const config = new URL("../../deno.json", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", "-A", "--config", config, file, ...args],
    env: { WHATSAPP_MONITOR_TOKEN: "mine", NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function endOf(
  child: Deno.ChildProcess,
): Promise<[number, string, string]> {
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return [code, text(stdout), text(stderr)];
}

Deno.test("dev --once: until nothing is left; with --json nothing else on standard output", async () => {
  const [code, out, err] = await endOf(
    await runDev("--once", "--json", "--port", "0"),
  );
  assert.equal(code, 0, err);
  const report = JSON.parse(out);
  assert.equal(report.own_token, "mine");
  assert.deepEqual([report.tick_id, report.checked, report.carried_over], [
    "2",
    2,
    0,
  ]);
  assert.match(err, /function │ a line/);

  const [, text] = await endOf(
    await runDev("--once", "--port=0", "--set", "interval_s=7"),
  );
  assert.match(
    text,
    /\nfirst .*connected[\s\S]*2 checked, 0 carried over, 4 database round trips/,
  );
});

Deno.test("dev: what it cannot do, it says", async () => {
  const [usage, , usageError] = await endOf(await runDev("--nope"));
  assert.equal(usage, 2);
  assert.match(usageError, /unknown argument: --nope\n\nUsage:/);

  const [setting, out, settingError] = await endOf(
    await runDev("--once", "--port=0", "--set=x=1"),
  );
  assert.deepEqual([setting, out], [2, ""]);
  assert.match(
    settingError,
    /no setting x\. The settings are:\n {2}interval_s = 30/,
  );

  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const [inUse, , inUseError] = await endOf(
    await runDev("--once", "--port", String(port)),
  );
  taken.close();
  assert.equal(inUse, 1);
  assert.match(inUseError, new RegExp(`Port ${port} is in use`));
});

Deno.test("dev: leaves no process behind, however it ends", async () => {
  for (
    const [signal, code] of [["SIGINT", 0], ["SIGTERM", 0], [
      "SIGKILL",
      137,
    ]] as const
  ) {
    const child = await runDev("--port", "0");
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    // The first report is there: it runs.
    for (let text = ""; !text.includes("database round trips");) {
      text += (await lines.read()).value ?? "";
    }
    const children = await Deno.readTextFile(
      `/proc/${child.pid}/task/${child.pid}/children`,
    );
    const [edge] = children.trim().split(" ");
    assert.match(edge, /^\d+$/);
    child.kill(signal);
    assert.equal((await child.status).code, code);
    await Promise.all([lines.cancel(), child.stderr.cancel()]);
    const gone = () => Deno.stat(`/proc/${edge}`).then(() => false, () => true);
    const deadline = performance.now() + 5000;
    while (!await gone()) {
      assert(performance.now() < deadline, `the function outlived ${signal}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }
});

Deno.test("dev arguments", () => {
  const none = {
    help: false,
    once: false,
    json: false,
    gateway: null,
    settings: [],
    port: 54321,
    database: null,
    migrate: false,
  };
  assert.deepEqual(parseArgs([]), none);
  assert.deepEqual(
    parseArgs([
      ..."--once --json --port 0 --migrate --database postgres://u:p@h/d --set a=1"
        .split(" "),
      "--set=b=x=y",
      "--set",
      "c=",
    ]),
    {
      ...none,
      once: true,
      json: true,
      port: 0,
      migrate: true,
      database: "postgres://u:p@h/d",
      settings: [{ name: "a", value: "1" }, { name: "b", value: "x=y" }, {
        name: "c",
        value: "",
      }],
    },
  );
  const gateway = ["--gateway", "https://g.example/x", "--key", "k"];
  assert.deepEqual(
    parseArgs([
      ...gateway,
      "--instance",
      "Pousada São João / recepção",
      "--instance=--odd",
    ]).gateway,
    {
      url: "https://g.example/x",
      key: "k",
      instances: ["Pousada São João / recepção", "--odd"],
    },
  );
  const wrong: [string, RegExp][] = [
    ["--nope", /unknown argument: --nope/],
    ["once", /unknown argument: once/],
    ["--port", /--port needs a value/],
    ["--port --once", /--port needs a value/],
    ["--port 70000", /up to 65535/],
    ["--port x", /up to 65535/],
    ["--port 1 --port 2", /given twice/],
    ["--once=yes", /takes no value/],
    ["--set x", /NAME=VALUE/],
    ["--database mysql://x", /postgres:/],
    ["--key k", /--key needs --gateway/],
    ["--instance i", /--instance needs --gateway/],
    ["--gateway ftp://x --key k --instance i", /http/],
    ["--gateway http://x --instance i", /needs --key/],
    ["--gateway http://x --key k", /at least one --instance/],
  ];
  for (const [line, message] of wrong) {
    assert.throws(() => parseArgs(line.split(" ")), (error) => {
      assert(error instanceof UsageError, line);
      assert.match(error.message, message);
      return true;
    });
  }
});

const REPORT: Report = {
  success: true,
  tick_id: "t",
  started_at: "2026-11-23T17:43:26.417Z",
  duration_ms: 41.4,
  trigger: "dev",
  checked: 2,
  carried_over: 0,
  database_round_trips: 2,
  gateways: [{ url: "http://127.0.0.1:1", version: "2.3.6", reachable: true }],
  instances: [
    {
      organization_id: "a",
      instance_name: "Pousada São João / recepção",
      status: "connected",
      since: "2026-11-22T09:00:00Z",
      checked_now: true,
      reason: null,
      action: "none",
      verdict: null,
      next_check_at: "2026-11-23T17:43:51+00:00",
    },
    {
      organization_id: "b",
      instance_name: "x".repeat(60),
      status: "disconnected",
      since: null,
      checked_now: true,
      reason: { code: "close", text: "Sem conexão:\nreconectando" },
      action: "connect",
      verdict: "ok",
      next_check_at: null,
    },
  ],
};

Deno.test("report: as text", () => {
  const long = "x".repeat(43) + "…";
  const name = "Pousada São João / recepção".padEnd(44);
  const lines = renderReport(REPORT).split("\n");
  assert.deepEqual(lines, [
    "Gateway http://127.0.0.1:1  2.3.6  reachable",
    "",
    "INSTANCE".padEnd(44) +
    "  STATUS        SINCE (UTC)       ACTION        NEXT CHECK  REASON",
    name + "  connected     2026-11-22 09:00  none          17:43:51    -",
    long +
    "  disconnected  -                 connect → ok  -           Sem conexão: reconectando",
    "",
    "2 checked, 0 carried over, 2 database round trips, 41 ms",
  ]);
  const empty = {
    ...REPORT,
    success: false,
    instances: [],
    gateways: [],
    database_round_trips: 1,
  };
  assert.equal(
    renderReport(empty),
    "No instances: nothing is configured yet.\n\n" +
      "2 checked, 0 carried over, 1 database round trip, 41 ms, NOT COMMITTED",
  );
  // Decomposed accents count as the letters they are.
  assert.deepEqual(renderTable([["a\u0303", "1"], ["bb", "2"]]), [
    "a\u0303   1",
    "bb  2",
  ]);
  assert(
    isReport(REPORT) && !isReport({ success: false, error: "x" }) &&
      !isReport(null),
  );
});

Deno.test("report: changes and sums", () => {
  assert.equal(
    renderChanges(REPORT, REPORT),
    "17:43:26  2 checked, 0 carried over, 2 database round trips, 41 ms",
  );
  const [first, second] = REPORT.instances;
  const later: Report = {
    ...REPORT,
    instances: [{ ...first, status: "zombie", checked_now: false }],
  };
  const lines = renderChanges(REPORT, later).split("\n");
  assert.equal(lines.length, 4);
  assert.match(lines[2], /^Pousada São João \/ recepção  zombie/);
  assert.match(lines[3], /^x+: no longer configured$/);

  const rest = { ...second, checked_now: false, action: "none" };
  const merged = mergeReports([
    { ...REPORT, carried_over: 1 },
    { ...REPORT, tick_id: "u", checked: 1, instances: [first, rest] },
  ]);
  assert.deepEqual(
    [
      merged.tick_id,
      merged.checked,
      merged.carried_over,
      merged.database_round_trips,
    ],
    ["u", 3, 0, 4],
  );
  assert.equal(merged.instances[1].action, "connect");
});
