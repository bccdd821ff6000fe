//! What to do about an instance.
//!
//! To act at the wrong moment makes things worse: a `connect` during a redial starts a second socket
//! on the same session, and the two replace each other without end (O2); a `restart` where there is
//! no socket does nothing and answers 200 (A18). So nothing is done unless the table in [`decide`]
//! says that it helps, and only as often as the budget allows.

use serde::{Deserialize, Serialize};

use super::attempt::{Action, Attempt, Grounds, Verdict};
use super::budget::Budget;
use super::gateway::Standing;
use super::instance::Instance;
use super::jitter;
use super::observation::MemoryState;
use super::reading::Reading;
use super::reason::FinalReason;
use super::settings::Settings;
use super::status::Status;
use super::time::Timestamp;

/// Seconds between one attempt of an outage and the next; the last one counts from then on.
const BACK_OFF_S: [i64; 4] = [90, 120, 240, 300];

/// Milliseconds between two attempts on no evidence at all.
const BLIND_EVERY_MS: i64 = 3_600_000;

/// Milliseconds after which a gateway that still loads an instance will hardly get there.
const BOOTING_TOO_LONG_MS: i64 = 300_000;

/// What is known besides the instance itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How far the gateway's word counts.
    pub standing: Standing,
    /// Whether anything may be done on this gateway at all.
    pub may_act: bool,
    /// What our webhook told of this instance.
    pub heard: Heard,
    /// Whether another instance of the gateway is open: then WhatsApp can be reached from there.
    pub neighbour_open: bool,
}

/// What our webhook on an instance told, by the time of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last event of any kind.
    pub last_event: Option<Timestamp>,
    /// The last one that told of a dial.
    pub last_connecting: Option<Timestamp>,
}

/// What the monitor decides about an instance after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing is wrong, or nothing that anybody has to do with.
    Nothing,
    /// It may come back by itself, or it is too early to tell.
    Wait,
    /// To act, within the budget.
    Act(Action, Grounds),
    /// A person must scan a QR code.
    AskForQr,
    /// The owner of the number must see to it with WhatsApp; it is not to be dialled.
    AskOwner,
    /// Whoever runs the gateway, or entered its key and URL, must do something.
    TellOperator,
}

impl Decision {
    /// Its name in reports and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Wait => "wait",
            Self::Act(action, _) => action.name(),
            Self::AskForQr => "ask_for_qr",
            Self::AskOwner => "ask_owner",
            Self::TellOperator => "tell_operator",
        }
    }
}

/// What keeps the monitor from trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// There were as many attempts as there may be for now.
    Budget,
    /// The time between two attempts is not over.
    BackOff {
        /// Milliseconds of it that are left.
        left_ms: i64,
    },
}

