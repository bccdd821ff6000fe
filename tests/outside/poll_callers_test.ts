/** Who may ask for a status, and about whom: nobody sees or names another organization. */
import assert from "node:assert/strict";
import { CHANNEL, CHAT, FRONTEND, ONE, onPolled, OTHER, type Polled } from "./poll.ts";
import { everything } from "./support.ts";

const ROUTES = [FRONTEND, CHANNEL, CHAT];

/** Who answers to a session's token: the name of the instance, null where nobody does. */
async function whose(
  world: Polled,
  token: string,
  named?: string,
  headers: Record<string, string> = {},
): Promise<string | null> {
  const found = new Set<string | null>();
  for (const route of ROUTES) {
    for (const place of ["query", "header", "body"]) {
      if (route === FRONTEND && place === "body") continue;
      const { status, body } = await world.ask(route, {
        query: place === "query" && named ? `?organization_id=${named}` : "",
        headers: {
          "x-auth-token": token,
          ...headers,
          ...place === "header" && named ? { "x-organization-id": named } : {},
        },
        body: place === "body" ? { organization_id: named } : undefined,
      });
      if (status === 200) found.add(body.data.instances?.[0]?.instance_name ?? "nothing");
      else {
        assert.ok([400, 401].includes(status), String(status));
        assert.equal(body.success, false);
        found.add(status === 401 ? null : "no organization");
      }
    }
  }
  assert.equal(found.size, 1, [...found].join());
  return [...found][0];
}

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();

