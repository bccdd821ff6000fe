//! Asking for actions to be granted: what is not, is not done.

use serde::{Deserialize, Serialize};

use super::tick::BEGIN;
use super::{Store, StoreError};
use crate::monitor::Budget;

/// The request of `record_actions`.
#[derive(Clone, Debug, Serialize)]
pub struct RecordActions<'a> {
    /// Names the tick.
    pub tick_id: &'a str,
    /// What it wants to do.
    pub actions: &'a [WantedAction<'a>],
}

/// An action that is to be granted.
#[derive(Clone, Debug, Serialize)]
pub struct WantedAction<'a> {
    /// On which instance.
    pub instance_id: i64,
    /// Proves the claim.
    pub fence: i64,
    /// The version of the memory that it was decided from: a newer one is to be looked at first.
    pub version: i64,
    /// What.
    pub kind: &'static str,
    /// On which evidence, or occasion.
    pub grounds: &'static str,
    /// Milliseconds of lease that must be left.
    pub min_lease_ms: u32,
    /// What it must keep to.
    pub budgets: &'a [Budget],
}

/// The answer of `record_actions`.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    /// The instances on which the action is granted.
    pub granted: Vec<i64>,
}

impl Store {
    /// Asks for actions to be granted, which counts them. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`], after 3 s at the latest.
    pub async fn record_actions(
        &self,
        request: &RecordActions<'_>,
    ) -> Result<Recorded, StoreError> {
        self.call("whatsapp_monitor_record_actions", request, BEGIN)
            .await
    }
}
