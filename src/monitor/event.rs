//! What a gateway tells unasked, and how that changes an instance at once.
//!
//! An event is late as a rule, may come twice, and before one that it followed. So it never confirms an
//! outage and counts no bad check, unless it tells of an end that is final: it changes what is shown,
//! and the next check is brought forward to see whether that is so.

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::observation::{ConfigFault, Fault, Integration, MemoryState, Observation};
use super::reading::Reading;
use super::reason::{FinalCodes, Reason, RecordedReason};
use super::settings::Settings;
use super::status::Status;
use super::time::Timestamp;

/// What an event tells of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A socket is being dialled.
    Connecting,
    /// Logged in.
    Open,
    /// The connection was closed, with this code where one is told.
    Closed(Option<u16>),
    /// The session has ended; the same stands in the gateway's row.
    Ended(RecordedReason),
    /// The session has ended, and nothing says why.
    LoggedOut,
    /// A QR code waits for a person.
    QrCode,
    /// The gateway has shown all its QR codes and dials no more.
    QrLimit,
    /// The gateway has forgotten the instance.
    Removed,
}

/// An event that counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was, by the gateway's clock: it orders the events of one server and is no moment.
    pub sent_ms: i64,
    /// What it told.
    pub event: Event,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is known.
    Nothing,
    /// The next check is brought forward: it does not fit what is known.
    Look,
    /// The instance is this from now on, if only in that it remembers the event and knows older ones
    /// as such; and the next check is brought forward.
    Change(Box<Instance>),
}

/// A gateway's clock that goes back by more has been set; by less, the event is an old one.
const CLOCK_WAS_SET_MS: i64 = 3_600_000;

/// Drops within a minute that are shown because of events. The sockets of a fight (440) come and go
/// fourteen times a second: beyond these it is for the checks to say how it is.
const DROPS_PER_MINUTE: usize = 4;

impl Instance {
    /// What follows from an event that arrives at `at`. `sent_ms` is when it was by the gateway's own
    /// clock, and `final_codes` are those after which the gateway gives up a session.
    pub fn hear(
        &self,
        event: &Event,
        sent_ms: Option<i64>,
        final_codes: FinalCodes,
        at: Timestamp,
        settings: &Settings,
    ) -> Effect {
        if self.integration == Integration::Socketless {
            return Effect::Nothing;
        }
        if let (Some(told), Some(sent_ms)) = (&self.told, sent_ms) {
            let older_ms = told.sent_ms.saturating_sub(sent_ms);
            if older_ms == 0 && told.event == *event {
                return Effect::Nothing;
            }
            if (1..=CLOCK_WAS_SET_MS).contains(&older_ms) {
                return Effect::Look;
            }
        }
        let told = sent_ms.map(|sent_ms| Told {
            sent_ms,
            event: event.clone(),
        });
        match self.told(event, final_codes, at, settings) {
            Effect::Change(next) if *next == *self && told.is_none() => Effect::Nothing,
            Effect::Change(next) => Effect::Change(Box::new(Self {
                told: told.or_else(|| self.told.clone()),
                ..*next
            })),
            effect => effect,
        }
    }

    /// What follows from an event that is none of the past.
    fn told(
        &self,
        event: &Event,
        final_codes: FinalCodes,
        at: Timestamp,
        settings: &Settings,
    ) -> Effect {
        match event {
            Event::Connecting | Event::Closed(None) => self.told_of_drop(at, settings),
            Event::Open => self.told_open(final_codes, at, settings),
            // A login does not clear the row.
            Event::Ended(reason) if self.known_reason.as_ref() == Some(reason) => Effect::Look,
            Event::Closed(Some(code)) | Event::Ended(RecordedReason { code, .. }) => {
                match final_codes.reason(*code) {
                    Some(reason) => self.told_of_end(
                        Reason::Final(reason),
                        Reading::Ended(reason),
                        at,
                        settings,
                    ),
                    None => self.told_of_drop(at, settings),
                }
            }
            // Why is told by another event, before or after this one.
            Event::LoggedOut if self.status.needs_person() => Effect::Nothing,
            Event::LoggedOut if self.last_open.is_some() => {
                self.told_of_end(Reason::LoggedOut, Reading::LoggedOut, at, settings)
            }
            Event::LoggedOut => Effect::Look,
            Event::QrCode => self.told_of_qr(Reason::WaitingForScan, Reading::WaitingForScan, at),
            Event::QrLimit => self.told_of_qr(Reason::QrLimit, Reading::QrLimit, at),
            Event::Removed => {
                let fault = Fault::Config(ConfigFault::UnknownInstance);
                if self.reason == Some(Reason::Fault(fault)) {
                    return Effect::Nothing;
                }
                let gone = self.observe(&Observation::Failed(fault), at, settings);
                Effect::Change(Box::new(gone))
            }
        }
    }

    /// A dial: what was open is not. Whether that is an outage the checks find out.
    fn told_of_drop(&self, at: Timestamp, settings: &Settings) -> Effect {
        match self.status {
            Status::Connected if self.tells_drops(at) => {
                let dropped = Self {
                    told_drops: self.told_drops.with(at),
                    ..self.clone()
                };
                let reason = self.unstable(at, settings);
                Effect::Change(Box::new(dropped.shown(Status::Connecting, reason, at)))
            }
            Status::Connecting | Status::Disconnected | Status::WaitingQr | Status::Blocked => {
                Effect::Nothing
            }
            Status::Connected
            | Status::Zombie
            | Status::GatewayUnreachable
            | Status::Misconfigured
            | Status::Unknown => Effect::Look,
        }
    }

    /// Whether one more drop is shown because of an event.
    fn tells_drops(&self, at: Timestamp) -> bool {
        self.told_drops.after(at.plus_ms(-60_000)) < DROPS_PER_MINUTE
    }

    /// A login: as good as a check that sees it, and the socket is a new one.
    fn told_open(&self, final_codes: FinalCodes, at: Timestamp, settings: &Settings) -> Effect {
        if self.status == Status::Connected {
            return if self.tells_drops(at) {
                Effect::Change(Box::new(self.clone()))
            } else {
                Effect::Nothing
            };
        }
        let open = Observation::Seen {
            memory: MemoryState::Open,
            row: None,
            socket: None,
            final_codes,
        };
        let anew = Self {
            socket_missing: None,
            ..self.clone()
        };
        Effect::Change(Box::new(anew.observe(&open, at, settings)))
    }

    /// An end that is final: it counts at once, and the next check still looks at the row.
    fn told_of_end(
        &self,
        reason: Reason,
        reading: Reading,
        at: Timestamp,
        settings: &Settings,
    ) -> Effect {
        if self.status.needs_person() && self.reason == Some(reason) {
            return Effect::Nothing;
        }
        let ended = Self {
            reading: Some(reading),
            last_look: None,
            ..self.clone()
        };
        Effect::Change(Box::new(ended.needs_person(reason, at, settings)))
    }

    /// A QR code, or the end of them. Where the instance is paired it is a stale one.
    fn told_of_qr(&self, reason: Reason, reading: Reading, at: Timestamp) -> Effect {
        let never_open = self.last_open.is_none() && self.status != Status::Connected;
        if !self.status.needs_person() && !never_open {
            return Effect::Look;
        }
        if self.status == Status::WaitingQr && self.reason == Some(reason) {
            return Effect::Nothing;
        }
        let waiting = Self {
            reading: Some(reading),
            ..self.clone()
        };
        Effect::Change(Box::new(waiting.shown(Status::WaitingQr, Some(reason), at)))
    }
}
