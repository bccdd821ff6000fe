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
    /// How its webhooks are set; `None` where that is not known.
    pub webhooks: Option<Webhooks>,
}

/// How the webhooks of a gateway are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Webhooks {
    /// The form of the body.
    pub shape: Shape,
    /// Whether headers of one's own can be sent along.
    pub headers: bool,
    /// Whether it tells of messages that were edited.
    pub edits: bool,
}

/// The form in which a webhook is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 1.x: flat, with underscores.
    Old,
    /// 2.0: flat.
    Flat,
    /// 2.1 and later: within an object `webhook`.
    Nested,
}
