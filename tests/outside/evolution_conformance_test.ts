/**
 * Holds the simulated gateway to the recorded one: every exchange of the fixtures is sent again, in
 * the order in which it was recorded, to one gateway that lives through the same story.
 *
 *     deno test --cached-only -A tests/outside/evolution_conformance_test.ts
 */

import assert from "node:assert/strict";
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

/** The exchanges that are not sent again, each with its reason. */
const EXCLUDED: Record<string, string> = {
  J2: "whatsappNumbers: the monitor never calls it",
  J3: "fetchProfilePictureUrl: the monitor never calls it",
  J4: "sendText: the monitor never calls it",
  J5: "fetchAllGroups: the monitor never calls it",
  J6: "fetchPrivacySettings: the monitor never calls it",
  K4: "whatsappNumbers: the monitor never calls it",
  K9: "settings/set: the monitor never calls it",
  K10: "proxy/find: the monitor never calls it",
  L1: "/metrics is off on most servers and not simulated",
  M1: "2.3.7, the answer is that of A18",
  M2: "2.3.7, the answer is that of A20",
  M3: "2.3.7, the answer is that of F3",
  M4: "2.3.7, the answer is that of C4",
  M5: "2.3.7, the answer is that of D1",
  M7: "2.3.7, the answer is that of J1",
  M8: "2.3.7, the answer is that of I11",
  M9: "2.3.7 answers otherwise than 2.3.6 (J8)",
  M10: "2.3.7 answers otherwise than 2.3.6",
};

/** A dial that comes through: close, connecting, open. */
function reconnect(gateway: Gateway) {
  gateway.set("loja-a", { dials: "wait" });
  for (let step = 0; step < 3; step++) gateway.advance("loja-a");
  assert.equal(gateway.instance("loja-a").memory, "open");
}

/** What happened on the recorded server before an exchange, other than by the exchanges. */
const BEFORE: Record<string, (gateway: Gateway) => unknown> = {
  // WhatsApp is unreachable through A and B.
  B1: (g) => g.set("loja-a", { dials: "fail" }),
  B7: (g) => g.advance(),
  C1: (g) => {
    g.set("loja-a", { dials: "wait" });
    g.reboot();
  },
  C2: (g) => g.nextQr("loja-a"),
  C8: (g) => g.scan("loja-a"),
  D2: (g) => {
    reconnect(g);
    g.set("loja-a", { dials: "fail" });
  },
  D3: (g) => g.advance("loja-a"),
  F1: async (g) => {
    reconnect(g);
    await disconnectOnceOfEachKind(g);
  },
  F5: (g) => reachTheLimit(g),
  F6: (g) => {
    g.scan("loja-a");
    const { row } = g.instance("loja-a");
    assert.deepEqual([row.connectionStatus, row.disconnectionReasonCode], [
      "open",
      401,
    ], "F5");
  },
  I2: (g) => {
    g.reboot(); // I1
    reconnect(g);
    g.set("loja-a", { dials: "hang" });
  },
  I4: (g) => {
    reconnect(g);
    return g.behave("database_down");
  },
  I11: (g) => g.behave("up"),
  K1: (g) => {
    assert.deepEqual(
      truth(g),
      ["open", "open", 0, true],
      "J8: nothing happened",
    );
    g.reboot(); // K0
    reconnect(g);
  },
  K6: async (g) => {
    await g.behave("database_down");
    g.disconnect("loja-a", 428); // K5
    await g.behave("up");
    assert.deepEqual(truth(g), ["open", "open", 0, true], "K5: a zombie");
  },
  K11: (g) => {
    g.set("loja-a", { dials: "hang" });
    g.reboot();
  },
  K12: (g) => g.set("loja-a", { condition: "logged_out", code: 401, dials: "wait" }),
  N1: (g) => g.set("loja-a", "booting"),
  N9: reconnect,
  O1: reconnect,
  O2: (g) => assert.equal(g.instance("loja-a").memory, "close"),
  O3: (g) => {
    assert.equal(g.instance("loja-a").sockets, 2);
    const seen = [1, 2, 3].map(() => {
      g.advance("loja-a");
      return g.instance("loja-a").memory;
    });
    assert.deepEqual(seen, ["open", "connecting", "close"], "O2: without end");
  },
};

