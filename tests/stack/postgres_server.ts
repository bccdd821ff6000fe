/**
 * A Postgres server, for as long as a command runs:
 *
 *     deno run -A tests/stack/postgres_server.ts [OPTION…] -- COMMAND…
 *
 *     --version 15       this major version; the newest if not given
 *     --root DIR         the one of the Debian system in this folder, which takes root
 *     --set NAME=VALUE   a setting of the server; repeatable
 *
 * It listens on a free port of 127.0.0.1 and keeps its data in a temporary
 * folder, safe from its own death but not from the machine's. The command finds
 * it by DATABASE=postgres://postgres@127.0.0.1:PORT. A POST to the URL in
 * DATABASE_RESTART kills all its processes and starts it again. Whatever way the
 * command ends, the server is stopped and the folder is gone afterwards; its
 * status becomes ours.
 */
import { resolve } from "node:path";
import { findPrograms, type Programs, say, Unable, within } from "./postgres_programs.ts";

const USAGE =
  "Usage: deno run -A tests/stack/postgres_server.ts [--version 15] [--root DIR] [--set NAME=VALUE]… -- COMMAND…";
const USAGE_STATUS = 2;
/** A port that was free a moment ago may be taken when the server starts. */
const START_ATTEMPTS = 3;
const SETTINGS = [
  "listen_addresses=127.0.0.1",
  // No file outside of our folder, and no limit on the length of its path.
  "unix_socket_directories=",
  "max_connections=100",
  "fsync=off",
  "full_page_writes=off",
];

/** The signals that end us, with the status that tells so. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
type Signal = keyof typeof SIGNALS;

/** The process that a signal to us is meant for. */
let running: Deno.ChildProcess | undefined;
/** The first signal that came. */
let interruption: Signal | undefined;

/** Runs a process to its end, on our own terminal or with its output kept. */
async function run(
  [file, ...args]: string[],
  options: Deno.CommandOptions,
): Promise<Deno.CommandStatus & { written: string }> {
  const child = new Deno.Command(file, { args, ...options }).spawn();
  running = child;
  try {
    if (options.stdout !== "piped") {
      return { ...await child.status, written: "" };
    }
    const { stdout, stderr, ...status } = await child.output();
    const text = new TextDecoder();
    return { ...status, written: text.decode(stdout) + text.decode(stderr) };
  } finally {
    running = undefined;
  }
}

/** Passes signals on: the first politely, each further one firmly. */
function passSignalsOn(): void {
  for (const signal of Object.keys(SIGNALS) as Signal[]) {
    Deno.addSignalListener(signal, () => {
      try {
        running?.kill(interruption ? "SIGKILL" : signal);
      } catch {
        // It was quicker.
      }
      interruption ??= signal;
    });
  }
}

