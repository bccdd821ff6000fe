/** The status that frontends poll: what it says, and what it costs. */
import assert from "node:assert/strict";
import type { Query } from "../stack/database.ts";
import { passTime } from "../stack/time.ts";
import { CHANNEL, CHAT, FRONTEND, ONE, onPolled, OTHER, type Polled } from "./poll.ts";
import { anotherEdge, until } from "./support.ts";

/** What the monitor can say of an instance, and the contract's words for it. */
const WORDS: [status: string, word: string, state: string, connected: boolean][] = [
  ["connected", "CONNECTED", "open", true],
  ["connecting", "CONNECTING", "connecting", false],
  ["waiting_qr", "DISCONNECTED", "close", false],
  ["disconnected", "DISCONNECTED", "close", false],
  ["blocked", "ERROR", "close", false],
  ["zombie", "ERROR", "open", false],
  ["gateway_unreachable", "ERROR", "unknown", false],
  ["misconfigured", "ERROR", "unknown", false],
  ["unknown", "CONNECTING", "unknown", false],
];

/** Questions in flight: more would only wait for the embedded database, which answers in turn. */
const AT_ONCE = 24;

const asService = ({ keys }: Polled) => ({ apikey: keys.service });

/** Every instance was checked just now, and nothing is due. */
async function fresh(world: Polled): Promise<void> {
  await world.tick();
  await passTime(world.database, 1);
}

