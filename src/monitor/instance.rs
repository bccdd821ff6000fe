//! What is remembered of an instance between two checks, and how one check changes it.

use serde::{Deserialize, Serialize};

use super::observation::{Fault, MemoryState, Observation, Row};
use super::reading::{Reading, read};
use super::reason::{FinalReason, Reason, RecordedReason};
use super::settings::Settings;
use super::status::Status;
use super::time::Timestamp;

/// Checks of one kind in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streak {
    /// When the first was sent.
    pub first: Timestamp,
    /// How many there were.
    pub checks: u32,
}

impl Streak {
    /// The streak `so_far`, longer by a check at `at`; a new one where there was none.
    fn extend(so_far: Option<Self>, at: Timestamp) -> Self {
        match so_far {
            Some(streak) => Self {
                checks: streak.checks.saturating_add(1),
                ..streak
            },
            None => Self {
                first: at,
                checks: 1,
            },
        }
    }
}

/// The memory of one instance. Postgres keeps it, opaque, from one check to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// What is shown.
    pub status: Status,
    /// Since when; an outage is dated back to its first bad check. `None` before the first check.
    pub since: Option<Timestamp>,
    /// Why, where a reason counts.
    pub reason: Option<Reason>,
    /// Bad checks in a row that look like a transient drop.
    pub bad: Option<Streak>,
    /// Checks in a row for which the gateway had no sensible answer. Such a check is neither good
    /// nor bad: it moves no other counter.
    pub unanswered: Option<Streak>,
    /// Whether an outage is confirmed and not over yet.
    pub down: bool,
    /// Good checks in a row since then.
    pub good_checks: u32,
    /// When the instance was last seen open.
    pub last_open: Option<Timestamp>,
    /// The reason in the row when it was last seen open, which from then on is stale.
    pub known_reason: Option<RecordedReason>,
    /// Whether the row was looked at since the instance became open.
    pub row_seen_open: bool,
}

impl Default for Instance {
    /// An instance that was never checked.
    fn default() -> Self {
        Self {
            status: Status::Unknown,
            since: None,
            reason: None,
            bad: None,
            unanswered: None,
            down: false,
            good_checks: 0,
            last_open: None,
            known_reason: None,
            row_seen_open: false,
        }
    }
}

impl Instance {
    /// Whether the row is worth asking for, now that the live state is known: it gives the reason
    /// while the instance is not open, and once after it became open the reason that is stale.
    pub const fn wants_row(&self, memory: MemoryState) -> bool {
        match memory {
            MemoryState::Open => !self.row_seen_open,
            MemoryState::Connecting | MemoryState::Close => true,
            MemoryState::NotLoaded => false,
        }
    }

    /// The memory after a check that was sent at `at`.
    #[must_use]
    pub fn observe(&self, observation: &Observation, at: Timestamp, settings: &Settings) -> Self {
        match observation {
            Observation::Seen { memory, row } => self.seen(*memory, row.as_ref(), at, settings),
            Observation::Failed(fault) => self.failed(*fault, at, settings),
        }
    }

    fn seen(
        &self,
        memory: MemoryState,
        row: Option<&Row>,
        at: Timestamp,
        settings: &Settings,
    ) -> Self {
        let answered = Self {
            unanswered: None,
            ..self.clone()
        };
        let reading = read(
            memory,
            row,
            self.known_reason.as_ref(),
            self.last_open.is_some(),
        );
        match reading {
            Reading::Open => answered.opened(row, at, settings),
            Reading::Booting => answered.shown(Status::Unknown, Some(Reason::Booting), at),
            // Where the row is not to be had, what it last said stands.
            Reading::NotOpen if self.status.needs_person() => answered,
            Reading::Redialling | Reading::PairedClose | Reading::NotOpen => {
                answered.dropped(at, settings)
            }
            Reading::WaitingForScan => answered.needs_person(Reason::WaitingForScan, at),
            Reading::QrLimit => answered.needs_person(Reason::QrLimit, at),
            Reading::NeverPaired => answered.needs_person(Reason::NeverPaired, at),
            Reading::LoggedOut => answered.needs_person(Reason::LoggedOut, at),
            Reading::Ended(reason) => answered.needs_person(Reason::Final(reason), at),
        }
    }

