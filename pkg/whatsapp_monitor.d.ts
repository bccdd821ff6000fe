/* tslint:disable */
/* eslint-disable */

export function __wbg_reset_state(): void;

/**
 * Prepares an instance of the module.
 *
 * `environment` is an object of the environment's variables. `on_panic` is called with a message
 * when the monitor panics; what it returns is thrown, so that the caller recognizes it. After
 * that the instance must not be used again.
 *
 * # Errors
 * When `environment` is not an object of strings.
 */
export function boot(environment: any, on_panic: Function): void;

/**
 * Answers a request. `wait_until` takes promises that must settle before the isolate may end.
 *
 * `mounted` is for functions that have routes of their own: a list of paths, or of beginnings of
 * paths that end in `/*`. Requests for others are answered with `undefined`.
 *
 * # Errors
 * What the `Response` constructor throws.
 */
export function handle(request: Request, wait_until: Function, mounted?: string[] | null): Promise<Response | undefined>;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly boot: (a: any, b: any) => [number, number];
    readonly handle: (a: any, b: any, c: number, d: number) => any;
    readonly wasm_bindgen_7d4884b0003f6066___convert__closures_____invoke___js_sys_b6f6092e1d6ead42___Function_fn_wasm_bindgen_7d4884b0003f6066___JsValue_____wasm_bindgen_7d4884b0003f6066___sys__Undefined___js_sys_b6f6092e1d6ead42___Function_fn_wasm_bindgen_7d4884b0003f6066___JsValue_____wasm_bindgen_7d4884b0003f6066___sys__Undefined_______true_: (a: number, b: number, c: any, d: any) => void;
    readonly wasm_bindgen_7d4884b0003f6066___convert__closures_____invoke___wasm_bindgen_7d4884b0003f6066___JsValue__core_8a97de082bc4c33___result__Result_____wasm_bindgen_7d4884b0003f6066___JsError___true_: (a: number, b: number, c: any) => [number, number];
    readonly wasm_bindgen_7d4884b0003f6066___convert__closures_____invoke_______true_: (a: number, b: number) => void;
    readonly __wbindgen_malloc: (a: number, b: number) => number;
    readonly __wbindgen_realloc: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_free: (a: number, b: number, c: number) => void;
    readonly __externref_table_alloc: () => number;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __wbindgen_exn_store: (a: number) => void;
    readonly __wbindgen_destroy_closure: (a: number, b: number) => void;
    readonly __externref_table_dealloc: (a: number) => void;
    readonly __externref_drop_slice: (a: number, b: number) => void;
    readonly __wbindgen_start: () => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;
