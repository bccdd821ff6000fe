//! Where ticks die.

use std::collections::BTreeMap;

use crate::model::Rng;

/// An await of a tick, from which it may not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before its claim has reached the database.
    Claiming,
    /// Before it hears what it has claimed.
    Claimed,
    /// While it asks for the gateway's root.
    Root,
    /// While it asks for an instance.
    Looking,
    /// Before its wish to act has reached the database.
    Recording,
    /// Before it hears what it was granted.
    Granted,
    /// Before an action that it was granted is sent.
    Acting,
    /// Before it hears what the gateway says to it.
    Acted,
    /// Before its end has reached the database, where it has done nothing.
    Finishing,
    /// The same, where it has acted.
    FinishingActed,
    /// Before it hears that its end was written.
    Finished,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Claiming,
        Self::Claimed,
        Self::Root,
        Self::Looking,
        Self::Recording,
        Self::Granted,
        Self::Acting,
        Self::Acted,
        Self::Finishing,
        Self::FinishingActed,
        Self::Finished,
    ];

    /// One tick in so many that get there dies there: the rarer a place is reached, the more do.
    const fn one_in(self) -> usize {
        match self {
            Self::Claiming | Self::Claimed | Self::Finishing | Self::Finished => 150,
            Self::Looking => 400,
            Self::Root => 20,
            Self::Recording | Self::Granted | Self::Acting | Self::Acted | Self::FinishingActed => {
                12
            }
        }
    }
}

/// What becomes of ticks.
#[derive(Clone, Debug)]
pub struct Fate {
    rng: Rng,
    /// Whether they die at all.
    pub deadly: bool,
    /// How many died, and where.
    pub deaths: BTreeMap<Place, u32>,
}

impl Fate {
    /// Drawn from a seed.
    pub fn new(seed: u64, deadly: bool) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xdead),
            deadly,
            deaths: BTreeMap::new(),
        }
    }

    /// Whether a tick comes back from this await.
    pub fn spares(&mut self, place: Place) -> bool {
        let dies = self.deadly && self.rng.one_in(place.one_in());
        if dies {
            *self.deaths.entry(place).or_default() += 1;
        }
        !dies
    }
}
