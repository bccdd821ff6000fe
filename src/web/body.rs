//! Bodies of requests and answers, read up to a limit.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, ReadableStreamDefaultReader};

/// Why a body could not be read.
#[derive(Clone, Debug)]
pub enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// The stream failed with this JavaScript error.
    Failed(JsValue),
}

/// The length that the headers promise, where it is that of the bytes that will be read: a
/// compressed body grows, and a chunked one has whatever length it has. It may be more than fits into
/// the memory of a wasm module, and so into a `usize`.
pub fn promised_length(header: impl Fn(&str) -> Option<String>) -> Option<u64> {
    if header("content-encoding").is_some() || header("transfer-encoding").is_some() {
        return None;
    }
    header("content-length")?.parse().ok()
}

/// Reads a stream to its end, or to `max_bytes`: whatever lies behind is not fetched.
///
/// # Errors
/// [`BodyError`], as it says.
pub async fn read_stream(stream: &ReadableStream, max_bytes: usize) -> Result<Vec<u8>, BodyError> {
    // Not `get_reader()`, whose exception nobody could catch: the stream may be in use already.
    let reader = ReadableStreamDefaultReader::new(stream).map_err(BodyError::Failed)?;
    let mut bytes = Vec::new();
    loop {
        let chunk = JsFuture::from(reader.read())
            .await
            .map_err(BodyError::Failed)?;
        let get = |key: &str| Reflect::get(&chunk, &JsValue::from_str(key));
        if get("done").map_err(BodyError::Failed)?.is_truthy() {
            return Ok(bytes);
        }
        let value: Uint8Array = get("value")
            .map_err(BodyError::Failed)?
            .dyn_into()
            .map_err(BodyError::Failed)?;
        let start = bytes.len();
        let length = value.length() as usize;
        if length > max_bytes - start {
            discard(reader.cancel());
            return Err(BodyError::TooLarge);
        }
        bytes.resize(start + length, 0);
        value.copy_to(&mut bytes[start..]);
    }
}

/// Lets go of a body that nobody will read, so that its connection is freed.
pub fn abandon(stream: Option<&ReadableStream>) {
    if let Some(stream) = stream {
        discard(stream.cancel());
    }
}

/// Leaves a promise to itself. A failure to let go of something changes nothing.
fn discard(promise: js_sys::Promise) {
    wasm_bindgen_futures::spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
