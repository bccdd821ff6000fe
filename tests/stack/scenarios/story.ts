/** A scenario as people read it, while it is played and after it. Pure. */
import type { Ending, Look, Outage, Promised, Scenario, Step, Tick } from "./scenario.ts";

const WIDTH = 100;
const INDENT = " ".repeat(8);

/** The names and what they tell, for `--scenario list`. */
export function renderList(scenarios: Scenario[]): string {
  return scenarios.flatMap(({ name, tells }) => [name, ...wrap(tells, "  ")]).join("\n");
}

/** What is going to be played, and the headings of its columns. */
export function renderTitle({ name, tells, instances, until }: Scenario, version: string): string {
  const names = Object.keys(instances).join(", ");
  return [
    `Scenario ${name}`,
    ...wrap(tells, "  "),
    ...wrap(`Evolution ${version} with ${names}; a check every 30 s, until +${until}.`, "  "),
    "",
    line("TIME", "INSTANCE", "LIVE / ROW", "SHOWN", "DECIDED"),
  ].join("\n");
}

/** Tells one step after the other; what is as it was at the check before is left out. */
export class Story {
  private seen = new Map<string, { state: string; asked: string; why: string; halted: boolean }>();
  private gateway = "";
  private untold = 0;

  /** The lines for a step; none where a check brought no news. */
  tell(step: Step): string[] {
    if ("happened" in step) {
      return [...this.pause(), ...wrap(`» ${step.happened}`, `+${step.at}  `)];
    }
    const news = [...this.ofGateway(step), ...step.instances.flatMap((look) => this.of(look))];
    if (news.length === 0) {
      this.untold++;
      return [];
    }
    const [first, ...rest] = news;
    return [...this.pause(), `+${step.at}${first.slice(6)}`, ...rest];
  }

  /** What there is to say of the checks that were left out. */
  pause(): string[] {
    const untold = this.untold;
    this.untold = 0;
    return untold > 0 ? [`${INDENT}… ${untold} check${untold > 1 ? "s" : ""} without news`] : [];
  }

  /** A question with a name that nobody has is about the gateway, too: it tells a wrong key. */
  private ofGateway({ asked, fault }: Tick): string[] {
    const told = fault ? `AT FAULT${fault.down ? ", down" : ""}` : "sound";
    const news = told !== (this.gateway || "sound");
    this.gateway = told;
    if (!news && asked.length === 0) return [];
    const why = news && fault ? detail("why", fault.reason) : [];
    return [
      `${INDENT}the gateway${news ? `: ${told}` : ""}`,
      ...detail("asked", asked.join(", ")),
      ...why,
    ];
  }

  private of(look: Look): string[] {
    const { name, live, row, status, reason, decision, verdicts, halted } = look;
    const before = this.seen.get(name);
    const state = line("", name, `${live} / ${row}`, status, decision);
    const asked = look.asked.join(", ");
    const why = reason?.text ?? "";
    this.seen.set(name, { state, asked, why, halted });
    const details = [
      ...asked === before?.asked ? [] : detail("asked", asked || "nothing that arrived"),
      ...reason === null || why === before?.why
        ? []
        : [...detail("why", why), ...detail("", reason.text_en)],
      ...verdicts.flatMap((verdict) => detail("proven", verdict.replace(" ", " → "))),
      ...halted && !before?.halted
        ? detail("stopped", "nothing more is done until a person, or an hour of health, says so")
        : [],
    ];
    return state === before?.state && details.length === 0 ? [] : [state, ...details];
  }
}

/** What is written down in the end, and whether it is what was promised. */
export function renderEnding(scenario: Scenario, ending: Ending): string {
  return [
    "",
    "What is written down",
    ...Object.entries(ending.instances).flatMap(([name, life]) => [
      `  ${name}`,
      ...life.changes.map(({ at, from, to, reason }) =>
        `    +${at}  ${from} → ${to}${because(reason)}`
      ),
      ...life.outages.map(outageLine),
      ...life.actions.map(({ at, action, grounds, ack, verdict }) =>
        `    action  +${at} ${action} (${grounds}): the gateway's answer ${ack ?? "unknown"}, ` +
        `verdict ${verdict ?? "still open"}`
      ),
    ]),
    ...ending.gateway_outages.length > 0 ? ["  the gateway"] : [],
    ...ending.gateway_outages.map(outageLine),
    "",
    "What was promised",
    ...scenario.promises.flatMap((promised) => {
      const broken = promised.broken(ending);
      return [
        ...wrap(promised.says, `  ${broken === null ? "✓" : "✗"} `),
        ...broken === null ? [] : wrap(`it is: ${broken}`, "    "),
      ];
    }),
    "",
    verdictOn(scenario, ending),
  ].join("\n");
}

/** The promises that were not kept. */
export function brokenPromises({ promises }: Scenario, ending: Ending): Promised[] {
  return promises.filter((promised) => promised.broken(ending) !== null);
}

/** The last line. */
export function verdictOn(scenario: Scenario, ending: Ending): string {
  const { name, promises } = scenario;
  const broken = brokenPromises(scenario, ending).length;
  return broken === 0
    ? `${name} came out as promised.`
    : `${name} did NOT come out as promised: ${broken} of ${promises.length} promises were broken.`;
}

function outageLine({ from, to, reason }: Outage): string {
  return `    outage  from +${from} ${to === null ? "until now" : `to +${to}`}${because(reason)}`;
}

function because(reason: string | null): string {
  return reason === null ? "" : ` (${reason})`;
}

function line(...cells: string[]): string {
  const widths = [6, 14, 23, 19];
  return cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd();
}

/** What belongs to the line above; it begins under the name. */
function detail(what: string, told: string): string[] {
  return told === "" ? [] : wrap(told, INDENT + what.padEnd(8));
}

/** Words in lines of at most 100 columns, those after the first as far in as the first begins. */
function wrap(text: string, head: string): string[] {
  const lines = [head];
  for (const word of text.split(" ")) {
    const last = lines[lines.length - 1];
    if (last.length > head.length && last.length + 1 + word.length > WIDTH) {
      lines.push(" ".repeat(head.length) + word);
    } else {
      lines[lines.length - 1] = last + (last.length > head.length ? " " : "") + word;
    }
  }
  return lines;
}
