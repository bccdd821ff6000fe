/** The WebAssembly module, base64. */
declare const base64: string;
export default base64;
