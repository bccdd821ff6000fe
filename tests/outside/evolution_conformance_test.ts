/**
 * Holds the simulated gateway to the recorded one: every exchange of the fixtures is sent again, in
 * the order in which it was recorded, to one gateway that lives through the same story.
 *
 *     deno test --cached-only -A tests/outside/evolution_conformance_test.ts
 */

import assert from "node:assert/strict";
import type { MemoryState } from "../stack/evolution/conditions.ts";
import { type Gateway, startGateway } from "../stack/evolution/mod.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url);

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

/**
 * The story through which every simulation of the gateway must live, and what of its answers is the
 * same: the model under a virtual clock lives through it in tests/gateway_conformance.rs.
 */
interface Story {
  /** The exchanges that are not sent again, each with its reason. */
  excluded: Record<string, string>;
  /** What happened on the recorded server before an exchange, other than by the exchanges. */
  before: Record<string, Step[]>;
  /** What was sent and not recorded. */
  sent: Record<string, { authorization?: string; body?: string }>;
  /** Keys whose values are made anew by every server: each recorded one stands for one of ours. */
  generated: string[];
  /** Keys whose values are times. */
  dates: string[];
  /** Keys whose values have but their beginning in common with ours. */
  beginnings: Record<string, string>;
  /** The shortened texts with this in them go on otherwise: those of the database layer. */
  other_endings: string;
}

/** One step: the story itself says what each word means. */
interface Step {
  whatsapp?: "unresolvable" | "dropping" | "reachable";
  next_dial?: "hangs";
  lookup_ms?: number;
  database?: "down" | "up";
  reboot?: "quickly" | "slowly";
  until?: MemoryState;
  seen?: MemoryState[];
  qrs?: number | "limit";
  scan?: true;
  pair?: true;
  disconnect?: number;
  disconnects?: [code: number, row: string, reason: number, session: string][];
  pass_s?: number;
  is?: Truth;
}

/** What can be known of an instance; what is left out may be anything. */
interface Truth {
  memory?: string;
  row?: string;
  sockets?: number;
  session?: boolean;
  reason?: number;
  /** The row names the account. */
  owner?: boolean;
}

const STORY: Story = JSON.parse(
  await Deno.readTextFile(new URL("evolution-conformance.json", FIXTURES)),
);

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

const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const SHORTENED = /^([^]*)…\((\d+) chars\)$/;

/** Recorded generated value to ours. The token of loja-a was chosen by its creator. */
const ids = new Map([["token-loja-a-0001", "token-loja-a-0001"]]);

/** Compares a value with the recorded one: the same keys, the same values but for `assertString`. */
function assertSame(
  recorded: unknown,
  ours: unknown,
  at: string,
  key = "",
): void {
  if (Array.isArray(recorded)) {
    assert(Array.isArray(ours), `${at}: not an array`);
    assert.equal(ours.length, recorded.length, `${at}: length`);
    recorded.forEach((value, i) => assertSame(value, ours[i], `${at}[${i}]`, key));
  } else if (typeof recorded === "object" && recorded !== null) {
    assert(
      typeof ours === "object" && ours !== null && !Array.isArray(ours),
      `${at}: no object`,
    );
    assert.deepEqual(
      Object.keys(ours).sort(),
      Object.keys(recorded).sort(),
      `${at}: keys`,
    );
    for (const [key, value] of Object.entries(recorded)) {
      assertSame(
        value,
        (ours as Record<string, unknown>)[key],
        `${at}.${key}`,
        key,
      );
    }
  } else if (typeof recorded === "string" && typeof ours === "string") {
    assertString(recorded, ours, at, key);
  } else {
    assert.equal(ours, recorded, at);
  }
}

/** Strings are equal, except those that cannot be: generated, times, pictures, shortened. */
function assertString(
  recorded: string,
  ours: string,
  at: string,
  key: string,
): void {
  const shortened = SHORTENED.exec(recorded);
  if (STORY.generated.includes(key)) {
    if (!ids.has(recorded)) ids.set(recorded, ours);
    assert.equal(ours, ids.get(recorded), `${at}: not the ${key} of before`);
  } else if (STORY.dates.includes(key)) {
    assert.match(ours, DATE, at);
  } else if (key in STORY.beginnings) {
    assert(ours.startsWith(STORY.beginnings[key]), `${at}: ${ours}`);
  } else if (shortened) {
    const [, head, chars] = shortened;
    assert(ours.startsWith(head), `${at}: ${ours}`);
    if (!head.includes(STORY.other_endings)) {
      assert.equal(ours.length, Number(chars), `${at}: length`);
    }
  } else {
    assert.equal(ours, recorded, at);
  }
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
  const text = await Deno.readTextFile(
    new URL("evolution-2.3.6.jsonl", FIXTURES),
  );
  const exchanges: Exchange[] = text.trim().split("\n").map((line) => JSON.parse(line));
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
  const text = await Deno.readTextFile(
    new URL("evolution-2.3.6-sequences.md", FIXTURES),
  );
  const part = text.slice(text.indexOf("\n## E:"), text.indexOf("\n## Logout"));
  const recorded = part.matchAll(
    /^\| [^|]+ \| (\d{3}) \|.*\| (\w+), reason (\d+).*\| (\w+) \|$/gm,
  );
  const kinds = [...recorded].map((
    [, code, row, reason, session],
  ) => [Number(code), row, Number(reason), session]);
  assert.equal(kinds.length, 18);
  assert.deepEqual(STORY.before.F1.flatMap((step) => step.disconnects ?? []), kinds);
});

Deno.test("the row of a logout carries its reason as the recorded one does", async () => {
  const text = await Deno.readTextFile(
    new URL("evolution-webhooks-2.3.6.jsonl", FIXTURES),
  );
  const recorded = text.trim().split("\n").map((line) => JSON.parse(line));
  const { data } = recorded.find(({ id }) => id === "E1-1").body;
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
