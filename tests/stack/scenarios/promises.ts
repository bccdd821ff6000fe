/** What scenarios promise: sentences, each with what tells whether it was kept. */
import {
  type Ending,
  type Life,
  type Outage,
  type Promised,
  seconds,
  type Tick,
} from "./scenario.ts";

/** A promise about one instance: what is there must read like what is promised. */
function promise(
  says: string,
  name: string,
  promised: string,
  found: (life: Life, ending: Ending) => string,
): Promised {
  return {
    says,
    broken(ending) {
      const there = found(ending.instances[name], ending);
      return there === promised ? null : there || "nothing";
    },
  };
}

const ticks = ({ steps }: Ending): Tick[] => steps.filter((step) => "instances" in step);

/** It is shown so at the end; `reason` is the code, null where none may be shown. */
export function ends(name: string, status: string, reason: string | null = null): Promised {
  const why = reason === null ? "" : ` (${reason})`;
  return promise(
    `${name} ends ${status}${why}`,
    name,
    `${status}${why}`,
    (life) => life.reason === null ? life.status : `${life.status} (${life.reason})`,
  );
}

function told({ from, to, reason }: Outage): string {
  const until = to === null ? "until now" : `to +${to}`;
  return `from +${from} ${until}${reason === null ? "" : ` (${reason})`}`;
}

/** The one outage that is written down: from its first bad check to the first good one, or still open. */
export function outage(
  name: string,
  from: string,
  to: string | null,
  reason: string | null = null,
): Promised {
  const promised = told({ from, to, reason });
  return promise(
    `one outage of ${name} is written down: ${promised}`,
    name,
    promised,
    ({ outages }) => outages.map(told).join(", "),
  );
}

/** The one outage of the gateway that is written down. */
export function gatewayOutage(from: string, to: string, reason: string): Promised {
  const promised = told({ from, to, reason });
  return {
    says: `one outage of the gateway is written down: ${promised}`,
    broken({ gateway_outages }) {
      const there = gateway_outages.map(told).join(", ");
      return there === promised ? null : there || "none";
    },
  };
}

/** No outage of these is written down. */
export function noOutage(...names: string[]): Promised {
  return {
    says: `no outage of ${names.join(", ")} is written down`,
    broken: ({ instances }) =>
      names.filter((name) => instances[name].outages.length > 0).join(", ") || null,
  };
}

/** All that was done to it: each action with its grounds and what it came to. */
export function did(name: string, ...done: `${string} (${string}): ${string}`[]): Promised {
  return promise(
    `all that was done to ${name}: ${done.join(", ")}`,
    name,
    done.join(", "),
    ({ actions }) =>
      actions.map((each) => `${each.action} (${each.grounds}): ${each.verdict}`).join(", "),
  );
}

/** What only asks. */
const QUESTIONS = ["GET /", "GET connectionState", "GET fetchInstances", "GET settings/find"];
/** What looks for a socket and changes nothing. */
const PROBE = "POST setPresence";

/** Neither these nor their gateway got anything but questions. */
export function onlyAsked(...names: string[]): Promised {
  const harmless = (asked: string) =>
    [...QUESTIONS, PROBE].some((question) => asked.startsWith(`${question} `));
  return {
    says: `${names.join(", ")}: nothing but questions reached the gateway`,
    broken: (ending) =>
      ticks(ending).flatMap(({ at, instances }) =>
        instances.filter(({ name }) => names.includes(name))
          .flatMap(({ name, asked }) =>
            asked.filter((each) => !harmless(each)).map((each) => `+${at} ${name}: ${each}`)
          )
      ).join(", ") || null,
  };
}

/** The gateway received this request about it so often. */
export function received(name: string, request: string, times: number): Promised {
  const often = times === 1 ? "once" : `${times} times`;
  return promise(
    times === 0
      ? `the gateway never received ${request} for ${name}`
      : `the gateway received ${request} for ${name} ${often}`,
    name,
    String(times),
    (_, ending) =>
      String(
        ticks(ending).flatMap(({ instances }) => instances)
          .filter((look) => look.name === name).flatMap(({ asked }) => asked)
          .filter((asked) => asked.startsWith(`${request} `)).length,
      ),
  );
}

/** At that check the monitor had found it so. */
export function found(name: string, at: string, status: string, decision: string): Promised {
  return promise(
    `at +${at} it shows ${name} as ${status} and decides: ${decision}`,
    name,
    `${status}, ${decision}`,
    (_, ending) =>
      ticks(ending).filter((tick) => tick.at === at).flatMap(({ instances }) => instances)
        .filter((look) => look.name === name)
        .map((look) => `${look.status}, ${look.decision}`).join(),
  );
}

/** Attempts in vain: as many as these windows allow at most, and none comes to anything. */
export function withinBudget(name: string, windows: [minutes: number, most: number][]): Promised {
  const rule = windows.map(([minutes, most]) => `${most} in ${minutes} minutes`).join(", ");
  return {
    says: `no more was done to ${name} than ${rule}`,
    broken({ instances }) {
      const times = instances[name].actions.map(({ at }) => seconds(at));
      const excess = windows.find(([minutes, most]) =>
        times.some((time) =>
          times.filter((other) => other >= time && other < time + minutes * 60).length > most
        )
      );
      return excess ? instances[name].actions.map(({ at }) => `+${at}`).join(", ") : null;
    },
  };
}

/** So many actions, each with this verdict. */
export function tried(name: string, times: number, action: string, verdict: string): Promised {
  return promise(
    `${name} got ${action} ${times} times, and each was in the end ${verdict}`,
    name,
    Array(times).fill(`${action} ${verdict}`).join(", "),
    ({ actions }) => actions.map((each) => `${each.action} ${each.verdict}`).join(", "),
  );
}
