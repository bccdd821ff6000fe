//! The proof: thousands of instance-days with every fault there is, and the invariants that hold in
//! all of them. `SIMULATION_DAYS=n cargo test --test simulation` plays more.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;
#[path = "simulation/mod.rs"]
mod simulation;

use std::collections::BTreeMap;

use whatsapp_monitor::monitor::Grounds;

use simulation::fate::Place;
use simulation::sabotage::Sabotage;
use simulation::{Double, Outcome, Plan, Triggers, interrupt, play};

/// How many days the ordinary test run plays, of 1 to 5 instances each.
const DAYS: u64 = 700;

/// Milliseconds after which two sockets that replace each other have been seen for what they are.
const FIGHT_SEEN_MS: i64 = 30 * 60_000;

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

/// What the README says of the days that were played.
fn census(played: &[(Plan, Outcome)]) {
    let instance_days: usize = played.iter().map(|(plan, _)| plan.instances).sum();
    let sum = |of: fn(&Outcome) -> u64| played.iter().map(|(_, outcome)| of(outcome)).sum::<u64>();
    println!(
        "{instance_days} instance-days: {} checks, {} actions, {} grants refused because somebody \
         else had written, {} codes scanned; {} events heard, {} of them again, {} missed",
        sum(|outcome| outcome.checks),
        sum(|outcome| outcome.actions.into()),
        sum(|outcome| outcome.stale.into()),
        sum(|outcome| outcome.scans.into()),
        sum(|outcome| outcome.events[0]),
        sum(|outcome| outcome.events[1]),
        sum(|outcome| outcome.events[2]),
    );
    println!("ticks died: {:?}", deaths(played));
    for grounds in [Grounds::Blind, Grounds::Neighbour, Grounds::Webhook] {
        let made: Vec<&Double> = doubles(played)
            .filter(|double| double.grounds == grounds)
            .collect();
        let count = |of: fn(&Double) -> bool| made.iter().filter(|double| of(double)).count();
        println!(
            "double sockets on grounds {grounds:?}: {}; {} ended as made_worse, {} were over before \
             ({} of them without a fight), {} lasted and did not ({} looked like a connection)",
            made.len(),
            count(|double| double.worse),
            count(|double| !double.worse && !lasted(double)),
            count(|double| !double.worse && double.fought_ms == 0),
            count(|double| !double.worse && lasted(double)),
            count(|double| !double.worse && lasted(double) && double.hidden),
        );
    }
}

/// Whether the two sockets replaced each other for so long that it must have been seen.
fn lasted(double: &Double) -> bool {
    double.fought_ms >= FIGHT_SEEN_MS
}

fn doubles(played: &[(Plan, Outcome)]) -> impl Iterator<Item = &Double> {
    played.iter().flat_map(|(_, outcome)| &outcome.doubles)
}

fn deaths(played: &[(Plan, Outcome)]) -> BTreeMap<Place, u32> {
    let mut deaths = BTreeMap::new();
    for (place, count) in played.iter().flat_map(|(_, outcome)| &outcome.deaths) {
        *deaths.entry(*place).or_default() += count;
    }
    deaths
}

#[test]
fn the_invariants_hold() {
    let count = std::env::var("SIMULATION_DAYS")
        .ok()
        .and_then(|days| days.parse().ok())
        .unwrap_or(DAYS);
    let played = days(count);
    census(&played);
    let broken: Vec<String> = played
        .iter()
        .flat_map(|(plan, outcome)| {
            outcome
                .violations
                .iter()
                .map(move |violation| format!("{violation:?} in {plan:?}"))
        })
        .collect();
    let shown: Vec<&String> = broken.iter().take(20).collect();
    assert!(broken.is_empty(), "{} broken: {shown:#?}", broken.len());
    let unseen: Vec<(u64, &Double)> = played
        .iter()
        .flat_map(|(plan, outcome)| outcome.doubles.iter().map(|double| (plan.seed, double)))
        .filter(|(_, double)| lasted(double) && !double.worse && !double.hidden)
        .collect();
    assert!(unseen.is_empty(), "made worse, unseen: {unseen:#?}");
    let deaths = deaths(&played);
    for place in Place::ALL {
        assert!(deaths.contains_key(&place), "no tick died at {place:?}");
    }
    for (name, of) in [
        (
            "actions",
            (|outcome| outcome.actions.into()) as fn(&Outcome) -> u64,
        ),
        ("other writers", |outcome| outcome.stale.into()),
        ("scans", |outcome| outcome.scans.into()),
        ("events again", |outcome| outcome.events[1]),
        ("events missed", |outcome| outcome.events[2]),
    ] {
        let sum: u64 = played.iter().map(|(_, outcome)| of(outcome)).sum();
        assert!(sum > 0, "it was put to work: {name}");
    }
}

/// The days of which some must show a broken rule.
fn sabotaged(sabotage: Sabotage, triggers: Triggers) -> Vec<Outcome> {
    // Few ticks die, and few writers meet.
    let days = if triggers == Triggers::Wild { 12 } else { 6 };
    (0..days)
        .map(|seed| {
            play(&Plan {
                sabotage: Some(sabotage),
                fault_every_min: 15,
                triggers,
                always_online: true,
                webhooks: true,
                ..Plan::draw(seed)
            })
        })
        .collect()
}

