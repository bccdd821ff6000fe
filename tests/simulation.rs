//! The proof: thousands of instance-days with every fault there is, and the invariants that hold in
//! all of them. `SIMULATION_DAYS=n cargo test --test simulation` plays more.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;
#[path = "simulation/mod.rs"]
mod simulation;

use whatsapp_monitor::monitor::Grounds;

use simulation::sabotage::Sabotage;
use simulation::{Outcome, Plan, Triggers, interrupt, play};

/// How many days the ordinary test run plays, of 1 to 5 instances each.
const DAYS: u64 = 1_000;

/// Plays so many days, on all cores, in the order of their seeds.
fn days(count: u64) -> Vec<(Plan, Outcome)> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let mut played: Vec<(Plan, Outcome)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..count)
                        .step_by(usize::try_from(threads).expect("few"))
                        .map(|seed| {
                            let plan = Plan::draw(seed);
                            (plan, play(&plan))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a day panicked"))
            .collect()
    });
    played.sort_by_key(|(plan, _)| plan.seed);
    played
}

#[test]
fn the_invariants_hold() {
    let count = std::env::var("SIMULATION_DAYS")
        .ok()
        .and_then(|days| days.parse().ok())
        .unwrap_or(DAYS);
    let played = days(count);
    let broken: Vec<String> = played
        .iter()
        .flat_map(|(plan, outcome)| {
            outcome
                .violations
                .iter()
                .map(move |violation| format!("{violation:?} in {plan:?}"))
        })
        .collect();
    let instance_days: usize = played.iter().map(|(plan, _)| plan.instances).sum();
    let sum = |of: fn(&Outcome) -> u64| played.iter().map(|(_, outcome)| of(outcome)).sum::<u64>();
    let doubles = |grounds: Grounds| {
        let made = played.iter().flat_map(|(_, outcome)| &outcome.doubles);
        made.filter(|each| **each == grounds).count()
    };
    println!(
        "{instance_days} instance-days, {} checks, {} actions; double sockets: {} blind, {} by a \
         neighbour's evidence, {} by the webhook's; {} not seen as made worse",
        sum(|outcome| outcome.checks),
        sum(|outcome| outcome.actions.into()),
        doubles(Grounds::Blind),
        doubles(Grounds::Neighbour),
        doubles(Grounds::Webhook),
        sum(|outcome| outcome.unjudged.into()),
    );
    let shown: Vec<&String> = broken.iter().take(20).collect();
    assert!(broken.is_empty(), "{} broken: {shown:#?}", broken.len());
    assert_eq!(
        sum(|outcome| outcome.unjudged.into()),
        0,
        "each double socket ends as made worse"
    );
    assert!(
        sum(|outcome| outcome.actions.into()) > 0,
        "it was put to work"
    );
}

/// The days of which some must show a broken rule.
fn sabotaged(sabotage: Sabotage) -> Vec<Outcome> {
    (0..6)
        .map(|seed| {
            play(&Plan {
                sabotage: Some(sabotage),
                fault_every_min: 15,
                triggers: Triggers::Punctual,
                ..Plan::draw(seed)
            })
        })
        .collect()
}

#[test]
fn each_invariant_sees_its_rule_broken() {
    for (sabotage, invariant) in [
        (Sabotage::ConnectAtOnce, 1),
        (Sabotage::SpendFreely, 2),
        (Sabotage::LogOut, 3),
        (Sabotage::ShowOnline, 3),
        (Sabotage::DoNothing, 4),
        (Sabotage::ForgetOutages, 5),
        (Sabotage::CryWolf, 5),
        (Sabotage::FreezeStatus, 6),
    ] {
        let seen = sabotaged(sabotage)
            .iter()
            .flat_map(|outcome| &outcome.violations)
            .filter(|violation| violation.invariant == invariant)
            .count();
        println!("{sabotage:?}: {seen} times");
        assert!(seen > 0, "{sabotage:?} goes unseen");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let plan = Plan::draw(3);
    assert_eq!(play(&plan).digest, play(&plan).digest);
    let dice = Plan {
        sabotage: Some(Sabotage::RollDice),
        ..plan
    };
    assert_ne!(play(&dice).digest, play(&dice).digest);
}

/// A healthy fleet, interrupted once.
fn quiet(seed: u64, triggers: Triggers) -> Plan {
    Plan {
        seed,
        instances: 1,
        webhooks: false,
        triggers,
        fault_every_min: 0,
        sabotage: None,
    }
}

#[test]
fn a_short_interruption_is_never_an_outage_and_a_long_one_always() {
    for triggers in [Triggers::Punctual, Triggers::Wild] {
        for phase_s in 0..30 {
            let plan = quiet(phase_s, triggers);
            let phase_ms = i64::try_from(phase_s).expect("few") * 1_000 + 137;
            for length_s in (1..45).step_by(4) {
                let outages = interrupt(&plan, phase_ms, length_s * 1_000);
                assert_eq!(outages, [], "{length_s} s at {phase_s} s, {triggers:?}");
            }
            for length_s in [130, 140, 150] {
                let outages = interrupt(&plan, phase_ms, length_s * 1_000);
                assert_eq!(
                    outages.len(),
                    1,
                    "{length_s} s at {phase_s} s, {triggers:?}"
                );
                let told_ms = outages[0].committed_ms - outages[0].started_ms;
                assert!(told_ms <= 120_000, "told after {told_ms} ms");
                assert!(outages[0].ended_ms.is_some(), "and it is over");
            }
        }
    }
}

#[test]
fn the_outage_of_a_hasty_monitor_is_seen() {
    let hasty = Plan {
        sabotage: Some(Sabotage::CryWolf),
        ..quiet(1, Triggers::Punctual)
    };
    assert_ne!(interrupt(&hasty, 137, 33_000), []);
}
