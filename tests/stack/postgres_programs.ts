/** Where a Postgres server is installed, and how its programs are run. */

/** What keeps a server from being run; the message says what to do. */
export class Unable extends Error {}

/** The programs of one version. */
export interface Programs {
  /** The folder that holds them, as they see it themselves. */
  folder: string;
  /** The folder of the system that they belong to; null where it is this one. */
  root: string | null;
}

/**
 * The programs of the newest Postgres, or of one major version: of this system, or of the one in
 * the folder `root`, as `debootstrap` makes it.
 */
export async function findPrograms(
  { version, root = null }: { version?: string; root?: string | null },
): Promise<Programs> {
  const found: { folder: string; major: number }[] = [];
  for (const folder of await (root === null ? ofThisSystem() : ofSystem(root))) {
    const written = await say(...within(root), `${folder}/postgres`, "--version");
    const major = written.match(/\(PostgreSQL\) (\d+)/)?.[1];
    if (major && (version === undefined || major === version)) {
      found.push({ folder, major: Number(major) });
    }
  }
  const [newest] = found.sort((a, b) => b.major - a.major);
  if (newest) return { folder: newest.folder, root };
  const which = `No Postgres server${version ? ` of version ${version}` : ""}`;
  throw new Unable(
    root === null
      ? `${which} is installed. ` +
        "On Debian: apt-get install postgresql; on macOS: brew install postgresql@17."
      : `${which} can be run in ${root}. Entering it takes root.`,
  );
}

/** What comes before a command that is to run in the system of that folder. */
export function within(root: string | null): string[] {
  return root === null ? [] : ["chroot", root];
}

/** What a program writes, nothing where there is no such program. */
export async function say(...[file, ...args]: string[]): Promise<string> {
  try {
    const { stdout } = await new Deno.Command(file, { args }).output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

async function ofThisSystem(): Promise<string[]> {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  folders.push((await say("pg_config", "--bindir")).trim());
  folders.push(...await ofSystem(""));
  for (const parent of ["/opt/homebrew/opt", "/usr/local/opt"]) {
    const names = await namesIn(parent, /^postgresql(@\d+)?$/);
    folders.push(...names.map((name) => `${parent}/${name}/bin`));
  }
  return [...new Set(folders)].filter((folder) => folder !== "");
}

/** Where Debian has them. */
async function ofSystem(root: string): Promise<string[]> {
  const parent = "/usr/lib/postgresql";
  return (await namesIn(root + parent, /^\d+$/)).map((name) => `${parent}/${name}/bin`);
}

async function namesIn(folder: string, form: RegExp): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(folder));
    return entries.map(({ name }) => name).filter((name) => form.test(name));
  } catch {
    return []; // not on this system
  }
}
