/** The real function, and at `/.bench/memory` the bytes of its module's memory, which it keeps to itself. */
let memory: WebAssembly.Memory | undefined;
const { Instance } = WebAssembly;
WebAssembly.Instance = class extends Instance {
  constructor(...args: ConstructorParameters<typeof Instance>) {
    super(...args);
    memory = this.exports.memory as WebAssembly.Memory;
  }
};

// Dynamic, so that it comes after that; a literal, so that it needs no right to read.
const { handler: inner } = await import("../../supabase/functions/rendizy-server/index.ts");

export function handler(request: Request): Promise<Response> | Response {
  if (new URL(request.url).pathname !== "/.bench/memory") return inner(request);
  return Response.json({ wasm_bytes: memory!.buffer.byteLength });
}
