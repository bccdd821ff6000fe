/** What a scenario is made of, and what is known of one that was played. */
import type { Database } from "../database.ts";
import type { Condition, Gateway, Version } from "../evolution/mod.ts";

/** A fault, played from the first sign of it to what the monitor made of it. */
export interface Scenario {
  /** What it is called on the command line. */
  name: string;
  /** What happens and what the monitor does about it, in a sentence or two. */
  tells: string;
  /** The gateway's version; 2.3.6 if not given. */
  version?: Version;
  /** Every instance by name, as the gateway has it at +00:00. */
  instances: Record<string, Condition>;
  /** The keys that the monitor is given in place of the gateway's own. */
  keys?: Record<string, string>;
  /** When the last check is made, as `minutes:seconds`. A check is made every 30 s from 00:00 on. */
  until: string;
  /** What happens meanwhile, in order. */
  turns: Turn[];
  /** What must have come of it at the end. */
  promises: Promised[];
}

/** Something that happens between two checks. */
export interface Turn {
  /** When, as `minutes:seconds`; what happens at the time of a check happens before it. */
  at: string;
  /** What, in a sentence; null where it needs no mention. */
  says: string | null;
  does(stage: Stage): unknown;
}

/** What a turn may reach. */
export interface Stage {
  gateway: Gateway;
  /** The database, the user's own tables included. */
  database: Database;
}

/** What must be true at the end. */
export interface Promised {
  /** In a sentence. */
  says: string;
  /** What speaks against it; null where it was kept. */
  broken(played: Ending): string | null;
}

/** One thing that happened, in the order in which they did. */
export type Step = Happened | Tick;

/** A turn that was played. */
export interface Happened {
  at: string;
  happened: string;
}

/** One check of everything. */
export interface Tick {
  at: string;
  /** What the gateway was asked about itself, and about no instance of ours. */
  asked: string[];
  /** What is wrong with the gateway itself, as the monitor has it; null where nothing is. */
  fault: { reason: string; down: boolean } | null;
  instances: Look[];
}

/** One instance at one check. */
export interface Look {
  name: string;
  /** The truth before the check: the live state. */
  live: string;
  /** The truth before the check: the stored row. */
  row: string;
  /** What the gateway was asked and how it answered: `GET connectionState → 200`. */
  asked: string[];
  /** What the monitor shows after it. */
  status: string;
  /** Why, in the words of users and in English; null where no reason counts. */
  reason: { text: string; text_en: string } | null;
  /** What was decided. */
  decision: string;
  /** What earlier actions came to, found out now. */
  verdicts: string[];
  /** Whether the monitor does nothing more to it. */
  halted: boolean;
}

/** One that is written down; `to` is null where it goes on. */
export interface Outage {
  from: string;
  to: string | null;
  reason: string | null;
}

/** What is left of one instance at the end. */
export interface Life {
  status: string;
  reason: string | null;
  changes: { at: string; from: string; to: string; reason: string | null }[];
  outages: Outage[];
  actions: {
    at: string;
    action: string;
    grounds: string | null;
    ack: string | null;
    verdict: string | null;
  }[];
}

/** A scenario that was played to its end. */
export interface Ending {
  steps: Step[];
  instances: Record<string, Life>;
  /** The outages of the gateway itself. */
  gateway_outages: Outage[];
}

/** `12:30` as seconds. */
export function seconds(time: string): number {
  const [minutes, rest] = time.split(":").map(Number);
  return minutes * 60 + rest;
}

/** Seconds as `12:30`. */
export function clock(seconds: number): string {
  return [seconds / 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, "0"))
    .join(":");
}
