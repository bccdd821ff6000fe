// The last step of a build: glue and module into the package folder.
//
//   node build/pack.mjs GLUE_FOLDER MODULE DEP_INFO OUT_FOLDER INPUTS_SHA256
//
// In the environment: RUSTC_VERSION, CARGO_VERSION, WASM_BINDGEN_VERSION,
// WASM_OPT_VERSION, and what paths.mjs asks for.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

import { FLAGS, inputFiles, inputsHash } from "./inputs.mjs";
import { places } from "./paths.mjs";
import { findForbidden, neutralizeStd } from "./scan.mjs";

/** Supabase takes 5 MB in all from a deploy without Docker. */
export const MAX_MODULE_JS = 4_500_000;

const NAME = "whatsapp_monitor";
const root = realpathSync(fileURLToPath(new URL("..", import.meta.url)));

function check(condition, message) {
  if (condition) return;
  console.error(`build: ${message}`);
  process.exit(1);
}

/** The files of this project that rustc read. */
function compiledFiles(depInfo) {
  const [, files] = readFileSync(depInfo, "utf8").split(/:\s/, 2);
  return files.split("\n")[0].match(/(?:\\ |[^ ])+/g)
    .map((file) => file.replaceAll("\\ ", " "))
    .map((file) => relative(root, realpathSync(file)).replaceAll("\\", "/"));
}

const [glueFolder, modulePath, depInfo, out, hash] = process.argv.slice(2);

check(
  inputsHash(root) === hash,
  "the sources changed during the build: run it again",
);
const inputs = new Set(inputFiles(root));
for (const file of compiledFiles(depInfo)) {
  check(
    inputs.has(file),
    `${file} is compiled into the module but not hashed: ` +
      "add it to INPUTS in build/inputs.mjs",
  );
}

const wasm = neutralizeStd(readFileSync(modulePath));
check(WebAssembly.validate(wasm), "the module is not valid WebAssembly");
const glue = readFileSync(join(glueFolder, `${NAME}.js`), "utf8");
check(!glue.includes("import.meta"), "the glue uses import.meta");
for (const name of ["__wbg_reset_state", "initSync"]) {
  check(
    new RegExp(`export (function|\\{[^}]*)\\s*\\b${name}\\b`).test(glue),
    `the glue does not export ${name}`,
  );
}
const selfTypes = (name) => `/* @ts-self-types="./${name}.d.ts" */\n`;

const files = {
  [`${NAME}.js`]: glue.startsWith("/* @ts-self-types") ? glue : selfTypes(NAME) + glue,
  [`${NAME}.d.ts`]: readFileSync(join(glueFolder, `${NAME}.d.ts`), "utf8"),
  [`${NAME}_wasm.js`]: selfTypes(`${NAME}_wasm`) +
    `// The WebAssembly module of ${NAME}.js, base64, made by build.sh.\n` +
    `export default "${wasm.toString("base64")}";\n`,
  [`${NAME}_wasm.d.ts`]: "/** The WebAssembly module, base64. */\n" +
    "declare const base64: string;\nexport default base64;\n",
};
const moduleSize = files[`${NAME}_wasm.js`].length;
check(
  moduleSize <= MAX_MODULE_JS,
  `the module takes ${moduleSize} bytes as base64, more than ${MAX_MODULE_JS}`,
);
files["build.json"] = JSON.stringify(
  {
    inputs_sha256: hash,
    flags: FLAGS,
    toolchain: {
      rustc: process.env.RUSTC_VERSION,
      cargo: process.env.CARGO_VERSION,
      wasm_bindgen: process.env.WASM_BINDGEN_VERSION,
      wasm_opt: process.env.WASM_OPT_VERSION,
    },
    sizes: { wasm: wasm.length, base64_js: moduleSize },
    wasm_sha256: createHash("sha256").update(wasm).digest("hex"),
  },
  null,
  2,
) + "\n";

// The well-known paths, and those of this machine.
const known = places();
const ownPaths = Object.values(known).flat().map((path) => `${path}/`)
  .concat(known.cargo_registry.map((path) => basename(path)));
for (const [name, content] of Object.entries({ ...files, wasm })) {
  const found = findForbidden(content, ownPaths);
  check(!found, `an absolute path or a registry's name in ${name}: ${found}`);
}

// Only build.json says that the package is fresh: it goes first and comes last.
mkdirSync(out, { recursive: true });
rmSync(join(out, "build.json"), { force: true });
for (const [name, content] of Object.entries(files)) {
  writeFileSync(join(out, name), content);
}
console.error(`build: ${wasm.length} bytes, ${moduleSize} as base64`);
