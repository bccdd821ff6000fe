//! The monotonic clock.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    type Performance;

    // Held, because the runtime looks up this name anew at each use.
    #[wasm_bindgen(thread_local_v2, js_name = performance)]
    static PERFORMANCE: Performance;

    #[wasm_bindgen(method)]
    fn now(this: &Performance) -> f64;
}

/// Milliseconds on a clock that never jumps. Only differences of it mean something.
pub fn now_ms() -> f64 {
    PERFORMANCE.with(Performance::now)
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
