/**
 * The installed Postgres, for as long as a command runs:
 *
 *     deno run -A tests/stack/postgres_server.ts [--version 15] -- COMMAND…
 *
 * The newest one, or the one of the given major version, on a free port of
 * 127.0.0.1, in a temporary folder, without durability. The command finds it by
 * DATABASE=postgres://postgres@127.0.0.1:PORT. Whatever way it ends, the server
 * is stopped and the folder is gone afterwards; its status becomes ours.
 */

/** What keeps the command from being run; the message says what to do. */
class Unable extends Error {}

const USAGE = "Usage: deno run -A tests/stack/postgres_server.ts [--version 15] -- COMMAND…";
const USAGE_STATUS = 2;
/** A port that was free a moment ago may be taken when the server starts. */
const START_ATTEMPTS = 3;
const SETTINGS = [
  "listen_addresses=127.0.0.1",
  // No file outside of our folder, and no limit on the length of its path.
  "unix_socket_directories=",
  "max_connections=100",
  "fsync=off",
  "synchronous_commit=off",
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

/** The folder of the programs of the newest Postgres, or of one version. */
async function findPrograms(version: string | undefined): Promise<string> {
  const found: { folder: string; major: number }[] = [];
  for (const folder of await candidates()) {
    const written = await say(`${folder}/postgres`, "--version");
    const major = written.match(/\(PostgreSQL\) (\d+)/)?.[1];
    if (major && (version === undefined || major === version)) {
      found.push({ folder, major: Number(major) });
    }
  }
  const [newest] = found.sort((a, b) => b.major - a.major);
  if (newest) return newest.folder;
  throw new Unable(
    `No Postgres server${version ? ` of version ${version}` : ""} is installed. ` +
      "On Debian: apt-get install postgresql; on macOS: brew install postgresql@17.",
  );
}

async function candidates(): Promise<string[]> {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  folders.push((await say("pg_config", "--bindir")).trim());
  for (
    const [parent, form] of [
      ["/usr/lib/postgresql", /^\d+$/],
      ["/opt/homebrew/opt", /^postgresql(@\d+)?$/],
      ["/usr/local/opt", /^postgresql(@\d+)?$/],
    ] as const
  ) {
    try {
      for await (const { name } of Deno.readDir(parent)) {
        if (form.test(name)) folders.push(`${parent}/${name}/bin`);
      }
    } catch {
      // Not on this system.
    }
  }
  return [...new Set(folders)].filter((folder) => folder !== "");
}

/** What a program writes, nothing where there is no such program. */
async function say(file: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await new Deno.Command(file, { args }).output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

/** Starts a server in `folder`, runs the command with it, stops the server. */
async function serve(
  programs: string,
  folder: string,
  command: string[],
): Promise<number> {
  // Postgres refuses to run as root.
  const asRoot = Deno.uid() === 0;
  if (asRoot) await giveToPostgres(folder);
  const owner = asRoot ? ["runuser", "-u", "postgres", "--"] : [];
  const data = `${folder}/data`;
  const log = `${folder}/log`;
  const tool = (name: string, ...args: string[]) =>
    run([...owner, `${programs}/${name}`, ...args], {
      cwd: folder,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });

  const { success, written } = await tool(
    "initdb",
    ...["--pgdata", data, "--username=postgres", "--auth=trust"],
    ...["--encoding=UTF8", "--no-locale", "--no-sync"],
  );
  if (!success) throw new Unable(`initdb failed:\n${written}`);
  try {
    let port = 0;
    for (let attempt = 1; port === 0 && !interruption; attempt++) {
      const candidate = freePort();
      const options = [`port=${candidate}`, ...SETTINGS]
        .map((setting) => `-c ${setting}`).join(" ");
      const { success } = await tool(
        "pg_ctl",
        ...["start", "-w", "-D", data, "-l", log, "-o", options],
      );
      if (success) {
        port = candidate;
      } else if (attempt === START_ATTEMPTS) {
        const lines = await Deno.readTextFile(log).catch(() => "");
        throw new Unable(`Postgres did not start:\n${lines}`);
      }
    }
    if (interruption) return 1;
    const DATABASE = `postgres://postgres@127.0.0.1:${port}`;
    return (await run(command, { env: { DATABASE } })).code;
  } finally {
    await tool("pg_ctl", "stop", "-w", "-m", "fast", "-D", data);
  }
}

async function giveToPostgres(folder: string): Promise<void> {
  const uid = parseInt(await say("id", "-u", "postgres"));
  if (Number.isNaN(uid)) {
    throw new Unable(
      "Postgres refuses to run as root, and there is no user postgres to run it as.",
    );
  }
  await Deno.chown(folder, uid, null);
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

function parseArguments(
  args: string[],
): { version?: string; command: string[] } {
  const end = args.indexOf("--");
  const [options, command] = [args.slice(0, end), args.slice(end + 1)];
  const [name, version, ...more] = options;
  const understood = end >= 0 && command.length > 0 && more.length === 0 &&
    (name === undefined || name === "--version" && /^\d+$/.test(version));
  if (understood) return { version, command };
  console.error(USAGE);
  Deno.exit(USAGE_STATUS);
}

async function main(): Promise<number> {
  const { version, command } = parseArguments(Deno.args);
  passSignalsOn();
  const folder = await Deno.makeTempDir({ prefix: "postgres-" });
  try {
    return await serve(await findPrograms(version), folder, command);
  } catch (error) {
    if (interruption) return 1;
    if (error instanceof Unable || error instanceof Deno.errors.NotFound) {
      console.error(error.message);
      return 1;
    }
    throw error;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const status = await main();
  Deno.exit(interruption ? SIGNALS[interruption] : status);
}
