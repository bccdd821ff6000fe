/**
 * Holds the webhooks of the simulated gateway to the recorded ones: it lives through the same
 * moments, and sends to a receiver what was recorded in each.
 */

import assert from "node:assert/strict";
import { type Gateway, startGateway } from "../stack/evolution/mod.ts";
import { assertSame, recorded } from "./recorded.ts";
import { type Delivery, startReceiver } from "./receiver.ts";

/** A recorded webhook. */
interface Sample {
  id: string;
  event: string;
  path: string;
  headers: Record<string, string> | null;
  body: Body;
  /** Only some of the body's keys were recorded. */
  partial: boolean;
}

// deno-lint-ignore no-explicit-any -- whatever was posted
type Body = Record<string, any>;

const NAME = "loja-a";
const TOKEN = "token-loja-a-0001";
const RECORDED = { gateway: "http://127.0.0.1:18080", receiver: "http://127.0.0.1:18090" };

/** Sent by the client's own transport, or with every address of another length. */
const TRANSPORT = ["accept-language", "connection", "content-length", "host"];

const call = async (gateway: Gateway, method: string, path: string) => {
  const headers = { apikey: gateway.key };
  const response = await fetch(`${gateway.url}/instance/${path}/${NAME}`, { method, headers });
  await response.body?.cancel();
};

async function pair(gateway: Gateway): Promise<void> {
  gateway.set(NAME, { dials: "wait" });
  await call(gateway, "GET", "connect");
  gateway.scan(NAME);
}

/** What happened before some were recorded, and so many as were then sent, if more. */
type Moment = [ids: string[], sent: number, happens: (gateway: Gateway) => unknown];

const MOMENTS: Moment[] = [
  [["B2-1"], 1, async (gateway) => {
    gateway.set(NAME, { dials: "fail" });
    await call(gateway, "GET", "connect");
  }],
  [["C6-1"], 2, (gateway) => {
    gateway.set(NAME, { dials: "wait" });
    gateway.reboot();
  }],
  [["C7-1", "C7-2"], 2, (gateway) => gateway.scan(NAME)],
  [["E1-1", "E1-2", "E1-3"], 3, (gateway) => gateway.disconnect(NAME, 401)],
  [[], 4, pair],
  [["F1-1", "F1-2", "F1-3"], 3, (gateway) => call(gateway, "DELETE", "logout")],
  [["F4-1"], 30, (gateway) => {
    gateway.reboot(); // its connecting and its first QR
    while (gateway.instance(NAME).qr.count < 29) gateway.nextQr(NAME);
  }],
  [["F4-2", "F4-3"], 3, (gateway) => {
    gateway.nextQr(NAME);
    gateway.nextQr(NAME);
  }],
  [[], 4, pair],
  [["G3-1", "G3-2"], 2, (gateway) => {
    const { url } = gateway.instance(NAME).webhook!;
    gateway.setWebhook(NAME, url, { byEvents: true });
    gateway.set(NAME, { dials: "login" });
    gateway.disconnect(NAME, 428);
  }],
  [["H1-1"], 1, (gateway) => {
    const { url } = gateway.instance(NAME).webhook!;
    gateway.setWebhook(NAME, url, { byEvents: false });
    gateway.message(NAME, { id: "FAKE0010" });
  }],
];

/** Whether a delivery is of the recorded kind. */
const alike = (sample: Body, ours: Body) =>
  sample.event === ours.event && sample.data?.state === ours.data?.state;

/** Holds a delivery to its sample. */
function hold(sample: Sample, { path, headers, body: text }: Delivery): void {
  const { id, body, partial } = sample;
  const ours: Body = JSON.parse(text);
  const shown = partial
    ? Object.fromEntries(Object.keys(body).map((key) => [key, ours[key]]))
    : ours;
  if (id.startsWith("G3")) shown.data = { state: ours.data.state }; // all that was recorded of it
  if (id === "F4-1") body.data.qrcode.code = ours.data.qrcode.code; // of the stand-in's making
  if (id === "H1-1") {
    const { messageTimestamp } = ours.data;
    assert(Math.abs(messageTimestamp - Date.now() / 1000) < 60, "in seconds");
    shown.data.messageTimestamp = body.data.messageTimestamp;
  }
  if (!partial) {
    assert(Math.abs(Date.parse(ours.date_time) - Date.now()) < 60_000, `${id}: date_time`);
    shown.date_time = body.date_time;
  }
  assertSame(body, shown, id);
  assert.equal(path, sample.path, `${id}: path`);
  if (!sample.headers) return;
  const { Authorization: shortened, ...others } = sample.headers;
  const [, head, chars] = /^(.+)…\((\d+) chars\)$/.exec(shortened)!;
  const rest = new Headers(headers);
  const jwt = rest.get("authorization")!;
  rest.delete("authorization");
  // Up to the first digits of the time at which it was made.
  assert.deepEqual([jwt.slice(0, 52), jwt.length], [head.slice(0, 52), Number(chars)]);
  const theirs = new Headers(others);
  for (const name of TRANSPORT) [theirs, rest].forEach((each) => each.delete(name));
  assert.deepEqual([...rest], [...theirs], `${id}: headers`);
}

Deno.test("the simulated gateway sends the webhooks of the recorded one", async (t) => {
  const samples = await recorded<Sample>("evolution-webhooks-2.3.6.jsonl");
  assert.equal(samples.length, 16, "the fixtures are whole");
  const receiver = startReceiver();
  const gateway = await startGateway();
  const held: string[] = [];
  try {
    const { origin } = new URL(receiver.url);
    gateway.set(NAME, { condition: "never_paired", token: TOKEN });
    const headers = { "x-monitor-secret": "s3cret", jwt_key: "jwt-secret" };
    gateway.setWebhook(NAME, `${origin}/hook/${NAME}`, { headers });
    gateway.webhooks.settings.concurrency = 1;
    for (const [ids, sent, happens] of MOMENTS) {
      receiver.deliveries.length = 0;
      await happens(gateway);
      await gateway.webhooks.idle();
      assert.equal(receiver.deliveries.length, sent, `${ids}: sent`);
      for (const id of ids) {
        await t.step(id, () => {
          const text = JSON.stringify(samples.find((sample) => sample.id === id));
          const sample: Sample = JSON.parse(
            text.replaceAll(RECORDED.gateway, gateway.url).replaceAll(RECORDED.receiver, origin),
          );
          const ours = receiver.deliveries.filter((each) =>
            alike(sample.body, JSON.parse(each.body))
          );
          // The limit is told after a last QR.
          hold(sample, ours.at(-1)!);
        });
        held.push(id);
      }
    }
  } finally {
    await gateway.stop();
    await receiver.stop();
  }
  assert.deepEqual(held, samples.map(({ id }) => id), "nothing is skipped");
});
