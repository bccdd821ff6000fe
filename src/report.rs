//! What a run tells somebody who waits for it.

use serde::Serialize;

use crate::monitor::{Status, diagnosis};
use crate::store::check::PlainReason;
use crate::store::tick::Reported;

/// The report of a run. Its fields are part of the HTTP interface.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether everything that was found is written.
    pub success: bool,
    /// The first tick.
    pub tick_id: String,
    /// When it began, by the database's clock, in ISO 8601.
    pub started_at: String,
    /// How long the run took, in milliseconds.
    pub duration_ms: f64,
    /// Who triggered.
    pub trigger: &'static str,
    /// Instances checked.
    pub checked: usize,
    /// Instances that are still due, and left to the next trigger.
    pub carried_over: usize,
    /// Requests to the database.
    pub database_round_trips: u32,
    /// The gateways that were asked.
    pub gateways: Vec<GatewayReport>,
    /// Every instance in scope, checked now or not.
    pub instances: Vec<InstanceReport>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the run found out about a gateway.
#[derive(Clone, Debug, Serialize)]
pub struct GatewayReport {
    /// Where it lives.
    pub url: String,
    /// Its version, where it told.
    pub version: Option<String>,
    /// Whether the gateway's own program answered.
    pub reachable: bool,
}

/// An instance in the report.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceReport {
    /// The organization it belongs to.
    pub organization_id: String,
    /// Its name on the gateway.
    pub instance_name: String,
    /// Its status.
    pub status: Status,
    /// Since when, in ISO 8601; null before the first check.
    pub since: Option<String>,
    /// Whether this run checked it.
    pub checked_now: bool,
    /// Why it is in its status; null if no reason counts.
    pub reason: Option<ReportedReason>,
    /// What was decided at its last check.
    pub action: String,
    /// What the last action on it came to.
    pub verdict: Option<String>,
    /// When it is due again, in ISO 8601.
    pub next_check_at: Option<String>,
}

/// A reason in the report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedReason {
    /// A short name.
    #[serde(flatten)]
    plain: PlainReason,
    /// The same sentence in English.
    text_en: String,
}

impl From<PlainReason> for ReportedReason {
    fn from(plain: PlainReason) -> Self {
        let words = diagnosis::diagnosis(&plain.code).unwrap_or(diagnosis::UNKNOWN);
        Self {
            text_en: words.english.text(),
            plain,
        }
    }
}

impl InstanceReport {
    /// An instance as the database shows it.
    pub fn new(instance: Reported, checked_now: bool) -> Self {
        Self {
            organization_id: instance.organization_id,
            instance_name: instance.instance_name,
            status: instance.status,
            since: instance.since,
            checked_now,
            reason: instance.reason.map(ReportedReason::from),
            action: instance.action.unwrap_or_else(|| "none".to_owned()),
            verdict: instance.verdict,
            next_check_at: instance.next_check_at,
        }
    }
}