#[test]
fn each_invariant_sees_its_rule_broken() {
    use Triggers::{Punctual, Wild};
    for (sabotage, triggers, invariant) in [
        (Sabotage::ConnectAtOnce, Punctual, 1),
        (Sabotage::DeafToDials, Punctual, 1),
        (Sabotage::IgnoreWriters, Wild, 1),
        (Sabotage::SpendFreely, Punctual, 2),
        (Sabotage::ForgetDied, Wild, 2),
        (Sabotage::LogOut, Punctual, 3),
        (Sabotage::ShowOnline, Punctual, 3),
        (Sabotage::ProbeAlways, Punctual, 3),
        (Sabotage::DoNothing, Punctual, 4),
        (Sabotage::AlwaysWorse, Punctual, 4),
        (Sabotage::ForgetOutages, Punctual, 5),
        (Sabotage::CryWolf, Punctual, 5),
        (Sabotage::FreezeStatus, Punctual, 6),
        (Sabotage::ShowConnected, Punctual, 6),
        (Sabotage::NeverClose, Punctual, 6),
    ] {
        let mut seen = BTreeMap::new();
        let mut at_the_end = 0;
        for outcome in sabotaged(sabotage, triggers) {
            for violation in outcome.violations {
                *seen.entry(violation.invariant).or_insert(0) += 1;
                at_the_end += u32::from(violation.at_the_end);
            }
        }
        println!("{sabotage:?}: {seen:?}, {at_the_end} of them at the end");
        assert!(seen.contains_key(&invariant), "{sabotage:?} goes unseen");
        assert!(
            invariant != 6 || at_the_end > 0,
            "{sabotage:?} goes unseen at the end"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let plan = Plan {
        triggers: Triggers::Wild,
        webhooks: true,
        people: true,
        ..Plan::draw(3)
    };
    assert_eq!(play(&plan).digest, play(&plan).digest);
    let dice = Plan {
        sabotage: Some(Sabotage::RollDice),
        ..plan
    };
    assert_ne!(play(&dice).digest, play(&dice).digest);
}

/// A healthy instance, looked at so.
fn looked_at(seed: u64, triggers: Triggers) -> Plan {
    Plan {
        triggers,
        ..Plan::quiet(seed)
    }
}

/// The lengths of interruptions that are tried, in milliseconds: around each boundary, and between.
fn lengths_ms() -> impl Iterator<Item = i64> {
    let near = [44, 45, 55, 60, 100, 120, 130].into_iter().flat_map(|s| {
        [
            s * 1_000 - 1_000,
            s * 1_000 - 1,
            s * 1_000,
            s * 1_000 + 1_000,
        ]
    });
    (1..44)
        .step_by(4)
        .map(|s| s * 1_000)
        .chain(near)
        .chain([150_000, 180_000, 240_000, 300_000, 420_000])
}

#[test]
fn a_short_interruption_is_never_an_outage_and_a_long_one_always() {
    // Whether the promise held, or its condition did not.
    let mut promised = [0; 2];
    for triggers in [Triggers::Punctual, Triggers::Wild] {
        for phase_s in 0..15 {
            let plan = looked_at(phase_s, triggers);
            let phase_ms = i64::try_from(phase_s).expect("few") * 2_000 + 137;
            for length_ms in lengths_ms() {
                let seen = interrupt(&plan, &[(phase_ms, length_ms)]);
                let what = format!("{length_ms} ms at {phase_ms} ms, {triggers:?}: {seen:#?}");
                assert_eq!(seen.violations, [], "{what}");
                assert!(seen.outages.len() <= 1, "{what}");
                assert!(length_ms >= 45_000 || seen.outages.is_empty(), "{what}");
                let long = seen.all_bad_ms >= 100_000;
                assert!(!long || seen.outages.len() == 1, "{what}");
                for outage in &seen.outages {
                    let told_ms = outage.committed_ms - outage.started_ms;
                    // Wildly, the first bad check may lie long before the second.
                    let soon = told_ms <= 120_000 && outage.ended_ms.is_some();
                    assert!(soon || triggers == Triggers::Wild, "{what}");
                }
                // Punctually it holds where an interval before and one after are to spare.
                let punctual = triggers == Triggers::Punctual && length_ms >= 165_000;
                assert!(long || !punctual, "{what}");
                promised[usize::from(long)] += usize::from(length_ms >= 100_000);
            }
        }
    }
    println!("of the long ones, the promise held for {promised:?} (not, and to be kept)");
    assert!(promised.iter().all(|count| *count > 0));
}

#[test]
fn two_short_interruptions_with_a_minute_between_them_are_no_outage() {
    for phase_s in 0..30 {
        let plan = looked_at(phase_s, Triggers::Punctual);
        let at_ms = i64::try_from(phase_s).expect("few") * 1_000;
        let train = [0, 105_000, 210_000].map(|after_ms| (at_ms + after_ms, 44_900));
        let seen = interrupt(&plan, &train);
        assert_eq!((&*seen.outages, &*seen.violations), (&[][..], &[][..]));
    }
}

#[test]
fn the_outage_of_a_hasty_monitor_is_seen() {
    let hasty = Plan {
        sabotage: Some(Sabotage::CryWolf),
        ..looked_at(1, Triggers::Punctual)
    };
    assert_ne!(interrupt(&hasty, &[(137, 33_000)]).outages, []);
}
