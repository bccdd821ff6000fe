//! The WhatsApp connection monitor.

use wasm_bindgen::prelude::*;

/// Placeholder until the boundary lands.
#[wasm_bindgen]
pub async fn handle(request: web_sys::Request) -> Result<web_sys::Response, JsValue> {
    let response = gloo_net::http::Request::get(&request.url())
        .send()
        .await
        .map_err(|e| JsValue::from_str(&e.to_string()))?;
    let text = response.text().await.unwrap_or_default();
    let v: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    web_sys::Response::new_with_opt_str(Some(&v.to_string()))
}
