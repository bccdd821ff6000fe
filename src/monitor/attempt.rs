//! What was done to an instance, and what it came to.

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::observation::MemoryState;
use super::settings::Settings;
use super::time::Timestamp;

/// Milliseconds after an action that worked in which a fight of two sockets is still put down to it.
/// One that had no effect is blamed for as long as it is remembered: a second socket may have been
/// waiting for WhatsApp all the while.
const BLAMED_FOR_MS: i64 = 3_600_000;

/// Changes between open and not open after an action that make it a change for the worse, where the
/// connection does not settle. One is the recovery; three are a drop after it and the end of that.
const WORSE_CHANGES: usize = 4;

/// What the monitor may do to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `GET /instance/connect`: dials a paired instance that nobody dials.
    Connect,
    /// `POST /instance/restart`: ends a dial that hangs, so that the gateway dials anew.
    Restart,
}

impl Action {
    /// Its name in reports and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Restart => "restart",
        }
    }
}

/// On which evidence an action was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grounds {
    /// The live state shows it: a dial that hangs in `connecting`.
    State,
    /// Our webhook is live, and told of no dial.
    Webhook,
    /// Another instance of the gateway is open, so that a dial would have succeeded.
    Neighbour,
    /// None: nothing tells whether a dial is under way, but it has been very long.
    Blind,
}

impl Grounds {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Webhook => "webhook",
            Self::Neighbour => "neighbour",
            Self::Blind => "blind",
        }
    }
}

/// What the gateway says to an action. It proves nothing: what follows is looked at (A18, D1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// It took it.
    Accepted,
    /// It would not, or could not.
    Refused,
    /// Nothing that tells: it may have been done.
    Lost,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The instance was open when things had settled.
    Worked,
    /// It was not.
    NoEffect,
    /// The gateway said no.
    Refused,
    /// Since then it comes and goes without settling.
    MadeWorse,
}

/// An action that was granted. Whether it was also sent is not known where the tick died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub id: i64,
    /// What.
    pub action: Action,
    /// On which evidence.
    pub grounds: Option<Grounds>,
    /// When it was granted.
    #[serde(rename = "granted_ms")]
    pub at: Timestamp,
    /// What came of it, where that is known.
    pub verdict: Option<Verdict>,
}

impl Attempt {
    /// Whether things may still be settling at `at`: nothing is judged and nothing more is done.
    pub fn settling(&self, at: Timestamp, settings: &Settings) -> bool {
        at.ms_since(self.at) < settings.settle_ms()
    }

    /// What it came to, as far as the instance now shows: `None` where nothing new is to be said.
    /// A recovery that turns out to be a fight of two sockets is taken back.
    pub fn judge(&self, now: &Instance, at: Timestamp, settings: &Settings) -> Option<Verdict> {
        if self.settling(at, settings) {
            return None;
        }
        let changes = now.changes.after(self.at);
        // Drops that lie hours apart are no fight.
        let fight = changes >= WORSE_CHANGES && now.changes.flapping(at, settings);
        let blamed = self.verdict != Some(Verdict::Worked) || at.ms_since(self.at) < BLAMED_FOR_MS;
        let open = now.is_seen(MemoryState::Open, at);
        let settled = at.ms_since(self.at) >= 2 * settings.settle_ms();
        match self.verdict {
            Some(Verdict::Refused | Verdict::MadeWorse) => None,
            None | Some(Verdict::Worked | Verdict::NoEffect) if blamed && fight => {
                Some(Verdict::MadeWorse)
            }
            Some(Verdict::Worked | Verdict::NoEffect) => None,
            None if open && (changes <= 1 || settled) => Some(Verdict::Worked),
            None if !open && (changes == 0 || settled) => Some(Verdict::NoEffect),
            None => None,
        }
    }
}
