/**
 * The edge function in a process of its own, as locked up as a deployed one: no
 * files, no subprocesses, no packages, only the variables it is given. What
 * happens in there is the business of `edge_host.ts`.
 */

/** How to start the function. */
export interface EdgeOptions {
  /** The function's whole environment. */
  env: Record<string, string>;
  /** The function's entry point, seen from the repository's root. */
  entry?: string;
  /** Bare names that it imports, as the repository's root sees them, or npm packages. */
  imports?: Record<string, string>;
  /** Further flags for Deno, for measuring. */
  flags?: string[];
  /** Where it listens on 127.0.0.1; any free port if not given. */
  port?: number;
  /** Told every line the function writes. */
  log?: (line: string) => void;
}

/** A running function. */
export interface Edge {
  /** Where it listens, `http://127.0.0.1:<port>`; null while there is no process. */
  readonly url: string | null;
  /** Its process, for measuring; null while there is none. */
  readonly pid: number | null;
  /** Every line it wrote so far, restarts included. */
  readonly logs: string[];
  /** Resolves when the present process has ended, for whatever reason. */
  readonly exited: Promise<Deno.CommandStatus>;
  /** Resolves when everything given to `EdgeRuntime.waitUntil` is done, or the process is gone. */
  idle(): Promise<void>;
  /** Lets requests and background work end (2 s at most), then ends the process. */
  stop(): Promise<void>;
  /** SIGKILL: an isolate that dies in the middle of things. */
  kill(): Promise<void>;
  /** Stops what still runs and starts a fresh process: a new isolate with an empty memory. */
  restart(): Promise<void>;
}

/** The entry point `supabase functions deploy` takes. */
export const ENTRY = "supabase/functions/rendizy-server/index.ts";

const ROOT = new URL("../../", import.meta.url);
const READY = "edge_host listening ";
const STOP_GRACE_MS = 2000;

/** Starts the function; resolves when it listens, rejects with what it wrote where it never does. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const logs: string[] = [];
  let process = await spawn(options, logs);
  return {
    logs,
    get url() {
      return process.alive ? process.url : null;
    },
    get pid() {
      return process.alive ? process.child.pid : null;
    },
    get exited() {
      return process.exited;
    },
    async idle() {
      await fetch(`${process.url}/.edge_host/idle`).catch(() => {});
    },
    stop: () => stop(process),
    kill: () => kill(process),
    async restart() {
      await stop(process);
      process = await spawn(options, logs);
    },
  };
}

interface Process {
  child: Deno.ChildProcess;
  url: string;
  /** False as soon as its end is known. */
  alive: boolean;
  /** Its end, with all it wrote read. */
  exited: Promise<Deno.CommandStatus>;
}

async function spawn(options: EdgeOptions, logs: string[]): Promise<Process> {
  const own = ownEnvironment(options.env);
  const { imports = {} } = options;
  const npm = Object.values(imports).some((target) => target.startsWith("npm:"));
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--cached-only",
      "--no-prompt",
      "--no-remote",
      "--no-lock",
      // A deployed function does not see the repository's deno.json.
      ...npm ? [`--config=${new URL("deno.json", ROOT).pathname}`] : ["--no-npm", "--no-config"],
      ...options.flags ?? [],
      "--allow-net",
      "--allow-env",
      `--import-map=${importMap({ ...imports, "edge-entry": options.entry ?? ENTRY })}`,
      new URL("edge_host.ts", import.meta.url).href,
      String(options.port ?? 0),
      JSON.stringify(Object.keys(own)),
    ],
    clearEnv: true,
    env: { ...options.env, ...own },
    stdin: "piped", // held open; the child ends when it closes, even if we are killed
    stdout: "piped",
    stderr: "piped",
  }).spawn();

  const ready = Promise.withResolvers<string>();
  const report = (line: string) => {
    logs.push(line);
    options.log?.(line);
  };
  const written = Promise.all([
    eachLine(child.stdout, (line) => {
      if (!line.startsWith(READY)) return report(line);
      ready.resolve(
        `http://127.0.0.1:${JSON.parse(line.slice(READY.length)).port}`,
      );
    }),
    eachLine(child.stderr, report),
  ]);
  const process: Process = {
    child,
    url: "",
    alive: true,
    exited: child.status.then(async (status) => {
      process.alive = false;
      await written;
      return status;
    }),
  };
  const url = await Promise.race([ready.promise, process.exited]);
  if (typeof url !== "string") {
    await child.stdin.close().catch(() => {});
    throw new Error(
      `The edge function did not start:\n${logs.slice(-20).join("\n")}`,
    );
  }
  process.url = url;
  return process;
}

async function stop(process: Process): Promise<void> {
  const timer = setTimeout(() => signal(process), STOP_GRACE_MS);
  await process.child.stdin.close().catch(() => {}); // closed already where stopped twice
  await process.exited;
  clearTimeout(timer);
}

async function kill(process: Process): Promise<void> {
  signal(process);
  await process.exited;
  await process.child.stdin.close().catch(() => {});
}

function signal(process: Process): void {
  try {
    process.child.kill("SIGKILL");
  } catch {
    // It was quicker.
  }
}

/** What Deno wants for itself; `edge_host.ts` hides it from the function. */
function ownEnvironment(given: Record<string, string>): Record<string, string> {
  const own: Record<string, string> = { NO_COLOR: "1" };
  for (const name of ["DENO_DIR", "HOME", "XDG_CACHE_HOME"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) own[name] = value;
  }
  return Object.fromEntries(
    Object.entries(own).filter(([name]) => !(name in given)),
  );
}

function importMap(targets: Record<string, string>): string {
  const imports = Object.fromEntries(
    Object.entries(targets).map(([name, target]) => [name, new URL(target, ROOT).href]),
  );
  return `data:application/json,${encodeURIComponent(JSON.stringify({ imports }))}`;
}

async function eachLine(
  bytes: ReadableStream<Uint8Array>,
  take: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of bytes.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    lines.forEach(take);
  }
  if (rest !== "") take(rest);
}
