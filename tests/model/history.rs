//! What happened, for those who compare two runs or judge a monitor.

use super::gateway::Gateway;
use super::http::Received;
use super::process::Process;

/// Something that happened, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The instance's line is another: [`Line::name`].
    Line(&'static str),
    /// A request was received.
    Request(String),
    /// A second dial began on a session while one was under way (O2).
    Doubled,
    /// A fault began.
    Inflicted(String),
    /// A fault ended.
    Healed(String),
    /// The process is another: up, starting, down.
    Process(Process),
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at_ms: i64,
    /// The instance, where it is about one.
    pub instance: Option<String>,
    /// What.
    pub what: What,
}

/// A double socket began: a `connect` came while a dial was under way (O2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleSocket {
    /// Of which instance.
    pub instance: String,
    /// When the `connect` came.
    pub at_ms: i64,
}

impl Gateway {
    /// The history since the last call.
    pub fn take_history(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.history)
    }

    /// Every double socket that ever began.
    pub fn double_sockets(&self) -> &[DoubleSocket] {
        &self.doubles
    }

    /// The requests received since the last call, in order.
    pub fn take_received(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }

    pub(super) fn happened(&mut self, id: Option<usize>, what: What) {
        self.history.push(Happening {
            at_ms: self.now_ms,
            instance: id.map(|id| self.instances[id].name.clone()),
            what,
        });
    }
}
