//! Request bodies.

use serde::de::DeserializeOwned;

use super::Context;
use super::reply::Reply;
use crate::web::body::{BodyError, abandon, promised_length, read_stream};

/// The largest body that is read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Reads the body as JSON, whatever the content type says; nothing at all reads as the default.
///
/// # Errors
/// The answer to give: 413 for what is too large, 400 for what is not of the shape wanted.
pub async fn json<T: DeserializeOwned + Default>(context: &Context<'_>) -> Result<T, Reply> {
    let too_large = || {
        Reply::error(
            413,
            &format!("O corpo passa de {} KiB", MAX_BODY_BYTES / 1024),
        )
    };
    let Some(stream) = context.request.body() else {
        return Ok(T::default());
    };
    if promised_length(|name| context.header(name)).is_some_and(|length| length > MAX_BODY_BYTES) {
        abandon(Some(&stream));
        return Err(too_large());
    }
    let bytes = match read_stream(&stream, MAX_BODY_BYTES).await {
        Ok(bytes) => bytes,
        Err(BodyError::TooLarge) => return Err(too_large()),
        Err(BodyError::Failed(_)) => {
            return Err(Reply::error(400, "O corpo não pôde ser lido até o fim"));
        }
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        // Where and what kind, never the text itself.
        let what = match error.classify() {
            serde_json::error::Category::Data => "tem um campo de tipo errado",
            _ => "não é JSON válido",
        };
        Reply::error(
            400,
            &format!(
                "O corpo {what} (linha {}, coluna {})",
                error.line(),
                error.column()
            ),
        )
    })
}
