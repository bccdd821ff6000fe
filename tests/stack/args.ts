/** The command line of `dev`. Pure. */

/** A real gateway to monitor in place of the simulated one. */
export interface RealGateway {
  url: string;
  key: string;
  instances: string[];
}

/** What `dev` was told. */
export interface DevArgs {
  help: boolean;
  once: boolean;
  json: boolean;
  gateway: RealGateway | null;
  /** A fault to play in place of all else, by name; `list` for their names. */
  scenario: string | null;
  /** Settings for this run, in the order given. */
  settings: { name: string; value: string }[];
  port: number;
  /** The URL of a real Postgres, or null: the embedded one. */
  database: string | null;
  migrate: boolean;
}

/** A command line that cannot be followed; the message says why. */
export class UsageError extends Error {}

/** What `--help` prints. */
export const USAGE = `Usage: ./build.sh dev [options]

  --once               run until nothing is due, print the report, end (status 0 if it committed)
  --json               the report alone on standard output, as JSON; everything else on standard error
  --gateway URL        monitor this gateway in place of the simulated one; needs --key and --instance
                       (its webhooks are left alone unless you --set webhook_policy)
  --key KEY            the gateway's API key
  --instance NAME      an instance on that gateway (repeatable)
  --scenario NAME      play one fault on the simulated gateway, tick by tick and without waiting
                       (status 0 if it came out as promised); \`list\` names them
  --set NAME=VALUE     change a setting for this run (repeatable); an empty value means null
  --port N             listen on 127.0.0.1:N (54321 if not given, 0 for any free port; a scenario
                       takes any)
  --database URL       use this Postgres in place of the embedded one, as it is
  --migrate            apply the migrations to the database given with --database
  --help               print this

WHATSAPP_MONITOR_TOKEN from the environment is accepted as a trigger token.
`;

const DEFAULT_PORT = 54321;
const SWITCHES = ["--once", "--json", "--migrate", "--help"];
const VALUES = [
  "--gateway",
  "--key",
  "--instance",
  "--scenario",
  "--set",
  "--port",
  "--database",
];
const REPEATABLE = ["--instance", "--set"];

/** Reads a command line; `--name value` and `--name=value` are the same. */
export function parseArgs(argv: readonly string[]): DevArgs {
  const given = collect(argv);
  const one = (name: string): string | null => given.get(name)?.[0] ?? null;
  const scenario = one("--scenario");
  if (scenario !== null) refuseBeside(given);
  return {
    help: given.has("--help"),
    once: given.has("--once"),
    json: given.has("--json"),
    gateway: gatewayOf(
      one("--gateway"),
      one("--key"),
      given.get("--instance") ?? [],
    ),
    scenario,
    settings: (given.get("--set") ?? []).map(settingOf),
    port: portOf(one("--port"), scenario === null ? DEFAULT_PORT : 0),
    database: databaseOf(one("--database")),
    migrate: given.has("--migrate"),
  };
}

function collect(argv: readonly string[]): Map<string, string[]> {
  const given = new Map<string, string[]>();
  const rest = [...argv];
  while (rest.length > 0) {
    const word = rest.shift()!;
    const [, name, attached] = word.match(/^(--[^=]+)(?:=([\s\S]*))?$/) ??
      [, word];
    if (SWITCHES.includes(name)) {
      if (attached !== undefined) {
        throw new UsageError(`${name} takes no value`);
      }
      given.set(name, []);
      continue;
    }
    if (!VALUES.includes(name)) {
      throw new UsageError(`unknown argument: ${word}`);
    }
    if (given.has(name) && !REPEATABLE.includes(name)) {
      throw new UsageError(`${name} was given twice`);
    }
    const value = attached ?? rest.shift();
    // What looks like the next option is a forgotten value, unless it was attached with "=".
    if (!value || (attached === undefined && value.startsWith("--"))) {
      throw new UsageError(`${name} needs a value`);
    }
    given.set(name, [...given.get(name) ?? [], value]);
  }
  return given;
}

/** A scenario has a gateway of its own and turns back the database's moments. */
function refuseBeside(given: Map<string, string[]>): void {
  const other = ["--gateway", "--database", "--migrate", "--once"].find((name) => given.has(name));
  if (other) {
    throw new UsageError(
      `--scenario does not go with ${other}: it plays on the simulated gateway and the embedded ` +
        "database, to its end",
    );
  }
}

function gatewayOf(
  url: string | null,
  key: string | null,
  instances: string[],
): RealGateway | null {
  if (url === null) {
    if (key !== null) throw new UsageError("--key needs --gateway");
    if (instances.length > 0) {
      throw new UsageError("--instance needs --gateway");
    }
    return null;
  }
  if (!isUrl(url, ["http:", "https:"])) {
    throw new UsageError(`--gateway needs an http or https URL, not ${url}`);
  }
  if (key === null) throw new UsageError("--gateway needs --key");
  if (instances.length === 0) {
    throw new UsageError("--gateway needs at least one --instance");
  }
  return { url, key, instances };
}

function settingOf(text: string): { name: string; value: string } {
  const [, name, value] = text.match(/^([^=]+)=([\s\S]*)$/) ?? [];
  if (name === undefined) {
    throw new UsageError(`--set needs NAME=VALUE, not ${text}`);
  }
  return { name: name.trim(), value };
}

function portOf(text: string | null, otherwise: number): number {
  if (text === null) return otherwise;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(port <= 65535)) {
    throw new UsageError(`--port needs a number up to 65535, not ${text}`);
  }
  return port;
}

function databaseOf(url: string | null): string | null {
  if (url !== null && !isUrl(url, ["postgres:", "postgresql:"])) {
    // The URL holds a password: it is not repeated.
    throw new UsageError("--database needs a postgres:// URL");
  }
  return url;
}

function isUrl(text: string, protocols: string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}
