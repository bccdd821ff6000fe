//! The outbox: what is to be told, and what came of it.

use serde::{Deserialize, Serialize};

use super::check::PlainReason;
use super::{Patience, Store, StoreError};

/// As long as the rest of the lease on the alerts allows.
const SETTLE: Patience = Patience {
    total_ms: 6_000,
    try_ms: 2_500,
};

/// Why something could not be claimed.
#[derive(Clone, Debug, Deserialize)]
pub struct Failed {
    /// The SQLSTATE.
    pub error: String,
}

impl Default for Failed {
    /// For a reason that was not understood.
    fn default() -> Self {
        Self {
            error: "?".to_owned(),
        }
    }
}

/// The sign of life that a tick is to give.
#[derive(Clone, Deserialize)]
pub struct Heartbeat {
    /// Where.
    pub url: String,
    /// Whether the last one was not taken.
    pub failing: bool,
}

/// Without the URL, which often is a secret.
impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heartbeat")
    }
}

/// Alerts that a tick holds, and where they go.
#[derive(Clone, Deserialize)]
pub struct Alerts {
    /// Where they are sent.
    pub url: String,
    /// What signs them.
    pub secret: String,
    /// The database's time, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The alerts.
    pub alerts: Vec<Alert>,
}

/// Without the secret, and without the URL, which often is one too.
impl std::fmt::Debug for Alerts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.alerts.fmt(f)
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An outage began.
    Down,
    /// It is over.
    Up,
}

/// An alert.
#[derive(Clone, Debug, Deserialize)]
pub struct Alert {
    /// Names it; the same at every attempt.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// How often it was tried.
    pub attempts: u32,
    /// The organization that the instance belongs to, while there is one.
    pub organization_id: Option<String>,
    /// The instance's name on the gateway; `None` where the outage is the gateway's own.
    pub instance_name: Option<String>,
    /// Where that lives.
    pub gateway_url: String,
    /// How many instances an outage of the gateway affects.
    #[serde(default)]
    pub affected: Option<u32>,
    /// When the outage began, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// When it ended, where the alert is about that.
    pub until_ms: Option<i64>,
    /// Why the instance is down, where a reason counts.
    pub reason: Option<PlainReason>,
}

/// The request of `settle_alerts`.
#[derive(Clone, Debug, Serialize)]
pub struct SettleAlerts<'a> {
    /// The tick that holds them.
    pub tick_id: &'a str,
    /// What came of each.
    pub alerts: &'a [Settled],
}

/// What came of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Its name.
    pub id: String,
    /// Whether it was answered with a 2xx.
    pub delivered: bool,
    /// How often it was tried by now.
    pub attempts: u32,
    /// What went wrong.
    pub error: Option<String>,
    /// Seconds until it is tried again; `None` where it is not.
    pub retry_in_s: Option<u32>,
}

/// The request of `settle_heartbeat`.
#[derive(Clone, Debug, Serialize)]
pub struct SettleHeartbeat<'a> {
    /// The tick that gave it.
    pub tick_id: &'a str,
    /// Why it was not taken.
    pub error: Option<&'a str>,
}

/// The answer of `settle_alerts`.
#[derive(Clone, Debug, Deserialize)]
pub struct SettledAlerts {
    /// Those that were written; the others are somebody else's by now.
    pub settled: Vec<String>,
}

impl Store {
    /// Writes down what came of alerts. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`], after 6 s at the latest.
    pub async fn settle_alerts(
        &self,
        request: &SettleAlerts<'_>,
    ) -> Result<SettledAlerts, StoreError> {
        self.call("whatsapp_monitor_settle_alerts", request, SETTLE)
            .await
    }

    /// Writes down what came of a sign of life. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`], after 6 s at the latest.
    pub async fn settle_heartbeat(&self, request: &SettleHeartbeat<'_>) -> Result<(), StoreError> {
        let _: serde_json::Value = self
            .call("whatsapp_monitor_settle_heartbeat", request, SETTLE)
            .await?;
        Ok(())
    }
}
