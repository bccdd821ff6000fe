//! The call behind the status route.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::outcome::Outcome;
use super::tick::Caller;
use super::{Patience, Store, StoreError};

/// Somebody waits for the answer.
const PATIENCE: Patience = Patience {
    total_ms: 5_000,
    try_ms: 4_000,
};

/// The request of `status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusRequest<'a> {
    /// Who asks.
    #[serde(flatten)]
    pub caller: &'a Caller,
    /// Limits the answer to one organization.
    pub organization_id: Option<String>,
}

/// The answer of `status`.
#[derive(Clone, Debug)]
pub enum StatusAnswer {
    /// How everything is.
    Accepted(Shown),
    /// No token in force.
    Unauthorized,
}

/// How everything is.
#[derive(Clone, Debug, Deserialize)]
pub struct Shown {
    /// The database's time, in ISO 8601.
    pub now: String,
    /// The instances, as they are to be shown.
    pub instances: Vec<Value>,
}

impl<'de> Deserialize<'de> for StatusAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let answer = Outcome::of(text.get()).and_then(|outcome| match outcome {
            Outcome::Accepted => serde_json::from_str(text.get()).map(Self::Accepted),
            Outcome::Unauthorized | Outcome::UnknownOrganization => Ok(Self::Unauthorized),
        });
        answer.map_err(D::Error::custom)
    }
}

impl Store {
    /// How every instance is.
    ///
    /// # Errors
    /// [`StoreError`], after 5 s at the latest.
    pub async fn status(&self, request: &StatusRequest<'_>) -> Result<StatusAnswer, StoreError> {
        self.call("whatsapp_monitor_status", request, PATIENCE)
            .await
    }
}
