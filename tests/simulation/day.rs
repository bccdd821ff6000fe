//! A day with faults, and what follows when they stop.

use super::census::Outcome;
use super::plan::{Plan, Triggers};
use super::{MINUTE_MS, World};
use crate::model::{Fault, Reception, Rng};

const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Checks for which an instance must have been the same before it is held against what is shown.
const SAME_FOR: u32 = 5;

/// Checks after which it is judged all the same.
const AT_LAST: u32 = 40;

/// Plays one day, then as long without faults as it may take until all agrees.
pub fn play(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    let mut chance = Rng::new(plan.seed ^ 0xfa17);
    let end_ms = world.now_ms + DAY_MS;
    let mut next_fault_ms = world.now_ms + 10 * MINUTE_MS;
    let mut next_trigger_ms = world.now_ms + 5_000;
    let mut under_way: Vec<(i64, Fault)> = Vec::new();
    while world.now_ms < end_ms {
        let ends_ms = under_way.iter().map(|(at_ms, _)| *at_ms).min();
        let next_ms = next_trigger_ms
            .min(next_fault_ms)
            .min(ends_ms.unwrap_or(i64::MAX));
        world.now_ms = next_ms.max(world.gateway.now_ms());
        world.listen();
        if ends_ms == Some(next_ms) {
            let ended = |(at_ms, _): &mut (i64, Fault)| *at_ms <= next_ms;
            for (_, fault) in under_way.extract_if(.., ended) {
                world.gateway.heal(world.now_ms, &fault);
            }
        } else if next_fault_ms == next_ms {
            let lasts_ms = chance.between(20_000, 40 * MINUTE_MS);
            if plan.fault_every_min > 0 {
                let fault = world.befall(&mut chance, lasts_ms);
                under_way.extend(fault.map(|fault| (world.now_ms + lasts_ms, fault)));
            }
            let mean_ms = plan.fault_every_min.max(1) * MINUTE_MS;
            next_fault_ms += chance.between(mean_ms / 4, 2 * mean_ms);
        } else {
            let (delay_ms, times) = plan.triggers.draw(&mut chance);
            for _ in 0..times {
                world.trigger();
            }
            if plan.triggers == Triggers::Punctual {
                world.look_at_truth();
            }
            next_trigger_ms = (next_trigger_ms + delay_ms).max(world.now_ms + 1_000);
        }
    }
    for (_, fault) in under_way {
        world.gateway.heal(world.now_ms, &fault);
    }
    world.settle();
    world.outcome()
}

impl World {
    /// One of the gateway's faults, or of our receiver's: that one ends by itself.
    fn befall(&mut self, chance: &mut Rng, lasts_ms: i64) -> Option<Fault> {
        if chance.one_in(20) {
            self.ears.away_until_ms = self.now_ms + lasts_ms;
            self.ears.away = *chance.pick(&[Reception::Unreachable, Reception::Answered(401)]);
            return None;
        }
        let fault = Fault::draw(chance, &self.names);
        self.gateway.inflict(self.now_ms, &fault);
        Some(fault)
    }

    /// The slow probe's time and two intervals, punctually, and on while an instance has only just
    /// become what it is; then all must agree.
    fn settle(&mut self) {
        (self.fate.deadly, self.writers, self.people) = (false, false, false);
        self.ears.away_until_ms = self.now_ms;
        let interval_ms = self.settings.interval_ms();
        let checks = i64::from(self.settings.probe_every_s) * 1_000 / interval_ms + 2;
        let mut kinds = Vec::new();
        let (mut left, mut same, mut more) = (checks, 0, 0);
        while left > 0 || (same < SAME_FOR && more < AT_LAST) {
            self.now_ms = (self.now_ms + interval_ms).max(self.gateway.now_ms());
            self.trigger();
            let now: Vec<_> = (0..self.names.len())
                .map(|index| self.kind(index))
                .collect();
            same = if now == kinds { same + 1 } else { 0 };
            kinds = now;
            left -= 1;
            more += u32::from(left < 0);
        }
        self.compare();
    }
}
