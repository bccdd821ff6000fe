/**
 * cron-job.org, UptimeRobot and EasyCron, with what each is able to send and
 * within what each is able to take.
 */
import assert from "node:assert/strict";
import { everything, inWorld, outcome, startHeldGateway, timesAsked } from "./support.ts";
import type { World } from "./support.ts";

/** Bytes of an answer: the least that one of them takes is 8192; a status message is enough. */
const MAX_BYTES = 1024;

interface Service {
  source: string;
  agent: string;
  methods: string[];
  /** What it sends besides. */
  headers: Record<string, string>;
}

const SERVICES: Service[] = [
  {
    source: "cron_job_org",
    agent: "Mozilla/4.0 (compatible; cron-job.org; http://cron-job.org/abuse/)",
    methods: ["GET", "POST", "HEAD"],
    headers: { accept: "*/*", connection: "close", "x-forwarded-for": "203.0.113.7" },
  },
  {
    source: "uptimerobot",
    agent: "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    methods: ["HEAD", "GET"],
    headers: { accept: "*/*", "accept-language": "en-US,en;q=0.8", "cache-control": "no-cache" },
  },
  {
    source: "easycron",
    agent: "EasyCron/1.0 (https://www.easycron.com/)",
    methods: ["GET", "POST", "HEAD"],
    headers: { accept: "*/*", "content-type": "application/x-www-form-urlencoded" },
  },
];

/** How a service shows its token: each can do the last, some the others. */
const DOORS: Record<string, (token: string) => { query: string; headers?: HeadersInit }> = {
  header: (token) => ({ query: "", headers: { "x-monitor-token": token } }),
  bearer: (token) => ({ query: "", headers: { authorization: `Bearer ${token}` } }),
  query: (token) => ({ query: `?token=${token}` }),
};

async function call(
  world: World,
  { agent, headers }: Service,
  { method = "GET", door = "query" as keyof typeof DOORS } = {},
) {
  const shown = DOORS[door](world.token);
  const url = `${world.functionUrl}/whatsapp/monitor/start${shown.query}`;
  const all = { ...headers, "user-agent": agent, ...shown.headers };
  const answer = await outcome(fetch(url, { method, headers: all, redirect: "manual" }), agent);
  return { answer, text: await answer.text() };
}

const triggers = ({ database }: World) =>
  database.query<{ source: string; outcome: string; checked: number }>(
    "select source, outcome, checked::int from whatsapp_monitor.triggers order by at",
  );

for (const service of SERVICES) {
  Deno.test(`${service.source} is served, whichever of its ways it comes`, async () => {
    const held = startHeldGateway();
    await inWorld(async (world) => {
      await world.watch("loja", { url: held.url });
      let calls = 0;
      for (const door of Object.keys(DOORS)) {
        for (const method of service.methods) {
          // The gateway has not answered yet: nobody is kept waiting for it.
          const { answer, text } = await call(world, service, { method, door });
          calls++;
          assert.equal(answer.status, 200, `${method} ${door}: ${text}`);
          assert.ok(new TextEncoder().encode(text).length < MAX_BYTES);
          assert.equal(text === "", method === "HEAD");
        }
      }
      held.release();
      await world.edge.idle();
      const all = await triggers(world);
      assert.deepEqual(all[0], { source: service.source, outcome: "committed", checked: 1 });
      assert.deepEqual(
        all.slice(1),
        Array(calls - 1).fill({ source: service.source, outcome: "busy", checked: 0 }),
      );
      assert.equal(held.paths.filter((path) => path.includes("connectionState")).length, 1);
      const { answer } = await call(world, service);
      assert.equal(answer.status, 200, "nothing due is no failure either");
      assert.equal((await triggers(world)).at(-1)?.outcome, "nothing_due");
    }).finally(held.stop);
  });
}

Deno.test("all of them and pg_cron at once are one tick's work, and recorded as such", () =>
  inWorld(async (world) => {
    await world.set({ interval_s: 3600 });
    const names = ["a", "b", "c"];
    for (const name of names) {
      world.gateway.set(name, "open");
      await world.watch(name);
    }
    const pgNet = world.trigger().then((answer) => answer.json());
    const answers = await Promise.all(
      SERVICES.flatMap((service) =>
        service.methods.map((method) => call(world, service, { method }))
      ),
    );
    for (const { answer } of answers) assert.equal(answer.status, 200);
    assert.equal((await pgNet).success, true);
    await world.edge.idle();
    for (const name of names) assert.equal(timesAsked(world.gateway, name), 1, name);
    const all = await triggers(world);
    assert.deepEqual(
      all.map(({ source }) => source).sort(),
      ["pg_cron", ...SERVICES.flatMap(({ source, methods }) => methods.map(() => source))].sort(),
    );
    const worked = all.filter(({ outcome }) => outcome === "committed");
    assert.deepEqual(worked.map(({ checked }) => checked), [3]);
    for (const { outcome } of all) assert.match(outcome, /^(committed|busy|nothing_due)$/);
  }));

Deno.test("a token in the query is in no log, answer, report or table", () =>
  inWorld(async (world) => {
    world.gateway.set("loja", "open");
    await world.watch("loja");
    const wrong = "f".repeat(64);
    const texts = [];
    const queries = [
      `token=${world.token}`,
      `wait=true&token=${world.token}`,
      `wait=maybe&token=${world.token}`,
      `every=1&token=${world.token}`,
      `token=${wrong}`,
      `token=${world.token}x`,
    ];
    for (const query of queries) {
      for (const route of ["start", "status", "health", "nowhere"]) {
        const url = `${world.functionUrl}/whatsapp/monitor/${route}?${query}`;
        const answer = await fetch(url);
        texts.push(await answer.text(), JSON.stringify([...answer.headers]));
      }
    }
    world.rest.behave({ fn: "whatsapp_monitor_begin_tick", how: "error", status: 400 });
    const failed = await fetch(
      `${world.functionUrl}/whatsapp/monitor/start?token=${world.token}`,
    );
    assert.equal(failed.status, 503);
    texts.push(await failed.text());
    await world.edge.idle();
    assert.ok((await triggers(world)).length > 0, "it did open the door");
    const seen = texts.join("\n") + world.edge.logs.join("\n") + await everything(world);
    for (const token of [world.token, wrong]) assert.ok(!seen.includes(token));
    for (const { path } of world.gateway.requests) assert.ok(!path.includes(world.token));
  }));
