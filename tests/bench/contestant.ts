/** One who takes part, and those among them who know no database, or nothing of its traffic. */
import type { Edge } from "../stack/edge.ts";
import type { Work } from "./sweeper.ts";
import type { Front, Stored } from "./traffic.ts";

/** One contestant, ready to go. */
export interface Contestant {
  readonly pid: number;
  /** Puts into place what a sweep finds: time has passed, and all is due. */
  prepare(): Promise<void>;
  /**
   * Sweeps over all; or once over so many, as far as time allows. Gives how many checks were made, and
   * in how many ticks.
   */
  sweep(some?: number): Promise<{ checks: number; ticks: number }>;
  /** Whether what is done only once is done. */
  isSettled(): Promise<boolean>;
  /** The traffic with its database since this was last asked. */
  stored(): Stored;
}

/** A loop over instances, which finds the same each time. */
export async function sweeping(edge: Edge, work: Work, front?: Front): Promise<Contestant> {
  await demand(fetch(`${edge.url}/prepare`, { method: "POST", body: JSON.stringify(work) }));
  return {
    pid: edge.pid!,
    prepare: () => Promise.resolve(),
    isSettled: () => Promise.resolve(true),
    stored: () => front?.traffic() ?? { requests: 0, bytes: 0, ms: 0 },
    async sweep(some = work.names.length) {
      await demand(fetch(`${edge.url}/run`, { method: "POST", body: JSON.stringify(some) }));
      return { checks: some, ticks: 1 };
    },
  };
}

/** The answer's text, of an answer that must be 200. */
export async function demand(asked: Promise<Response>): Promise<string> {
  const answer = await asked;
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.url} answered ${answer.status}: ${text}`);
  return text;
}
