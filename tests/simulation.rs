//! The proof: thousands of instance-days with every fault there is, and the invariants that hold in
//! all of them. `SIMULATION_DAYS=n cargo test --test simulation` plays more.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;
#[path = "simulation/mod.rs"]
mod simulation;

use simulation::sabotage::Sabotage;
use simulation::{Outcome, Plan, Triggers, play};

#[test]
fn the_invariants_hold() {
    let days: u64 = std::env::var("SIMULATION_DAYS")
        .ok()
        .and_then(|days| days.parse().ok())
        .unwrap_or(20);
    let mut checks = 0;
    for seed in 0..days {
        let plan = Plan::draw(seed);
        let outcome = play(&plan);
        checks += outcome.checks;
        for v in outcome.violations.iter().take(3) {
            println!("{plan:?}: {v:?}");
        }
        if !outcome.doubles.is_empty() {
            println!(
                "seed {seed}: doubles {:?} unjudged {}",
                outcome.doubles, outcome.unjudged
            );
        }
    }
    println!("{checks} checks");
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
