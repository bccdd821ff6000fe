//! The monotonic clock.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Milliseconds on a clock that never jumps. Only differences of it mean something.
pub fn now_ms() -> f64 {
    performance_now()
}
