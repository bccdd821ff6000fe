//! The calls of a tick: what is sent to the SQL functions and what they answer.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::alerts::{Alerts, Failed, Heartbeat};
use super::ledger::Source;
use super::memory::Memory;
use super::webhooks::{ClaimedWebhook, WebhookSeen};
use super::{Patience, Store, StoreError, outcome};
use crate::monitor::{
    Ack, Attempt, Budget, Capabilities, Gateway, Instance, Profile, Reason, Settings, Status,
    Timestamp, Verdict,
};

/// A trigger is answered only after `begin_tick`, so that must be quick.
const BEGIN: Patience = Patience {
    total_ms: 3_000,
    try_ms: 2_500,
};

/// What was observed must not be lost: this lasts as long as the lease's margin allows.
const FINISH: Patience = Patience {
    total_ms: 12_000,
    try_ms: 5_000,
};

/// Who calls, as the function found out by itself or lets the database find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "caller", rename_all = "snake_case")]
pub enum Caller {
    /// Somebody with Supabase's own secret key.
    ServiceKey,
    /// Somebody with the token of the function's environment.
    Environment,
    /// Somebody with one of these tokens, by their SHA-256 digests in hex: the database decides.
    Token {
        /// The digests.
        token_digests: Vec<String>,
    },
    /// A frontend that asked for the status: it has been told that a check is due.
    Poll,
}

/// The request of `begin_tick`.
#[derive(Clone, Debug, Serialize)]
pub struct BeginTick<'a> {
    /// Names the tick; made by the caller.
    pub tick_id: &'a str,
    /// The first tick of the same trigger.
    pub run_id: &'a str,
    /// How the caller proves that it may.
    #[serde(flatten)]
    pub caller: &'a Caller,
    /// Who triggers it.
    pub source: Source,
    /// Limits the tick to one organization.
    pub organization_id: Option<&'a str>,
    /// Whether to report all instances, where nothing was due.
    pub report: bool,
    /// Whether it is a later sweep of a call that asked for several.
    pub follow_up: bool,
    /// What the function knows of itself.
    #[serde(flatten)]
    pub deployment: &'a Deployment,
}

/// What the function knows of its own deployment and the database cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// The SHA-256 digest in hex of the token in its environment, where there is one.
    pub environment_token_digest: Option<String>,
    /// Where triggers reach it, as far as it can tell.
    pub function_url: Option<String>,
}

/// The answer of `begin_tick`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once a tick")]
pub enum BeginAnswer {
    /// The tick has begun.
    Accepted(Begun),
    /// No token in force.
    Unauthorized,
    /// No source names this organization.
    UnknownOrganization,
}

impl<'de> Deserialize<'de> for BeginAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let answer = outcome::Outcome::of(&text).and_then(|named| match named {
            outcome::Outcome::Accepted => serde_json::from_str(text.get()).map(Self::Accepted),
            outcome::Outcome::Unauthorized => Ok(Self::Unauthorized),
            outcome::Outcome::UnknownOrganization => Ok(Self::UnknownOrganization),
        });
        answer.map_err(D::Error::custom)
    }
}

/// A tick that has begun.
#[derive(Clone, Debug, Deserialize)]
pub struct Begun {
    /// The database's time in ISO 8601, for people.
    pub now: String,
    /// The database's time, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The settings in force.
    pub settings: Settings,
    /// What this tick holds, in the order in which it is to be checked.
    pub instances: Vec<Claimed>,
    /// Their gateways.
    #[serde(default)]
    pub gateways: Vec<GatewayKnown>,
    /// Where our receiver of webhooks is, where that is known.
    #[serde(default)]
    pub receiver_url: Option<String>,
    /// Whether more was due than this tick could claim.
    pub more_due: Option<bool>,
    /// Whether somebody is to be told of something.
    #[serde(default)]
    pub alerts_due: bool,
    /// Whether a sign of life is due, and nothing else is.
    #[serde(default)]
    pub heartbeat_due: bool,
    /// What there is to report, where nothing was due and the report was asked for.
    pub report: Option<Scope>,
}