function truth(gateway: Gateway) {
  const { memory, row, sockets, session } = gateway.instance("loja-a");
  return [memory, row.connectionStatus, sockets, session];
}

/** Part E of the sequences: row and session after each code, the reason that of the last final one. */
async function disconnectOnceOfEachKind(gateway: Gateway) {
  const text = await Deno.readTextFile(
    new URL("evolution-2.3.6-sequences.md", FIXTURES),
  );
  const part = text.slice(text.indexOf("\n## E:"), text.indexOf("\n## Logout"));
  const rows = [
    ...part.matchAll(
      /^\| [^|]+ \| (\d{3}) \|.*\| (\w+), reason (\d+).*\| (\w+) \|$/gm,
    ),
  ];
  assert.equal(rows.length, 18);
  for (const [line, code, status, reason, session] of rows) {
    gateway.disconnect("loja-a", Number(code));
    if (session === "kept") {
      assert.equal(
        gateway.instance("loja-a").row.connectionStatus,
        "open",
        line,
      );
      reconnect(gateway);
    }
    const { row } = gateway.instance("loja-a");
    assert.equal(row.connectionStatus, status, line);
    assert.equal(row.disconnectionReasonCode, Number(reason), line);
    assert.equal(gateway.instance("loja-a").session, session === "kept", line);
    assert.equal(
      row.ownerJid,
      "5511999990001@s.whatsapp.net",
      "E1: the owner is kept",
    );
    if (session === "deleted") {
      await fetch(`${gateway.url}/instance/connect/loja-a`, {
        headers: { apikey: gateway.key },
      })
        .then((r) => r.body?.cancel());
      gateway.scan("loja-a");
    }
  }
}

/** F4: the QRs go unscanned until the limit, after which memory and row disagree for ever. */
function reachTheLimit(gateway: Gateway) {
  const { qr } = gateway.instance("loja-a");
  for (let shown = qr.count; shown < 30; shown++) gateway.nextQr("loja-a");
  assert.equal(gateway.instance("loja-a").qr.count, 30);
  gateway.nextQr("loja-a");
  assert.deepEqual(truth(gateway), ["close", "connecting", 0, false]);
  assert.equal(gateway.instance("loja-a").row.disconnectionReasonCode, 401);
}

/** Made anew by every server: each recorded one stands for one of ours. */
const GENERATED = /^(id|instanceId|hash|token)$/;
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

/** Strings are equal, except those that cannot be: generated, dates, ports, versions, shortened. */
function assertString(
  recorded: string,
  ours: string,
  at: string,
  key: string,
): void {
  const shortened = SHORTENED.exec(recorded);
  if (GENERATED.test(key)) {
    if (!ids.has(recorded)) ids.set(recorded, ours);
    assert.equal(ours, ids.get(recorded), `${at}: not the ${key} of before`);
  } else if (DATE.test(recorded)) {
    assert.match(ours, DATE, at);
  } else if (key === "manager") {
    assert.match(ours, /^http:\/\/127\.0\.0\.1:\d+\/manager$/, at);
  } else if (key === "whatsappWebVersion") {
    assert.match(ours, /^\d+\.\d+\.\d+$/, at);
  } else if (key === "code") {
    assert(ours.startsWith("2@fake-ref-"), at);
  } else if (key === "base64") {
    assert(ours.startsWith("data:image/png;base64,iVBORw0KGgo"), at);
  } else if (shortened) {
    const [, head, chars] = shortened;
    assert(ours.startsWith(head), `${at}: ${ours}`);
    // Only the text of the database layer goes on otherwise.
    if (!head.includes("risma")) {
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
  if (id === "A17") headers.set("authorization", `Bearer ${gateway.key}`);
  let body = request === null ? undefined : JSON.stringify(request);
  if (id === "A34") body = "{oops"; // its bytes were not recorded
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
      if (id in EXCLUDED) continue;
      await t.step(`${id} ${title}`, async () => {
        await BEFORE[id]?.(gateway);
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
    [...replayed, ...Object.keys(EXCLUDED)].sort(),
    all,
    "nothing is skipped",
  );
  for (const id of Object.keys(BEFORE)) {
    assert(replayed.includes(id), `BEFORE names ${id}`);
  }
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
