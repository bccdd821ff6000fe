/** The recorded gateway, and how what a simulated one says is held to it. */

import assert from "node:assert/strict";
import type { MemoryState } from "../stack/evolution/conditions.ts";

const FIXTURES = new URL("../fixtures/", import.meta.url);

/** A recording, as text. */
export const text = (name: string): Promise<string> => Deno.readTextFile(new URL(name, FIXTURES));

/** A recording of one JSON a line. */
export async function recorded<T>(name: string): Promise<T[]> {
  return (await text(name)).trim().split("\n").map((line) => JSON.parse(line));
}

/**
 * The story through which every simulation of the gateway must live, and what of its answers is the
 * same: the model under a virtual clock lives through it in tests/gateway_conformance.rs.
 */
export interface Story {
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
export interface Step {
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
export interface Truth {
  memory?: string;
  row?: string;
  sockets?: number;
  session?: boolean;
  reason?: number;
  /** The row names the account. */
  owner?: boolean;
}

/** The story. */
export const STORY: Story = JSON.parse(await text("evolution-conformance.json"));

const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const SHORTENED = /^([^]*)…\((\d+) chars\)$/;

/** Recorded generated value to ours. The token of loja-a was chosen by its creator. */
export const ids = new Map([["token-loja-a-0001", "token-loja-a-0001"]]);

/** Compares a value with the recorded one: the same keys, the same values but for `assertString`. */
export function assertSame(
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
