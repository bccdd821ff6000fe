//! Answers: JSON, a right status code, and CORS on every one of them.

use serde::Serialize;
use serde_json::json;
use wasm_bindgen::JsValue;
use web_sys::{Headers, Response, ResponseInit};

/// Sent with every answer. The frontends of the system this replaces rely on these.
const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    (
        "access-control-allow-methods",
        "GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD",
    ),
    (
        "access-control-allow-headers",
        "Content-Type, Authorization, X-Requested-With, apikey, X-Auth-Token, x-client-info, Prefer, x-organization-id, x-monitor-token",
    ),
    ("access-control-max-age", "86400"),
    // Whoever polls must see for how long to stay away.
    ("access-control-expose-headers", "Retry-After"),
];

/// An answer, not yet a JavaScript object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    body: Option<String>,
    allow: Option<&'static str>,
}

impl Reply {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        serde_json::to_string(body).map_or_else(
            |_| Self::error(500, "Erro interno"),
            |body| Self {
                status,
                body: Some(body),
                allow: None,
            },
        )
    }

    /// An error, with one sentence for the caller.
    pub fn error(status: u16, sentence: &str) -> Self {
        Self {
            status,
            body: Some(json!({ "success": false, "error": sentence }).to_string()),
            allow: None,
        }
    }

    /// The answer to a browser that asks whether it may ask.
    pub const fn preflight() -> Self {
        Self {
            status: 204,
            body: None,
            allow: None,
        }
    }

    /// The answer to a verb that the resource does not accept.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::error(405, "Método não permitido")
        }
    }

    /// The same without its body, for HEAD.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { body: None, ..self }
    }

    /// The JavaScript object.
    ///
    /// # Errors
    /// What the `Response` constructor throws.
    pub fn into_response(self) -> Result<Response, JsValue> {
        let headers = Headers::new()?;
        for (name, value) in CORS {
            headers.set(name, value)?;
        }
        if self.body.is_some() {
            headers.set("content-type", "application/json; charset=utf-8")?;
        }
        if let Some(allow) = self.allow {
            headers.set("allow", allow)?;
        }
        headers.set("cache-control", "no-store")?;
        let init = ResponseInit::new();
        init.set_status(self.status);
        init.set_headers(&headers);
        Response::new_with_opt_str_and_init(self.body.as_deref(), &init)
    }
}
