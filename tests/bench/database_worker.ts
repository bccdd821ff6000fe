/** One who calls the functions of a tick, over a connection of his own, and what each call costs. */
import type { Database } from "../stack/database.ts";
import { openPostgres } from "../stack/postgres.ts";
import { BEGIN, type Begun, FINISH } from "../outside/ledger.ts";
import type { Result, Samples } from "./database_recording.ts";

/** What a call cost. */
export interface Cost {
  wall_us: number;
  /** Of the server's process that worked on it, on Linux. */
  cpu_us: number;
}

/** A tick and what it cost. */
export interface Tick {
  claimed: number[];
  begin: Cost;
  finish: Cost;
}

/** What a tick finds out about an instance, which has this place among those that it holds. */
export type Finding = (samples: Samples, id: number, place: number) => Result;

/** Calls of functions over one connection. */
export class Worker {
  readonly #database: Database;
  readonly #samples: Samples;
  readonly #pid: number;

  private constructor(database: Database, samples: Samples, pid: number) {
    this.#database = database;
    this.#samples = samples;
    this.#pid = pid;
  }

  static async start(url: string, samples: Samples): Promise<Worker> {
    const database = await openPostgres(url);
    const [{ pid }] = await database.query<{ pid: number }>("select pg_backend_pid() as pid");
    return new Worker(database, samples, pid);
  }

  /** A tick that claims what is due and writes what it found; checks are as old as `at_ms` says. */
  async tick(find: Finding, at_ms?: number): Promise<Tick> {
    const beginning = this.beginning();
    const begin = await this.#call(BEGIN, beginning);
    const answer: Begun = { ...JSON.parse(begin.text), tick_id: beginning.tick_id };
    const request = this.ending(answer, find, at_ms);
    const finish = await this.#call(FINISH, request);
    const { written } = JSON.parse(finish.text);
    const claimed = answer.instances.map(({ id }) => id);
    if (written.length !== claimed.length) {
      throw new Error(`written of ${claimed.length}: ${finish.text}`);
    }
    return { claimed, begin: begin.cost, finish: finish.cost };
  }

  /** What begins a tick. */
  beginning(): Record<string, unknown> {
    const tick_id = crypto.randomUUID();
    return { ...this.#samples.begin, tick_id, run_id: tick_id, caller: "service_key" };
  }

  /** What ends it. */
  ending(begun: Begun, find: Finding, at_ms?: number): Record<string, unknown> {
    const { finish } = this.#samples;
    const [gateway] = finish.gateways as Record<string, unknown>[];
    const results: Result[] = [];
    const settled: Result[] = [];
    for (const [place, { id, fence, version }] of begun.instances.entries()) {
      const found = find(this.#samples, id, place);
      const list = found === this.#samples.settled ? settled : results;
      list.push({ ...found, ...{ id, fence, version, checked_ms: at_ms ?? begun.now_ms } });
    }
    return {
      ...finish,
      ...{ tick_id: begun.tick_id, results, settled },
      gateways: begun.gateways.map(({ url }) => ({ ...gateway, url })),
    };
  }

  async #call(fn: string, request: unknown): Promise<{ text: string; cost: Cost }> {
    const body = JSON.stringify(request);
    const cpu = this.#cpu_us();
    const start = performance.now();
    const [{ text }] = await this.#database.query<{ text: string }>(
      `select public.${fn}($1::jsonb)::text as text`,
      [body],
    );
    const wall_us = (performance.now() - start) * 1000;
    return { text, cost: { wall_us, cpu_us: this.#cpu_us() - cpu } };
  }

  /** Lets the server know by now what was done here, which it would be told within seconds. */
  async tell(): Promise<void> {
    await this.#database.query("select pg_stat_force_next_flush()");
  }

  #cpu_us(): number {
    try {
      return Number(Deno.readTextFileSync(`/proc/${this.#pid}/schedstat`).split(" ")[0]) / 1000;
    } catch {
      return NaN;
    }
  }

  stop(): Promise<void> {
    return this.#database.close();
  }
}
