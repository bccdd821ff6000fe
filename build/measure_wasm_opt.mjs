// Which level of wasm-opt? Size, and the time that a cold start spends on
// decoding, compiling and instantiating. Run it in the Deno of the edge
// runtime, after a build:
//
//   deno run -A build/measure_wasm_opt.mjs [MODULE] [ROUNDS]

import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";

import { FLAGS } from "./inputs.mjs";

const LEVELS = ["none", "-O1", "-O2", "-O3", "-O4", "-Os", "-Oz"];
const [
  input = "target/wasm/bindgen/whatsapp_monitor_bg.wasm",
  rounds = "101",
] = process.argv.slice(2);

function optimize(level, folder) {
  const output = join(folder, "optimized.wasm");
  const flags = FLAGS.wasm_opt.filter((flag) => !/^-O/.test(flag));
  if (level !== "none") flags.unshift(level);
  const started = performance.now();
  execFileSync(
    "node",
    ["node_modules/binaryen/bin/wasm-opt", input, "-o", output, ...flags],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const seconds = (performance.now() - started) / 1000;
  const bytes = readFileSync(output);
  return { level, seconds, bytes, base64: bytes.toString("base64"), times: [] };
}

/** V8 shares the code of modules with equal bytes: a custom section for each. */
function unique(bytes, number) {
  const section = Buffer.from([0, 6, 1, 0x6e, 0, 0, 0, 0]);
  section.writeUInt32LE(number, 4);
  return Buffer.concat([bytes, section]).toString("base64");
}

/** As the edge function does it. The imports are never called. */
function coldStart(base64) {
  const started = performance.now();
  const module = new WebAssembly.Module(Buffer.from(base64, "base64"));
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = () => {};
  }
  new WebAssembly.Instance(module, imports);
  return performance.now() - started;
}

function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(q * (sorted.length - 1))];
}

const folder = mkdtempSync(join(tmpdir(), "wasm-opt-"));
const candidates = LEVELS.map((level) => optimize(level, folder));
rmSync(folder, { recursive: true });

// Interleaved, so that a busy moment of the machine meets them all.
let number = 0;
for (let round = 0; round < Number(rounds); round++) {
  for (const candidate of candidates) {
    const base64 = unique(candidate.bytes, number++);
    candidate.times.push(coldStart(base64));
  }
}
console.table(candidates.map(({ level, seconds, bytes, base64, times }) => ({
  level,
  wasm: bytes.length,
  base64: base64.length,
  gzip: gzipSync(bytes).length,
  "start ms (median)": Number(quantile(times, 0.5).toFixed(2)),
  "start ms (p95)": Number(quantile(times, 0.95).toFixed(2)),
  "wasm-opt s": Number(seconds.toFixed(1)),
})));
