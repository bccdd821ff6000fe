/**
 * `./build.sh dev`: the local stack, ticked at once and then every 30 s.
 * `--once` is the same, until nothing is due. `args.ts` says what else it takes.
 */
import { type DevArgs, parseArgs, USAGE, UsageError } from "./args.ts";
import { sqlError } from "./database.ts";
import { addDemoInstances, breakingHint } from "./demo.ts";
import { isReport, mergeReports, renderChanges, renderReport, type Report } from "./report.ts";
import { SCENARIOS } from "./scenarios/mod.ts";
import { CheckFailed } from "./scenarios/play.ts";
import { runScenario } from "./scenarios/run.ts";
import { renderList } from "./scenarios/story.ts";
import { changeSettings, SettingError } from "./settings.ts";
import { type Stack, type StackOptions, startStack } from "./stack.ts";

const TICK_EVERY_MS = 30_000;
/** Ended by Ctrl+C before there was a report. */
const INTERRUPTED = 130;

/** For people; the report goes to standard output. */
const say = (text: string) => console.error(text);

/** What a test puts in place of the shipped function and schema. */
type Replacements = Pick<StackOptions, "entry" | "migrations">;

/** Runs the command until it ends or is told to; ends this process. */
export async function main(
  argv: readonly string[],
  replacements: Replacements = {},
): Promise<never> {
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      // Twice means now. The function's process ends with this one, however it ends.
      if (interrupt.signal.aborted) Deno.exit(INTERRUPTED);
      interrupt.abort();
    });
  }
  Deno.exit(await dev(argv, replacements, interrupt.signal));
}

/** Gives the exit status. */
async function dev(
  argv: readonly string[],
  replacements: Replacements,
  interrupted: AbortSignal,
): Promise<number> {
  let args: DevArgs;
  try {
    args = parseArgs(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (args.help) {
    console.log(USAGE);
    return 0;
  }
  const scenario = SCENARIOS.find(({ name }) => name === args.scenario);
  if (args.scenario === "list") {
    console.log(renderList(SCENARIOS));
    return 0;
  }
  if (args.scenario !== null && !scenario) {
    say(`There is no scenario ${args.scenario}. These there are:\n\n${renderList(SCENARIOS)}`);
    return 2;
  }

  let stack: Stack;
  try {
    stack = await start(args, replacements);
  } catch (error) {
    say(startFailure(args, error));
    return 1;
  }
  let restoreSettings = () => Promise.resolve();
  try {
    restoreSettings = await changeSettings(stack.database, settings(args));
    if (scenario) return await runScenario(stack, scenario, { json: args.json, interrupted });
    await addInstances(stack, args);
    describe(stack, args);
    return args.once ? await once(stack, args, interrupted) : await watch(stack, args, interrupted);
  } catch (error) {
    if (error instanceof SettingError) {
      say(error.message);
      return 2;
    }
    if (interrupted.aborted) return INTERRUPTED;
    if (error instanceof CheckFailed) {
      say(error.message);
      return 1;
    }
    const sql = sqlError(error);
    if (!sql) throw error;
    say(
      `The database refused: ${sql.message}${sql.detail ? ` (${sql.detail})` : ""}`,
    );
    return 1;
  } finally {
    await restoreSettings().finally(stack.stop);
  }
}

/** What is changed for this run. */
function settings(args: DevArgs): DevArgs["settings"] {
  // A gateway that outlives the run would be told to send events to where nobody is, afterwards.
  const outlives = args.gateway !== null || args.database !== null;
  return [...(outlives ? [{ name: "webhook_policy", value: "off" }] : []), ...args.settings];
}

function start(args: DevArgs, replacements: Replacements): Promise<Stack> {
  const token = Deno.env.get("WHATSAPP_MONITOR_TOKEN");
  return startStack({
    ...replacements,
    database: args.database ?? "pglite",
    port: args.port,
    // A real database keeps to what it has: the demo instances are for the embedded one.
    gateway: args.gateway === null && args.database === null,
    standIns: args.database === null,
    migrate: args.database === null || args.migrate,
    env: token ? { WHATSAPP_MONITOR_TOKEN: token } : {},
    // A scenario tells the same, and more.
    log: args.scenario === null ? (line) => say(`function │ ${line}`) : undefined,
  });
}

function startFailure(args: DevArgs, error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return `Port ${args.port} is in use: end what listens there, or choose another with --port.`;
  }
  const { message, code } = error as Error & { code?: string };
  if (
    args.database && !args.migrate && (code === "42P01" || code === "3F000")
  ) {
    return `The database has no monitor schema yet (${message}). Add --migrate to create it.`;
  }
  return `The local stack did not start: ${message || code}`;
}

async function addInstances(stack: Stack, { gateway }: DevArgs): Promise<void> {
  if (stack.gateway) await addDemoInstances(stack, stack.gateway);
  for (const name of gateway?.instances ?? []) {
    const { url, key } = gateway!;
    const organization = crypto.randomUUID();
    await stack.addInstance({ organization, url, name, key });
  }
  // They are read once a minute at most; whoever runs this wants to see them now.
  const table = "whatsapp_monitor.source_sync";
  await stack.database.query(`update ${table} set synced_at = '-infinity'`);
}

function describe(stack: Stack, args: DevArgs): void {
  say(`Local stack on ${stack.url}`);
  if (args.once) return;
  const start = `${stack.functionUrl}/whatsapp/monitor/start?wait=true`;
  say(
    `  tick      curl -X POST -H 'x-monitor-token: ${stack.token}' '${start}'`,
  );
  if (stack.gateway) {
    say(
      `  gateway   ${stack.gateway.url} (simulated), control ${stack.gateway.controlUrl}`,
    );
    say(`  break it  ${breakingHint(stack.gateway)}`);
  }
  say("");
}

/** One trigger: the report, or null after saying why there is none. */
async function trigger(
  stack: Stack,
  args: DevArgs,
  interrupted: AbortSignal,
): Promise<Report | null> {
  const response = await stack.trigger({ signal: interrupted });
  const text = await response.text();
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    // Said below.
  }
  if (isReport(answer)) return answer;
  say(`The trigger failed with status ${response.status}: ${text}`);
  if (args.json && answer !== undefined) console.log(JSON.stringify(answer));
  return null;
}

