//! What a tick is given of the webhooks of its instances, and what it gives back.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::memory;
use crate::monitor::webhook::{Conclusion, Drift, Finding, Known, Memory, Set};
use crate::monitor::{Heard, Settings, Timestamp, Webhooks};

/// The webhook of an instance that the tick holds.
#[derive(Clone, Debug, Deserialize)]
pub struct ClaimedWebhook {
    /// What our receiver knows its gateway by.
    pub secret: String,
    /// Where the user's own tables say that events go.
    pub own_url: Option<String>,
    /// Of what, there.
    #[serde(deserialize_with = "texts")]
    pub own_events: Vec<String>,
    /// The monitor's memory of it.
    pub memory: memory::Memory<Memory>,
    /// Until when connection events are not asked for.
    pub storm_until_ms: Option<Timestamp>,
    /// When our receiver last heard of the instance.
    pub last_event_ms: Option<Timestamp>,
    /// When it last heard of a dial.
    pub last_connecting_ms: Option<Timestamp>,
    /// When it was set, in the last hours, oldest first.
    pub sets: Vec<Set>,
}

impl ClaimedWebhook {
    /// All that is known of the webhook of the instance numbered `id`.
    pub fn known<'a>(
        &'a self,
        id: i64,
        settings: &'a Settings,
        receiver: Option<&'a str>,
        webhooks: Webhooks,
    ) -> Known<'a> {
        Known {
            id,
            policy: settings.webhook_policy,
            check_every_s: settings.webhook_check_every_s,
            receiver,
            setting_url: settings.webhook_url.as_deref(),
            own_url: self.own_url.as_deref(),
            own_events: &self.own_events,
            secret: &self.secret,
            storm_until: self.storm_until_ms,
            heard: Heard {
                last_event: self.last_event_ms,
                last_connecting: self.last_connecting_ms,
            },
            sets: &self.sets,
            memory: &self.memory.value,
            webhooks,
        }
    }
}

/// What a look at a webhook came to. No secret is in it.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookSeen {
    /// The monitor's memory of it from now on.
    pub memory: Memory,
    /// The same for people: what was in the slot.
    pub finding: Option<Finding>,
    /// In what it differed.
    pub drift: Vec<Drift>,
    /// When that was, in milliseconds since the Unix epoch.
    pub looked_ms: Option<Timestamp>,
    /// Where it led, without what may be secret.
    pub found_url: Option<String>,
}

impl From<Memory> for WebhookSeen {
    fn from(memory: Memory) -> Self {
        Self {
            finding: memory.finding,
            drift: memory.drift.clone(),
            looked_ms: memory.looked_at,
            found_url: None,
            memory,
        }
    }
}

impl From<Conclusion> for WebhookSeen {
    fn from(conclusion: Conclusion) -> Self {
        Self {
            found_url: conclusion.found_url,
            ..Self::from(conclusion.memory)
        }
    }
}

/// Reads a list of texts from a column of the user's, which may be of any type.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let texts = value.as_array().into_iter().flatten();
    Ok(texts
        .filter_map(|each| Some(each.as_str()?.to_owned()))
        .collect())
}
