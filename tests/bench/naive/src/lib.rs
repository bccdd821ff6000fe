//! One gloo-net call per instance, and nothing else: no database, no decision.

use futures_util::stream::{self, StreamExt};
use gloo_net::http::{Request, Response};
use serde_json::Value;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, RequestRedirect};

/// Asks for the state at each URL, `concurrency` at a time, and gives how many are open.
#[wasm_bindgen]
pub async fn sweep(
    urls: Vec<String>,
    key: String,
    concurrency: usize,
    timeout_ms: u32,
    max_bytes: u32,
) -> u32 {
    stream::iter(&urls)
        .map(|url| is_open(url, &key, timeout_ms, max_bytes))
        .buffer_unordered(concurrency)
        .fold(0, |open, answer| async move {
            open + u32::from(answer.unwrap_or(false))
        })
        .await
}

async fn is_open(
    url: &str,
    key: &str,
    timeout_ms: u32,
    max_bytes: u32,
) -> Result<bool, gloo_net::Error> {
    let response = Request::get(url)
        .header("apikey", key)
        .header("accept-encoding", "identity")
        .redirect(RequestRedirect::Manual)
        .abort_signal(Some(&AbortSignal::timeout_with_u32(timeout_ms)))
        .send()
        .await?;
    if !response.ok() || length(&response).is_none_or(|length| length > max_bytes) {
        return Ok(false);
    }
    let Ok(body) = serde_json::from_str::<Value>(&response.text().await?) else {
        return Ok(false);
    };
    Ok(body["instance"]["state"] == "open")
}

fn length(response: &Response) -> Option<u32> {
    response.headers().get("content-length")?.parse().ok()
}
