//! The webhook of an instance, in the words of each version. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer;
use crate::monitor::webhook::Hook;
use crate::monitor::{Ack, Fault, GatewayFault, Shape, Webhooks};
use crate::web::fetch::Incoming;

/// Reads the answer of `GET /webhook/find/{name}`, by its shape and not by the version: 2.x names two
/// fields otherwise than 1.x, and otherwise than they are written (A29). The values of headers come
/// in clear.
///
/// # Errors
/// [`Fault`] for every answer that does not tell.
pub fn found(answer: &Incoming) -> Result<Option<Hook>, Fault> {
    let row = match answer::success(answer)? {
        Value::Null => return Ok(None),
        Value::Object(row) => row,
        _ => return Err(GatewayFault::Unintelligible(answer.status).into()),
    };
    let flag = |names: &[&str]| {
        let mut values = names.iter().filter_map(|name| row.get(*name));
        values.any(|value| value.as_bool() == Some(true))
    };
    let events = row.get("events").and_then(Value::as_array);
    let headers = row.get("headers").and_then(Value::as_object);
    Ok(Some(Hook {
        enabled: flag(&["enabled"]),
        url: row
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        events: events
            .into_iter()
            .flatten()
            .filter_map(|event| Some(event.as_str()?.to_owned()))
            .collect(),
        headers: headers.map(texts).unwrap_or_default(),
        by_events: flag(&["webhookByEvents", "webhook_by_events"]),
        base64: flag(&["webhookBase64", "webhook_base64"]),
    }))
}

/// Headers by their names; a value that is no text is as it stands in JSON.
fn texts(headers: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The body of `POST /webhook/set/{name}`. What is left out of it would stay as it was (A31), so
/// nothing is.
pub fn body(hook: &Hook, webhooks: Webhooks) -> Value {
    let Hook {
        enabled,
        url,
        events,
        headers,
        by_events,
        base64,
    } = hook;
    match webhooks.shape {
        Shape::Old => json!({
            "enabled": enabled, "url": url, "events": events,
            "webhook_by_events": by_events, "webhook_base64": base64,
        }),
        Shape::Flat => json!({
            "enabled": enabled, "url": url, "events": events,
            "webhookByEvents": by_events, "webhookBase64": base64,
        }),
        Shape::Nested => {
            let mut webhook = json!({
                "enabled": enabled, "url": url, "events": events,
                "byEvents": by_events, "base64": base64,
            });
            if webhooks.headers {
                webhook["headers"] = json!(headers);
            }
            json!({ "webhook": webhook })
        }
    }
}

/// Reads the answer to it: 201 where it was taken (A29), 400 where something of it is unknown (A24).
pub fn was_set(answer: &Incoming) -> Ack {
    match (answer.status, answer::success(answer)) {
        (_, Ok(_)) => Ack::Accepted,
        (400..=499, Err(_)) | (_, Err(Fault::Config(_))) => Ack::Refused,
        (_, Err(Fault::Gateway(_))) => Ack::Lost,
    }
}
