//! The log. Never a key, a token or a payload goes here.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = log)]
    fn console_log(line: &str);
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(line: &str);
}

/// What every line begins with; operators search for it.
const PREFIX: &str = "[WhatsApp Monitor]";

/// Writes a line to the log.
pub fn log(line: &str) {
    console_log(&format!("{PREFIX} {line}"));
}

/// Writes a line to the log, marked as an error.
pub fn error(line: &str) {
    console_error(&format!("{PREFIX} {line}"));
}
