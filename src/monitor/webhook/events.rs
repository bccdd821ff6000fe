//! The names by which a webhook subscribes to events.

use std::collections::BTreeSet;

use crate::monitor::capabilities::{Shape, Webhooks};

/// The event that tells of dials. It comes in thousands where one fails without a pause (B2).
pub const CONNECTION_UPDATE: &str = "CONNECTION_UPDATE";

/// What our receiver wants to hear of: every delivery is a billed call.
const WANTED: [&str; 6] = [
    CONNECTION_UPDATE,
    "QRCODE_UPDATED",
    "STATUS_INSTANCE",
    "LOGOUT_INSTANCE",
    "REMOVE_INSTANCE",
    "MESSAGES_UPSERT",
];

/// What every version takes.
const COMMON: [&str; 24] = [
    "APPLICATION_STARTUP",
    "QRCODE_UPDATED",
    "MESSAGES_SET",
    "MESSAGES_UPSERT",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "SEND_MESSAGE",
    "CONTACTS_SET",
    "CONTACTS_UPSERT",
    "CONTACTS_UPDATE",
    "PRESENCE_UPDATE",
    "CHATS_SET",
    "CHATS_UPSERT",
    "CHATS_UPDATE",
    "CHATS_DELETE",
    "GROUPS_UPSERT",
    "GROUP_UPDATE",
    "GROUP_PARTICIPANTS_UPDATE",
    CONNECTION_UPDATE,
    "LABELS_EDIT",
    "LABELS_ASSOCIATION",
    "CALL",
    "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS",
];

/// What only 1.x takes.
const OLD: [&str; 2] = ["NEW_JWT_TOKEN", "CHAMA_AI_ACTION"];

/// What 2.1 and later take besides; of 2.0 it is not known.
const INSTANCE: [&str; 5] = [
    "REMOVE_INSTANCE",
    "LOGOUT_INSTANCE",
    "INSTANCE_CREATE",
    "INSTANCE_DELETE",
    "STATUS_INSTANCE",
];

/// What came with 2.3.
const NEW: [&str; 2] = ["MESSAGES_EDITED", "SEND_MESSAGE_UPDATE"];

/// Whether a gateway takes this name. One that it does not know makes it refuse the whole webhook
/// (A24).
fn knows(webhooks: Webhooks, name: &str) -> bool {
    COMMON.contains(&name)
        || (webhooks.shape == Shape::Old && OLD.contains(&name))
        || (webhooks.shape == Shape::Nested && INSTANCE.contains(&name))
        || (webhooks.edits && NEW.contains(&name))
}

/// What our receiver is to hear of, as far as this gateway tells it.
pub fn wanted(webhooks: Webhooks) -> BTreeSet<String> {
    known(webhooks, &WANTED)
}

/// The events of a list that somebody wrote by hand, in the spelling in which a webhook subscribes to
/// them; what this gateway does not know is left out.
pub fn known<T: AsRef<str>>(webhooks: Webhooks, names: &[T]) -> BTreeSet<String> {
    names
        .iter()
        .map(|name| normalized(name.as_ref()))
        .filter(|name| knows(webhooks, name))
        .collect()
}

/// One spelling: events are sent as `connection.update` and subscribed to as `CONNECTION_UPDATE`.
fn normalized(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase().replace(['.', '-'], "_");
    // The name under which the gateway knows it within, and which it does not take.
    if name == "GROUPS_UPDATE" {
        "GROUP_UPDATE".to_owned()
    } else {
        name
    }
}
