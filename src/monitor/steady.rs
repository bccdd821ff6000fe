//! How long the live state has been the same, and how often it has changed between open and not.

use serde::{Deserialize, Serialize};

use super::observation::MemoryState;
use super::settings::Settings;
use super::streak::is_blind;
use super::time::Timestamp;

/// Changes that are remembered.
const MAX_CHANGES: usize = 8;

/// Changes within [`FLAPPING_INTERVALS`] that make a connection unstable: by far more than a drop
/// and its end, and few enough to be seen within minutes.
const FLAPPING_CHANGES: usize = 4;

/// Intervals over which those are counted.
const FLAPPING_INTERVALS: i64 = 20;

/// Intervals without a change after which it has settled, whatever was before.
const SETTLED_INTERVALS: i64 = 6;

/// The checks in a row that saw one live state. What lies between two checks is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// The state.
    pub state: MemoryState,
    /// When the first was sent.
    pub first: Timestamp,
    /// When the last was sent.
    pub last: Timestamp,
    /// How many there were. Those that see `open` are not counted after the first: nothing follows
    /// from their number, and they are to leave nothing new behind.
    pub checks: u32,
}

impl Steady {
    /// What follows when `state` is seen at `at`.
    pub(super) fn extend(
        so_far: Option<Self>,
        state: MemoryState,
        at: Timestamp,
        settings: &Settings,
    ) -> Self {
        match so_far {
            Some(steady) if steady.state == state && !is_blind(steady.last, at, settings) => Self {
                last: at,
                checks: steady
                    .checks
                    .saturating_add(u32::from(state != MemoryState::Open)),
                ..steady
            },
            _ => Self {
                state,
                first: at,
                last: at,
                checks: 1,
            },
        }
    }

    /// What is left of it after a check that told nothing. The gateway may have started anew, and
    /// dials by itself then: no action may rest on a `close` or `connecting` before that. From `open`
    /// and from a start that takes long nothing is done, and they last.
    pub(super) fn after_failure(self) -> Option<Self> {
        match self.state {
            MemoryState::Close | MemoryState::Connecting => None,
            MemoryState::Open | MemoryState::NotLoaded => Some(self),
        }
    }

    /// Milliseconds over which this state was seen unbroken; 0 for every other state.
    pub fn ms_in(self, state: MemoryState) -> i64 {
        if self.state == state {
            self.last.ms_since(self.first)
        } else {
            0
        }
    }
}

/// When the live state went from open to another one, or back: the last few times, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(Vec<Timestamp>);

impl Changes {
    /// One more, at `at`.
    pub(super) fn with(&self, at: Timestamp) -> Self {
        let kept = self.0.len().min(MAX_CHANGES - 1);
        let mut changes = self.0[self.0.len() - kept..].to_vec();
        changes.push(at);
        Self(changes)
    }

    /// How many there were after `since`, as far as they are remembered.
    pub fn after(&self, since: Timestamp) -> usize {
        self.0.iter().filter(|at| **at > since).count()
    }

    /// Whether the connection comes and goes without settling: two sockets on one session that
    /// replace each other (440) look like this, and so does a very bad network.
    pub fn flapping(&self, at: Timestamp, settings: &Settings) -> bool {
        let ago = |intervals: i64| at.plus_ms(-intervals * settings.interval_ms());
        self.after(ago(FLAPPING_INTERVALS)) >= FLAPPING_CHANGES
            && self.after(ago(SETTLED_INTERVALS)) > 0
    }
}
