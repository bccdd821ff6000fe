/** What it takes to have the module ready, step by step, in milliseconds: told at every request, as it was at the start. */
const started = performance.now();
const { initSync } = await import("../../pkg/whatsapp_monitor.js");
const { default: wasm } = await import("../../pkg/whatsapp_monitor_wasm.js");
const imported = performance.now();
const text = atob(wasm);
const bytes = new Uint8Array(text.length);
for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
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
