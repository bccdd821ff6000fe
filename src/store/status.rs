//! The call behind the status route.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StatusAnswer {
    /// How everything is.
    Accepted {
        /// The database's time, in ISO 8601.
        now: String,
        /// The instances, as they are to be shown.
        instances: Vec<Value>,
    },
    /// No token in force.
    Unauthorized,
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
