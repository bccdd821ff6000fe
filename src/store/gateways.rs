//! What a tick is told of the gateways, and what it learned of them.

use serde::{Deserialize, Serialize};

use super::check::PlainReason;
use super::memory::Memory;
use crate::monitor::{Capabilities, Gateway, Reason, Timestamp};

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
