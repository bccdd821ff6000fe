//! How an answer begins.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What an answer names first. It decides how the rest is read, here and not by serde's tags: their
/// detour over all that the rest can be costs tens of kilobytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The caller may.
    Accepted,
    /// It may not.
    Unauthorized,
    /// What it is limited to is not there.
    UnknownOrganization,
}

impl Outcome {
    /// The outcome that an answer names.
    ///
    /// # Errors
    /// Where it names none.
    pub fn of(answer: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            outcome: Outcome,
        }
        serde_json::from_str::<Head>(answer.get()).map(|head| head.outcome)
    }
}
