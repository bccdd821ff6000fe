//! What can be asked and expected of a gateway.

use serde::Serialize;

use super::reason::FinalCodes;

/// What the monitor needs to know of a gateway's version. What the shape of an answer tells is not
/// here: answers are read without knowing the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Capabilities {
    /// The codes after which it deletes the session.
    pub final_codes: FinalCodes,
    /// Whether the monitor may do more than look.
    pub may_act: bool,
}