/** Starts a server, runs the command with it, stops the server. */
async function serve({ version, root, settings, command }: Wanted): Promise<number> {
  const programs = await findPrograms({ version, root });
  const folder = await Deno.makeTempDir({ prefix: "postgres-", dir: root ? `${root}/tmp` : root });
  try {
    const server = new Server(programs, folder);
    await server.prepare();
    try {
      const port = await server.start(settings);
      return port === null ? 1 : await runWith(server, port, command);
    } finally {
      await server.stop();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs the command, and restarts the server whenever it asks for that. */
async function runWith(server: Server, port: number, command: string[]): Promise<number> {
  let restarted: Promise<Response> = Promise.resolve(new Response());
  const control = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    if (request.method !== "POST") return new Response(null, { status: 405 });
    return restarted = restarted.then(() => server.restart()).then(
      () => new Response(null, { status: 204 }),
      (error) => new Response(String(error), { status: 500 }),
    );
  });
  try {
    const env = {
      DATABASE: `postgres://postgres@127.0.0.1:${port}`,
      DATABASE_RESTART: `http://127.0.0.1:${control.addr.port}`,
    };
    return (await run(command, { env })).code;
  } finally {
    await restarted;
    await control.shutdown();
  }
}

/** A server's programs, run on its data. */
class Server {
  /** The folder as the programs see it. */
  readonly #folder: string;
  readonly #folderOutside: string;
  readonly #programs: Programs;
  /** What comes before each program. */
  readonly #before: string[];

  constructor(programs: Programs, folder: string) {
    const { root } = programs;
    this.#programs = programs;
    this.#folderOutside = folder;
    this.#folder = root ? folder.slice(root.length) : folder;
    // Postgres refuses to run as root.
    const owner = isRoot() ? ["runuser", "-u", "postgres", "--"] : [];
    this.#before = [...within(root), ...owner];
  }

  /** Makes an empty database cluster. */
  async prepare(): Promise<void> {
    if (isRoot()) await this.#giveToPostgres();
    const { success, written } = await run(
      this.#tool(
        "initdb",
        ...["--username=postgres", "--auth=trust"],
        ...["--encoding=UTF8", "--no-locale", "--no-sync"],
      ),
      this.#quiet,
    );
    if (!success) throw new Unable(`initdb failed:\n${written}`);
  }

  /** Starts it; gives its port, null where a signal came before. */
  async start(settings: string[]): Promise<number | null> {
    for (let attempt = 1; !interruption; attempt++) {
      const port = freePort();
      const options = [`port=${port}`, ...SETTINGS, ...settings]
        .map((setting) => `-c ${setting}`).join(" ");
      const start = this.#tool("pg_ctl", "start", "-w", ...this.#log, "-o", options);
      if ((await run(start, this.#quiet)).success) return port;
      if (attempt === START_ATTEMPTS) {
        const lines = await Deno.readTextFile(`${this.#folderOutside}/log`).catch(() => "");
        throw new Unable(`Postgres did not start:\n${lines}`);
      }
    }
    return null;
  }

  /** Ends all its processes as if they had crashed and starts it again, on the same port. */
  async restart(): Promise<void> {
    // Not by run(): a signal that comes now is meant for the command.
    const [file, ...args] = this.#tool("pg_ctl", "restart", "-w", "-m", "immediate", ...this.#log);
    const { success, stdout } = await new Deno.Command(file, { args, ...this.#quiet }).output();
    if (!success) throw new Error(new TextDecoder().decode(stdout));
  }

  async stop(): Promise<void> {
    await run(this.#tool("pg_ctl", "stop", "-w", "-m", "fast"), this.#quiet);
  }

  #tool(name: string, ...args: string[]): string[] {
    const data = ["-D", `${this.#folder}/data`];
    return [...this.#before, `${this.#programs.folder}/${name}`, ...args, ...data];
  }

  get #log(): string[] {
    return ["-l", `${this.#folder}/log`];
  }

  get #quiet() {
    return { cwd: this.#folderOutside, stdin: "null", stdout: "piped", stderr: "piped" } as const;
  }

  async #giveToPostgres(): Promise<void> {
    const uid = parseInt(await say(...within(this.#programs.root), "id", "-u", "postgres"));
    if (Number.isNaN(uid)) {
      throw new Unable(
        "Postgres refuses to run as root, and there is no user postgres to run it as.",
      );
    }
    await Deno.chown(this.#folderOutside, uid, null);
  }
}

function isRoot(): boolean {
  return Deno.uid() === 0;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** What the command line asks for. */
interface Wanted {
  version?: string;
  root?: string;
  settings: string[];
  command: string[];
}

function parseArguments(args: string[]): Wanted {
  const end = args.indexOf("--");
  const wanted: Wanted = { settings: [], command: args.slice(end + 1) };
  let understood = end >= 0 && end % 2 === 0 && wanted.command.length > 0;
  for (let n = 0; n < end; n += 2) {
    const [option, value] = args.slice(n, n + 2);
    if (option === "--version" && /^\d+$/.test(value)) wanted.version = value;
    else if (option === "--root" && value) wanted.root = resolve(value);
    else if (option === "--set" && /^[\w.]+=[\w.,]*$/.test(value)) wanted.settings.push(value);
    else understood = false;
  }
  if (understood) return wanted;
  console.error(USAGE);
  Deno.exit(USAGE_STATUS);
}

async function main(): Promise<number> {
  const wanted = parseArguments(Deno.args);
  passSignalsOn();
  try {
    return await serve(wanted);
  } catch (error) {
    if (interruption) return 1;
    if (error instanceof Unable || error instanceof Deno.errors.NotFound) {
      console.error(error.message);
      return 1;
    }
    throw error;
  }
}

if (import.meta.main) {
  const status = await main();
  Deno.exit(interruption ? SIGNALS[interruption] : status);
}