onPolled("the status of one organization", {
  async "has the fields of the frontend's contract, for each status"(world) {
    await fresh(world);
    for (const [status, word, state, connected] of WORDS) {
      await world.database.query(
        `update whatsapp_monitor.instances
         set status = $1, reason_code = 'x', reason_text = 'É isto.', phone_number = '5511999990000'
         where name = $2`,
        [status, ONE],
      );
      const query = `?organization_id=${ONE}`;
      const answer = await world.ask(FRONTEND, { query, headers: asService(world) });
      const { success, data, poll_after_s } = answer.body;
      assert.deepEqual([answer.status, success, poll_after_s], [200, true, 30], status);
      assert.equal(data.status, word, status);
      assert.equal(data.state, state, status);
      assert.deepEqual(data.rawData, { instance: { instanceName: ONE, state } });
      assert.deepEqual([data.monitor_status, data.connected], [status, connected]);

      const chat = await world.ask(CHAT, {
        body: { organization_id: ONE },
        headers: asService(world),
      });
      assert.deepEqual([chat.status, chat.body.success], [200, true], status);
      const { since, checked_at, instances, ...rest } = chat.body.data;
      assert.deepEqual(rest, {
        connected,
        phone_number: "5511999990000",
        state,
        status,
        reason: { code: "x", text: "É isto." },
        stale: false,
      });
      const age_ms = Date.now() - new Date(checked_at).getTime();
      assert.ok(since <= checked_at && age_ms < 60_000, `${since} ${checked_at}`);
      assert.deepEqual(instances.map((each: { status: string }) => each.status), [status]);
    }
    // What a check finds to be as it was is not written again.
    await world.database.query(
      `update whatsapp_monitor.instances
       set status = 'connected', reason_code = null, reason_text = null, phone_number = null`,
    );
  },

  async "is the same on every path"(world) {
    await fresh(world);
    const answers = new Set();
    const prefixes = ["", "/make-server-67caf26a"];
    for (const prefix of prefixes) {
      for (const route of [CHANNEL, CHAT]) {
        const { body } = await world.ask(prefix + route, {
          body: { organization_id: ONE },
          headers: asService(world),
        });
        answers.add(JSON.stringify(body));
      }
    }
    assert.equal(answers.size, 1, [...answers].join("\n"));
    assert.ok([...answers][0]!.toString().includes('"connected":true'));
  },

  async "an organization without an instance is not configured, in the contract's words"(world) {
    for (const id of ["33333333-3333-4333-8333-333333333333", "org_default", "'; drop --", "𝕏\0"]) {
      const query = `?organization_id=${encodeURIComponent(id)}`;
      const frontend = await world.ask(FRONTEND, { query, headers: asService(world) });
      assert.equal(frontend.status, 200, id);
      assert.deepEqual(frontend.body, {
        success: false,
        data: {
          status: "DISCONNECTED",
          error: "WhatsApp não configurado para esta organização",
        },
        poll_after_s: 30,
      });
      const body = { organization_id: id };
      const chat = await world.ask(CHAT, { body, headers: asService(world) });
      assert.deepEqual([chat.status, chat.body], [200, {
        success: true,
        data: { connected: false, error: "WhatsApp não configurado" },
        poll_after_s: 30,
      }], id);
    }
  },

  async "an organization that nobody names cannot be determined: 400"(world) {
    const sentence = "Não foi possível determinar a organização";
    for (const query of ["", "?organization_id=", "?organization_id=%20"]) {
      const frontend = await world.ask(FRONTEND, { query, headers: asService(world) });
      assert.deepEqual([frontend.status, frontend.body], [400, {
        success: false,
        error: sentence,
        data: { status: "DISCONNECTED", error: sentence },
      }]);
    }
    for (const body of [undefined, {}, { organization_id: null }, { organization_id: " " }]) {
      const chat = await world.ask(CHAT, { body, headers: asService(world) });
      assert.deepEqual([chat.status, chat.body], [400, { success: false, error: sentence }]);
    }
  },

  async "a body that cannot be taken is the caller's fault"(world) {
    const bodies = [
      "{",
      "[]",
      "null",
      '"org"',
      '{"organization_id": 7}',
      '{"organization_id": {"$ne": null}}',
      '{"organization_id": ["x"]}',
    ];
    for (const body of bodies) {
      const { status, body: answer } = await world.ask(CHAT, { body, headers: asService(world) });
      assert.deepEqual([status, answer.success], [400, false], body);
    }
  },

  async "the query wins over the header, and that over the body"(world) {
    const ids = { query: "of the query", header: "x-of-the-header", body: ONE };
    const connected = async (question: { query?: string; header?: string }) => {
      const { body } = await world.ask(CHANNEL, {
        query: question.query ? `?organization_id=${question.query}` : "",
        headers: {
          ...asService(world),
          ...question.header ? { "x-organization-id": question.header } : {},
        },
        body: { organization_id: ids.body },
      });
      return body.data.connected as boolean;
    };
    assert.equal(await connected({}), true);
    assert.equal(await connected({ header: ids.header }), false);
    assert.equal(await connected({ query: ids.query }), false);
    assert.equal(await connected({ query: ids.query, header: ONE }), false);
    assert.equal(await connected({ query: ONE, header: ids.header }), true);
  },

  async "GET, HEAD and POST where they belong, and a browser may ask beforehand"(world) {
    const headers = asService(world);
    const head = await world.ask(FRONTEND, {
      method: "HEAD",
      query: `?organization_id=${ONE}`,
      headers,
    });
    assert.deepEqual([head.status, head.body], [200, ""]);
    for (const [route, method] of [[FRONTEND, "POST"], [CHANNEL, "GET"], [CHAT, "HEAD"]]) {
      assert.equal((await world.ask(route, { method, headers })).status, 405, route);
    }
    for (const route of [FRONTEND, CHANNEL, CHAT]) {
      const response = await fetch(world.functionUrl + route, {
        method: "OPTIONS",
        headers: {
          origin: "https://app.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,x-auth-token",
        },
      });
      assert.deepEqual([response.status, await response.text()], [204, ""]);
      assert.match(response.headers.get("access-control-allow-headers")!, /X-Auth-Token/);
    }
  },

  async "speaks for the default instance, and lists them all"(world) {
    await world.database.exec(`
      create table public.channel_instances (
        id uuid primary key default gen_random_uuid(), organization_id uuid not null,
        channel text default 'whatsapp', provider text default 'evolution', instance_name text,
        api_url text, api_key text, is_enabled boolean default true,
        is_default boolean default false, created_at timestamptz default now())`);
    for (const [name, is_default] of [["reserva", false], ["principal", true], ["outra", false]]) {
      world.gateway.set(String(name), is_default ? { condition: "logged_out", code: 401 } : "open");
      await world.database.query(
        `insert into public.channel_instances
           (organization_id, instance_name, api_url, api_key, is_default) values ($1, $2, $3, $4, $5)`,
        [OTHER, name, world.gateway.url, world.gateway.key, is_default],
      );
    }
    await world.database.query("select whatsapp_monitor.sync_sources()");
    await fresh(world);
    const { body } = await world.ask(CHAT, {
      body: { organization_id: OTHER },
      headers: asService(world),
    });
    assert.deepEqual([body.data.connected, body.data.status], [false, "waiting_qr"]);
    assert.deepEqual(
      body.data.instances.map((each: { instance_name: string }) => each.instance_name),
      ["principal", "reserva", "outra", OTHER],
    );
    // Another application's table of that name has no such column.
    await world.database.exec("alter table public.channel_instances drop column is_default");
    const again = await world.ask(CHAT, {
      body: { organization_id: OTHER },
      headers: asService(world),
    });
    assert.deepEqual([again.status, again.body.data.connected], [200, true]);
    await world.database.exec("drop table public.channel_instances");
    await world.database.query("select whatsapp_monitor.sync_sources()");
  },

  async "without a database: 503, with the word that the frontend knows"(world) {
    world.rest.down();
    const [frontend, chat] = await Promise.all([
      world.ask(FRONTEND, { query: `?organization_id=${ONE}`, headers: asService(world) }),
      world.ask(CHAT, { body: { organization_id: ONE }, headers: asService(world) }),
    ]);
    world.rest.up();
    assert.deepEqual([frontend.status, chat.status], [503, 503]);
    assert.equal(frontend.body.success, false);
    assert.deepEqual(frontend.body.data, {
      status: "ERROR",
      error: "Erro interno ao verificar status",
    });
    assert.equal(chat.body.success, false);
  },

  async "a gateway that is out of reach is a state, and no error of ours"(world) {
    await world.watch("longe", { url: "http://127.0.0.1:9" });
    await world.tick();
    for (let n = 0; n < 3; n++) await world.after(31);
    const { status, body } = await world.ask(FRONTEND, {
      query: "?organization_id=longe",
      headers: asService(world),
    });
    assert.deepEqual([status, body.success, body.data.status], [200, true, "ERROR"]);
    assert.equal(body.data.monitor_status, "gateway_unreachable");
    assert.ok(body.data.reason.text.length > 10);
  },
});

