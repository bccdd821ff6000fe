//! The call behind the status that frontends poll.

use serde::{Deserialize, Serialize};

use super::check::PlainReason;
use super::tick::Caller;
use super::{Patience, Store, StoreError};
use crate::monitor::Status;

/// Somebody waits for the answer, and asks again soon.
const PATIENCE: Patience = Patience {
    total_ms: 4_000,
    try_ms: 3_500,
};

/// The request of `status_of`. It holds a session's token, so it cannot be printed.
#[derive(Serialize)]
pub struct StatusOfRequest {
    /// The token of a session of the user's own application.
    pub session_token: Option<String>,
    /// Who asks, where that needs no session.
    #[serde(flatten)]
    pub caller: Option<Caller>,
    /// The organization that is named.
    pub organization_id: Option<String>,
    /// Whether the caller can take on a check.
    pub check: bool,
}

/// The answer of `status_of`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StatusOfAnswer {
    /// How it is.
    Accepted(StatusOf),
    /// The caller may ask, and nothing tells about whom.
    NoOrganization,
    /// The caller may not ask that.
    Unauthorized,
}

/// How the instances of an organization are.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusOf {
    /// The organization.
    pub organization_id: String,
    /// Whether the caller is anybody, who is told no more than whether it is connected.
    pub is_public: bool,
    /// Whether this caller, and no other, is to check it now.
    pub check_due: bool,
    /// Seconds between two checks.
    pub interval_s: i64,
    /// Its instances; the first one speaks for it.
    pub instances: Vec<Polled>,
}

/// An instance as the last check left it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Polled {
    /// Its name on the gateway.
    pub instance_name: String,
    /// Its status.
    pub status: Status,
    /// Since when, in ISO 8601.
    pub since: Option<String>,
    /// Why, where a reason counts.
    pub reason: Option<PlainReason>,
    /// When it was last checked, in ISO 8601.
    pub checked_at: Option<String>,
    /// How long ago that was, in milliseconds.
    #[serde(skip_serializing)]
    pub age_ms: Option<i64>,
    /// The account's number.
    pub phone_number: Option<String>,
}

impl Store {
    /// How one organization is.
    ///
    /// # Errors
    /// [`StoreError`], after 4 s at the latest.
    pub async fn status_of(&self, request: &StatusOfRequest) -> Result<StatusOfAnswer, StoreError> {
        self.call("whatsapp_monitor_status_of", request, PATIENCE)
            .await
    }
}