/// An instance that the tick holds.
#[derive(Clone, Debug, Deserialize)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// The organization it belongs to.
    pub organization_id: String,
    /// Where its gateway lives.
    pub gateway_url: String,
    /// Its name on the gateway.
    pub name: String,
    /// The key to ask with.
    pub api_key: String,
    /// Proves the claim.
    pub fence: i64,
    /// The version of `state`.
    pub version: i64,
    /// The monitor's memory of it.
    pub state: Memory<Instance>,
    /// When a later check found it just so; [`Store::begin_tick`] has made that part of `state`.
    #[serde(default)]
    settled_ms: Option<Timestamp>,
    /// What was done to it in the last hours, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Its webhook, where anybody is to look at it.
    #[serde(default)]
    pub webhook: Option<ClaimedWebhook>,
}

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

/// A claim that is given back unused.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// The instance's number.
    pub id: i64,
    /// Proves the claim.
    pub fence: i64,
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

/// What is known of a gateway before a tick.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GatewayKnown {
    /// Where it lives.
    pub url: String,
    /// What it called its version, when it was last asked.
    pub version: Option<String>,
    /// Whether it is time to ask again.
    pub version_due: bool,
    /// Whether an instance of it that this tick does not hold was open lately.
    #[serde(default)]
    pub open_elsewhere: bool,
    /// How many instances that this tick does not hold it answered for lately.
    #[serde(default)]
    pub answered_elsewhere: u32,
    /// The version of `state`.
    pub state_version: i64,
    /// The monitor's memory of it.
    pub state: Memory<Gateway>,
}

impl GatewayKnown {
    /// A gateway of which nothing is known.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            version_due: true,
            ..Self::default()
        }
    }
}

/// What a tick learned of a gateway.
#[derive(Clone, Debug, Serialize)]
pub struct GatewaySeen {
    /// Where it lives.
    pub url: String,
    /// Its version, as far as it is known.
    pub version: Option<String>,
    /// What follows from that.
    pub capabilities: Option<Capabilities>,
    /// Whether it was asked for that.
    pub version_asked: bool,
    /// Milliseconds by which its clock is ahead of the database's, where it was asked now.
    pub clock_ahead_ms: Option<i64>,
    /// Whether the gateway's own program answered.
    pub reachable: bool,
    /// What follows for the monitor's memory of it, where that has changed.
    #[serde(flatten)]
    pub change: Option<GatewayChange>,
}

/// A new memory of a gateway. Two ticks at once see the same gateway: of two such changes the first
/// one counts, and the next tick sees for itself.
#[derive(Clone, Debug, Serialize)]
pub struct GatewayChange {
    /// The version that `state` was made from.
    pub state_version: i64,
    /// The monitor's memory of it from now on.
    pub state: Gateway,
    /// What is wrong with it.
    pub fault: Option<PlainReason>,
    /// When its outage began that goes on, in milliseconds since the Unix epoch.
    pub down_since_ms: Option<i64>,
    /// When its last outage ended, in milliseconds since the Unix epoch.
    pub recovered_ms: Option<i64>,
    /// Until when its instances are left alone, in milliseconds since the Unix epoch.
    pub cooldown_until_ms: Option<i64>,
}

impl GatewayChange {
    /// What follows from a new memory, made from that of `state_version`.
    pub fn new(state_version: i64, state: Gateway) -> Self {
        let fault = state.fault.map(|fault| Reason::Fault(fault.into()));
        Self {
            state_version,
            fault: fault.map(PlainReason::from),
            down_since_ms: state.down_since.map(Timestamp::as_ms),
            recovered_ms: state.recovered_at.map(Timestamp::as_ms),
            cooldown_until_ms: state.cooldown_until.map(Timestamp::as_ms),
            state,
        }
    }
}

