//! A check that leaves nothing to remember but when it was: what most checks are, and what makes
//! them cheap.

use super::instance::Instance;
use super::reading::Reading;
use super::status::Status;
use super::steady::Steady;
use super::time::Timestamp;

impl Instance {
    /// The memory of an instance that the check sent at `at` found open and otherwise just as this
    /// one remembers it.
    #[must_use]
    pub fn settled(self, at: Timestamp) -> Self {
        Self {
            last_open: self.last_open.max(Some(at)),
            steady: self.steady.map(|steady| Steady {
                last: steady.last.max(at),
                ..steady
            }),
            ..self
        }
    }

    /// Whether this, which the check sent at `at` left of the memory `before`, is nothing but
    /// [`before.settled(at)`](Instance::settled).
    pub fn is_settled(&self, before: &Self, at: Timestamp) -> bool {
        self.status == Status::Connected
            && self.reading == Some(Reading::Open)
            && self.last_open == Some(at)
            && *self == before.clone().settled(at)
    }
}
