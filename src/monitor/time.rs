//! The one clock.

use serde::{Deserialize, Serialize};

/// The last millisecond of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// A moment by the **database's** clock, in milliseconds since the Unix epoch.
///
/// No clock of an isolate or of a gateway ever becomes a `Timestamp`: they disagree with the
/// database and with each other, Evolution's `date_time` even by whole hours.
///
/// One that is read lies between 1970 and 9999: others could be kept as numbers, but as no time, and
/// one such instance would keep the database from writing all that were checked with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment that lies `ms` milliseconds after the Unix epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// The moment `ms` milliseconds later.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative where it is the later one.
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = &'static str;

    fn try_from(ms: i64) -> Result<Self, Self::Error> {
        if (0..=LAST_MS).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err("no moment between 1970 and 9999")
        }
    }
}

impl From<Timestamp> for i64 {
    fn from(moment: Timestamp) -> Self {
        moment.0
    }
}
