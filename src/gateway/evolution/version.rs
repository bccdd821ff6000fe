//! Which Evolution it is, and what follows from that.

use std::fmt;

use crate::monitor::{Capabilities, FinalCodes, Shape, Webhooks};

/// The longest version that is kept. The longest known one, `2.4.0-rc2`, has nine characters.
const MAX_CHARS: usize = 32;

/// A version as the server calls itself, fit to be stored: never empty, at most 32 characters, and
/// each a letter, a digit or one of `.`, `-`, `+` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// Takes what a server calls itself. Characters that belong in no version are left out; `None`
    /// where nothing remains.
    pub fn parse(text: &str) -> Option<Self> {
        let kept: String = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))
            .take(MAX_CHARS)
            .collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of the generations this is.
    pub fn generation(&self) -> Generation {
        match self.numbers() {
            Some((1, _, _)) => Generation::V1,
            Some((2, 1..=3, _)) => Generation::V2,
            Some((2, 4, _)) => Generation::V2_4,
            _ => Generation::Other,
        }
    }

    /// What follows from the version.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            webhooks: self.webhooks(),
            ..self.generation().capabilities()
        }
    }

    /// How webhooks are set: the body is nested since 2.1.0, and headers are there since 2.1.1.
    fn webhooks(&self) -> Option<Webhooks> {
        let (major, minor, patch) = self.numbers()?;
        let shape = match (major, minor) {
            (1, _) => Shape::Old,
            (2, 0) => Shape::Flat,
            (2, _) => Shape::Nested,
            _ => return None,
        };
        Some(Webhooks {
            shape,
            headers: (major, minor, patch) >= (2, 1, 1),
            edits: (major, minor) >= (2, 3),
        })
    }

    /// The major and the minor number, and the third, 0 where there is none.
    fn numbers(&self) -> Option<(u32, u32, u32)> {
        let mut parts = self.0.trim_start_matches(['v', 'V']).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = leading_number(parts.next()?)?;
        let patch = parts.next().and_then(leading_number).unwrap_or(0);
        Some((major, minor, patch))
    }
}

/// The number that a part of a version begins with.
fn leading_number(part: &str) -> Option<u32> {
    let end = part
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(part.len());
    part[..end].parse().ok()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Versions that behave alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Generation {
    /// 1.x: one state alone, that in memory, and no reason for a disconnect anywhere.
    V1,
    /// 2.1 to 2.3: the ones that this monitor was made for.
    V2,
    /// 2.4: as 2.3, with a licence gate, and sessions deleted on a mere loss of connection.
    V2_4,
    /// Any other, and one that is not known: read as 2.3 is.
    #[default]
    Other,
}

impl Generation {
    /// What follows from the generation. In 1.x a `restart` opens a second socket on the same
    /// session; what 2.4 makes of an action is not measured yet.
    pub const fn capabilities(self) -> Capabilities {
        Capabilities {
            final_codes: match self {
                Self::V1 => FinalCodes::LoggedOut,
                Self::V2 | Self::Other => FinalCodes::Refused,
                Self::V2_4 => FinalCodes::RefusedOrLost,
            },
            may_act: matches!(self, Self::V2),
            webhooks: None,
        }
    }
}
