// pkg/ as it is committed: made from the present sources, whole, and without a
// trace of the machine that made it.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { INPUTS, inputsHash, OUTPUTS, staleness } from "../../build/inputs.mjs";
import { findForbidden } from "../../build/scan.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pkg = join(root, "pkg");
const read = (name: string) => readFileSync(join(pkg, name), "utf8");

function decodedModule(): Buffer {
  const base64 = /^export default "([A-Za-z0-9+/]+=*)";$/m
    .exec(read("whatsapp_monitor_wasm.js"));
  assert(base64, "whatsapp_monitor_wasm.js holds one base64 string");
  return Buffer.from(base64[1], "base64");
}

Deno.test("pkg/ is as new as the sources", () => {
  const reason = staleness(root, pkg);
  assert(!reason, reason ?? "");
});

Deno.test("the module and its glue hold no absolute path and no registry", () => {
  assert.equal(findForbidden(decodedModule()), null);
  for (const name of OUTPUTS) {
    assert.equal(findForbidden(read(name)), null, name);
  }
});

Deno.test("the module and build.json belong together", () => {
  const wasm = decodedModule();
  const build = JSON.parse(read("build.json"));
  assert.equal(
    build.wasm_sha256,
    createHash("sha256").update(wasm).digest("hex"),
  );
  assert.deepEqual(build.sizes, {
    wasm: wasm.length,
    base64_js: read("whatsapp_monitor_wasm.js").length,
  });
});

Deno.test("the glue takes the module's bytes, and a fresh instance on demand", () => {
  const glue = read("whatsapp_monitor.js");
  assert(!glue.includes("import.meta"));
  const wasm = new WebAssembly.Module(decodedModule());
  for (const { module } of WebAssembly.Module.imports(wasm)) {
    assert.equal(module, "./whatsapp_monitor_bg.js");
  }
  // In an isolate of its own: other tests use the glue, too.
  const program = `
    import * as glue from ${JSON.stringify(join(pkg, "whatsapp_monitor.js"))};
    import base64 from ${JSON.stringify(join(pkg, "whatsapp_monitor_wasm.js"))};
    const module = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const first = glue.initSync({ module }).memory;
    glue.__wbg_reset_state();
    console.log(glue.initSync({ module }).memory !== first);
  `;
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", program],
  }).outputSync();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(code, 0, text(stderr));
  assert.equal(text(stdout).trim(), "true");
});

Deno.test("a change makes pkg/ old, in a clear sentence", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "package-test-"));
  const copy = join(folder, "pkg");
  const reset = () => {
    rmSync(folder, { recursive: true });
    for (const input of INPUTS) {
      cpSync(join(root, input), join(folder, input), { recursive: true });
    }
    mkdirSync(copy);
    for (const name of OUTPUTS) writeFileSync(join(copy, name), "");
    const build = { inputs_sha256: inputsHash(folder) };
    writeFileSync(join(copy, "build.json"), JSON.stringify(build));
    assert.equal(staleness(folder, copy), null);
  };
  const old = "pkg/ is older than the sources: run ./build.sh and commit pkg/";

  try {
    for (const changed of ["src/lib.rs", "Cargo.toml", "Cargo.lock"]) {
      await t.step(changed, () => {
        reset();
        appendFileSync(join(folder, changed), " ");
        assert.equal(staleness(folder, copy), old);
      });
    }
    await t.step("a new source file", () => {
      reset();
      writeFileSync(join(folder, "src/new.rs"), "");
      assert.equal(staleness(folder, copy), old);
    });
    await t.step("no build.json", () => {
      reset();
      rmSync(join(copy, "build.json"));
      assert.equal(
        staleness(folder, copy),
        "pkg/ is not there: run ./build.sh and commit pkg/",
      );
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
