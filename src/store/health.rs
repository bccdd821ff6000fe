//! The call behind the health route.

use serde::{Deserialize, Serialize};

use super::{Patience, Store, StoreError};

/// Somebody waits for the answer, and silence is one, too.
const PATIENCE: Patience = Patience {
    total_ms: 4_000,
    try_ms: 3_500,
};

/// Whether ticks arrive.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Health {
    /// Seconds between two checks of an instance.
    pub interval_s: i64,
    /// How long ago the last tick committed, in milliseconds; `None` where none ever has.
    pub age_ms: Option<i64>,
}

impl Store {
    /// How long ago the last tick committed.
    ///
    /// # Errors
    /// [`StoreError`], after 4 s at the latest.
    pub async fn health(&self) -> Result<Health, StoreError> {
        #[derive(Serialize)]
        struct Request {}
        self.call("whatsapp_monitor_health", &Request {}, PATIENCE)
            .await
    }
}
