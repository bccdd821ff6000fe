//! `AbortController`, set to a time.

use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// Aborts what has its signal when a time is over.
///
/// Not `AbortSignal.timeout()`: its timer outlives the request, and when it goes off it makes an
/// error that nobody sees, which costs a fifth of the request (measured in Deno 2.1.4).
#[derive(Debug)]
pub struct TimeLimit {
    signal: AbortSignal,
    timer: JsValue,
}

impl TimeLimit {
    /// A limit of so many milliseconds from now on.
    ///
    /// # Errors
    /// What JavaScript throws.
    pub fn start(timeout_ms: u32) -> Result<Self, JsValue> {
        let controller = AbortController::new();
        // A function of JavaScript's own: it needs no care when the module is reset.
        let abort = controller.abort().bind0(&controller);
        let timer = SET_TIMEOUT
            .with(|set| set.call2(&JsValue::UNDEFINED, &abort, &JsValue::from(timeout_ms)))?;
        let signal = controller.signal();
        Ok(Self { signal, timer })
    }

    /// What a request takes.
    pub const fn signal(&self) -> &AbortSignal {
        &self.signal
    }

    /// The request is done. Without this its time runs on, and out.
    pub fn end(self) {
        // To clear a timer does not fail.
        let _ = CLEAR_TIMEOUT.with(|clear| clear.call1(&JsValue::UNDEFINED, &self.timer));
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(extends = js_sys::Object)]
    type AbortController;

    #[wasm_bindgen(constructor)]
    fn new() -> AbortController;

    #[wasm_bindgen(method, getter)]
    fn signal(this: &AbortController) -> AbortSignal;

    /// The function itself, not called.
    #[wasm_bindgen(method, getter)]
    fn abort(this: &AbortController) -> Function;

    // Held, because the runtime looks up these names anew at each use.
    #[wasm_bindgen(thread_local_v2, js_name = setTimeout)]
    static SET_TIMEOUT: Function;

    #[wasm_bindgen(thread_local_v2, js_name = clearTimeout)]
    static CLEAR_TIMEOUT: Function;
}
