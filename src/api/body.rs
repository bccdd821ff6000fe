//! Request bodies.

use std::pin::pin;

use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use serde_json::{Map, Value};

use super::Context;
use super::reply::Reply;
use crate::web::body::{BodyError, abandon, promised_length, read_stream};

/// The largest body that is read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Milliseconds that a body may take to arrive.
const TIMEOUT_MS: u32 = 5_000;

/// Reads the body as a JSON object, whatever the content type says; nothing at all is an empty one.
///
/// # Errors
/// The answer to give: 413 for what is too large, 408 for what does not come, 400 for what is no
/// JSON object.
pub async fn json(context: &Context<'_>) -> Result<Map<String, Value>, Reply> {
    let too_large = || {
        Reply::error(
            413,
            &format!("O corpo passa de {} KiB", MAX_BODY_BYTES / 1024),
        )
    };
    let Some(stream) = context.request.body() else {
        return Ok(Map::new());
    };
    if promised_length(|name| context.header(name))
        .is_some_and(|length| length > MAX_BODY_BYTES as u64)
    {
        abandon(Some(&stream));
        return Err(too_large());
    }
    let read = pin!(read_stream(&stream, MAX_BODY_BYTES));
    let read = match select(read, TimeoutFuture::new(TIMEOUT_MS)).await {
        Either::Left((read, _)) => read,
        Either::Right(_) => return Err(Reply::error(408, "O corpo não chegou a tempo")),
    };
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(BodyError::TooLarge) => return Err(too_large()),
        Err(BodyError::Failed(_)) => {
            return Err(Reply::error(400, "O corpo não pôde ser lido até o fim"));
        }
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Reply::error(400, "O corpo deve ser um objeto JSON")),
        // Where, never the text itself.
        Err(error) => Err(Reply::error(
            400,
            &format!(
                "O corpo não é JSON válido (linha {}, coluna {})",
                error.line(),
                error.column()
            ),
        )),
    }
}
