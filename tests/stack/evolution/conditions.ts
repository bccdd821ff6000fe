/**
 * The conditions an instance can be put into, in one table, and the knobs that go with them.
 *
 * "Memory" is the live state of the Evolution process, "row" the `Instance` row in its database:
 * two different things that disagree during every outage.
 */

import type { FinalCode } from "./versions.ts";

/** What `connectionState` reads. `absent`: the process boots and has not loaded the instance (N1). */
export type MemoryState = "open" | "connecting" | "close" | "absent";

/** What `fetchInstances` shows as `connectionStatus`. */
export type RowStatus = "open" | "connecting" | "close";

interface Entry {
  /** What it is, in one sentence. */
  means: string;
  memory: MemoryState;
  row: RowStatus;
  /** The `disconnection*` fields of the row: none, written now, or left over from long ago. */
  reason: "none" | "now" | "old";
  /** Credentials are saved: the instance can log in without a QR. */
  session: boolean;
  /** It was paired at least once, so the row has ownerJid and profileName. */
  owner: boolean;
  /** WhatsApp sockets alive. Two replace each other without end (O2). */
  sockets: 0 | 1 | 2;
  /** A dial is under way, which `advance()` brings forward. */
  dialling: boolean;
  /** A QR is on offer. */
  qr: boolean;
}

const connected = {
  session: true,
  owner: true,
  sockets: 1,
  dialling: false,
  qr: false,
} as const;
const cutOff = { ...connected, sockets: 0 } as const;
const unpaired = { ...cutOff, session: false, owner: false } as const;

/** Every condition but `missing`, which is no state of an instance but its absence. */
export const CONDITIONS = {
  open: {
    means: "Connected and healthy.",
    memory: "open",
    row: "open",
    reason: "none",
    ...connected,
  },
  connecting: {
    means: "Paired and redialling; the row still says open (D2, I2).",
    memory: "connecting",
    row: "open",
    reason: "none",
    ...connected,
    dialling: true,
  },
  close: {
    means: "Paired, no socket, row open, and nothing redials: connect repairs it. " +
      "With `dialling` a redial is under way, and connect starts a second socket (O2).",
    memory: "close",
    row: "open",
    reason: "none",
    ...cutOff,
  },
  waiting_scan: {
    means: "Unpaired, with a QR on offer (C1 to C3).",
    memory: "connecting",
    row: "connecting",
    reason: "none",
    ...unpaired,
    sockets: 1,
    qr: true,
  },
  never_paired: {
    means: "Created and never scanned (A13, A40).",
    memory: "close",
    row: "close",
    reason: "none",
    ...unpaired,
  },
  logged_out: {
    means:
      "A final logout, `code` 401, 402, 403, 406 or (2.4) 408: session deleted, reason in the row (E).",
    memory: "close",
    row: "close",
    reason: "now",
    ...unpaired,
    owner: true,
  },
  stale_reason: {
    means: "Healthy, but the row still carries the reason of a logout long ago (E, F5).",
    memory: "open",
    row: "open",
    reason: "old",
    ...connected,
  },
  close_stale: {
    means: "As close, with an old reason in the row: recoverable, whatever the reason says.",
    memory: "close",
    row: "open",
    reason: "old",
    ...cutOff,
  },
  qr_limit: {
    means: "Thirty QRs went unscanned: dialling stopped, the row stays connecting (F4).",
    memory: "close",
    row: "connecting",
    reason: "old",
    ...unpaired,
    owner: true,
  },
  booting: {
    means: "The process boots and has not loaded the instance; `advance` loads it (N1 to N7).",
    memory: "absent",
    row: "open",
    reason: "none",
    ...cutOff,
    dialling: true,
  },
  booting_hung: {
    means: "As booting, but its boot dial hangs: only a process restart helps.",
    memory: "absent",
    row: "open",
    reason: "none",
    ...cutOff,
  },
  zombie: {
    means: "Says open and has no socket: restart, connect and logout do nothing (I11, I12, J, K).",
    memory: "open",
    row: "open",
    reason: "none",
    ...cutOff,
  },
  fight: {
    means: "Two sockets replace each other (440): every `advance` shows another state (O2, L3).",
    memory: "open",
    row: "open",
    reason: "none",
    ...connected,
    sockets: 2,
    dialling: true,
  },
} as const satisfies Record<string, Entry>;

/** The name of a condition; `missing` removes the instance (404). */
export type ConditionName = keyof typeof CONDITIONS | "missing";

/** All legal condition names. */
export const CONDITION_NAMES = [
  ...Object.keys(CONDITIONS),
  "missing",
] as ConditionName[];

/** The table's entry for a name. */
export function entryOf(name: Exclude<ConditionName, "missing">): Entry {
  return CONDITIONS[name];
}

/**
 * What a dial of this instance comes to.
 * - `wait`: it stays under way until `advance()` brings it forward (close, connecting, open).
 * - `login`: it logs in at once.
 * - `hang`: it stays in connecting for ever (I2); a restart dials anew.
 * - `fail`: WhatsApp is unreachable, every `advance()` alternates close and connecting (B1, D2).
 */
export const DIALS = ["wait", "login", "hang", "fail"] as const;

/** One of {@link DIALS}. */
export type Dial = typeof DIALS[number];

/** What a fault can put in place of the answer's body. */
export const BODIES = ["html", "not_json", "empty", "huge"] as const;

/** One of {@link BODIES}. */
export type Body = typeof BODIES[number];

/** A fault of one instance's answers (every route that names it); the other instances are spared. */
export interface Fault {
  /** Wait so long before the answer. */
  delay_ms?: number;
  /** Answer this HTTP status, with an Evolution-shaped error body unless `body` says otherwise. */
  status?: number;
  /** Answer this in place of JSON; with status 502 for html and 200 for the rest, or `status`. */
  body?: Body;
}

/** What `set` takes. A fault that is left out is cured; every other field left out is kept. */
export interface Condition extends Fault {
  /** Left out: the state stays as it is. */
  condition?: ConditionName;
  /** The reason in the row, for the conditions that have one. Default 401. */
  code?: FinalCode;
  /** When the reason was written (ISO, UTC). Default: now, or a week ago where the reason is old. */
  disconnected_at?: string;
  /** What the dials of this instance come to. Default `wait`. */
  dials?: Dial;
  /** Whether a dial is under way, where the condition's own answer is not the wanted one. */
  dialling?: boolean;
  /** Its socket closes between a look and a `restart`, which answers 200 and does nothing (A18). */
  refuses_restart?: boolean;
  /** It sends no webhooks, until its process restarts or this is taken back (#2257). */
  mute?: boolean;
  /** The instance's own key. Default: generated. */
  token?: string;
  /** `WHATSAPP-BAILEYS` unless given; the others always read open. */
  integration?: string;
  /** `Setting.alwaysOnline`: where true, a probe must not send `unavailable`. */
  always_online?: boolean;
}
