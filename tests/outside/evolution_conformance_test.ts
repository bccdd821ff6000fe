/**
 * Holds the simulated gateway to the recorded one: every exchange of the fixtures is sent again, in
 * the order in which it was recorded, to one gateway that lives through the same story.
 *
 *     deno test --cached-only -A tests/outside/evolution_conformance_test.ts
 */

import assert from "node:assert/strict";
import type { MemoryState } from "../stack/evolution/conditions.ts";
import { type Gateway, startGateway } from "../stack/evolution/mod.ts";
import { assertSame, ids, recorded, type Step, STORY, text, type Truth } from "./recorded.ts";

interface Exchange {
  id: string;
  title: string;
  auth: "global key" | "instance token" | "none" | "wrong key";
  method: string;
  path: string;
  request: unknown;
  status: number;
  response: unknown;
}

/** The instance that the story is about. */
const NAME = "loja-a";

/** Plays one step. Time does not pass here: what takes time is brought forward by `advance`. */
async function play(gateway: Gateway, step: Step, at: string): Promise<void> {
  const [[word, value], ...others] = Object.entries(step);
  assert.deepEqual(others, [], `${at}: one word a step`);
  switch (word as keyof Step) {
    case "whatsapp":
      return gateway.set(NAME, { dials: value === "reachable" ? "wait" : "fail" });
    case "next_dial":
      return gateway.set(NAME, { dials: "hang" });
    case "lookup_ms":
      return; // only where time is simulated
    case "database":
      return await gateway.behave(value === "down" ? "database_down" : "up");
    case "reboot":
      gateway.reboot();
      if (value === "slowly") gateway.set(NAME, "booting");
      return;
    case "until":
      return until(gateway, value);
    case "seen":
      return value.forEach((state: MemoryState) => until(gateway, state));
    case "qrs": {
      const shown = () => gateway.instance(NAME).qr.count;
      const limit = value === "limit";
      while (shown() < (limit ? 30 : value)) gateway.nextQr(NAME);
      if (limit) gateway.nextQr(NAME);
      return;
    }
    case "scan":
      return gateway.scan(NAME);
    case "pair": {
      gateway.set(NAME, { dials: "wait" });
      const url = `${gateway.url}/instance/connect/${NAME}`;
      const answer = await fetch(url, { headers: { apikey: gateway.key } });
      await answer.body?.cancel();
      return gateway.scan(NAME);
    }
    case "disconnect":
      return gateway.disconnect(NAME, value);
    case "disconnects":
      for (const [code, row, reason, session] of step.disconnects!) {
        const kept = session === "kept";
        const each = `${at} ${code}`;
        gateway.disconnect(NAME, code);
        assertIs(gateway, { row, reason, session: kept, owner: true }, each);
        await play(gateway, kept ? { until: "open" } : { pair: true }, each);
        assertIs(gateway, { row: "open", reason }, each);
      }
      return;
    case "pass_s":
      return gateway.advance(NAME);
    case "is":
      return assertIs(gateway, value, at);
    default:
      throw new Error(`${at}: no step ${word}`);
  }
}

/** Brings the dial under way forward until the state reads so. One that hangs does so once. */
function until(gateway: Gateway, state: MemoryState): void {
  const instance = gateway.instance(NAME);
  if (instance.memory === state) return;
  if (instance.dials === "hang") gateway.set(NAME, { dials: "wait" });
  for (let steps = 0; instance.memory !== state; steps++) {
    assert(steps < 5, `never ${state}`);
    gateway.advance(NAME);
  }
}

function assertIs(gateway: Gateway, expected: Truth, at: string): void {
  const { memory, row, sockets, session } = gateway.instance(NAME);
  const now: Required<Truth> = {
    memory,
    row: row.connectionStatus,
    sockets,
    session,
    reason: row.disconnectionReasonCode!,
    owner: row.ownerJid !== null,
  };
  assert.deepEqual({ ...now, ...expected }, now, at);
}

/** Sends a recorded request again. */
async function send(
  gateway: Gateway,
  exchange: Exchange,
): Promise<[number, unknown]> {
  const { id, auth, method, request } = exchange;
  const keys = {
    "global key": gateway.key,
    "instance token": "token-loja-a-0001",
  };
  const headers = new Headers();
  if (auth === "wrong key") headers.set("apikey", "wrong-key");
  else if (auth !== "none") headers.set("apikey", keys[auth]);
  const sent = STORY.sent[id] ?? {};
  if (sent.authorization) {
    headers.set("authorization", sent.authorization.replace("<key>", gateway.key));
  }
  const body = sent.body ?? (request === null ? undefined : JSON.stringify(request));
  if (body !== undefined) headers.set("content-type", "application/json");
  let { path } = exchange;
  for (const [recorded, ours] of ids) path = path.replace(recorded, ours); // A43
  const response = await fetch(gateway.url + path, { method, headers, body });
  return [response.status, await response.json()];
}

Deno.test("the simulated gateway answers as the recorded one", async (t) => {
  const exchanges = await recorded<Exchange>("evolution-2.3.6.jsonl");
  assert.equal(exchanges.length, 126, "the fixtures are whole");
  const replayed: string[] = [];
  const gateway = await startGateway();
  try {
    for (const exchange of exchanges) {
      const { id, title, status, response } = exchange;
      if (id in STORY.excluded) continue;
      await t.step(`${id} ${title}`, async () => {
        for (const step of STORY.before[id] ?? []) await play(gateway, step, id);
        const [ourStatus, ours] = await send(gateway, exchange);
        assert.equal(
          ourStatus,
          status,
          `${id}: status of ${JSON.stringify(ours)}`,
        );
        assertSame(response, ours, id);
      });
      replayed.push(id);
    }
  } finally {
    await gateway.stop();
  }
  const all = exchanges.map(({ id }) => id).sort();
  assert.deepEqual(
    [...replayed, ...Object.keys(STORY.excluded)].sort(),
    all,
    "nothing is skipped",
  );
  for (const id of Object.keys(STORY.before)) {
    assert(replayed.includes(id), `steps before ${id}`);
  }
});

Deno.test("the story has every disconnect of the recording", async () => {
  const all = await text("evolution-2.3.6-sequences.md");
  const part = all.slice(all.indexOf("\n## E:"), all.indexOf("\n## Logout"));
  const rows = part.matchAll(
    /^\| [^|]+ \| (\d{3}) \|.*\| (\w+), reason (\d+).*\| (\w+) \|$/gm,
  );
  const kinds = [...rows].map((
    [, code, row, reason, session],
  ) => [Number(code), row, Number(reason), session]);
  assert.equal(kinds.length, 18);
  assert.deepEqual(STORY.before.F1.flatMap((step) => step.disconnects ?? []), kinds);
});

Deno.test("the row of a logout carries its reason as the recorded one does", async () => {
  // deno-lint-ignore no-explicit-any -- whatever was recorded
  const webhooks = await recorded<any>("evolution-webhooks-2.3.6.jsonl");
  const { data } = webhooks.find(({ id }) => id === "E1-1").body;
  const gateway = await startGateway();
  try {
    gateway.set("loja-a", "open");
    gateway.disconnect("loja-a", 401);
    const { row } = gateway.instance("loja-a");
    assertSame(
      data.disconnectionObject,
      row.disconnectionObject,
      "disconnectionObject",
    );
    assertSame(
      data.disconnectionReasonCode,
      row.disconnectionReasonCode,
      "code",
    );
    assert(
      Math.abs(Date.parse(row.disconnectionAt!) - Date.now()) < 60_000,
      "true UTC",
    );
  } finally {
    await gateway.stop();
  }
});
