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

/// Milliseconds that are left of `total_ms`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before"
)]
pub fn left_ms(total_ms: u32, elapsed_ms: f64) -> u32 {
    (f64::from(total_ms) - elapsed_ms).max(0.0) as u32
}
