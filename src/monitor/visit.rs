//! All checks of one gateway in one tick, taken together: first what is to be thought of the gateway,
//! then what of its instances, and only then what to do about each.

use super::attempt::{Attempt, Verdict};
use super::budget::Budget;
use super::gateway::{Finding, Gateway};
use super::instance::Instance;
use super::observation::{MemoryState, Observation};
use super::policy::{Decision, Evidence, Heard, Pause, decide, pause};
use super::settings::Settings;
use super::status::Status;
use super::time::Timestamp;

/// A gateway, as a tick finds it.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// What was remembered of it.
    pub gateway: &'a Gateway,
    /// What this tick found.
    pub finding: Finding,
    /// Whether anything may be done on it.
    pub may_act: bool,
    /// Whether an instance of it that this tick does not hold was open lately.
    pub open_elsewhere: bool,
    /// When all that was asked was answered.
    pub at: Timestamp,
}

/// One of its instances.
#[derive(Clone, Copy, Debug)]
pub struct Visited<'a> {
    /// Its number.
    pub id: i64,
    /// What was remembered of it.
    pub instance: &'a Instance,
    /// What was done to it in the last hours, oldest first.
    pub attempts: &'a [Attempt],
    /// What our webhook told of it.
    pub heard: Heard,
    /// When it was asked for.
    pub at: Timestamp,
    /// What was seen.
    pub observation: &'a Observation,
}

/// What follows for an instance.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// What is remembered of it from now on.
    pub instance: Instance,
    /// What was seen, as far as it counts: it must be applied again where somebody else has written
    /// meanwhile.
    pub observation: Observation,
    /// What earlier actions came to, by their numbers.
    pub verdicts: Vec<(i64, Verdict)>,
    /// What is to be done.
    pub decision: Decision,
    /// What keeps the monitor from trying again, where it waits.
    pub pause: Option<Pause>,
    /// What an action must keep to.
    pub budgets: Vec<Budget>,
}

/// Draws the conclusions of a visit: for the gateway, and for the instances in their order.
pub fn conclude(
    visit: Visit<'_>,
    instances: &[Visited<'_>],
    settings: &Settings,
) -> (Gateway, Vec<Conclusion>) {
    let gateway = visit.gateway.observe(visit.finding, visit.at, settings);
    let standing = gateway.standing(visit.finding, visit.at);
    let mut conclusions: Vec<(Vec<Attempt>, Conclusion)> = instances
        .iter()
        .map(|visited| {
            let observation = visited.observation.clone().as_far_as_trusted(standing);
            let mut attempts = visited.attempts.to_vec();
            let (instance, verdicts) = visited
                .instance
                .observe(&observation, visited.at, settings)
                .judged(&mut attempts, visited.at, settings);
            let conclusion = Conclusion {
                instance,
                observation,
                verdicts,
                decision: Decision::Nothing,
                pause: None,
                budgets: Vec::new(),
            };
            (attempts, conclusion)
        })
        .collect();
    let neighbour_open = visit.open_elsewhere
        || instances
            .iter()
            .zip(&conclusions)
            .any(|(visited, (_, Conclusion { instance, .. }))| {
                instance.status == Status::Connected
                    && instance.is_seen(MemoryState::Open, visited.at)
            });
    for (visited, (attempts, conclusion)) in instances.iter().zip(&mut conclusions) {
        let evidence = Evidence {
            standing,
            may_act: visit.may_act,
            heard: visited.heard,
            neighbour_open,
        };
        let (id, at) = (visited.id, visited.at);
        let instance = &conclusion.instance;
        conclusion.decision = decide(id, instance, attempts, evidence, settings, at);
        conclusion.pause = pause(id, instance, attempts, evidence, settings, at)
            .filter(|_| conclusion.decision == Decision::Wait);
        conclusion.budgets = Budget::of(attempts, at, settings);
    }
    let conclusions = conclusions
        .into_iter()
        .map(|(_, conclusion)| conclusion)
        .collect();
    (gateway, conclusions)
}