onPolled("who may ask for the status", {
  async "nobody without credentials, and wrong ones look like none"(world) {
    const { keys } = world;
    const closed: Record<string, string>[] = [
      {},
      { authorization: `Bearer ${keys.anon}` },
      { apikey: keys.anon, authorization: `Bearer ${keys.legacyAnon}` },
      { "x-monitor-token": "0".repeat(64) },
      { "x-monitor-token": "short" },
      { "x-auth-token": "0".repeat(128) },
      { "x-auth-token": "x".repeat(5000) },
      { "x-auth-token": "null" },
      { "x-auth-token": "' or true --" },
      { authorization: `Bearer ${await world.session()}` },
      { cookie: `rendizy-token=${await world.session()}` },
    ];
    const refusals = new Set<string>();
    for (const headers of closed) {
      for (const route of ROUTES) {
        for (const id of [ONE, "org_default", ""]) {
          const { status, body } = await world.ask(route, {
            query: `?organization_id=${id}`,
            headers,
          });
          assert.equal(status, 401, `${route} ${JSON.stringify(headers)}`);
          refusals.add(JSON.stringify(body));
        }
      }
    }
    assert.equal(refusals.size, 1, [...refusals].join());
    const counted = await world.database.query(
      "select distinct source from whatsapp_monitor.refusals",
    );
    assert.deepEqual(counted, [{ source: "poll" }]);
  },

  async "what presents nothing and names nobody costs no query"(world) {
    const asked = () => world.rest.calls.filter(({ fn }) => fn.endsWith("status_of")).length;
    const before = asked();
    for (const route of ROUTES) assert.equal((await world.ask(route)).status, 401);
    assert.equal(asked(), before);
  },

  async "the trigger token and Supabase's secret key, for any organization"(world) {
    const { token, keys } = world;
    const open: Record<string, string>[] = [
      { "x-monitor-token": token },
      { authorization: `Bearer ${token}` },
      { apikey: keys.service },
      { authorization: `Bearer ${keys.legacyService}` },
    ];
    for (const headers of open) {
      for (const id of [ONE, OTHER]) {
        const { status, body } = await world.ask(CHAT, { headers, body: { organization_id: id } });
        assert.deepEqual([status, body.data.instances[0].instance_name], [200, id]);
      }
    }
  },

  async "a session, for its own organization, whatever is named"(world) {
    const token = await world.session();
    for (const named of [undefined, ONE, OTHER, "org_default", "33333333"]) {
      assert.equal(await whose(world, token, named), ONE, named);
    }
    const anon = { apikey: world.keys.anon, authorization: `Bearer ${world.keys.anon}` };
    assert.equal(await whose(world, token, OTHER, anon), ONE);
  },

  async "a session decides even beside a key that opens everything"(world) {
    const beside = { apikey: world.keys.service, "x-monitor-token": world.token };
    assert.equal(await whose(world, await world.session(), OTHER, beside), ONE);
    assert.equal(await whose(world, "0".repeat(128), OTHER, beside), null);
  },

  async "a session by its access token, which goes before another's token"(world) {
    const access_token = "a".repeat(100);
    const token = await world.session({ access_token });
    assert.equal(await whose(world, access_token), ONE);
    assert.equal(await whose(world, token), ONE);
    await world.session({ token: access_token, organization_id: OTHER });
    assert.equal(await whose(world, access_token, OTHER), ONE);
  },

  async "no session that is over"(world) {
    const soon = ago(-60);
    for (
      const columns of [
        { expires_at: ago(1) },
        { expires_at: new Date(0).toISOString() },
        { revoked_at: ago(1) },
        { access_expires_at: ago(1) },
      ]
    ) {
      const token = await world.session({ ...columns, access_token: crypto.randomUUID() });
      assert.equal(await whose(world, token, ONE), null, JSON.stringify(columns));
    }
    const token = await world.session({ expires_at: soon, access_expires_at: soon });
    assert.equal(await whose(world, token), ONE);
    await world.database.query("update public.sessions set revoked_at = now() where token = $1", [
      token,
    ]);
    assert.equal(await whose(world, token), null, "from the next question on");
  },

  async "a session without an organization has its user's"(world) {
    const user_id = crypto.randomUUID();
    const ofUser = { user_id, organization_id: null };
    for (const type of ["imobiliaria", "superadmin"]) {
      const token = await world.session({ ...ofUser, type });
      assert.equal(
        await whose(world, token, OTHER),
        type === "superadmin" ? OTHER : "no organization",
        "there is no such user",
      );
    }
    await world.database.query(
      "insert into public.users (id, organization_id, username, type) values ($1, $2, 'ana', 'staff')",
      [user_id, ONE],
    );
    for (const type of ["imobiliaria", "superadmin"]) {
      assert.equal(await whose(world, await world.session({ ...ofUser, type }), OTHER), ONE, type);
    }
  },

  async "a superadmin without an organization names one, and must"(world) {
    const token = await world.session({ type: "superadmin", organization_id: null });
    assert.equal(await whose(world, token, OTHER), OTHER);
    assert.equal(await whose(world, token, ONE), ONE);
    assert.equal(await whose(world, token), "no organization");
    assert.equal(await whose(world, token, "not-a-uuid"), "nothing");
    const own = await world.session({ type: "superadmin" });
    assert.equal(await whose(world, own, OTHER), ONE);
  },

  async "no session where there is no such table, or one of another make"(world) {
    const token = await world.session();
    const { database } = world;
    await database.exec("alter table public.users rename to their_users");
    assert.equal(await whose(world, token), ONE, "it has an organization of its own");
    const orphan = await world.session({ organization_id: null });
    assert.equal(await whose(world, orphan, OTHER), "no organization");
    await database.exec("alter table public.their_users rename to users");

    await database.exec("alter table public.sessions drop column access_token, drop column type");
    assert.equal(await whose(world, token), ONE, "with fewer columns");
    await database.exec(
      "alter table public.sessions alter column expires_at type text using 'soon'",
    );
    assert.equal(await whose(world, token), null, "nothing tells whether it is over");
    await database.exec("alter table public.sessions drop column expires_at");
    assert.equal(await whose(world, token), null, "nor here");
    await database.exec("alter table public.sessions drop column token, add column token uuid");
    assert.equal(await whose(world, token.slice(0, 31)), null, "a token of another type");
    await database.exec("drop table public.sessions");
    assert.equal(await whose(world, token, ONE), null);
  },

  async "no token and no key is in the log or in any table of ours"(world) {
    await world.edge.idle();
    // The application's own table of them is gone by now.
    const seen = JSON.stringify(world.edge.logs) + await everything(world);
    const secrets = [world.token, world.keys.service, "a".repeat(100), "0".repeat(128)];
    assert.ok(world.tokens.length > 10);
    for (const secret of [...secrets, ...world.tokens]) {
      assert.ok(!seen.includes(secret), secret.slice(0, 9));
    }
  },
});

