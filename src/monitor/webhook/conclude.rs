//! When to look at a slot, and what follows from what is found.

use super::target::Target;
use super::{
    Conclusion, Drift, Due, Finding, HOUR_S, Hook, Known, Memory, Occasion, Policy,
    REPAIRS_PER_HOUR, Repair, Set, ms,
};
use crate::monitor::attempt::Verdict;
use crate::monitor::budget::Budget;
use crate::monitor::jitter;
use crate::monitor::policy::Heard;
use crate::monitor::time::Timestamp;

impl Known<'_> {
    /// Whether the slot of an instance that is open is to be looked at: when it has just become open,
    /// when something else is wanted than at the last look, to see what became of a repair, and every
    /// so often, each instance in its own phase.
    pub fn due(&self, became_open: bool, at: Timestamp) -> Due {
        if self.policy == Policy::Off {
            return Due::No;
        }
        let memory = self.memory;
        let Some(target) = Target::of(self, self.webhooks) else {
            return if memory.finding == Some(Finding::NoReceiver) {
                Due::No
            } else {
                Due::Nowhere(Box::new(Memory {
                    looked_at: Some(at),
                    finding: Some(Finding::NoReceiver),
                    ..Memory::default()
                }))
            };
        };
        let every_ms = i64::from(self.check_every_s.max(1)) * 1_000;
        let phase = jitter::phase(self.id, every_ms);
        let turn = |moment: Timestamp| moment.plus_ms(phase).as_ms().div_euclid(every_ms);
        let news = memory.again_at.is_some_and(|again| at >= again)
            || memory.wanted.as_ref() != Some(&self.fingerprint(&target))
            || memory.storm != self.storm(at);
        let due = became_open
            || memory.looked_at.is_none_or(|last| turn(last) != turn(at))
            // Who has not told will hardly tell at every check.
            || news && memory.finding != Some(Finding::Unreadable);
        if due { Due::Look } else { Due::No }
    }

    /// What our receiver heard, where events reach it and would have told of a dial: `Heard` is
    /// evidence only then.
    pub fn heard(&self, at: Timestamp) -> Heard {
        let acts = matches!(self.policy, Policy::Manage | Policy::TakeOver);
        let wanted = Target::of(self, self.webhooks).map(|target| self.fingerprint(&target));
        let live = acts
            && self.memory.finding == Some(Finding::Right)
            && self.memory.tells_of_dials
            && self.memory.wanted == wanted
            && !self.storm(at);
        if live { self.heard } else { Heard::default() }
    }

    /// Decides what to do about what a look at `at` found in the slot: `Ok(None)` where nothing was
    /// ever set, `Err` where the gateway did not tell. To be asked only while the instance is open:
    /// one that is not loaded shows no webhook although it has one (N6).
    ///
    /// | what is in the slot | policy | what is done |
    /// |---|---|---|
    /// | what should be | any | nothing |
    /// | nothing, or the row that the gateway wiped | `manage`, `take_over` | set |
    /// | ours, and something differs: turned off, another secret, other events … | `manage`, `take_over` | set |
    /// | somebody else's | `take_over` | set |
    /// | somebody else's | `manage` | told, and left alone |
    /// | any of these | `verify` | told, and left alone |
    /// | any of these, after three repairs in an hour | any | told, and left alone for an hour, or until something else is wanted |
    /// | what was there before: the gateway refused ours | `manage`, `take_over` | set again as the budget allows, and told |
    /// | no sensible answer | any | nothing |
    pub fn conclude(&self, found: Result<Option<&Hook>, ()>, at: Timestamp) -> Option<Conclusion> {
        let plain = Target::of(self, self.webhooks)?;
        let wanted = self.fingerprint(&plain);
        let storm = self.storm(at);
        let target = plain.in_storm(storm);
        let before = self.memory;
        let same = before.wanted.as_ref() == Some(&wanted);
        let memory = Memory {
            looked_at: Some(at),
            finding: Some(Finding::Unreadable),
            drift: Vec::new(),
            tells_of_dials: false,
            wanted_since: if same { before.wanted_since } else { Some(at) },
            wanted: Some(wanted),
            changed: false,
            storm,
            again_at: None,
            set_url: before.set_url.clone(),
            contended_at: before
                .contended_at
                .filter(|since| same && at.ms_since(*since) < ms(HOUR_S)),
        };
        let Ok(found) = found else {
            return Some(Conclusion {
                // What should be is still to be seen to.
                memory: Memory {
                    wanted: before.wanted.clone(),
                    wanted_since: before.wanted_since,
                    changed: before.changed,
                    storm: before.storm,
                    ..memory
                },
                found_url: None,
                verdicts: Vec::new(),
                repair: None,
            });
        };
        let slot = self.slot(&target, found);
        let (finding, drift) = slot.clone();
        let right = finding == Finding::Right;
        let changed = before.changed || before.wanted.is_some() && !(same && before.storm == storm);
        let verdicts = self.verdicts(right, changed);
        let occasion = self.occasion(finding, changed);
        let mut memory = Memory {
            finding: Some(finding),
            drift,
            tells_of_dials: right && target.tells_of_dials(),
            ..memory
        };
        if right {
            memory.contended_at = None;
        }
        let Some(occasion) = occasion else {
            return Some(self.told(memory, found, verdicts, None));
        };
        if memory.contended_at.is_none() && self.rewritten(&memory, at) {
            memory.contended_at = Some(at);
        }
        if let Some(since) = memory.contended_at {
            memory.finding = Some(Finding::Contended);
            memory.again_at = Some(since.plus_ms(ms(HOUR_S)));
            return Some(self.told(memory, found, verdicts, None));
        }
        if !changed && self.sets.last().is_some_and(Set::was_refused) {
            memory.finding = Some(Finding::Refused);
        }
        let left_ms = self.left_ms(occasion, at);
        // Whether it worked is seen at the next check; until it may be done, it is looked at in vain.
        memory.again_at = Some(at.plus_ms(left_ms));
        // Which is still no repair when the time has come.
        memory.changed = changed && left_ms > 0;
        let repair = (left_ms == 0).then(|| Repair {
            hook: target.setting(found),
            occasion,
        });
        Some(self.told(memory, found, verdicts, repair))
    }

    fn told(
        &self,
        memory: Memory,
        found: Option<&Hook>,
        verdicts: Vec<(i64, Verdict)>,
        repair: Option<Repair>,
    ) -> Conclusion {
        Conclusion {
            memory,
            found_url: found.and_then(Hook::shown_url),
            verdicts,
            repair,
        }
    }

    /// What stands in the slot, compared with what should.
    fn slot(&self, target: &Target, found: Option<&Hook>) -> (Finding, Vec<Drift>) {
        let Some(found) = found else {
            return (Finding::Empty, Vec::new());
        };
        if found.url.trim().is_empty() {
            let finding = if found.enabled {
                Finding::Wiped
            } else {
                Finding::Empty
            };
            return (finding, Vec::new());
        }
        if !target.is_ours(found, self) {
            return (Finding::Foreign, Vec::new());
        }
        let drift = target.drift(found);
        if drift.is_empty() {
            (Finding::Right, drift)
        } else {
            (Finding::Drifted, drift)
        }
    }

    /// Why it is to be set, where it is.
    fn occasion(&self, finding: Finding, changed: bool) -> Option<Occasion> {
        let occasion = match (self.policy, finding) {
            (Policy::Verify | Policy::Off, _) => return None,
            (_, Finding::Empty) => Occasion::Empty,
            (_, Finding::Wiped) => Occasion::Wiped,
            (_, Finding::Drifted) => Occasion::Drifted,
            (Policy::TakeOver, Finding::Foreign) => Occasion::Foreign,
            _ => return None,
        };
        Some(if changed { Occasion::Changed } else { occasion })
    }

    /// What became of those that were set and not judged yet. What is wanted only now tells nothing
    /// of them.
    fn verdicts(&self, right: bool, changed: bool) -> Vec<(i64, Verdict)> {
        let verdict = if right {
            Verdict::Worked
        } else {
            Verdict::NoEffect
        };
        self.sets
            .iter()
            .filter(|set| set.verdict.is_none() && (right || !changed))
            .map(|set| (set.id, verdict))
            .collect()
    }

    /// Whether so many repairs of the last hour were undone that somebody else must do it.
    fn rewritten(&self, memory: &Memory, at: Timestamp) -> bool {
        let repairs = self.sets.iter().filter(|set| {
            at.ms_since(set.at) < ms(HOUR_S)
                && memory.wanted_since.is_none_or(|since| set.at >= since)
                && set.occasion != Some(Occasion::Changed)
                && !set.was_refused()
        });
        repairs.count() >= REPAIRS_PER_HOUR as usize
    }

    /// Milliseconds until the budget allows it to be set; 0 where it does now.
    fn left_ms(&self, occasion: Occasion, at: Timestamp) -> i64 {
        let left = |budget: Budget| {
            // The one that must have left the window before.
            let nth = self.sets.len().checked_sub(budget.max as usize)?;
            let leaves = self.sets.get(nth)?.at.plus_ms(ms(budget.window_s));
            Some(leaves.ms_since(at))
        };
        let longest = occasion.budgets().into_iter().filter_map(left).max();
        longest.unwrap_or(0).max(0)
    }

    /// What is wanted, and by which policy.
    fn fingerprint(&self, target: &Target) -> String {
        format!("{:?} {}", self.policy, target.fingerprint())
    }
}
