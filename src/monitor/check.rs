//! One check of one instance: which questions it takes, and what the answers make of it.
//!
//! The caller asks what [`Check::question`] says, hands the answer to [`Check::answer`], and takes
//! the [`Observation`] when there is nothing more to ask.

use super::capabilities::Capabilities;
use super::instance::Instance;
use super::observation::{Fault, Integration, MemoryState, Observation, Row, Socket};
use super::reading::{Reading, read};
use super::settings::Settings;
use super::status::Status;
use super::time::Timestamp;

/// A question to a gateway about an instance. None of them changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// What is the live state?
    State,
    /// What does the stored row say?
    Row,
    /// What is the live state once more? The row says that the session has ended.
    StateAgain,
    /// Is the instance to be shown online always? Then the next question must not be asked.
    AlwaysOnline,
    /// Is there a socket behind the open state? (`setPresence unavailable`.)
    Socket,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::State`] and [`Question::StateAgain`].
    State(Result<MemoryState, Fault>),
    /// To [`Question::Row`]; `None` where there is none to be had. Without it the live state still
    /// counts.
    Row(Option<Row>),
    /// To [`Question::AlwaysOnline`]; `None` where it is not to be had.
    AlwaysOnline(Option<bool>),
    /// To [`Question::Socket`]; `None` where the answer tells nothing.
    Socket(Option<Socket>),
}

/// A check under way.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    instance: &'a Instance,
    at: Timestamp,
    probe: bool,
    next: Option<Question>,
    state: Option<Result<MemoryState, Fault>>,
    row: Option<Row>,
    socket: Option<Socket>,
}

impl<'a> Check<'a> {
    /// A check of the instance numbered `id`, sent at `at`.
    pub fn new(
        id: i64,
        instance: &'a Instance,
        at: Timestamp,
        capabilities: Capabilities,
        settings: &Settings,
    ) -> Self {
        Self {
            instance,
            at,
            probe: capabilities.may_act && instance.wants_probe(id, at, settings),
            next: Some(Question::State),
            state: None,
            row: None,
            socket: None,
        }
    }

    /// What is to be asked next; `None` when all is known.
    pub const fn question(&self) -> Option<Question> {
        self.next
    }

    /// Takes the answer to that question.
    pub fn answer(&mut self, answer: Answer, capabilities: Capabilities) {
        let asked = self.next.take();
        self.next = match answer {
            Answer::State(state) => {
                self.state = Some(state);
                match (asked, state) {
                    (Some(Question::State), Ok(memory)) => self.after_state(memory),
                    _ => None,
                }
            }
            Answer::Row(row) => {
                self.row = row;
                match self.state {
                    Some(Ok(MemoryState::Open)) => self.probe.then_some(Question::AlwaysOnline),
                    Some(Ok(memory)) if self.has_just_ended(memory, capabilities) => {
                        Some(Question::StateAgain)
                    }
                    _ => None,
                }
            }
            Answer::AlwaysOnline(Some(false)) => Some(Question::Socket),
            Answer::AlwaysOnline(always) => {
                self.socket = Some(always.map_or(Socket::Untold, |_| Socket::Forbidden));
                None
            }
            Answer::Socket(socket) => {
                self.socket = Some(socket.unwrap_or(Socket::Untold));
                None
            }
        };
    }

    /// What was seen.
    pub fn observation(self, capabilities: Capabilities) -> Observation {
        match self.state {
            Some(Ok(memory)) => Observation::Seen {
                memory,
                row: self.row,
                socket: self.socket.filter(|_| memory == MemoryState::Open),
                final_codes: capabilities.final_codes,
            },
            Some(Err(fault)) => Observation::Failed(fault),
            None => Observation::Failed(super::observation::GatewayFault::TimedOut.into()),
        }
    }

    fn after_state(&self, memory: MemoryState) -> Option<Question> {
        if self.instance.wants_row(memory, self.at) {
            Some(Question::Row)
        } else {
            (memory == MemoryState::Open && self.probe).then_some(Question::AlwaysOnline)
        }
    }

    /// Whether the row says for the first time that the session has ended: somebody may have paired
    /// it again since the live state was read.
    fn has_just_ended(&self, memory: MemoryState, capabilities: Capabilities) -> bool {
        let reading = read(
            memory,
            self.row.as_ref(),
            capabilities.final_codes,
            self.instance.known_reason.as_ref(),
            self.instance.last_open.is_some(),
        );
        matches!(reading, Reading::Ended(_) | Reading::LoggedOut)
            && !self.instance.status.needs_person()
    }
}

impl Instance {
    /// Whether the socket behind an open state is to be looked for at `at`: once every
    /// `zombie_probe_every_s`, each instance in its own phase, and at every check while it is in
    /// doubt.
    fn wants_probe(&self, id: i64, at: Timestamp, settings: &Settings) -> bool {
        let every_ms = i64::from(settings.zombie_probe_every_s) * 1_000;
        let in_doubt = self.socket_missing.is_some();
        let shown = matches!(self.status, Status::Connected | Status::Zombie);
        if every_ms == 0 || !(shown || in_doubt) || self.integration == Integration::Socketless {
            return false;
        }
        let Some(last) = self.probed_at.or(self.last_open) else {
            return false;
        };
        let turn = |moment: Timestamp| {
            let phase = super::jitter::phase(id, every_ms);
            moment.plus_ms(phase).as_ms().div_euclid(every_ms)
        };
        in_doubt || turn(at) > turn(last)
    }
}
