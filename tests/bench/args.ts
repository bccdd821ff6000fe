/** The command line of `bench`. Pure. */
import { type Cell, cellName, CELLS } from "./cells.ts";
import { type Name, NAMES } from "./outcome.ts";
import type { Settings } from "./project.ts";

/** What there is to measure of the database. */
export const DATABASE_PARTS = ["sizes", "workers", "growth"];

/** What `bench` was told. */
export interface BenchArgs {
  help: boolean;
  /** What the monitor costs its database, instead of what it is measured against. */
  database: boolean;
  json: boolean;
  quick: boolean;
  full: boolean;
  /** Names of cells, `start` and `memory`, or parts of what the database costs; all if empty. */
  only: string[];
  /** All of them if empty. */
  contestants: Name[];
  rounds: number | null;
  settings: Settings;
  embedded: boolean;
}

/** A command line that cannot be followed; the message says why. */
export class UsageError extends Error {}

/** What `--help` prints. */
export const USAGE = `Usage: ./build.sh bench [options]

  --quick              few rounds of one instance, and of the start: does it run?
  --full               the cells that take minutes a round, too
  --only CELL          this alone (repeatable): INSTANCES@LATENCY_MS, such as 100@50, with -1% where
                       1 % is not open; \`start\`; \`memory\`
  --contestant NAME    this one (repeatable): floor, naive, original, ours, defaults
  --rounds N           rounds of each cell after the warm-up (5 if not given, 3 of slow ones)
  --set NAME=NUMBER    change a setting of the monitor (repeatable)
  --embedded           the embedded Postgres, even where a server is installed
  --database           what the monitor costs its database, instead, on Postgres 17 (which takes root
                       and debootstrap; without them, on the installed Postgres): by the number of
                       instances, with workers side by side, and over a month; about ten minutes.
                       Goes with --quick, --json and --only sizes, workers, growth (repeatable)
  --json               the figures alone on standard output, as JSON
  --help               print this
`;

const SWITCHES = ["--json", "--quick", "--full", "--embedded", "--database", "--help"];
/** What goes with `--database`. */
const OF_DATABASE = ["--database", "--quick", "--json", "--only", "--help"];

/** Reads the command line. */
export function parseArgs(args: string[]): BenchArgs {
  const given = new Set<string>();
  const database = args.includes("--database");
  const parsed: BenchArgs = {
    help: false,
    database,
    json: false,
    quick: false,
    full: false,
    embedded: false,
    only: [],
    contestants: [],
    rounds: null,
    settings: {},
  };
  for (let n = 0; n < args.length; n++) {
    const option = args[n];
    if (database && option.startsWith("--") && !OF_DATABASE.includes(option)) {
      throw new UsageError(`${option} does not go with --database`);
    }
    if (SWITCHES.includes(option)) {
      given.add(option);
      continue;
    }
    if (!["--only", "--contestant", "--rounds", "--set"].includes(option)) {
      throw new UsageError(`unknown option: ${option}`);
    }
    const value = args[++n] ?? "";
    const [, name, number] = value.match(/^([a-z_0-9]+)=(\d+)$/) ?? [];
    if (option === "--only" && isPart(value, database)) parsed.only.push(value);
    else if (option === "--contestant" && isName(value)) parsed.contestants.push(value);
    else if (option === "--rounds" && /^[1-9]\d*$/.test(value)) parsed.rounds = Number(value);
    else if (option === "--set" && name) parsed.settings[name] = Number(number);
    else throw new UsageError(`${option} cannot be ${value || "nothing"}`);
  }
  const has = (option: string) => given.has(option);
  return {
    ...parsed,
    help: has("--help"),
    json: has("--json"),
    quick: has("--quick"),
    full: has("--full"),
    embedded: has("--embedded"),
  };
}

function isName(name: string): name is Name {
  return NAMES.some((each) => each === name);
}

function isPart(name: string, ofDatabase: boolean): boolean {
  return ofDatabase
    ? DATABASE_PARTS.includes(name)
    : ["start", "memory", ...CELLS.map((cell: Cell) => cellName(cell))].includes(name);
}
