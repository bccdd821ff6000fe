// What goes into pkg/, and how to tell whether pkg/ was made from it.
//
//   node build/inputs.mjs hash            the hash of the inputs
//   node build/inputs.mjs flags NAME      the flags of one tool, one a line
//   node build/inputs.mjs fresh DIR NAME  status 1, and one sentence, if not

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Files and folders that decide what is in the module. */
export const INPUTS = ["Cargo.lock", "Cargo.toml", "src"];

/** The files that a build writes. */
export const OUTPUTS = [
  "build.json",
  "whatsapp_monitor.d.ts",
  "whatsapp_monitor.js",
  "whatsapp_monitor_wasm.d.ts",
  "whatsapp_monitor_wasm.js",
];

/**
 * Every flag that decides what is in the module. `{…}` stands for a path of
 * the building machine (see paths.mjs), so that this text, and with it the
 * hash, is the same everywhere.
 */
export const FLAGS = {
  cargo: [
    "--locked",
    "--release",
    "--target=wasm32-unknown-unknown",
  ],
  // Panic messages carry source paths: no path of the building machine may
  // get into the module. Where several prefixes match, the last one wins.
  rustc: [
    "--remap-path-prefix={home}=home",
    "--remap-path-prefix={toolchain}=toolchain",
    "--remap-path-prefix={project}=.",
    "--remap-path-prefix={cargo_git}=git",
    "--remap-path-prefix={cargo_registry}=crates",
    "--remap-path-prefix={std}=rust",
  ],
  wasm_bindgen: [
    // Plain JavaScript that is handed the bytes of the module: the only form
    // that every way of deploying an edge function carries along.
    "--target=web",
    // No `import.meta.url` in the glue: there is no .wasm file to find.
    "--omit-default-module-path",
    // A module that panicked is replaced by a fresh instance.
    "--experimental-reset-state-function",
    "--out-name=whatsapp_monitor",
  ],
  wasm_opt: [
    // Chosen by measurement: build/measure_wasm_opt.mjs.
    "-Oz",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
  ],
};

/** The input files, sorted, relative to the root, with forward slashes. */
export function inputFiles(root) {
  const files = [];
  const visit = (path) => {
    const entries = readdirSync(join(root, path), { withFileTypes: true });
    for (const entry of entries) {
      // Hidden files are an editor's or the system's.
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory()) visit(`${path}/${entry.name}`);
      else files.push(`${path}/${entry.name}`);
    }
  };
  for (const input of INPUTS) {
    if (input === "src") visit(input);
    else files.push(input);
  }
  // By code unit, not by locale: the same order on every machine.
  return files.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** SHA-256 of names, lengths and contents of the inputs, and of the flags. */
export function inputsHash(root) {
  const hash = createHash("sha256");
  const add = (name, content) => {
    hash.update(`${name}\0${content.length}\0`).update(content);
  };
  for (const file of inputFiles(root)) {
    add(file, readFileSync(join(root, file)));
  }
  add("flags", Buffer.from(JSON.stringify(FLAGS)));
  return hash.digest("hex");
}

/** Why the package in `folder` cannot be used, in one sentence, or null. */
export function staleness(root, folder, name = "pkg/") {
  const remedy = "run ./build.sh and commit pkg/";
  const missing = OUTPUTS.find((file) => !existsSync(join(folder, file)));
  if (missing === "build.json") return `${name} is not there: ${remedy}`;
  if (missing) return `${name} lacks ${missing}: ${remedy}`;
  let recorded;
  try {
    recorded = JSON.parse(readFileSync(join(folder, "build.json"), "utf8"));
  } catch {
    return `${name}build.json is not readable: ${remedy}`;
  }
  return recorded.inputs_sha256 === inputsHash(root)
    ? null
    : `${name} is older than the sources: ${remedy}`;
}

function main([command, argument, name]) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  if (command === "hash") {
    console.log(inputsHash(root));
  } else if (command === "flags") {
    console.log(FLAGS[argument].join("\n"));
  } else if (command === "fresh") {
    const reason = staleness(root, argument, name);
    if (reason) {
      console.error(reason);
      process.exitCode = 1;
    }
  } else {
    throw new Error(`unknown command: ${command}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2));
}
