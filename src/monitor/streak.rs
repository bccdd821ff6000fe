//! Checks of one kind in a row.

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use super::time::Timestamp;

/// Intervals without a look after which nobody can say what was meanwhile.
const BLIND_AFTER_INTERVALS: i64 = 3;

/// Whether so much time lies between two looks that nobody can say what was meanwhile.
pub(super) fn is_blind(from: Timestamp, to: Timestamp, settings: &Settings) -> bool {
    to.ms_since(from) > BLIND_AFTER_INTERVALS * settings.interval_ms()
}

/// Checks of one kind in a row, none of them long after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streak {
    /// When the first was sent.
    pub first: Timestamp,
    /// When the last was sent. An older version did not keep it: its streaks go on.
    #[serde(default = "never_blind")]
    pub last: Timestamp,
    /// How many there were.
    pub checks: u32,
}

impl Streak {
    /// The streak `so_far`, longer by a check at `at`; a new one where there was none, or where too
    /// long nobody looked.
    pub(super) fn extend(so_far: Option<Self>, at: Timestamp, settings: &Settings) -> Self {
        match so_far {
            Some(streak) if !is_blind(streak.last, at, settings) => Self {
                last: at,
                checks: streak.checks.saturating_add(1),
                ..streak
            },
            _ => Self {
                first: at,
                last: at,
                checks: 1,
            },
        }
    }
}

/// A moment after all others: what is unbroken until then is not blind at any other.
const fn never_blind() -> Timestamp {
    Timestamp::from_ms(9_007_199_254_740_991)
}
