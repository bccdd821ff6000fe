/** The stand-in for PostgREST, held to what the real one answers. */
import assert from "node:assert/strict";
import { createRest } from "../../stack/postgrest.ts";
import { answer, onDatabase, onServer, refusal, request } from "./harness.ts";

onDatabase("rpc", {
  async "named arguments, defaults, every kind of result"({ rpc }) {
    const call = (fn: string, body?: unknown) => answer(rpc(fn, body));
    assert.deepEqual(await call("add", { name: "a" }), [200, { name: "a", n: 1 }]);
    assert.deepEqual(await call("add", { n: 4, name: "a" }), [200, { name: "a", n: 5 }]);
    assert.deepEqual(await call("whole", { x: 1 }), [200, { x: 1, whole: true }]);
    assert.deepEqual(await call("nothing"), [204, ""]);
    assert.deepEqual(await call("nothing", ""), [204, ""]);
    const squares = [{ n: 1, square: 1 }, { n: 2, square: 4 }];
    assert.deepEqual(await call("numbers", { up_to: 2 }), [200, squares]);
    assert.deepEqual(await call("numbers", { up_to: 0 }), [200, []]);
    assert.deepEqual(await call("names"), [200, ["a", "b"]]);
    assert.deepEqual(await call("pair"), [200, { a: 1, b: "x" }]);
    assert.deepEqual(await call("empty"), [200, null]);
    assert.equal(await (await rpc("big")).text(), "12345678901234567890");
  },

  async "what it does not find"({ rpc }) {
    assert.deepEqual(await answer(rpc("add", { name: "a", nn: 1 })), [404, {
      code: "PGRST202",
      message: "Could not find the function public.add(name, nn) in the schema cache",
      details: "Searched for the function public.add with parameters name, nn or with a single " +
        "unnamed json/jsonb parameter, but no matches were found in the schema cache.",
      hint: null,
    }]);
    const [missing] = await answer(rpc("add", { n: 1 }));
    assert.equal(missing, 404, "a required argument is missing");
    assert.deepEqual(await answer(rpc("nope")), [404, {
      code: "PGRST202",
      message: "Could not find the function public.nope without parameters in the schema cache",
      details: "Searched for the function public.nope without parameters or with a single " +
        "unnamed json/jsonb parameter, but no matches were found in the schema cache.",
      hint: null,
    }]);
    assert.deepEqual(await refusal(rpc("overloaded", { a: 1 })), [300, "PGRST203"]);
  },

  async "bad requests"({ rpc }) {
    assert.deepEqual(await answer(rpc("add", "{")), [400, {
      code: "PGRST102",
      message: "Empty or invalid json",
      details: null,
      hint: null,
    }]);
    const text = { headers: { "content-type": "text/plain" } };
    assert.deepEqual(await refusal(rpc("add", "{}", text)), [400, "PGRST102"]);
    const hidden = { headers: { "content-profile": "whatsapp_monitor" } };
    assert.deepEqual(await refusal(rpc("add", {}, hidden)), [406, "PGRST106"]);
    assert.deepEqual(await refusal(rpc("add", {}, { method: "DELETE" })), [405, "PGRST101"]);
    assert.deepEqual(await refusal(rpc("add", { name: 1, n: "one" })), [400, "22P02"]);
  },

  async "GET reads and cannot write"({ rest, keys }) {
    const get = (path: string) =>
      rest.handle(request(path, { method: "GET", headers: { apikey: keys.service } }));
    assert.deepEqual(await answer(get("numbers?up_to=1")), [200, [{ n: 1, square: 1 }]]);
    assert.deepEqual(await refusal(get("writes")), [405, "25006"]);
  },

  async "keys and roles"({ rpc, rest, keys: { service, anon, legacyService } }) {
    const as = async (headers: Record<string, string>) => {
      const [status, body] = await answer(rest.handle(request("who", { headers })));
      return [status, body.role ?? body.code ?? body.message];
    };
    const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
    assert.deepEqual(await as({}), [401, "No API key found in request"]);
    assert.deepEqual(await as({ apikey: "sb_secret_other" }), [401, "Invalid API key"]);
    assert.deepEqual(await as({ apikey: service }), [200, "service_role"]);
    assert.deepEqual(await as({ apikey: anon }), [200, "anon"]);
    assert.deepEqual(await as({ apikey: service, ...bearer(service) }), [401, "PGRST301"]);
    assert.deepEqual(await as({ apikey: legacyService }), [200, "anon"]);
    const legacy = { apikey: legacyService, ...bearer(legacyService) };
    assert.deepEqual(await as(legacy), [200, "service_role"]);
    const [browser] = await as({ apikey: service, "user-agent": "Mozilla/5.0" });
    assert.equal(browser, 401);

    assert.deepEqual(await answer(rpc("add", { name: "x" }, { headers: { apikey: anon } })), [401, {
      code: "42501",
      message: "permission denied for function add",
      details: null,
      hint: null,
    }]);
    assert.deepEqual(await answer(rpc("who")), [200, {
      role: "service_role",
      claims: { role: "service_role" },
      path: '"public", "extensions"',
    }]);
  },

  async "SQLSTATEs become statuses"({ rpc }) {
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
      const error = { code, message: "it failed", details: "the detail", hint: "the hint" };
      assert.deepEqual(await answer(rpc("fails", { code })), [status, error]);
    }
  },

  async "a lost connection to the database is 503"({ database, keys }) {
    const query = () => Promise.reject(new Error("connection refused"));
    const { handle } = createRest({ ...database, query }, keys);
    const response = handle(request("who", { headers: { apikey: keys.service } }));
    assert.deepEqual(await refusal(response), [503, "PGRST000"]);
  },
});

onServer("rpc on a server", {
  async "Supabase's limits of time by role, and a function's own"({ rpc, keys }) {
    assert.deepEqual(await answer(rpc("timeout")), [200, "8s"]);
    const anonymous = { headers: { apikey: keys.anon } };
    assert.deepEqual(await answer(rpc("timeout", {}, anonymous)), [200, "3s"]);
    // Its own goes for the whole request.
    assert.deepEqual(await refusal(rpc("impatient")), [500, "57014"]);
  },
});