onPolled("an organization that is public", {
  async "is none, as long as nobody says so"(world) {
    for (const id of [ONE, "org_default"]) {
      assert.equal((await world.ask(CHANNEL, { body: { organization_id: id } })).status, 401);
    }
  },

  async "answers the snippet of the document as it is written"(world) {
    world.gateway.set("org_default", "open");
    await world.watch("org_default");
    await world.database.exec(
      "update whatsapp_monitor.settings set public_organizations = '{org_default}'",
    );
    const projectUrl = world.url;
    for (const publicAnonKey of [world.keys.anon, world.keys.legacyAnon, "undefined", undefined]) {
      const response = await fetch(
        `${projectUrl}/functions/v1/rendizy-server/channels/whatsapp/status`,
        {
          method: "POST",
          headers: publicAnonKey ? { "Authorization": `Bearer ${publicAnonKey}` } : undefined,
          body: JSON.stringify({ organization_id: "org_default" }),
        },
      );
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("access-control-allow-origin"), "*");
      assert.deepEqual(await response.json(), {
        success: true,
        data: { connected: true, phone_number: null, state: null },
        poll_after_s: 30,
      });
    }
    assert.equal(await world.checksByPolls(), 1, "the first one has had it checked");
  },

  async "tells connected or not, and nothing else"(world) {
    await world.database.exec(`
      update whatsapp_monitor.instances
      set status = 'blocked', reason_code = '403', reason_text = 'secret', phone_number = '551199'
      where name = 'org_default'`);
    const frontend = await world.ask(FRONTEND, { query: "?organization_id=org_default" });
    assert.deepEqual(frontend.body, {
      success: true,
      data: { status: "DISCONNECTED", state: null, rawData: null },
      poll_after_s: 30,
    });
    const chat = await world.ask(CHAT, { body: { organization_id: "org_default" } });
    assert.deepEqual(chat.body.data, { connected: false, phone_number: null, state: null });
    // Not even whether there is anything to be connected.
    await world.database.exec(
      "update whatsapp_monitor.settings set public_organizations = '{org_default,nowhere}'",
    );
    const nowhere = await world.ask(CHAT, { body: { organization_id: "nowhere" } });
    assert.deepEqual([nowhere.status, nowhere.body], [200, chat.body]);
  },

  async "is not a door to any other"(world) {
    for (const id of [ONE, OTHER, "org_defaul", "ORG_DEFAULT", "org_default ", "%", "{}", ""]) {
      const { status } = await world.ask(CHANNEL, { body: { organization_id: id } });
      assert.equal(status, 401, id);
    }
  },

  async "is public for those with a session of another, or one that is over, too"(world) {
    const whole = await world.ask(CHAT, {
      headers: { "x-auth-token": await world.session() },
      body: { organization_id: "org_default" },
    });
    assert.equal(whole.body.data.instances[0].instance_name, ONE);
    const over = await world.ask(CHAT, {
      headers: { "x-auth-token": await world.session({ revoked_at: ago(1) }) },
      body: { organization_id: "org_default" },
    });
    assert.deepEqual(Object.keys(over.body.data), ["connected", "phone_number", "state"]);
  },
});
