//! Randomness and digests.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn crypto_random_uuid() -> String;
}

/// A fresh random UUID.
pub fn random_uuid() -> String {
    crypto_random_uuid()
}

/// The SHA-256 digest of `text`.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The same, in hex.
pub fn sha256_hex(text: &str) -> String {
    sha256(text).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