/// The request of `finish_tick`.
#[derive(Clone, Debug, Serialize)]
pub struct FinishTick<'a> {
    /// Names the tick.
    pub tick_id: &'a str,
    /// The organization that the tick is limited to.
    pub organization_id: Option<&'a str>,
    /// Whether to report all instances.
    pub report: bool,
    /// What was found out.
    pub results: &'a [Outcome],
    /// The checks that found nothing new.
    pub settled: &'a [Settled],
    /// What the next tick is to check first.
    pub carried_over: &'a [Held],
    /// What was learned of the gateways.
    pub gateways: &'a [GatewaySeen],
    /// Alerts that it is to claim at the most, once all is written.
    pub max_alerts: u32,
    /// Whether it is to claim the sign of life, once all is written.
    pub heartbeat: bool,
}

/// The answer of `finish_tick`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Finished {
    /// The instances written, by this call or an earlier one of the tick.
    pub written: Vec<i64>,
    /// The instances that somebody else has written meanwhile, as they are now.
    pub stale: Vec<Stale>,
    /// What somebody is to be told, once all is written.
    #[serde(default, deserialize_with = "beside")]
    pub alerts: Option<Result<Alerts, Failed>>,
    /// Where a sign of life is to be given, once all is written.
    #[serde(default, deserialize_with = "beside")]
    pub heartbeat: Option<Result<Heartbeat, Failed>>,
    /// What there is to report, where that was asked for.
    pub report: Option<Scope>,
}

/// An instance that somebody else has written meanwhile.
#[derive(Clone, Debug, Deserialize)]
pub struct Stale {
    /// Its number.
    pub id: i64,
    /// The version of `state`.
    pub version: i64,
    /// The monitor's memory of it.
    pub state: Memory<Instance>,
    /// When a later check found it just so; [`Store::finish_tick`] has made that part of `state`.
    #[serde(default)]
    settled_ms: Option<Timestamp>,
}

/// All that a run is about.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Scope {
    /// Every instance.
    pub instances: Vec<Reported>,
    /// How many of them are due.
    pub due: usize,
}

/// An instance as the report shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Reported {
    /// Its number.
    pub id: i64,
    /// The organization it belongs to.
    pub organization_id: String,
    /// Its name on the gateway.
    pub instance_name: String,
    /// Its status.
    pub status: Status,
    /// Since when, in ISO 8601.
    pub since: Option<String>,
    /// Why, where a reason counts.
    pub reason: Option<PlainReason>,
    /// What was decided at its last check; `None` before the first.
    #[serde(default)]
    pub action: Option<String>,
    /// What the last action came to.
    pub verdict: Option<String>,
    /// When it is due again, in ISO 8601.
    pub next_check_at: Option<String>,
}

impl Store {
    /// Begins a tick. Idempotent by its id.
    ///
    /// # Errors
    /// [`StoreError`], after 3 s at the latest.
    pub async fn begin_tick(&self, request: &BeginTick<'_>) -> Result<BeginAnswer, StoreError> {
        let mut answer = self
            .call("whatsapp_monitor_begin_tick", request, BEGIN)
            .await?;
        if let BeginAnswer::Accepted(begun) = &mut answer {
            for claimed in &mut begun.instances {
                claimed.state.settle(claimed.settled_ms);
            }
        }
        Ok(answer)
    }

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

    /// Writes what a tick found. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`], after 12 s at the latest.
    pub async fn finish_tick(&self, request: &FinishTick<'_>) -> Result<Finished, StoreError> {
        let mut finished: Finished = self
            .call("whatsapp_monitor_finish_tick", request, FINISH)
            .await?;
        for stale in &mut finished.stale {
            stale.state.settle(stale.settled_ms);
        }
        Ok(finished)
    }
}

/// Reads what comes beside the work: what this version cannot read of it is no reason to lose the
/// rest of the answer.
#[allow(clippy::type_complexity, reason = "nothing, something, or why not")]
fn beside<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Result<T, Failed>>, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    Ok(match serde_json::from_str::<Option<T>>(text.get()) {
        Ok(found) => found.map(Ok),
        Err(_) => Some(Err(serde_json::from_str(text.get()).unwrap_or_default())),
    })
}
