/**
 * The real Supabase CLI deploys the function to a stand-in of the platform;
 * what it has uploaded, and nothing else, then runs.
 *
 * The CLI follows imports by their text, and leaves out with a warning at most
 * what it does not find: only what is uploaded tells what is deployed.
 */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { found, startWorld, type World } from "../outside/support.ts";
import { type Deployment, startManagementApi } from "./management_api.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI = join(ROOT, "node_modules/supabase/dist/supabase.js");

const PROJECT = "abcdefghijklmnopqrst";
const ACCESS_TOKEN = `sbp_${"0".repeat(40)}`;

/** What a project has beside the function. */
const NOT_DEPLOYED = [
  ".env",
  "pkg/whatsapp_monitor_bg.wasm",
  "supabase/.env",
  "supabase/functions/.env",
  "supabase/functions/rendizy-server/.env",
  "supabase/functions/rendizy-server/index_test.ts",
];

/** Works with an empty folder, and takes it away. */
async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "deploy-test-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs the CLI in that folder, as somebody of whom this machine knows nothing. */
function supabase(cwd: string, args: string[]): Promise<{ code: number; text: string }> {
  return withFolder(async (home) => {
    const { code, stdout, stderr } = await new Deno.Command("node", {
      args: [CLI, ...args],
      cwd,
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH")!,
        HOME: home,
        SUPABASE_ACCESS_TOKEN: ACCESS_TOKEN,
        SUPABASE_NO_KEYRING: "1",
        SUPABASE_NO_UPDATE_NOTIFIER: "1",
        SUPABASE_TELEMETRY_DISABLED: "1",
      },
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
  });
}

/** The version and the arguments that README deploys with. */
function command(): { version: string; args: string[] } {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const line = /^npx supabase@(\S+) (functions deploy .*)$/m.exec(readme);
  assert(line, "README says how to deploy");
  return { version: line[1], args: line[2].replace("=REF", `=${PROJECT}`).split(" ") };
}

/** Deploys from a project's folder; gives what the platform has got. */
async function deploy(project: string, args = command().args): Promise<Deployment> {
  const api = startManagementApi(PROJECT, ACCESS_TOKEN);
  const profile = {
    name: "stand-in",
    api_url: api.url,
    dashboard_url: api.url,
    project_host: "supabase.test",
  };
  try {
    const { code, text } = await withFolder((folder) => {
      const file = join(folder, "profile.yaml");
      writeFileSync(file, JSON.stringify(profile)); // JSON is YAML
      // Nobody is there to answer its question.
      return supabase(project, [...args, "--yes", "--profile", file]);
    });
    assert.equal(code, 0, text);
    // Of an import that it leaves out, and of what it does not know in config.toml.
    assert.doesNotMatch(text, /warn/i);
    assert.equal(api.deployments.length, 1, text);
    return api.deployments[0];
  } finally {
    await api.stop();
  }
}

/** Copies a part of this repository to a folder, under the same path if none is given. */
function copy(part: string, folder: string, to = part): void {
  mkdirSync(dirname(join(folder, to)), { recursive: true });
  cpSync(join(ROOT, part), join(folder, to), { recursive: true });
}

/** Writes files into a folder, by their paths in it. */
function lay(folder: string, files: Iterable<[string, string | Uint8Array]>): void {
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** Runs what was uploaded, in a folder that holds nothing else. */
async function run(
  { files, metadata }: Deployment,
  work: (world: World) => Promise<void>,
): Promise<void> {
  const started = Deno.cwd();
  await withFolder(async (folder) => {
    lay(folder, files);
    Deno.chdir(folder);
    const entry = pathToFileURL(join(folder, metadata.entrypoint_path)).href;
    try {
      const world = await startWorld({ entry });
      await work(world).finally(world.stop);
    } finally {
      Deno.chdir(started);
    }
  });
}

/** A stranger is refused; who has the token gets a tick, and it is committed. */
async function callIt(world: World): Promise<void> {
  const url = `${world.functionUrl}/whatsapp/monitor/start`;
  const refused = await fetch(url, { method: "POST" });
  assert.equal(refused.status, 401, await refused.text());

  world.gateway.set("loja", "open");
  await world.watch("loja");
  const report = await world.tick();
  assert.equal(found(report, "loja").status, "connected");
  assert.equal((await world.row("loja")).status, "connected");
  const [tick] = await world.database.query(
    "select claimed, finished_at from whatsapp_monitor.ticks where id = $1",
    [report.tick_id],
  );
  assert.equal(tick.claimed, 1);
  assert(tick.finished_at);
}

Deno.test("the Supabase CLI is there, in the version of package.json and of README", async () => {
  const { code, text } = await supabase(ROOT, ["--version"]);
  const remedy = "npm ci --ignore-scripts --include=dev installs the Supabase CLI";
  assert.equal(code, 0, `${remedy}\n${text}`);
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  assert.equal(text.trim(), devDependencies.supabase);
  assert.equal(command().version, devDependencies.supabase);
});

Deno.test("the function deploys as README says", async (t) => {
  await withFolder(async (folder) => {
    for (const part of ["deno.json", "package.json", "pkg", "supabase"]) copy(part, folder);
    lay(folder, NOT_DEPLOYED.map((path) => [path, ""]));
    const deployment = await deploy(folder);

    await t.step("uploaded are the entry, the glue and the module, and nothing else", () => {
      assert.deepEqual([...deployment.files.keys()].sort(), [
        "pkg/whatsapp_monitor.js",
        "pkg/whatsapp_monitor_wasm.js",
        "supabase/functions/rendizy-server/index.ts",
      ]);
      for (const [path, bytes] of deployment.files) {
        assert(readFileSync(join(ROOT, path)).equals(bytes), path);
      }
    });

    await t.step("the platform is told to let everybody in, for the function asks itself", () => {
      assert.equal(deployment.slug, "rendizy-server");
      assert.deepEqual(deployment.metadata, {
        name: "rendizy-server",
        entrypoint_path: "supabase/functions/rendizy-server/index.ts",
        import_map_path: "",
        static_patterns: [],
        verify_jwt: false,
      });
    });

    await t.step("what was uploaded runs alone", () => run(deployment, callIt));
  });
});

Deno.test("mounted into another function, it deploys and runs along with that", async () => {
  const own = `
    import { mount } from "../_rendizy-monitor/index.ts";
    const monitor = mount();
    Deno.serve(async (request) => await monitor(request) ?? Response.json({ own: true }));
  `;
  await withFolder(async (folder) => {
    copy("pkg", folder);
    copy("supabase/config.toml", folder);
    copy("supabase/functions/rendizy-server", folder, "supabase/functions/_rendizy-monitor");
    lay(folder, [["supabase/functions/rendizy-server/index.ts", own]]);

    // All functions that there are: it is one.
    const all = command().args.filter((arg) => arg !== "rendizy-server");
    const deployment = await deploy(folder, all);
    assert.deepEqual([...deployment.files.keys()].sort(), [
      "pkg/whatsapp_monitor.js",
      "pkg/whatsapp_monitor_wasm.js",
      "supabase/functions/_rendizy-monitor/index.ts",
      "supabase/functions/rendizy-server/index.ts",
    ]);
    assert.equal(deployment.metadata.verify_jwt, false);
    await run(deployment, async (world) => {
      const response = await fetch(`${world.functionUrl}/own`);
      assert.deepEqual(await response.json(), { own: true });
      await callIt(world);
    });
  });
});
