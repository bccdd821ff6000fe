// Are the npm packages of package-lock.json installed?
//
//   node build/modules.mjs run   those that the stack needs
//   node build/modules.mjs all   those that a build needs, too
//
// Status 1 if not. What is installed stands in node_modules/.package-lock.json.

import { existsSync, readFileSync } from "node:fs";
import process from "node:process";

const installedLock = "node_modules/.package-lock.json";
const read = (file) => JSON.parse(readFileSync(file, "utf8")).packages;

const installed = existsSync(installedLock) ? read(installedLock) : {};
const fresh = Object.entries(read("package-lock.json")).every(
  ([path, wanted]) =>
    path === "" || wanted.optional ||
    (wanted.dev && process.argv[2] !== "all") ||
    (existsSync(path) && installed[path]?.version === wanted.version),
);
process.exitCode = fresh ? 0 : 1;
