//! How an answer begins.

use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    pub fn of(answer: &str) -> serde_json::Result<Self> {
        named(answer)
    }
}

/// The outcome that an answer names, where it has some of its own.
///
/// # Errors
/// Where it names none.
pub fn named<T: DeserializeOwned>(answer: &str) -> serde_json::Result<T> {
    #[derive(Deserialize)]
    struct Head<T> {
        outcome: T,
    }
    serde_json::from_str::<Head<T>>(answer).map(|head| head.outcome)
}
