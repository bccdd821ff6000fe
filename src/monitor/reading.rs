//! What the live state and the stored row mean together.

use serde::{Deserialize, Serialize};

use super::observation::{MemoryState, Row, RowStatus};
use super::reason::{FinalCodes, FinalReason, RecordedReason};

/// What an instance was found to be at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Logged in.
    Open,
    /// Paired, and a socket is being dialled.
    Redialling,
    /// Paired, and no socket: between two redials, a dial hung in a lookup, or WhatsApp is away.
    PairedClose,
    /// Not open, and nothing tells whether it is paired.
    NotOpen,
    /// A QR code waits for a person, or soon will.
    WaitingForScan,
    /// The gateway has shown all its QR codes and dials no more.
    QrLimit,
    /// The session ended for good, for this reason.
    Ended(FinalReason),
    /// The session ended, for no reason that counts.
    LoggedOut,
    /// Never paired.
    NeverPaired,
    /// The gateway's process is starting.
    Booting,
}

/// Reads the live state and the row together.
///
/// `final_codes` are those of the gateway. `known_at_open` is the reason that stood in the row when
/// the instance was last seen open: it is never cleared by a login, so one equal to it is stale.
/// `ever_open` is whether it was ever seen open. The table is that of Evolution 2; Evolution 1 has no
/// row that tells anything:
///
/// | memory | row | meaning |
/// |---|---|---|
/// | open | any | open; the row may lag behind |
/// | connecting | open | paired, redialling |
/// | close | open | paired: between redials, a hung dial, or WhatsApp away |
/// | connecting | connecting or close | a person must scan |
/// | close | connecting | QR limit reached |
/// | close | close + a reason that is not stale | ended: the code tells the story |
/// | close | close + a reason that is stale or not final | logged out, nothing says why |
/// | close | close, no reason | never paired, or, where it was open once, logged out |
/// | not loaded | any | booting |
/// | connecting or close | not known | not open, nothing more can be said |
pub fn read(
    memory: MemoryState,
    row: Option<&Row>,
    final_codes: FinalCodes,
    known_at_open: Option<&RecordedReason>,
    ever_open: bool,
) -> Reading {
    use MemoryState::{Close, Connecting, NotLoaded, Open};
    match (memory, row.and_then(|row| row.status)) {
        (Open, _) => Reading::Open,
        (NotLoaded, _) => Reading::Booting,
        (Connecting, Some(RowStatus::Open)) => Reading::Redialling,
        (Close, Some(RowStatus::Open)) => Reading::PairedClose,
        (Connecting, Some(RowStatus::Connecting | RowStatus::Close)) => Reading::WaitingForScan,
        (Close, Some(RowStatus::Connecting)) => Reading::QrLimit,
        (Close, Some(RowStatus::Close)) => {
            let recorded = row.and_then(|row| row.reason.as_ref());
            let counts = recorded
                .filter(|recorded| Some(*recorded) != known_at_open)
                .and_then(|recorded| final_codes.reason(recorded.code));
            match counts {
                Some(reason) => Reading::Ended(reason),
                None if ever_open || recorded.is_some() => Reading::LoggedOut,
                None => Reading::NeverPaired,
            }
        }
        (Connecting | Close, None) => Reading::NotOpen,
    }
}
