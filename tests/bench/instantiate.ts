/** What it takes to have the module ready, step by step, in milliseconds: told at every request, as it was at the start. */
import { Buffer } from "node:buffer";

const started = performance.now();
const { initSync } = await import("../../pkg/whatsapp_monitor.js");
const { default: wasm } = await import("../../pkg/whatsapp_monitor_wasm.js");
const imported = performance.now();
const bytes = Buffer.from(wasm, "base64");
const decoded = performance.now();
const module = new WebAssembly.Module(bytes);
const compiled = performance.now();
initSync({ module });
const instantiated = performance.now();

export const handler = () =>
  Response.json({
    import_ms: imported - started,
    decode_ms: decoded - imported,
    compile_ms: compiled - decoded,
    instantiate_ms: instantiated - compiled,
  });
