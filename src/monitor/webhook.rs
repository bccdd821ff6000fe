//! What the webhook of an instance should be, in what it differs, and what to do about it.
//!
//! There is one slot per instance, and to set it replaces what was there: somebody else's webhook is
//! never touched unless that was asked for.

pub mod address;
mod conclude;
pub mod events;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::address::Place;
pub use self::target::SECRET_HEADER;
use super::attempt::Verdict;
use super::budget::Budget;
use super::capabilities::Webhooks;
use super::policy::Heard;
use super::time::Timestamp;

/// At most one repair within so many seconds.
const REPAIR_EVERY_S: u32 = 300;

/// The time within which repairs are counted, and for which the monitor stops when somebody else
/// rewrites them.
const HOUR_S: u32 = 3_600;

/// Repairs within the hour, all in vain, that mean that somebody else rewrites them.
const REPAIRS_PER_HOUR: u32 = 3;

/// What is done about webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// An empty slot is filled and ours is repaired; somebody else's is left alone.
    #[default]
    Manage,
    /// Somebody else's is replaced as well.
    TakeOver,
    /// What differs is told, and nothing is done.
    Verify,
    /// Nobody looks.
    Off,
}

/// A webhook, as it stands in a slot or is to stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// Whether anything is sent.
    pub enabled: bool,
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: BTreeSet<String>,
    /// What is sent along.
    pub headers: BTreeMap<String, String>,
    /// Whether each event goes to a path of its own.
    pub by_events: bool,
    /// Whether media are sent within the events.
    pub base64: bool,
}

impl Hook {
    /// Where to, without what may be secret.
    pub fn shown_url(&self) -> Option<String> {
        Place::parse(&self.url).map(|place| place.shown())
    }
}

/// What was in the slot at the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// What should be.
    Right,
    /// Ours, and something of it differs.
    Drifted,
    /// Nothing.
    Empty,
    /// Nothing, and yet enabled: the gateway lost it (#2694).
    Wiped,
    /// Somebody else's.
    Foreign,
    /// Not what was set, again and again: somebody else rewrites it.
    Contended,
    /// Not what should be: the gateway would not take it.
    Refused,
    /// An answer that makes no sense, or none.
    Unreadable,
    /// Nobody has looked: where events should go is not known.
    NoReceiver,
}

/// In what a webhook of ours differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// It is turned off.
    Disabled,
    /// It leads to another of our URLs, or has another secret in it.
    Url,
    /// It is subscribed to other events.
    Events,
    /// It has no secret, or another one; or ours, which is not for this URL.
    Headers,
    /// Each event goes to a path of its own.
    ByEvents,
    /// Media are sent within the events.
    Base64,
}

/// Why a webhook is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// The slot was empty.
    Empty,
    /// The gateway had lost it.
    Wiped,
    /// Something of ours differed.
    Drifted,
    /// It was somebody else's, and to be taken over.
    Foreign,
    /// What it should be has changed.
    Changed,
}

impl Occasion {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Wiped => "wiped",
            Self::Drifted => "drifted",
            Self::Foreign => "foreign",
            Self::Changed => "changed",
        }
    }

    /// What a repair on this occasion must keep to. What a person, or a storm, has changed is no
    /// repair: only repairs are counted by the hour.
    pub fn budgets(self) -> Vec<Budget> {
        let budget = |window_s, max| Budget { window_s, max };
        let mut budgets = vec![budget(REPAIR_EVERY_S, 1)];
        if self != Self::Changed {
            budgets.push(budget(HOUR_S, REPAIRS_PER_HOUR));
        }
        budgets
    }
}

/// A webhook that was set: granted, and for all that is known sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Set {
    /// Its number.
    pub id: i64,
    /// When it was granted.
    #[serde(rename = "granted_ms")]
    pub at: Timestamp,
    /// Why.
    pub occasion: Option<Occasion>,
    /// What came of it, where that is known.
    pub verdict: Option<Verdict>,
}

/// The memory of one webhook. Postgres keeps it from one look to the next. No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When the slot was last looked at.
    pub looked_at: Option<Timestamp>,
    /// What was in it.
    pub finding: Option<Finding>,
    /// In what it differed.
    pub drift: Vec<Drift>,
    /// Whether events of dials reach our receiver.
    pub tells_of_dials: bool,
    /// What should have been in it: the target's fingerprint, as it is in no storm.
    pub wanted: Option<String>,
    /// Since when that is wanted.
    pub wanted_since: Option<Timestamp>,
    /// Whether what should be in it has changed, and to set it had to wait.
    pub changed: bool,
    /// Whether connection events were not asked for.
    pub storm: bool,
    /// When it is to be looked at again for a reason of its own.
    pub again_at: Option<Timestamp>,
    /// Where it led when it was last set by us, without what may be secret.
    pub set_url: Option<String>,
    /// When somebody else was found to rewrite it.
    pub contended_at: Option<Timestamp>,
}

/// All that is known before a look.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The instance's number.
    pub id: i64,
    /// What is done about webhooks.
    pub policy: Policy,
    /// Seconds between two looks.
    pub check_every_s: u32,
    /// Where our own receiver is.
    pub receiver: Option<&'a str>,
    /// Where the settings say that events go.
    pub setting_url: Option<&'a str>,
    /// Where the user's own tables say so.
    pub own_url: Option<&'a str>,
    /// Of what, there.
    pub own_events: &'a [String],
    /// What our receiver knows the gateway by.
    pub secret: &'a str,
    /// Until when connection events are not asked for.
    pub storm_until: Option<Timestamp>,
    /// When our receiver last heard of the instance.
    pub heard: Heard,
    /// When it was set, in the last hours, oldest first.
    pub sets: &'a [Set],
    /// The memory of it.
    pub memory: &'a Memory,
    /// How its gateway takes it.
    pub webhooks: Webhooks,
}

/// Whether it is time for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is not.
    No,
    /// It is.
    Look,
    /// It would be, and there is nothing to compare with: this is to be kept instead.
    Nowhere(Box<Memory>),
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// What is remembered from now on.
    pub memory: Memory,
    /// Where the webhook leads that was found, without what may be secret.
    pub found_url: Option<String>,
    /// What earlier ones that were set came to, by their numbers.
    pub verdicts: Vec<(i64, Verdict)>,
    /// What is to be set.
    pub repair: Option<Repair>,
}

/// A webhook to be set, as far as the budget allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What is to stand in the slot.
    pub hook: Hook,
    /// Why.
    pub occasion: Occasion,
}

impl Set {
    fn was_refused(&self) -> bool {
        self.verdict == Some(Verdict::Refused)
    }
}

const fn ms(seconds: u32) -> i64 {
    seconds as i64 * 1_000
}
