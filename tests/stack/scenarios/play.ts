/** Plays a scenario: 30 seconds pass, what happens in them happens, everything is checked. */
import { nameIn, split } from "../evolution/request.ts";
import type { RecordedRequest } from "../evolution/mod.ts";
import { stateOf } from "../evolution/model.ts";
import { isReport } from "../report.ts";
import type { Stack } from "../stack.ts";
import { passTime } from "../time.ts";
import {
  clock,
  type Ending,
  type Happened,
  type Life,
  type Look,
  type Outage,
  type Scenario,
  seconds,
  type Stage,
  type Step,
  type Tick,
} from "./scenario.ts";

const EVERY_S = 30;

/** A check that gave no report, or one that was not committed. */
export class CheckFailed extends Error {}

/** What it takes to play. */
export type Theatre = Pick<Stack, "database" | "addInstance" | "trigger"> & Stage;

/**
 * Plays it on a stack that has nothing in it. `told` hears of each step as it happens.
 * The settings stay as they are, but that webhooks are left alone: between two checks
 * {@link passTime} takes the place of waiting.
 */
export async function play(
  theatre: Theatre,
  scenario: Scenario,
  told: (step: Step) => void = () => {},
  interrupted?: AbortSignal,
): Promise<Ending> {
  const { gateway, database } = theatre;
  if (scenario.version) gateway.upgrade(scenario.version);
  await database.exec("update whatsapp_monitor.settings set webhook_policy = 'off'");
  for (const [name, condition] of Object.entries(scenario.instances)) {
    gateway.set(name, condition);
    const key = scenario.keys?.[name] ?? gateway.key;
    await theatre.addInstance({ organization: name, url: gateway.url, name, key });
  }
  const steps: Step[] = [];
  const add = (step: Happened | Tick) => {
    steps.push(step);
    told(step);
  };
  const turns = [...scenario.turns];
  const calendar = new Calendar();
  for (let now = 0; now <= seconds(scenario.until); now += EVERY_S) {
    while (turns.length > 0 && seconds(turns[0].at) <= now) {
      const { at, says, does } = turns.shift()!;
      await does({ gateway, database });
      if (says !== null) add({ at, happened: says });
    }
    if (now > 0) await passTime(database, EVERY_S);
    calendar.note(await databaseMs(theatre), now);
    add(await check(theatre, now, interrupted));
  }
  return { steps, ...await writtenDown(theatre, calendar) };
}

/** What is left to tell when all is over, in the times of the scenario. */
class Calendar {
  /** When each check began: by the database's clock, all the moves since added, and in the scenario. */
  private checks: { ms: number; now: number }[] = [];

  note(ms: number, now: number): void {
    this.checks.push({ ms: ms + now * 1000, now });
  }

  /** A moment of the database, as it is now, as the time of the check in which it was written. */
  time(moment: Date): string {
    const passed = this.checks.at(-1)!.now * 1000;
    const before = this.checks.findLast(({ ms }) => ms <= moment.getTime() + passed);
    return clock(before?.now ?? 0);
  }
}

async function databaseMs({ database }: Theatre): Promise<number> {
  const [{ now }] = await database.query<{ now: Date }>("select clock_timestamp() as now");
  return now.getTime();
}

/** One trigger, and what is to be seen of it. */
async function check(theatre: Theatre, now: number, signal?: AbortSignal): Promise<Tick> {
  const { gateway, database } = theatre;
  const away = gateway.mode.mode === "down";
  const truths = new Map([...gateway.instances].map(([name, instance]) => {
    const live = away ? "away" : stateOf(instance);
    return [name, { live, row: instance.row.connectionStatus }];
  }));
  const asked = gateway.requests.length;
  const [{ at: began }] = await database.query<{ at: Date }>("select clock_timestamp() as at");
  const response = await theatre.trigger({ signal });
  const report: unknown = await response.json();
  if (!isReport(report) || !report.success) {
    throw new CheckFailed(`The check at +${clock(now)} failed: ${JSON.stringify(report)}`);
  }
  const requests = gateway.requests.slice(asked);
  const rows = await database.query<
    Pick<Look, "name" | "status" | "decision" | "verdicts" | "halted">
  >(
    `select i.name, i.status, i.state ->> 'halted_at' is not null as halted, concat_ws(' ', i.decision,
              (select '(' || a.grounds || ')' from whatsapp_monitor.actions a
                where a.instance_id = i.id and a.granted_at >= $1)) as decision,
            array(select a.kind || ' ' || a.verdict from whatsapp_monitor.actions a
                   where a.instance_id = i.id and a.judged_at >= $1 order by a.id) as verdicts
       from whatsapp_monitor.instances i order by i.id`,
    [began],
  );
  const [fault] = await database.query<{ reason: string; down: boolean }>(
    `select fault_text as reason, down_since is not null as down
       from whatsapp_monitor.gateways where fault_text is not null`,
  );
  const about = (name: string) => requests.filter(({ path }) => nameIn(path) === name).map(shown);
  const names = rows.map(({ name }) => name);
  return {
    at: clock(now),
    asked: requests.filter(({ path }) => !names.includes(nameIn(path) ?? "")).map(shown),
    fault: fault ?? null,
    instances: rows.map((row) => ({
      ...row,
      live: truths.get(row.name)?.live ?? "missing",
      row: truths.get(row.name)?.row ?? "missing",
      asked: about(row.name),
      reason: report.instances.find((each) => each.instance_name === row.name)?.reason ?? null,
    })),
  };
}

/** `GET connectionState → 200`, whomever it is about. */
function shown({ method, path, status }: RecordedRequest): string {
  const [route] = split(path);
  const [, verb] = route.match(/^\/(?:instance\/)?(\w+(?:\/find|\/set)?)/) ?? [];
  return `${method} ${verb ?? "/"} → ${status ?? "no answer"}`;
}

// deno-lint-ignore no-explicit-any -- as the database has it
type Row = any;

/** What is left in the database at the end. */
async function writtenDown(
  { database }: Theatre,
  calendar: Calendar,
): Promise<Omit<Ending, "steps">> {
  const all = (table: string) =>
    database.query<Row>(`select * from whatsapp_monitor.${table} order by id`);
  const time = (moment: Date) => calendar.time(moment);
  const outage = (row: Row): Outage => ({
    from: time(row.started_at),
    to: row.ended_at && time(row.ended_at),
    reason: row.reason_code,
  });
  const life = (row: Row): Life => {
    const mine = ({ instance_id }: Row) => instance_id === row.id;
    return {
      status: row.status,
      reason: row.reason_code,
      changes: changes.filter(mine).map((change) => ({
        at: time(change.at),
        from: change.from_status,
        to: change.to_status,
        reason: change.reason_code,
      })),
      outages: outages.filter(mine).map(outage),
      actions: actions.filter(mine).map((action) => ({
        at: time(action.granted_at),
        action: action.kind,
        grounds: action.grounds,
        ack: action.ack,
        verdict: action.verdict,
      })),
    };
  };
  const changes = await all("status_changes");
  const outages = await all("outages");
  const actions = await all("actions");
  const instances = await all("instances");
  return {
    instances: Object.fromEntries(instances.map((row) => [row.name, life(row)])),
    gateway_outages: outages.filter(({ gateway_id }) => gateway_id !== null).map(outage),
  };
}
