// The paths of the building machine: kept out of the module by remapping
// (`node build/paths.mjs` prints rustc's flags, separated as Cargo wants them
// in CARGO_ENCODED_RUSTFLAGS), and looked for in it afterwards.
//
// In the environment: RUST_SYSROOTS, the sysroots of the compilers in use,
// one a line.

import { existsSync, readdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

import { FLAGS } from "./inputs.mjs";

/** Each path as it is written and as it resolves. */
function spellings(paths) {
  const all = paths.filter((path) => existsSync(path))
    .flatMap((path) => [path, realpathSync(path)])
    .map((path) => path.replace(/\/+$/, ""))
    .filter((path) => path !== "");
  return [...new Set(all)];
}

/** What the names in FLAGS.rustc stand for: lists of absolute paths. */
export function places() {
  const home = homedir();
  const cargo = process.env.CARGO_HOME || join(home, ".cargo");
  const sysroots = (process.env.RUST_SYSROOTS || "").split("\n")
    .filter((path) => path !== "");
  const registry = join(cargo, "registry", "src");
  // One folder for each registry, named after its host.
  const registries = existsSync(registry) ? readdirSync(registry) : [];
  return {
    home: spellings([home]),
    toolchain: spellings(sysroots),
    project: spellings([fileURLToPath(new URL("..", import.meta.url))]),
    cargo_git: spellings([join(cargo, "git", "checkouts")]),
    cargo_registry: spellings(registries.map((name) => join(registry, name))),
    std: spellings(sysroots.map((path) => join(path, "lib/rustlib/src/rust"))),
  };
}

/** rustc's flags with the paths of this machine. */
export function rustFlags() {
  const known = places();
  return FLAGS.rustc.flatMap((flag) => {
    const name = /\{(\w+)\}/.exec(flag)?.[1];
    if (!name) return [flag];
    return known[name].map((path) => flag.replace(`{${name}}`, () => path));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(rustFlags().join("\x1f"));
}