/// Decides what to do about the instance numbered `id` after the check at `at`. `attempts` are those
/// of the last hours, oldest first.
///
/// | what it is | and | what is done |
/// |---|---|---|
/// | open | | nothing |
/// | open without a socket | | the operator restarts the process; nothing else helps (K7, K8) |
/// | comes and goes | | the operator: an own dial would be one socket more |
/// | the gateway does not answer, is at fault, or has just come back | | wait; after `down_after_s` the operator |
/// | the key, the name or the URL is wrong | | the operator |
/// | booting | for minutes | the operator; before: wait |
/// | ended by 402, 403 or 406 | | the owner sees to it with WhatsApp |
/// | ended by another code, logged out, never paired, waiting for a scan, QR limit | | a person scans |
/// | not open, and the row is not to be had | | wait: it may be unpaired |
/// | paired, not open | an action has made it worse before | the operator: nothing more is done |
/// | paired, `connecting` | stuck, and no dial is told of | `restart` |
/// | paired, `close` | steady, our webhook told of this outage and since then of no dial | `connect` (a) |
/// | paired, `close` | steady, and another instance of the gateway is open | `connect` (c) |
/// | paired, `close` | very long, and neither can be known | `connect` (b), once an hour |
/// | paired, not open | otherwise | wait |
pub fn decide(
    id: i64,
    instance: &Instance,
    attempts: &[Attempt],
    evidence: Evidence,
    settings: &Settings,
    at: Timestamp,
) -> Decision {
    let case = Case {
        id,
        instance,
        attempts,
        evidence,
        settings,
        at,
    };
    match (instance.status, instance.reading) {
        (Status::Misconfigured | Status::Zombie | Status::GatewayUnreachable, _) => {
            Decision::TellOperator
        }
        _ if evidence.standing != Standing::Sound || instance.unanswered.is_some() => {
            Decision::Wait
        }
        _ if instance.changes.flapping(at, settings) => Decision::TellOperator,
        (_, None) => Decision::Nothing,
        (_, Some(Reading::Open)) => Decision::Nothing,
        (_, Some(Reading::Booting)) => case.booting(),
        (_, Some(Reading::Ended(reason))) => match reason {
            FinalReason::LoggedOut | FinalReason::ConnectionLost => Decision::AskForQr,
            FinalReason::Restricted | FinalReason::Banned | FinalReason::NotAcceptable => {
                Decision::AskOwner
            }
        },
        (
            _,
            Some(
                Reading::LoggedOut
                | Reading::NeverPaired
                | Reading::WaitingForScan
                | Reading::QrLimit,
            ),
        ) => Decision::AskForQr,
        (Status::WaitingQr, Some(Reading::NotOpen)) => Decision::AskForQr,
        (Status::Blocked, Some(Reading::NotOpen)) => Decision::AskOwner,
        (_, Some(Reading::NotOpen)) => Decision::Wait,
        _ if instance.halted_at.is_some() => Decision::TellOperator,
        (_, Some(Reading::Redialling)) => case.act(Action::Restart, case.grounds_to_restart()),
        (_, Some(Reading::PairedClose)) => case.act(Action::Connect, case.grounds_to_connect()),
    }
}

/// What keeps the monitor from trying again, where it has tried; `None` where nothing does.
pub fn pause(
    id: i64,
    instance: &Instance,
    attempts: &[Attempt],
    evidence: Evidence,
    settings: &Settings,
    at: Timestamp,
) -> Option<Pause> {
    let case = Case {
        id,
        instance,
        attempts,
        evidence,
        settings,
        at,
    };
    if attempts.is_empty() || instance.bad.is_none() {
        None
    } else if !case.within_budget() {
        Some(Pause::Budget)
    } else {
        let left_ms = case.back_off_ms();
        (left_ms > 0).then_some(Pause::BackOff { left_ms })
    }
}

/// What a decision is made from.
#[derive(Clone, Copy)]
struct Case<'a> {
    id: i64,
    instance: &'a Instance,
    attempts: &'a [Attempt],
    evidence: Evidence,
    settings: &'a Settings,
    at: Timestamp,
}

