//! `/whatsapp/monitor/status`: how every instance is, from the database.

use serde_json::{Value, json};

use super::Context;
use super::auth::{self, Presented};
use super::reply::Reply;
use super::start::{unauthorized, unavailable};
use crate::monitor::diagnosis;
use crate::store::Store;
use crate::store::status::{Shown, StatusAnswer, StatusRequest};

/// Every instance with its state, since when, its last check and its last action; those of one
/// organization with `?organization_id=`.
pub async fn answer(context: &Context<'_>) -> Reply {
    let Some(caller) = auth::identify(&Presented::by(context), context.environment) else {
        return unauthorized();
    };
    let organization_id = context.query("organization_id");
    let store = match Store::new(context.environment) {
        Ok(store) => store,
        Err(error) => return unavailable(&error),
    };
    let request = StatusRequest {
        caller: &caller,
        // Postgres has no text with a zero byte, so no organization has such an id.
        organization_id: organization_id.map(|id| id.replace('\0', "\u{fffd}")),
    };
    match store.status(&request).await {
        Ok(StatusAnswer::Accepted(Shown { now, instances })) => Reply::json(
            200,
            &json!({
                "success": true,
                "now": now,
                "instances": instances.into_iter().map(in_english).collect::<Value>(),
            }),
        ),
        Ok(StatusAnswer::Unauthorized) => unauthorized(),
        Err(error) => unavailable(&error),
    }
}

/// The same instance, its reason in English too.
fn in_english(mut instance: Value) -> Value {
    let code = instance["reason"]["code"].as_str();
    let words = code.map(|code| diagnosis::diagnosis(code).unwrap_or(diagnosis::UNKNOWN));
    if let Some(words) = words {
        instance["reason"]["text_en"] = words.english.text().into();
    }
    instance
}
