//! The webhook row of an instance: what `webhook/set` accepts and what becomes of it.

use serde_json::{Map, Value, json};

/// The events a webhook can subscribe to, in the order of the server's own list (A28).
const EVENTS: &str = "\
    APPLICATION_STARTUP QRCODE_UPDATED MESSAGES_SET MESSAGES_UPSERT MESSAGES_EDITED \
    MESSAGES_UPDATE MESSAGES_DELETE SEND_MESSAGE SEND_MESSAGE_UPDATE CONTACTS_SET \
    CONTACTS_UPSERT CONTACTS_UPDATE PRESENCE_UPDATE CHATS_SET CHATS_UPSERT CHATS_UPDATE \
    CHATS_DELETE GROUPS_UPSERT GROUP_UPDATE GROUP_PARTICIPANTS_UPDATE CONNECTION_UPDATE \
    LABELS_EDIT LABELS_ASSOCIATION CALL TYPEBOT_START TYPEBOT_CHANGE_STATUS REMOVE_INSTANCE \
    LOGOUT_INSTANCE INSTANCE_CREATE INSTANCE_DELETE STATUS_INSTANCE";

/// Their names, one by one.
pub fn events() -> impl Iterator<Item = &'static str> {
    EVENTS.split_whitespace()
}

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Where events go; not checked (A26, A27).
    pub url: String,
    /// Headers to send, in clear; none where none were ever given.
    pub headers: Option<Map<String, Value>>,
    /// Whether events are sent.
    pub enabled: bool,
    /// Which.
    pub events: Vec<String>,
    /// Whether the event's name is put behind the path (G3).
    pub by_events: bool,
    /// Whether media comes along.
    pub base64: bool,
    /// When it was made and last written.
    pub written: [String; 2],
}

impl Webhook {
    /// The row as `webhook/find` shows it, under other names than it is written (A30).
    pub fn found(&self, instance_id: &str) -> Value {
        json!({
            "id": self.id, "url": self.url, "headers": self.headers, "enabled": self.enabled,
            "events": self.events, "webhookByEvents": self.by_events, "webhookBase64": self.base64,
            "createdAt": self.written[0], "updatedAt": self.written[1], "instanceId": instance_id,
        })
    }

    /// Whether an event of this name (`connection.update`) is sent.
    pub fn wants(&self, event: &str) -> bool {
        let name = event.to_uppercase().replace(['.', '-'], "_");
        self.enabled && self.url.starts_with("http") && self.events.contains(&name)
    }
}

/// The complaints of the server's JSON schema, none if the body is legal (A22 to A25).
pub fn complaints(body: &Value) -> Vec<String> {
    let Some(webhook) = body.get("webhook") else {
        return vec![r#"instance requires property "webhook""#.to_owned()];
    };
    let Some(webhook) = webhook.as_object() else {
        return vec!["webhook is not of a type(s) object".to_owned()];
    };
    let mut found = Vec::new();
    type Test = fn(&Value) -> bool;
    let types: [(&str, &str, Test); 6] = [
        ("enabled", "boolean", Value::is_boolean),
        ("url", "string", Value::is_string),
        ("headers", "object", Value::is_object),
        ("byEvents", "boolean", Value::is_boolean),
        ("base64", "boolean", Value::is_boolean),
        ("events", "array", Value::is_array),
    ];
    for (name, kind, right) in types {
        if webhook.get(name).is_some_and(|value| !right(value)) {
            found.push(format!("webhook.{name} is not of a type(s) {kind}"));
        }
    }
    let wanted = webhook.get("events").and_then(Value::as_array);
    for (i, event) in wanted.into_iter().flatten().enumerate() {
        if !event
            .as_str()
            .is_some_and(|event| events().any(|legal| legal == event))
        {
            let all = events().collect::<Vec<_>>().join(",");
            found.push(format!(
                "webhook.events[{i}] is not one of enum values: {all}"
            ));
        }
    }
    for name in ["enabled", "url"] {
        if !webhook.contains_key(name) {
            found.push(format!(r#"webhook requires property "{name}""#));
        }
    }
    found
}

/// The row after a legal `webhook/set`, in place of whatever was there.
///
/// Disabling wipes the events (A31), an empty list means all of them (A28), headers left out stay
/// (A31, A32) and `{}` clears them (G3). `None` where it is enabled without `events`: the server
/// answers 500 (A23).
pub fn written(old: Option<&Webhook>, to: &Value, id: &str, now: &str) -> Option<Webhook> {
    let enabled = to["enabled"] == true;
    let events = match (enabled, to.get("events").and_then(Value::as_array)) {
        (false, _) => Vec::new(),
        (true, None) => return None,
        (true, Some(named)) if named.is_empty() => events().map(str::to_owned).collect(),
        (true, Some(named)) => named
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    };
    let flag = |name: &str, before: Option<bool>| {
        to.get(name)
            .and_then(Value::as_bool)
            .or(before)
            .unwrap_or(false)
    };
    Some(Webhook {
        id: old.map_or(id, |old| &old.id).to_owned(),
        url: to["url"].as_str().unwrap_or_default().to_owned(),
        headers: to
            .get("headers")
            .and_then(Value::as_object)
            .or(old.and_then(|old| old.headers.as_ref()))
            .cloned(),
        enabled,
        events,
        by_events: flag("byEvents", old.map(|old| old.by_events)),
        base64: flag("base64", old.map(|old| old.base64)),
        written: [
            old.map_or(now, |old| &old.written[0]).to_owned(),
            now.to_owned(),
        ],
    })
}
