//! The messages of a delivery, as they are stored: without keys, and such that Postgres takes them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::web::crypto::sha256_hex;

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// What tells it from all others of its instance.
    pub id: String,
    /// The event that brought it, with this message alone.
    pub payload: Value,
}

/// Bytes that a message's id may have; WhatsApp's have 32 at the most.
const MAX_ID_BYTES: usize = 200;

/// The names under which programs keep keys, without their separators and in lower case.
const SECRETS: [&str; 14] = [
    "apikey",
    "globalapikey",
    "evolutionapikey",
    "token",
    "instancetoken",
    "accesstoken",
    "refreshtoken",
    "authtoken",
    "secret",
    "clientsecret",
    "password",
    "authorization",
    "jwt",
    "jwtkey",
];

/// What stands in the place of a secret.
const REDACTED: &str = "[removido]";

/// The messages of `messages.upsert`: one object in `data` (H1-1), or a list of them. `secret` is what
/// the delivery was authenticated with; the gateway repeats it where it stands in the webhook's URL.
pub fn messages(body: &Map<String, Value>, secret: &str) -> Vec<Message> {
    let data = body.get("data").unwrap_or(&Value::Null);
    let list = match data {
        Value::Array(list) => list.as_slice(),
        Value::Object(object) => match object.get("messages") {
            Some(Value::Array(list)) => list.as_slice(),
            _ => std::slice::from_ref(data),
        },
        _ => &[],
    };
    let mut envelope = body.clone();
    envelope.remove("data");
    let envelope = redacted(Value::Object(envelope), secret);
    list.iter()
        .filter(|message| message.is_object())
        .map(|message| {
            let message = redacted(message.clone(), secret);
            let id = id(&message);
            let mut payload = envelope.clone();
            payload["data"] = message;
            Message { id, payload }
        })
        .collect()
}

/// WhatsApp's id of a message; one that has none is known by its content.
fn id(message: &Value) -> String {
    let id = message.pointer("/key/id").and_then(Value::as_str);
    match id.map(str::trim) {
        Some(id) if (1..=MAX_ID_BYTES).contains(&id.len()) => id.to_owned(),
        _ => format!("sha256:{}", sha256_hex(&message.to_string())),
    }
}

/// The same without secrets, and without zero bytes: Postgres has no text with one.
fn redacted(value: Value, secret: &str) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = if is_secret(&name) && !value.is_null() {
                    REDACTED.into()
                } else {
                    redacted(value, secret)
                };
                (name.replace('\0', "\u{fffd}"), value)
            })
            .collect(),
        Value::Array(list) => list
            .into_iter()
            .map(|value| redacted(value, secret))
            .collect(),
        Value::String(text) if text.contains('\0') || text.contains(secret) => text
            .replace('\0', "\u{fffd}")
            .replace(secret, REDACTED)
            .into(),
        value => value,
    }
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    SECRETS.contains(&name.as_str())
}
