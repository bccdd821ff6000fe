//! What came of a check, as it is sent to the database.

use serde::{Deserialize, Serialize};

use super::webhooks::WebhookSeen;
use crate::monitor::{Ack, Instance, Profile, Reason, Status, Timestamp, Verdict};

/// What was found out about an instance.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its number.
    pub id: i64,
    /// Proves the claim.
    pub fence: i64,
    /// The version that `state` was made from.
    pub version: i64,
    /// Its status.
    pub status: Status,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Why, where a reason counts.
    pub reason: Option<PlainReason>,
    /// When the outage began that goes on, in milliseconds since the Unix epoch.
    pub down_since_ms: Option<i64>,
    /// When the last outage ended, in milliseconds since the Unix epoch.
    pub recovered_ms: Option<i64>,
    /// The monitor's memory of it from now on.
    pub state: Instance,
    /// When the check was sent, in milliseconds since the Unix epoch.
    pub checked_ms: i64,
    /// Whether the gateway was asked about it.
    pub asked: bool,
    /// Whether an outage is confirmed and not over yet.
    pub is_down: bool,
    /// What was decided.
    pub decision: Option<&'static str>,
    /// What the gateway said to the action of this tick, where there was one.
    pub ack: Option<Ack>,
    /// What earlier actions came to.
    pub verdicts: Vec<Judged>,
    /// What a look at its webhook came to, where there was one.
    pub webhook: Option<WebhookSeen>,
    /// The account's number; this and the next two are null where the gateway did not tell now.
    pub phone_number: Option<String>,
    /// The account's name.
    pub profile_name: Option<String>,
    /// Where the account's picture is.
    pub profile_picture_url: Option<String>,
}

impl Outcome {
    /// What follows from a check at `at`; `claim` is the instance's number, the fence that proves
    /// the claim, and the version that `state` was made from; `profile` is that of the row, where
    /// it was asked for.
    pub fn new(
        claim: (i64, i64, i64),
        at: Timestamp,
        state: Instance,
        asked: bool,
        profile: Option<&Profile>,
    ) -> Self {
        let (id, fence, version) = claim;
        let profile = profile.cloned().unwrap_or_default();
        Self {
            id,
            fence,
            version,
            status: state.status,
            since_ms: state.since.map(Timestamp::as_ms),
            reason: state.reason.map(PlainReason::from),
            down_since_ms: state.down_since.map(Timestamp::as_ms),
            recovered_ms: state.recovered_at.map(Timestamp::as_ms),
            is_down: state.is_down(),
            state,
            checked_ms: at.as_ms(),
            asked,
            decision: None,
            ack: None,
            verdicts: Vec::new(),
            webhook: None,
            phone_number: profile.phone_number,
            profile_name: profile.profile_name,
            profile_picture_url: profile.profile_picture_url,
        }
    }
}

impl Outcome {
    /// The same, with what earlier actions came to.
    #[must_use]
    pub fn with_verdicts(self, verdicts: Vec<(i64, Verdict)>) -> Self {
        Self {
            verdicts: verdicts.into_iter().map(Judged::from).collect(),
            ..self
        }
    }
}

/// A check that found nothing new: see [`Instance::settled`].
#[derive(Clone, Debug, Serialize)]
pub struct Settled {
    /// The instance's number.
    pub id: i64,
    /// Proves the claim.
    pub fence: i64,
    /// The version of the memory that it found nothing new to.
    pub version: i64,
    /// When the check was sent, in milliseconds since the Unix epoch.
    pub checked_ms: i64,
}

impl From<&Outcome> for Settled {
    fn from(outcome: &Outcome) -> Self {
        Self {
            id: outcome.id,
            fence: outcome.fence,
            version: outcome.version,
            checked_ms: outcome.checked_ms,
        }
    }
}

/// What an action came to.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Its number.
    pub action_id: i64,
    /// What it came to.
    pub verdict: Verdict,
}

impl From<(i64, Verdict)> for Judged {
    fn from((action_id, verdict): (i64, Verdict)) -> Self {
        Self { action_id, verdict }
    }
}

impl Judged {
    /// Whether it made things worse.
    pub fn is_worse(&self) -> bool {
        self.verdict == Verdict::MadeWorse
    }
}

/// A reason for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainReason {
    /// A short name.
    pub code: String,
    /// One plain sentence.
    pub text: String,
}

impl From<Reason> for PlainReason {
    fn from(reason: Reason) -> Self {
        Self {
            code: reason.code().to_owned(),
            text: reason.diagnosis().portuguese.text(),
        }
    }
}
