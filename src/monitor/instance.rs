//! What is remembered of an instance between two checks, and how one check changes it.

use serde::{Deserialize, Serialize};

use super::event::Told;
use super::look::Look;
use super::observation::{Fault, Integration, MemoryState, Observation, Row, RowStatus, Socket};
use super::reading::{Reading, read};
use super::reason::{FinalCodes, FinalReason, Reason, RecordedReason};
use super::settings::Settings;
use super::status::Status;
use super::steady::{Changes, Steady};
use super::streak::Streak;
use super::time::Timestamp;

/// Looks that must find no socket behind an open state before it counts as a zombie.
const ZOMBIE_AFTER_CHECKS: u32 = 2;

/// Milliseconds of unbroken `open` after which what was made worse is well again.
const HEALED_AFTER_MS: i64 = 3_600_000;

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
    /// Bad checks in a row: every check whose live state is not open is one, but for those of an
    /// instance that waits for its first scan.
    pub bad: Option<Streak>,
    /// Checks in a row for which the gateway had no sensible answer. Such a check is neither good
    /// nor bad: it moves no other counter.
    pub unanswered: Option<Streak>,
    /// When the outage began that is confirmed and not over yet: its first bad check.
    pub down_since: Option<Timestamp>,
    /// Good checks in a row since then.
    pub good: Option<Streak>,
    /// When the last outage ended: the first of the good checks that ended it.
    pub recovered_at: Option<Timestamp>,
    /// When the instance was last seen open.
    pub last_open: Option<Timestamp>,
    /// The reason in the row when it was last seen open, which from then on is stale.
    pub known_reason: Option<RecordedReason>,
    /// Whether the row was looked at since the instance became open.
    pub row_seen_open: bool,
    /// The last look at the row.
    pub last_look: Option<Look>,
    /// How the gateway reaches WhatsApp for it, by the last row that was seen.
    pub integration: Integration,
    /// What the last check that saw anything came to.
    pub reading: Option<Reading>,
    /// How long the live state has been the same.
    pub steady: Option<Steady>,
    /// When it came and went.
    pub changes: Changes,
    /// When the socket behind an open state was last looked for.
    pub probed_at: Option<Timestamp>,
    /// Looks in a row that found none.
    pub socket_missing: Option<Streak>,
    /// When an action made things worse: from then on nothing is done, until a person says so or it
    /// was open for an hour.
    pub halted_at: Option<Timestamp>,
    /// The last event that counted.
    pub told: Option<Told>,
    /// When drops were shown because an event told of them.
    pub told_drops: Changes,
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
            down_since: None,
            good: None,
            recovered_at: None,
            last_open: None,
            known_reason: None,
            row_seen_open: false,
            last_look: None,
            integration: Integration::Socket,
            reading: None,
            steady: None,
            changes: Changes::default(),
            probed_at: None,
            socket_missing: None,
            halted_at: None,
            told: None,
            told_drops: Changes::default(),
        }
    }
}

impl Instance {
    /// The memory after a check that was sent at `at`.
    #[must_use]
    pub fn observe(&self, observation: &Observation, at: Timestamp, settings: &Settings) -> Self {
        match observation {
            Observation::Seen {
                memory,
                row,
                socket,
                final_codes,
            } => self
                .noted(*memory, row.as_ref(), *socket, at, settings)
                .seen(*memory, row.as_ref(), *final_codes, at, settings),
            Observation::Failed(fault) => self.failed(*fault, at, settings),
        }
    }

    /// Whether an outage is confirmed and not over yet.
    pub const fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// Whether the check sent at `at` itself saw this state: what one before it saw proves nothing.
    pub fn is_seen(&self, state: MemoryState, at: Timestamp) -> bool {
        self.steady
            .is_some_and(|steady| steady.state == state && steady.last == at)
    }

