// What must not be in the module: absolute paths and the names of registries.
// They tell who built it and where, and make the same sources give another
// module elsewhere.

import { Buffer } from "node:buffer";

// The data of a module are strings without separators, so a path may begin
// right after a letter. Folders that no source tree has are looked for
// anywhere, all others only where a path can begin.
const FORBIDDEN = [
  /\/(?:home|root|usr|rustc|Users|work)\/[\w.@+-]/,
  /\/rust\/deps\//,
  /(?:^|[^\w.~:\/%-])\/(?:builds?|mnt|nix|opt|private|tmp|var|workspace)\/[\w.@+-]/,
  /(?:^|[^\w.~:\/%-])\/(?:[\w.-]+\/)+[\w.-]+\.rs/,
  /[A-Za-z]:\\[\w.-]{2,}\\/,
  /index\.crates\.io/,
  /github\.com-[0-9a-f]{4}/,
  /registry\/src/,
];

/**
 * The first forbidden string with some of what follows it, or null.
 * `more`: further strings that must not occur.
 */
export function findForbidden(content, more = []) {
  const text = typeof content === "string" ? content : Buffer.from(content).toString("latin1");
  const hits = FORBIDDEN.map((pattern) => text.search(pattern))
    .concat(more.map((string) => text.indexOf(string)))
    .filter((index) => index >= 0);
  if (hits.length === 0) return null;
  const start = Math.min(...hits);
  return /^.[\x20-\x7e]*/s.exec(text.slice(start, start + 160))[0].trim();
}

/**
 * The precompiled standard library of rustup carries `/rustc/<commit>/…` and
 * `/rust/deps/…` in its panic messages. They name no machine, but they are
 * absolute and nothing can remap them any more. The leading slash becomes
 * another character: all lengths and offsets stay as they are.
 */
export function neutralizeStd(wasm) {
  const bytes = Buffer.from(wasm);
  const text = bytes.toString("latin1");
  for (const hit of text.matchAll(/\/(?:rustc\/[0-9a-f]{40}|rust\/deps)\//g)) {
    bytes[hit.index] = "~".charCodeAt(0);
  }
  return bytes;
}