impl Case<'_> {
    /// A process that starts needs a while; one that never gets there needs the operator.
    fn booting(self) -> Decision {
        let booting_ms = self.steady_ms(MemoryState::NotLoaded);
        if booting_ms >= BOOTING_TOO_LONG_MS {
            Decision::TellOperator
        } else {
            Decision::Wait
        }
    }

    /// The action, where there are grounds for it and nothing speaks against acting now.
    fn act(self, action: Action, grounds: Option<Grounds>) -> Decision {
        match grounds {
            Some(grounds) if self.may_act_now() => Decision::Act(action, grounds),
            _ => Decision::Wait,
        }
    }

    /// A dial that hangs: `connecting` at so many checks in a row, and no event that tells of
    /// another dial. The gateway shows nobody a QR code meanwhile: the row says that it is paired.
    fn grounds_to_restart(self) -> Option<Grounds> {
        let stuck = self.instance.steady.is_some_and(|steady| {
            steady.state == MemoryState::Connecting
                && steady.checks >= self.settings.stuck_connecting_checks
        });
        // The first event belongs to the dial that hangs.
        let dials = self.dial_heard_within(self.settings.first_action_after_s);
        (stuck && !dials).then_some(Grounds::State)
    }

    /// Evidence that nobody dials, or so much time that it may be tried without.
    fn grounds_to_connect(self) -> Option<Grounds> {
        let close_ms = self.steady_ms(MemoryState::Close);
        let steady_ms = i64::from(self.settings.steady_close_s) * 1_000;
        let blind_ms = i64::from(self.settings.blind_connect_after_s) * 1_000;
        let steady = close_ms >= steady_ms;
        if self.webhook_is_live() {
            let dials = self.dial_heard_within(self.settings.steady_close_s);
            (steady && !dials).then_some(Grounds::Webhook)
        } else if self.evidence.neighbour_open {
            steady.then_some(Grounds::Neighbour)
        } else {
            let tried = self.attempts.iter().any(|attempt| {
                attempt.grounds == Some(Grounds::Blind)
                    && self.at.ms_since(attempt.at) < BLIND_EVERY_MS
            });
            let long = steady && blind_ms > 0 && close_ms >= blind_ms;
            (long && !tried).then_some(Grounds::Blind)
        }
    }

    /// Whether events of this instance reach us: one has since its outage began, or just before. An
    /// older one proves nothing: webhooks stop, and are replaced, while all is well (#2257, #2694).
    fn webhook_is_live(self) -> bool {
        let Some(bad) = self.instance.bad else {
            return false;
        };
        let since = bad.first.plus_ms(-self.settings.interval_ms());
        self.evidence
            .heard
            .last_event
            .is_some_and(|last| last >= since)
    }

    /// Whether an event told of a dial within so many seconds.
    fn dial_heard_within(self, seconds: u32) -> bool {
        self.evidence
            .heard
            .last_connecting
            .is_some_and(|last| self.at.ms_since(last) < i64::from(seconds) * 1_000)
    }

    /// Whether nothing speaks against acting at this moment.
    fn may_act_now(self) -> bool {
        let waited = self.instance.bad.is_some_and(|bad| {
            self.at.ms_since(bad.first) >= i64::from(self.settings.first_action_after_s) * 1_000
        });
        self.evidence.may_act
            && waited
            && self.instance.halted_at.is_none()
            && self.back_off_ms() <= 0
            && self.within_budget()
    }

    fn within_budget(self) -> bool {
        Budget::of(self.attempts, self.at, self.settings)
            .into_iter()
            .all(|budget| budget.allows(self.attempts, self.at))
    }

    /// Milliseconds until the next attempt may be made; 0 or less where it may be made now. A new
    /// outage does not inherit the patience of the last one, only its budget.
    fn back_off_ms(self) -> i64 {
        let Some(last) = self.attempts.last() else {
            return 0;
        };
        let since_ms = self.at.ms_since(last.at);
        let Instance {
            down_since, bad, ..
        } = self.instance;
        let began = down_since.or(bad.map(|bad| bad.first));
        let so_far = self
            .attempts
            .iter()
            .filter(|attempt| began.is_some_and(|began| attempt.at >= began))
            .count();
        let wait_ms = so_far.checked_sub(1).map_or(0, |step| {
            let wait_s = BACK_OFF_S[step.min(BACK_OFF_S.len() - 1)];
            let attempt = u32::try_from(so_far).unwrap_or(u32::MAX);
            jitter::spread(wait_s * 1_000, self.id, attempt)
        });
        wait_ms
            .max(self.settings.settle_ms())
            .saturating_sub(since_ms)
    }

    /// Milliseconds for which the live state is known to be this one without a break.
    fn steady_ms(self, state: MemoryState) -> i64 {
        self.instance
            .steady
            .filter(|steady| steady.last == self.at)
            .map_or(0, |steady| steady.ms_in(state))
    }
}

impl Instance {
    /// Judges what was done before, now that the check at `at` is in the memory. Gives the verdicts
    /// that are new; one for the worse stops all further action.
    #[must_use]
    pub fn judged(
        self,
        attempts: &mut [Attempt],
        at: Timestamp,
        settings: &Settings,
    ) -> (Self, Vec<(i64, Verdict)>) {
        // What was refused has changed nothing.
        let last = attempts
            .iter()
            .rposition(|attempt| attempt.verdict != Some(Verdict::Refused));
        let mut verdicts = Vec::new();
        let mut halted_at = self.halted_at;
        for (index, attempt) in attempts.iter_mut().enumerate() {
            // What came after an earlier one is put down to the last.
            let verdict = if Some(index) == last {
                attempt.judge(&self, at, settings)
            } else {
                attempt.verdict.is_none().then_some(Verdict::NoEffect)
            };
            if let Some(verdict) = verdict {
                attempt.verdict = Some(verdict);
                verdicts.push((attempt.id, verdict));
                if verdict == Verdict::MadeWorse {
                    halted_at = Some(at);
                }
            }
        }
        (Self { halted_at, ..self }, verdicts)
    }
}
