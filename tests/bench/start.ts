/** What a start costs: from a new process to its first answer, and what is uploaded. */
import { ENTRY, startEdge } from "../stack/edge.ts";
import { hold, type Spread, spread, type Target } from "./figures.ts";

/** What came of it. */
export interface Start {
  rounds: number;
  /** From the start of the process to the first answer, 404 without the database. */
  ours_ms: Spread;
  /** The same of a function that answers "ok". */
  empty_ms: Spread;
  /** Of that, in milliseconds: import of the two modules, base64, `WebAssembly.Module`, instance. */
  steps_ms: Record<string, Spread>;
  upload: { files: number; bytes: number; gzip_bytes: number };
  targets: Target[];
}

/** Milliseconds that a start may take longer than that of the empty function. */
const LIMIT_MS = 25;
const ROOT = new URL("../../", import.meta.url);
/** Nothing compiled is kept from one start to the next. */
const COLD = ["--no-code-cache"];

/** Starts both in turn, again and again. */
export async function measureStart(rounds: number): Promise<Start> {
  const ours: number[] = [];
  const empty: number[] = [];
  const steps: Record<string, number[]> = {};
  // The first round fills the cache of transpiled modules, and does not count.
  for (let round = -1; round < rounds; round++) {
    const pair = [{ entry: ENTRY, ms: ours }, { entry: "tests/bench/ok.ts", ms: empty }];
    for (const { entry, ms } of round % 2 === 0 ? pair : pair.reverse()) {
      const first = await firstAnswer(entry);
      if (round >= 0) ms.push(first.ms);
    }
    const { text } = await firstAnswer("tests/bench/instantiate.ts");
    for (const [step, ms] of Object.entries<number>(JSON.parse(text))) {
      if (round >= 0) (steps[step] ??= []).push(ms);
    }
  }
  const more = spread(ours.map((ms, round) => ms - empty[round]));
  return {
    rounds,
    ours_ms: spread(ours),
    empty_ms: spread(empty),
    steps_ms: Object.fromEntries(Object.entries(steps).map(([step, ms]) => [step, spread(ms)])),
    upload: await upload(),
    targets: [hold("cold start: ms above the empty function", LIMIT_MS, more.median)],
  };
}

/** Milliseconds from the start of a function's process to its first answer, and that. */
async function firstAnswer(entry: string): Promise<{ ms: number; text: string }> {
  const started = performance.now();
  const edge = await startEdge({
    // Without credentials, and with a route that it does not know, it does not ask there.
    env: { SUPABASE_URL: "http://127.0.0.1:9", SUPABASE_SERVICE_ROLE_KEY: "sb_secret_none" },
    entry,
    flags: COLD,
  });
  const text = await (await fetch(`${edge.url}/rendizy-server/no-such-route`)).text();
  const ms = performance.now() - started;
  await edge.kill();
  return { ms, text };
}

/** The files that a deploy uploads. */
async function upload(): Promise<Start["upload"]> {
  const files = [ENTRY, "pkg/whatsapp_monitor.js", "pkg/whatsapp_monitor_wasm.js"];
  let bytes = 0;
  let gzip_bytes = 0;
  for (const file of files) {
    const content = await Deno.readFile(new URL(file, ROOT));
    bytes += content.length;
    const packed = new Blob([content]).stream().pipeThrough(new CompressionStream("gzip"));
    gzip_bytes += (await new Response(packed).arrayBuffer()).byteLength;
  }
  return { files: files.length, bytes, gzip_bytes };
}
