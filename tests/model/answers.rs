//! The shapes of Evolution's answers.

use serde_json::{Value, json};

/// What a route answers.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
    /// In place of the body, what is no JSON.
    pub text: Option<String>,
    /// How long the server takes on purpose.
    pub waits_ms: i64,
}

/// A plain answer.
pub(super) fn ok(body: Value) -> Answer {
    answer(200, body)
}

pub(super) fn answer(status: u16, body: Value) -> Answer {
    Answer {
        status,
        body,
        text: None,
        waits_ms: 0,
    }
}

/// An error body; `message` is a string or an array, by the case.
pub(super) fn failure(status: u16, message: Value) -> Answer {
    let error = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let body = json!({ "status": status, "error": error, "response": { "message": message } });
    answer(status, body)
}

/// 401: the message is a string here, not an array (A15).
pub(super) fn unauthorized() -> Answer {
    failure(401, json!("Unauthorized"))
}

/// The 200 that reports a failure (A18, N2).
pub(super) fn error_object() -> Answer {
    ok(json!({ "error": true, "message": "[object Object]" }))
}

/// 500 of the database layer: its text in a string (I6, I8) or in a list (I7).
pub(super) fn database_down(call: &str, in_list: bool) -> Answer {
    let text = format!(
        "\nInvalid `{call}` invocation in\n/evolution/dist/main.js:1:1\n\n\
         Can't reach database server at `127.0.0.1:5432`"
    );
    if in_list {
        failure(
            500,
            json!([format!("PrismaClientKnownRequestError: {text}")]),
        )
    } else {
        failure(500, json!(text))
    }
}

/// The gate of 2.4: another shape than all other errors.
pub(super) fn licence_required() -> Answer {
    let body = json!({
        "error": "service not activated", "code": "LICENSE_REQUIRED",
        "register_url": "http://127.0.0.1/manager/register",
        "instance_id": "00000000-0000-4000-8000-000000000000",
        "docs_url": "https://doc.evolution-api.com",
        "message": "License required. Activate this server to use the API.",
    });
    answer(503, body)
}

/// What `logout` and `delete` answer.
pub(super) fn success(message: &str) -> Answer {
    ok(json!({ "status": "SUCCESS", "error": false, "response": { "message": message } }))
}
