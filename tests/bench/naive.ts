/** Naive wasm: the floor's loop in Rust, one gloo-net call per instance (`naive/`). */
import { stateUrl, sweeper } from "./sweeper.ts";

// Literals, mapped by the parent.
// @ts-ignore the name exists only in the parent's import map
const { initSync, sweep } = await import("naive");
// @ts-ignore as above
const { default: wasm } = await import("naive-wasm");

initSync({ module: Uint8Array.from(atob(wasm), (byte) => byte.charCodeAt(0)) });

export const handler = sweeper((work) =>
  sweep(
    work.names.map((name) => stateUrl(work, name)),
    work.gateway.key,
    work.concurrency,
    work.timeout_ms,
    work.max_bytes,
  )
);
