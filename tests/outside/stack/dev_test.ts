/** The command `dev`, in a process of its own: what it writes, its statuses, its end. */
import assert from "node:assert/strict";
import { startGateway } from "../../stack/evolution/mod.ts";

/** The command with the function and the schema of these tests. */
const DEV = new URL("fixtures/dev.ts", import.meta.url).href;

/** The command as it is shipped. */
const SHIPPED = new URL("../../stack/dev.ts", import.meta.url).href;

/** Starts it, on the embedded database. */
function start(script: string, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--cached-only", "-A", script, ...args],
    env: { WHATSAPP_MONITOR_TOKEN: "mine", NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs it to its end. */
async function run(script: string, ...args: string[]) {
  const { code, stdout, stderr } = await start(script, ...args).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

const dev = (...args: string[]) => run(DEV, ...args);

Deno.test("dev --once: until nothing is left; with --json nothing else on standard output", async () => {
  const json = await dev("--once", "--json", "--port", "0");
  assert.equal(json.code, 0, json.err);
  const { own_token, tick_id, checked, carried_over } = JSON.parse(json.out);
  assert.equal(own_token, "mine");
  assert.deepEqual([tick_id, checked, carried_over], ["2", 2, 0]);
  assert.match(json.err, /function │ a line/);

  const { out } = await dev("--once", "--port=0", "--set", "interval_s=7");
  assert.match(out, /\nfirst .*connected[\s\S]*2 checked, 0 carried over, 4 database round trips/);
});

Deno.test("dev: what it cannot do, it says", async () => {
  const usage = await dev("--nope");
  assert.equal(usage.code, 2);
  assert.match(usage.err, /unknown argument: --nope\n\nUsage:/);

  const setting = await dev("--once", "--port=0", "--set=x=1");
  assert.deepEqual([setting.code, setting.out], [2, ""]);
  assert.match(setting.err, /no setting x\. The settings are:\n {2}interval_s = 30/);

  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const inUse = await dev("--once", "--port", String(port));
  assert.equal(inUse.code, 1);
  assert.match(inUse.err, new RegExp(`Port ${port} is in use`));
});

Deno.test("dev --gateway: only looks, at what is to last longer than the run", async () => {
  const gateway = await startGateway();
  try {
    gateway.set("loja", "open");
    const real = ["--gateway", gateway.url, "--key", gateway.key, "--instance", "loja"];
    const once = async (...more: string[]) => {
      gateway.forget();
      const { code, out, err } = await run(SHIPPED, "--once", "--port=0", ...real, ...more);
      assert.equal(code, 0, err);
      assert.match(out, /\nloja +connected/);
      return gateway.requests.map(({ method, path }) => `${method} ${path}`);
    };
    const looks = await once();
    assert(looks.includes("GET /instance/connectionState/loja"));
    assert.deepEqual(looks.filter((each) => /^POST|webhook/.test(each)), []);
    const set = await once(
      "--set",
      "webhook_policy=manage",
      "--set",
      "webhook_url=https://a.example",
    );
    assert(set.includes("POST /webhook/set/loja"), "where one asks for it, it is set");
  } finally {
    await gateway.stop();
  }
});

Deno.test("dev --scenario: names them, and says so where there is none of that name", async () => {
  const list = await dev("--scenario", "list");
  assert.deepEqual([list.code, list.err], [0, ""]);
  assert.match(list.out, /^lost-and-found\n {2}The connection drops /m);
  const unknown = await dev("--scenario", "nope");
  assert.deepEqual([unknown.code, unknown.out], [2, ""]);
  assert.ok(unknown.err.includes("There is no scenario nope."));
  assert.ok(unknown.err.includes(list.out), "it lists those there are");
});

Deno.test("dev --scenario: status 0 where it comes out as promised, and 1 where not", async () => {
  const scenario = ["--scenario", "blink", "--json"];
  const kept = await run(SHIPPED, ...scenario);
  assert.equal(kept.code, 0, kept.err);
  assert.equal(JSON.parse(kept.out).success, true);
  // One bad check is an outage.
  const hasty = ["--set=down_after_checks=1", "--set=down_after_s=0"];
  const broken = await run(SHIPPED, ...scenario, ...hasty);
  assert.equal(broken.code, 1, broken.err);
  assert.equal(JSON.parse(broken.out).success, false);
  assert.match(broken.err, /blink did NOT come out as promised: 2 of 4 promises were broken/);
});

Deno.test("dev: leaves no process behind, however it ends", async () => {
  for (const [signal, code] of [["SIGINT", 0], ["SIGTERM", 0], ["SIGKILL", 137]] as const) {
    const child = start(DEV, "--port", "0");
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    // The first report is there: it runs.
    for (let text = ""; !text.includes("database round trips");) {
      const { value, done } = await lines.read();
      assert(!done, "it ended before its first report");
      text += value;
    }
    const children = await Deno.readTextFile(`/proc/${child.pid}/task/${child.pid}/children`);
    const [edge] = children.trim().split(" ");
    assert.match(edge, /^\d+$/);
    child.kill(signal);
    assert.equal((await child.status).code, code);
    await Promise.all([lines.cancel(), child.stderr.cancel()]);
    const gone = () => Deno.stat(`/proc/${edge}`).then(() => false, () => true);
    const deadline = performance.now() + 5000;
    while (!await gone()) {
      assert(performance.now() < deadline, `the function outlived ${signal}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }
});