    /// A good check. An outage is over after `up_after_checks` of them; where none was confirmed
    /// there is nothing to wait for.
    fn opened(self, row: Option<&Row>, at: Timestamp, settings: &Settings) -> Self {
        let good_checks = self.good_checks.saturating_add(1);
        let up = !self.down || good_checks >= settings.up_after_checks;
        let (known_reason, row_seen_open) = match row {
            Some(row) => (row.reason.clone(), true),
            None => (self.known_reason.clone(), self.row_seen_open),
        };
        let status = if up {
            Status::Connected
        } else {
            Status::Connecting
        };
        Self {
            bad: None,
            down: !up,
            good_checks: if up { 0 } else { good_checks },
            last_open: Some(at),
            known_reason,
            row_seen_open,
            ..self
        }
        .shown(status, None, at)
    }

    /// A bad check that looks transient: the gateway is expected to redial by itself. It counts
    /// from `down_after_checks` of them over `down_after_s` on, or while an outage goes on.
    fn dropped(self, at: Timestamp, settings: &Settings) -> Self {
        let bad = Streak::extend(self.bad, at);
        let confirmed = bad.checks >= settings.down_after_checks
            && at.ms_since(bad.first) >= settings.down_after_ms();
        // After a scan the gateway logs in once more (515): a drop from there starts afresh.
        let goes_on = self.down && !self.status.needs_person();
        let down = self.down || confirmed;
        let status = if confirmed || goes_on {
            Status::Disconnected
        } else {
            Status::Connecting
        };
        let since = if status == Status::Disconnected {
            bad.first
        } else {
            at
        };
        Self {
            bad: Some(bad),
            down,
            good_checks: 0,
            row_seen_open: false,
            ..self
        }
        .shown(status, None, since)
    }

    /// A bad check that only a person can mend. It counts at once: the row confirms the state.
    fn needs_person(self, reason: Reason, at: Timestamp) -> Self {
        let (status, ended) = match reason {
            Reason::Final(FinalReason::LoggedOut) | Reason::LoggedOut => (Status::WaitingQr, true),
            Reason::Final(_) => (Status::Blocked, true),
            _ => (Status::WaitingQr, false),
        };
        Self {
            bad: None,
            down: self.down || ended,
            good_checks: 0,
            row_seen_open: false,
            ..self
        }
        .shown(status, Some(reason), at)
    }

    /// A check that told nothing about the instance. A wrong setting is wrong at once.
    fn failed(&self, fault: Fault, at: Timestamp, settings: &Settings) -> Self {
        let reason = Some(Reason::Fault(fault));
        match fault {
            Fault::Config(_) => Self {
                unanswered: None,
                ..self.clone()
            }
            .shown(Status::Misconfigured, reason, at),
            Fault::Gateway(_) => self.unanswered(reason, at, settings),
        }
    }

    /// A gateway's fault must last before it is shown as the status. Until then it is the reason,
    /// unless a person has something to do all the same.
    fn unanswered(&self, reason: Option<Reason>, at: Timestamp, settings: &Settings) -> Self {
        let unanswered = Streak::extend(self.unanswered, at);
        let next = Self {
            unanswered: Some(unanswered),
            ..self.clone()
        };
        if at.ms_since(unanswered.first) >= settings.down_after_ms() {
            next.shown(Status::GatewayUnreachable, reason, unanswered.first)
        } else if self.status.needs_person() || self.status == Status::Misconfigured {
            next
        } else {
            next.shown(self.status, reason, at)
        }
    }

    /// Shows a status, `since` then unless it is shown already.
    fn shown(self, status: Status, reason: Option<Reason>, since: Timestamp) -> Self {
        let since = if self.status == status && self.since.is_some() {
            self.since
        } else {
            Some(since)
        };
        Self {
            status,
            since,
            reason,
            ..self
        }
    }
}
