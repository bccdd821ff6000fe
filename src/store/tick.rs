//! The calls of a tick: what is sent to the SQL functions and what they answer.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::alerts::{Alerts, Failed, Heartbeat};
use super::check::{Outcome, PlainReason, Settled};
use super::gateways::{GatewayKnown, GatewaySeen};
use super::ledger::Source;
use super::memory::Memory;
use super::webhooks::ClaimedWebhook;
use super::{Patience, Store, StoreError, outcome};
use crate::monitor::{Attempt, Instance, Settings, Status, Timestamp};

/// A trigger is answered only after `begin_tick`, so that must be quick.
pub(super) const BEGIN: Patience = Patience {
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

impl BeginAnswer {
    /// Reads an answer. Nearly all are accepted, and large: they are read once.
    fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
            .map(Self::Accepted)
            .or_else(|error| match outcome::Outcome::of(text)? {
                outcome::Outcome::Accepted => Err(error),
                outcome::Outcome::Unauthorized => Ok(Self::Unauthorized),
                outcome::Outcome::UnknownOrganization => Ok(Self::UnknownOrganization),
            })
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
    /// Whether `finish_tick` takes [`Settled`]: one older than this function leaves it unread.
    #[serde(default)]
    pub takes_settled: bool,
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

/// A claim that is given back unused.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// The instance's number.
    pub id: i64,
    /// Proves the claim.
    pub fence: i64,
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
        let text = self
            .call_for_text("whatsapp_monitor_begin_tick", request, BEGIN)
            .await?;
        let mut answer = BeginAnswer::read(&text).map_err(|_| StoreError::Unintelligible)?;
        if let BeginAnswer::Accepted(begun) = &mut answer {
            for claimed in &mut begun.instances {
                claimed.state.settle(claimed.settled_ms);
            }
        }
        Ok(answer)
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
