//! Which Evolution it is, and what follows from that.

use std::fmt;

use crate::monitor::{Capabilities, FinalCodes};

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
            Some((1, _)) => Generation::V1,
            Some((2, 1..=3)) => Generation::V2,
            Some((2, 4)) => Generation::V2_4,
            _ => Generation::Other,
        }
    }

    /// What follows from the version.
    pub fn capabilities(&self) -> Capabilities {
        self.generation().capabilities()
    }

    /// The major and the minor number.
    fn numbers(&self) -> Option<(u32, u32)> {
        let mut parts = self.0.trim_start_matches(['v', 'V']).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?;
        let end = minor
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(minor.len());
        Some((major, minor[..end].parse().ok()?))
    }
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
        }
    }
}
