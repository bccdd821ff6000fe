//! What a simulated day is made of.

use super::MINUTE_MS;
use super::sabotage::Sabotage;
use crate::model::Rng;

/// How the triggers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triggers {
    /// Every 30 s, a second early or late.
    Punctual,
    /// Early, late, doubled, missing; and ticks die at any await.
    Wild,
}

impl Triggers {
    /// When the next one comes, and how often at once.
    pub fn draw(self, chance: &mut Rng) -> (i64, u32) {
        if self == Self::Punctual {
            return (30_000 + chance.between(-900, 900), 1);
        }
        let delay_ms = match chance.below(60) {
            0 => chance.between(2, 20) * MINUTE_MS,
            1..=5 => chance.between(31_000, 80_000),
            6..=12 => chance.between(5_000, 29_000),
            _ => 30_000 + chance.between(-2_000, 2_000),
        };
        (delay_ms, if chance.one_in(8) { 2 } else { 1 })
    }
}

/// What one simulated day is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All chance comes from it.
    pub seed: u64,
    /// Instances of the one gateway.
    pub instances: usize,
    /// Whether our webhook is configured, so that its events reach us.
    pub webhooks: bool,
    /// How the triggers come.
    pub triggers: Triggers,
    /// Minutes between two faults, on average; 0 for none.
    pub fault_every_min: i64,
    /// Whether anything may be done on no evidence.
    pub blind: bool,
    /// Whether instances may be meant to be shown online always.
    pub always_online: bool,
    /// Whether people see to what only people can mend.
    pub people: bool,
    /// A rule that is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl Plan {
    /// A day that is drawn from a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        Self {
            instances: 1 + rng.below(5),
            webhooks: rng.one_in(2),
            triggers: *rng.pick(&[Triggers::Punctual, Triggers::Wild]),
            fault_every_min: *rng.pick(&[15, 45, 120]),
            blind: !rng.one_in(8),
            always_online: rng.one_in(2),
            people: rng.one_in(2),
            ..Self::quiet(seed)
        }
    }

    /// A healthy instance, and nothing that happens to it.
    pub const fn quiet(seed: u64) -> Self {
        Self {
            seed,
            instances: 1,
            webhooks: false,
            triggers: Triggers::Punctual,
            fault_every_min: 0,
            blind: true,
            always_online: false,
            people: false,
            sabotage: None,
        }
    }
}