    /// Takes note of what was seen, before anything is concluded from it.
    fn noted(
        &self,
        memory: MemoryState,
        row: Option<&Row>,
        socket: Option<Socket>,
        at: Timestamp,
        settings: &Settings,
    ) -> Self {
        let look = row.map(|row| Look {
            at,
            memory,
            told: row.status.is_some(),
        });
        let was_open = self.reading.map(|reading| reading == Reading::Open);
        let is_open = memory == MemoryState::Open;
        let steady = Steady::extend(self.steady, memory, at, settings);
        let healed = steady.ms_in(MemoryState::Open) >= HEALED_AFTER_MS;
        Self {
            unanswered: None,
            last_look: look.or(self.last_look),
            integration: row.map_or(self.integration, |row| row.integration),
            steady: Some(steady),
            changes: if was_open == Some(!is_open) {
                self.changes.with(at)
            } else {
                self.changes.clone()
            },
            probed_at: socket.map(|_| at).or(self.probed_at),
            // While it is in doubt it is looked for at every check: where it no longer is, nobody can
            // say that it is missing.
            socket_missing: match socket.filter(|_| is_open) {
                Some(Socket::Missing) => Some(Streak::extend(self.socket_missing, at, settings)),
                Some(Socket::Untold) => self.socket_missing,
                Some(Socket::There | Socket::Forbidden) | None => None,
            },
            halted_at: self.halted_at.filter(|_| !healed),
            ..self.clone()
        }
    }

    fn seen(
        self,
        memory: MemoryState,
        row: Option<&Row>,
        final_codes: FinalCodes,
        at: Timestamp,
        settings: &Settings,
    ) -> Self {
        if self.integration == Integration::Socketless {
            return self.unwatched(at);
        }
        let reading = read(
            memory,
            row,
            final_codes,
            self.known_reason.as_ref(),
            self.was_open(),
        );
        let answered = Self {
            reading: Some(reading),
            ..self
        };
        let needs_person = answered.status.needs_person();
        match reading {
            Reading::Open => answered.opened(row, at, settings),
            Reading::Booting => answered.shown(Status::Unknown, Some(Reason::Booting), at),
            // Where the row is not to be had, what it last said stands.
            Reading::NotOpen if needs_person => {
                let cut_off = answered.was_open();
                answered.bad_check(cut_off, at, settings)
            }
            Reading::Redialling | Reading::PairedClose | Reading::NotOpen => {
                answered.dropped(at, settings)
            }
            Reading::WaitingForScan => answered.needs_person(Reason::WaitingForScan, at, settings),
            Reading::QrLimit => answered.needs_person(Reason::QrLimit, at, settings),
            Reading::NeverPaired => answered.needs_person(Reason::NeverPaired, at, settings),
            Reading::LoggedOut => answered.needs_person(Reason::LoggedOut, at, settings),
            Reading::Ended(reason) => answered.needs_person(Reason::Final(reason), at, settings),
        }
    }

    /// A check of an instance whose live state says nothing: it has no connection to watch over.
    fn unwatched(self, at: Timestamp) -> Self {
        Self {
            bad: None,
            good: None,
            down_since: None,
            row_seen_open: true,
            ..self
        }
        .shown(Status::Unknown, Some(Reason::Socketless), at)
    }

    /// A good check. An outage is over after `up_after_checks` of them; where none was confirmed
    /// there is nothing to wait for.
    fn opened(self, row: Option<&Row>, at: Timestamp, settings: &Settings) -> Self {
        let reason = self.unstable(at, settings);
        let good = Streak::extend(self.good, at, settings);
        let up = !self.is_down() || good.checks >= settings.up_after_checks;
        let (known_reason, row_seen_open) = match row {
            // The row is written some seconds after the login.
            Some(row) => (
                row.reason.clone(),
                row.status.is_none_or(|status| status == RowStatus::Open),
            ),
            None => (self.known_reason.clone(), self.row_seen_open),
        };
        let status = if up {
            Status::Connected
        } else {
            Status::Connecting
        };
        Self {
            bad: None,
            down_since: self.down_since.filter(|_| !up),
            good: Some(good).filter(|_| !up),
            recovered_at: if up && self.is_down() {
                Some(good.first)
            } else {
                self.recovered_at
            },
            last_open: Some(at),
            known_reason,
            row_seen_open,
            ..self
        }
        .shown(status, reason, at)
        .without_socket()
    }

    /// What remains of being open where there is no socket behind it: looked for twice, found
    /// neither time.
    fn without_socket(self) -> Self {
        match self.socket_missing {
            Some(missing) if missing.checks >= ZOMBIE_AFTER_CHECKS => Self {
                down_since: self.down_since.or(Some(missing.first)),
                good: None,
                ..self
            }
            .shown(Status::Zombie, Some(Reason::Zombie), missing.first),
            _ => self,
        }
    }

