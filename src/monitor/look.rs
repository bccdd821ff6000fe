//! Looks at the stored row, and when another one is worth its price.

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::observation::MemoryState;
use super::time::Timestamp;

/// Milliseconds for which a look at the row holds, where nothing urgent can come of another one.
const LOOK_HOLDS_MS: i64 = 300_000;

/// A look at the stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// The live state at that time.
    pub memory: MemoryState,
    /// Whether the row told its status: one that does not explains no outage.
    pub told: bool,
}

impl Look {
    /// Whether the look is too recent to be repeated at `at`.
    fn holds(self, at: Timestamp) -> bool {
        (0..LOOK_HOLDS_MS).contains(&at.ms_since(self.at))
    }
}

impl Instance {
    /// Whether the row is worth asking for at `at`, now that the live state is known. The gateway
    /// counts every message of the instance for it.
    ///
    /// | live state | asked |
    /// |---|---|
    /// | open | once after it became open, for the reason that is stale; again after 5 minutes where the row lagged behind |
    /// | connecting or close | at every check: a final logout must be seen at once |
    /// | the same, and a person is needed | when the live state has changed, or after 5 minutes |
    /// | the same, and the row does not tell its status | after 5 minutes |
    /// | not loaded | never: there is none by name |
    pub fn wants_row(&self, memory: MemoryState, at: Timestamp) -> bool {
        let recent = self.last_look.filter(|look| look.holds(at));
        match (memory, recent) {
            (MemoryState::NotLoaded, _) => false,
            (MemoryState::Open, Some(look)) => {
                !self.row_seen_open && look.memory != MemoryState::Open
            }
            (MemoryState::Open, None) => !self.row_seen_open,
            (MemoryState::Connecting | MemoryState::Close, Some(look)) => {
                look.told && !(self.status.needs_person() && look.memory == memory)
            }
            (MemoryState::Connecting | MemoryState::Close, None) => true,
        }
    }
}
