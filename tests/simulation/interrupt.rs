//! One healthy instance, interrupted: what becomes an outage. (5)

use super::database::Outage;
use super::plan::{Plan, Triggers};
use super::witness::Violation;
use super::{MINUTE_MS, World};
use crate::model::{Fault, Rng, Unreachable, Whom};

/// What was made of an interruption.
#[derive(Clone, Debug)]
pub struct Interruption {
    /// The outages that are told of.
    pub outages: Vec<Outage>,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Over how long all checks were bad, none unknown, each sent soon after the one before.
    pub all_bad_ms: i64,
}

/// Interrupts a healthy instance by a WhatsApp that cannot be reached, once for each of the spans
/// (when it begins, how long it lasts), told in milliseconds from the third minute on.
pub fn interrupt(plan: &Plan, spans: &[(i64, i64)]) -> Interruption {
    let mut world = World::new(plan);
    let mut chance = Rng::new(plan.seed ^ 0xfa17);
    let fault = Fault::Unreachable(Whom::All, Unreachable::Unresolvable);
    let from_ms = world.now_ms + 3 * MINUTE_MS;
    let mut to_come: Vec<(i64, bool)> = spans
        .iter()
        .flat_map(|(at_ms, length_ms)| [(*at_ms, true), (at_ms + length_ms, false)])
        .map(|(at_ms, begins)| (from_ms + at_ms, begins))
        .collect();
    let until_ms = to_come.last().map_or(from_ms, |(at_ms, _)| *at_ms) + 5 * MINUTE_MS;
    to_come.reverse();
    let mut next_trigger_ms = world.now_ms;
    while next_trigger_ms < until_ms {
        if let Some((at_ms, begins)) = to_come.pop_if(|(at_ms, _)| *at_ms <= next_trigger_ms) {
            if begins {
                world.gateway.inflict(at_ms, &fault);
                let dropped = Fault::Drop(world.names[0].clone(), 428);
                world.gateway.inflict(at_ms, &dropped);
            } else {
                world.gateway.heal(at_ms, &fault);
            }
            continue;
        }
        world.now_ms = next_trigger_ms.max(world.gateway.now_ms());
        world.trigger();
        next_trigger_ms += gap_ms(plan.triggers, &mut chance);
    }
    Interruption {
        all_bad_ms: world.witness.watched[0].longest_bad_ms,
        violations: world.witness.violations,
        outages: world.database.rows.swap_remove(0).outages,
    }
}

/// From one trigger to the next: wildly, two services that call at once or a little after each
/// other, and at times neither of them for a while.
fn gap_ms(triggers: Triggers, chance: &mut Rng) -> i64 {
    match triggers {
        Triggers::Punctual => 30_000 + chance.between(-900, 900),
        Triggers::Wild if chance.one_in(12) => chance.between(20_000, 150_000),
        Triggers::Wild => chance.between(1_000, 20_000),
    }
}
