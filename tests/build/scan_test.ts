// The search for paths and registries finds what it is meant to find. The
// names are put together here, so that this file does not hold them itself.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";

import { findForbidden, neutralizeStd } from "../../build/scan.mjs";

const commit = "0123456789abcdef".repeat(3).slice(0, 40);
const path = (...parts: string[]) => "/" + parts.join("/");

/** As in a module: bytes that are no text, and strings without separators. */
function planted(text: string): Uint8Array {
  return Buffer.concat([
    Buffer.from([0x00, 0x61, 0x73, 0x6d, 0xff, 0xfe, 0x80]),
    Buffer.from(`called on a None value${text}src/lib.rs`),
    Buffer.from([0x00, 0xc3, 0x28]),
  ]);
}

Deno.test("planted paths and registries are found", async (t) => {
  const strings = [
    path("home", "ana", "monitor", "src", "lib.rs"),
    path("root", ".cargo", "x.rs"),
    path("usr", "lib", "rustlib", "src", "rust"),
    path("rustc", commit, "library", "core", "src", "fmt.rs"),
    path("rust", "deps", "dlmalloc-0.2.11", "src", "lib.rs"),
    path("Users", "ana", "monitor"),
    path("work", "main", "src", "lib.rs"),
    ` ${path("opt", "rust")}`,
    ` ${path("srv", "ci", "lib.rs")}`,
    "C:\\Users\\ana\\monitor",
    ["index", "crates", "io"].join("."),
    ["github", "com-1ecc6299db9ec823"].join("."),
    ["registry", "src"].join("/"),
  ];
  for (const string of strings) {
    await t.step(string.trim(), () => {
      assert(findForbidden(planted(string)), "in a module");
      assert(findForbidden(`"${string}"`), "in text");
    });
  }
  await t.step("whatever else the build asks for", () => {
    assert.equal(
      findForbidden(planted("/srv/x"), ["/srv/"])?.slice(0, 5),
      "/srv/",
    );
  });
});

Deno.test("what a module may hold is not taken for a path", () => {
  const harmless = [
    "crates/serde_json-1.0.154/src/read.rs",
    "rust/library/alloc/src/collections/btree/node.rs",
    "src/gateway/evolution.rs",
    path("rendizy-server", "whatsapp", "monitor", "start"),
    path("rest", "v1", "rpc", "whatsapp_monitor_begin_tick"),
    "https://example.com/instance/connectionState/a",
    "crates/x/src/opt/mod.rs",
  ];
  for (const string of harmless) {
    assert.equal(findForbidden(planted(string)), null, string);
  }
});

Deno.test("the precompiled library's paths lose their slash and no byte", () => {
  const before = planted(
    path("rustc", commit, "library", "std", "src", "panicking.rs") +
      path("rust", "deps", "dlmalloc-0.2.11", "src", "dlmalloc.rs"),
  );
  const after = neutralizeStd(before);
  assert.equal(findForbidden(after), null);
  assert.equal(after.length, before.length);
  const changed = before.filter((byte, i) => byte !== after[i]);
  assert.deepEqual([...changed], [0x2f, 0x2f]);
});