onPolled("a check by those who poll", {
  async "follows where the status is older than the interval, and is answered with"(world) {
    await fresh(world);
    const poll = async () =>
      (await world.ask(CHAT, { body: { organization_id: ONE }, headers: asService(world) })).body
        .data;
    const before = world.asked(ONE);
    assert.equal((await poll()).connected, true);
    await passTime(world.database, 28);
    await poll();
    assert.deepEqual([world.asked(ONE), await world.checksByPolls()], [before, 0], "29 s old");

    await world.database.query("update whatsapp_monitor.settings set function_url = null");
    await passTime(world.database, 2);
    world.gateway.set(ONE, { condition: "logged_out", code: 401 });
    const { status, connected, checked_at } = await poll();
    assert.deepEqual([status, connected], ["waiting_qr", false]);
    assert.ok(Date.now() - new Date(checked_at).getTime() < 20_000, checked_at);
    assert.equal(await world.checksByPolls(), 1);
    assert.equal(world.asked(OTHER), 1, "it is limited to the organization");
    const settings = await world.database.query(
      "select function_url from whatsapp_monitor.settings",
    );
    assert.deepEqual(settings, [{ function_url: null }], "triggers go elsewhere");
    await poll();
    assert.equal(await world.checksByPolls(), 1);
    const [trigger] = await world.database.query(
      `select source, caller, organization_id, outcome, checked::int from whatsapp_monitor.triggers
       where source = 'poll'`,
    );
    assert.deepEqual(trigger, {
      source: "poll",
      caller: "poll",
      organization_id: ONE,
      outcome: "committed",
      checked: 1,
    });
    world.gateway.set(ONE, "open");
  },

  async "is one, however many poll at once, in whichever isolate"(world) {
    const second = await anotherEdge(world);
    try {
      await passTime(world.database, 31);
      const [before, ticks] = [world.asked(ONE), await world.checksByPolls()];
      const calls = () =>
        world.rest.calls.filter(({ fn }) => fn === "whatsapp_monitor_begin_tick").length;
      const begun = calls();
      const urls = [world.functionUrl, `${second.url}/rendizy-server`];
      const answers: number[] = [];
      await Promise.all(Array.from({ length: AT_ONCE }, async (_, n) => {
        while (answers.length < 200) {
          const response = await fetch(urls[n % 2] + CHANNEL, {
            method: "POST",
            headers: asService(world),
            body: JSON.stringify({ organization_id: ONE }),
          });
          await response.body?.cancel();
          answers.push(response.status);
        }
      }));
      await world.edge.idle();
      await second.idle();
      assert.deepEqual(new Set(answers), new Set([200]));
      assert.equal(await world.checksByPolls(), ticks + 1);
      assert.equal(calls(), begun + 1, "the others do not even begin a tick");
      assert.equal(world.asked(ONE), before + 1);
    } finally {
      await second.stop();
    }
  },

  async "is not asked for again within the interval, even where nothing came of it"(world) {
    await passTime(world.database, 31);
    const ticks = await world.checksByPolls();
    const poll = () =>
      world.ask(CHAT, { body: { organization_id: ONE }, headers: asService(world) });
    world.rest.behave({ fn: "whatsapp_monitor_begin_tick", how: "error", status: 400 });
    assert.equal((await poll()).status, 200);
    assert.equal((await poll()).body.data.stale, false);
    assert.equal(await world.checksByPolls(), ticks);
    await passTime(world.database, 31);
    await poll();
    assert.equal(await world.checksByPolls(), ticks + 1);
  },

  async "leaves alone what somebody else is checking"(world) {
    await passTime(world.database, 31);
    const ticks = await world.checksByPolls();
    await world.database.query(
      `update whatsapp_monitor.instances
       set lease_tick = gen_random_uuid(), lease_until = now() + interval '40 s',
           due_at = now() + interval '40 s' where name = $1`,
      [ONE],
    );
    const { body } = await world.ask(CHAT, {
      body: { organization_id: ONE },
      headers: asService(world),
    });
    assert.deepEqual([body.data.connected, body.data.stale], [true, false]);
    assert.equal(await world.checksByPolls(), ticks);
    await passTime(world.database, 120);
    const old = await world.ask(CHAT, {
      body: { organization_id: OTHER },
      headers: asService(world),
    });
    assert.equal(old.body.data.stale, false, "it has just been checked");
    await world.database.query(
      "update whatsapp_monitor.instances set due_at = now() + interval '40 s' where name = $1",
      [ONE],
    );
    const stuck = await world.ask(CHAT, {
      body: { organization_id: ONE },
      headers: asService(world),
    });
    assert.equal(stuck.body.data.stale, true, "for more than three intervals nobody has");
  },

  async "is no sign of life, and what is remembered of it is forgotten in time"(world) {
    await world.database.exec(`
      update whatsapp_monitor.ticks set source = 'poll';
      update whatsapp_monitor.polls set checked_at = now() - interval '8 days'
      where organization_id = '${ONE}'`);
    const health = await fetch(`${world.functionUrl}/whatsapp/monitor/health`);
    await health.body?.cancel();
    assert.equal(health.status, 503);
    await world.database.query("select whatsapp_monitor.clean_up()");
    const kept = await world.database.query("select organization_id from whatsapp_monitor.polls");
    assert.deepEqual(kept, [{ organization_id: OTHER }]);
  },

  // The embedded database runs transactions in turn.
  ...Deno.env.get("DATABASE") && {
    async "is one, also where another asks while the first one is being handed it"(world) {
      await passTime(world.database, 120);
      const request = { caller: "poll", organization_id: ONE, check: true };
      const isDue = async (query: Query) => {
        const [{ due }] = await query<{ due: boolean }>(
          "select public.whatsapp_monitor_status_of($1::text::jsonb) -> 'check_due' as due",
          [JSON.stringify(request)],
        );
        return due;
      };
      const first = { due: false };
      let second: Promise<boolean> | undefined;
      await world.database.transaction(null, async (query) => {
        first.due = await isDue(query);
        second = isDue(world.database.query);
        await until("the second one waits", async () =>
          (await world.database.query(
            `select from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'`,
          )).length > 0);
      });
      assert.deepEqual([first.due, await second], [true, false]);
    },
  },
});