async function once(
  stack: Stack,
  args: DevArgs,
  interrupted: AbortSignal,
): Promise<number> {
  const reports: Report[] = [];
  let last: Report | null;
  do {
    last = await trigger(stack, args, interrupted);
    if (!last) return 1;
    reports.push(last);
    // Where a trigger could check nothing, someone else holds the rest: the next one could not either.
  } while (last.success && last.carried_over > 0 && last.checked > 0);
  const report = mergeReports(reports);
  console.log(
    args.json ? JSON.stringify(report, null, 2) : renderReport(report),
  );
  return report.success ? 0 : 1;
}

async function watch(
  stack: Stack,
  args: DevArgs,
  interrupted: AbortSignal,
): Promise<number> {
  let before: Report | null = null;
  while (!interrupted.aborted) {
    const next = pause(TICK_EVERY_MS, interrupted);
    if (stack.edge.url === null) {
      say("The function's process has ended; starting it again.");
      await stack.edge.restart();
    }
    const report = await trigger(stack, args, interrupted).catch((error) => {
      if (!interrupted.aborted) throw error;
      return null;
    });
    if (report) {
      console.log(
        args.json
          ? JSON.stringify(report)
          : before
          ? renderChanges(before, report)
          : renderReport(report) + "\n",
      );
      before = report;
    }
    await next;
  }
  say("\nStopping.");
  return 0;
}

/** Waits so long, or until the run is interrupted. */
function pause(ms: number, interrupted: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      interrupted.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    interrupted.addEventListener("abort", done);
    if (interrupted.aborted) done();
  });
}

if (import.meta.main) await main(Deno.args);
