//! Request bodies.

use std::pin::pin;

use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use serde_json::{Map, Value};

use super::Context;
use super::reply::Reply;
use crate::web::body::{BodyError, abandon, promised_length, read_stream};

/// How much of a body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest that is read, in bytes.
    pub max_bytes: usize,
    /// Milliseconds that it may take to arrive.
    pub timeout_ms: u32,
}

/// Those of what a person or a program asks.
const ASKED: Limits = Limits {
    max_bytes: 64 * 1024,
    timeout_ms: 5_000,
};

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is larger than the limit.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// It broke off.
    Broken,
}

/// Reads the body.
///
/// # Errors
/// [`Fault`], as it says.
pub async fn bytes(context: &Context<'_>, limits: Limits) -> Result<Vec<u8>, Fault> {
    let Some(stream) = context.request.body() else {
        return Ok(Vec::new());
    };
    if promised_length(|name| context.header(name))
        .is_some_and(|length| length > limits.max_bytes as u64)
    {
        abandon(Some(&stream));
        return Err(Fault::TooLarge);
    }
    let read = pin!(read_stream(&stream, limits.max_bytes));
    match select(read, TimeoutFuture::new(limits.timeout_ms)).await {
        Either::Left((read, _)) => read.map_err(|error| match error {
            BodyError::TooLarge => Fault::TooLarge,
            BodyError::Failed(_) => Fault::Broken,
        }),
        Either::Right(_) => Err(Fault::TooSlow),
    }
}

/// Reads the body as a JSON object, whatever the content type says; nothing at all is an empty one.
///
/// # Errors
/// The answer to give: 413 for what is too large, 408 for what does not come, 400 for what is no
/// JSON object.
pub async fn json(context: &Context<'_>) -> Result<Map<String, Value>, Reply> {
    let bytes = bytes(context, ASKED).await.map_err(|fault| match fault {
        Fault::TooLarge => Reply::error(
            413,
            &format!("O corpo passa de {} KiB", ASKED.max_bytes / 1024),
        ),
        Fault::TooSlow => Reply::error(408, "O corpo não chegou a tempo"),
        Fault::Broken => Reply::error(400, "O corpo não pôde ser lido até o fim"),
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Reply::error(400, "O corpo deve ser um objeto JSON")),
        Err(error) => Err(no_json(&error)),
    }
}

/// The answer to what is no JSON: where, never the text itself.
pub fn no_json(error: &serde_json::Error) -> Reply {
    Reply::error(
        400,
        &format!(
            "O corpo não é JSON válido (linha {}, coluna {})",
            error.line(),
            error.column()
        ),
    )
}