    /// The reason where the connection comes and goes.
    pub(super) fn unstable(&self, at: Timestamp, settings: &Settings) -> Option<Reason> {
        self.changes.flapping(at, settings).then(|| {
            self.halted_at
                .map_or(Reason::Unstable, |_| Reason::MadeWorse)
        })
    }

    /// A bad check that looks transient: the gateway is expected to redial by itself.
    fn dropped(self, at: Timestamp, settings: &Settings) -> Self {
        let was_down = self.is_down();
        let halted = self.halted_at.map(|_| Reason::MadeWorse);
        let reason = self.unstable(at, settings).or(halted);
        // After a scan the gateway logs in once more (515): that is not shown as a drop at once.
        let after_scan = self.status.needs_person();
        let next = self.bad_check(true, at, settings);
        match next.down_since {
            Some(since) if !after_scan => {
                let since = if was_down { at } else { since };
                next.shown(Status::Disconnected, reason, since)
            }
            _ => next.shown(Status::Connecting, reason, at),
        }
    }

    /// A bad check that only a person can mend. An end of the session counts at once: the row
    /// confirms the state. Everything else counts as every outage does, where somebody was cut off:
    /// an instance that waits for its first scan was never connected.
    pub(super) fn needs_person(self, reason: Reason, at: Timestamp, settings: &Settings) -> Self {
        let (status, ended) = match reason {
            Reason::Final(FinalReason::LoggedOut | FinalReason::ConnectionLost)
            | Reason::LoggedOut => (Status::WaitingQr, true),
            Reason::Final(
                FinalReason::Restricted | FinalReason::Banned | FinalReason::NotAcceptable,
            ) => (Status::Blocked, true),
            _ => (Status::WaitingQr, false),
        };
        let cut_off = ended || self.was_open();
        let next = self.bad_check(cut_off, at, settings);
        let began = next.bad.map(|bad| bad.first).filter(|_| ended);
        Self {
            down_since: next.down_since.or(began),
            ..next
        }
        .shown(status, Some(reason), at)
    }

    /// Whether it was ever seen open.
    const fn was_open(&self) -> bool {
        self.last_open.is_some()
    }

    /// Counts a bad check, where somebody was cut off. An outage is confirmed by `down_after_checks`
    /// of them over `down_after_s`, and begins with the first.
    fn bad_check(self, cut_off: bool, at: Timestamp, settings: &Settings) -> Self {
        let bad = Streak::extend(self.bad, at, settings);
        let confirmed = cut_off && settings.confirms(bad, at);
        Self {
            bad: Some(bad).filter(|_| cut_off),
            down_since: self.down_since.or(Some(bad.first).filter(|_| confirmed)),
            good: None,
            row_seen_open: false,
            ..self
        }
    }

    /// A check that told nothing about the instance. A wrong setting is wrong at once.
    fn failed(&self, fault: Fault, at: Timestamp, settings: &Settings) -> Self {
        let reason = Some(Reason::Fault(fault));
        let next = Self {
            steady: self.steady.and_then(Steady::after_failure),
            ..self.clone()
        };
        match fault {
            Fault::Config(_) => Self {
                unanswered: None,
                ..next
            }
            .shown(Status::Misconfigured, reason, at),
            Fault::Gateway(_) => next.unanswered(reason, at, settings),
        }
    }

    /// A gateway's fault must last before it is shown as the status. Until then it is the reason,
    /// unless a person has something to do all the same.
    fn unanswered(self, reason: Option<Reason>, at: Timestamp, settings: &Settings) -> Self {
        let unanswered = Streak::extend(self.unanswered, at, settings);
        let status = self.status;
        let next = Self {
            unanswered: Some(unanswered),
            ..self
        };
        if at.ms_since(unanswered.first) >= settings.down_after_ms() {
            next.shown(Status::GatewayUnreachable, reason, unanswered.first)
        } else if status.needs_person() || status == Status::Misconfigured {
            next
        } else {
            next.shown(status, reason, at)
        }
    }

    /// Shows a status, `since` then unless it is shown already.
    pub(super) fn shown(self, status: Status, reason: Option<Reason>, since: Timestamp) -> Self {
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
