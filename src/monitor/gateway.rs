//! What is remembered of a gateway between two ticks, and when it is the gateway that is at fault.
//!
//! One gateway that fails looks like the failure of all its instances at once. It is found once, and
//! then nothing that it says of an instance counts against that instance.

use serde::{Deserialize, Serialize};

use super::observation::{Fault, GatewayFault};
use super::settings::Settings;
use super::streak::Streak;
use super::time::Timestamp;

/// Instances that must fail before they alone speak for their gateway. Where fewer are asked, the
/// gateway's root is asked too.
const ENOUGH: u32 = 3;

/// Intervals after a gateway's return in which its instances may still be finding their way.
const COOLDOWN_INTERVALS: i64 = 2;

/// How the instances that one tick asked a gateway for came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    asked: u32,
    failed: u32,
    fault: Option<GatewayFault>,
}

impl Tally {
    /// Takes note of one instance; `fault` is `None` for a good answer. A wrong setting says nothing
    /// about the gateway.
    pub fn note(&mut self, fault: Option<Fault>) {
        match fault {
            Some(Fault::Config(_)) => return,
            Some(Fault::Gateway(fault)) if fault.is_failure() => {
                self.failed += 1;
                self.fault = self.fault.or(Some(fault));
            }
            Some(Fault::Gateway(_)) | None => {}
        }
        self.asked += 1;
    }

    /// Whether the root must be asked before anything can be found.
    pub const fn wants_root(&self) -> bool {
        self.asked < ENOUGH && self.at_least_half()
    }

    /// What follows; `root` is how the question for the root ended, where it was asked. A root that
    /// only takes long is no evidence: it looks something up elsewhere before it answers (N8).
    pub fn finding(&self, root: Option<Result<(), Fault>>) -> Finding {
        let root_fails = match root {
            Some(Err(Fault::Gateway(fault))) => fault.is_failure() && !fault.is_silence(),
            Some(Err(Fault::Config(_)) | Ok(())) | None => false,
        };
        match self.fault {
            _ if self.asked == 0 => Finding::Nothing,
            Some(fault) if self.at_least_half() && (self.failed >= ENOUGH || root_fails) => {
                Finding::AtFault(fault)
            }
            // One or two that fail beside a root that works, or that was slow.
            Some(_) if self.wants_root() => Finding::Nothing,
            _ => Finding::Sound,
        }
    }

    const fn at_least_half(&self) -> bool {
        self.failed > 0 && 2 * self.failed >= self.asked
    }
}

/// What one tick found out about a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Most of its instances were told of.
    Sound,
    /// The gateway itself fails, in this way.
    AtFault(GatewayFault),
    /// Nothing: nobody was asked, or what failed may be the instances alone.
    Nothing,
}

/// How far a gateway's word about its instances is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// It counts.
    #[default]
    Sound,
    /// It counts for nothing, and nothing is done: the gateway is at fault.
    AtFault,
    /// The same, because the gateway has only just come back.
    CoolingDown,
}

/// The memory of one gateway. Postgres keeps it, opaque, from one tick to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// Ticks in a row that found it at fault.
    pub failing: Option<Streak>,
    /// In which way, the last time.
    pub fault: Option<GatewayFault>,
    /// When its outage began that is confirmed and not over yet: the first of those ticks.
    pub down_since: Option<Timestamp>,
    /// Ticks in a row since then that found it sound.
    pub sound: Option<Streak>,
    /// When its last outage ended: the first of the ticks that ended it.
    pub recovered_at: Option<Timestamp>,
    /// Until when its instances are left alone after that.
    pub cooldown_until: Option<Timestamp>,
}

impl Gateway {
    /// The memory after a tick that came to `finding` at `at`. An outage is confirmed and ended by
    /// the rules that hold for an instance.
    #[must_use]
    pub fn observe(&self, finding: Finding, at: Timestamp, settings: &Settings) -> Self {
        match finding {
            Finding::Nothing => self.clone(),
            Finding::AtFault(fault) => {
                let failing = Streak::extend(self.failing, at, settings);
                let confirmed = settings.confirms(failing, at);
                Self {
                    failing: Some(failing),
                    fault: Some(fault),
                    down_since: self.down_since.or(confirmed.then_some(failing.first)),
                    sound: None,
                    ..self.clone()
                }
            }
            Finding::Sound if self.down_since.is_some() => {
                let sound = Streak::extend(self.sound, at, settings);
                if sound.checks < settings.up_after_checks {
                    return Self {
                        sound: Some(sound),
                        ..self.clone()
                    };
                }
                let cooldown_ms = COOLDOWN_INTERVALS * settings.interval_ms();
                Self {
                    recovered_at: Some(sound.first),
                    cooldown_until: Some(at.plus_ms(cooldown_ms)),
                    ..Self::default()
                }
            }
            Finding::Sound => Self {
                failing: None,
                fault: None,
                ..self.clone()
            },
        }
    }

    /// Whether an outage of the gateway is confirmed and not over yet.
    pub const fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// How far its word is to be trusted at `at`, after the tick that came to `finding`.
    pub fn standing(&self, finding: Finding, at: Timestamp) -> Standing {
        match finding {
            Finding::AtFault(_) => Standing::AtFault,
            _ if self.is_down() || self.cooldown_until.is_some_and(|until| at < until) => {
                Standing::CoolingDown
            }
            Finding::Sound | Finding::Nothing => Standing::Sound,
        }
    }
}
