// Do two builds hold the same bytes? `node build/same.mjs pkg target/again`
//
// Another compiler makes another module, so only what the same toolchain made
// can be compared.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { OUTPUTS } from "./inputs.mjs";

const [a, b] = process.argv.slice(2);
const toolchain = (folder) =>
  JSON.stringify(
    JSON.parse(readFileSync(join(folder, "build.json"), "utf8")).toolchain,
  );

if (toolchain(a) !== toolchain(b)) {
  console.log("not compared: built by different toolchains");
  console.log(`${a}: ${toolchain(a)}\n${b}: ${toolchain(b)}`);
} else {
  const different = OUTPUTS.filter((file) =>
    !readFileSync(join(a, file)).equals(readFileSync(join(b, file)))
  );
  if (different.length > 0) {
    console.error(`not the same: ${different.join(", ")}`);
    process.exitCode = 1;
  }
}
