//! What is done, whatever is remembered: nothing, but where it helps and nothing speaks against it.

mod memories;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use whatsapp_monitor::monitor::{
    Action, Attempt, Changes, Decision, Evidence, Grounds, Instance, MemoryState, Reading,
    Settings, Standing, Status, Steady, Streak, Timestamp, decide,
};

use memories::{
    NOON_MS, any_moment, attempts, calm_evidence, count, evidence, instance, moment, settings,
};

/// Memories of an outage that calls for an action, or nearly.
fn outage() -> impl Strategy<Value = Instance> {
    let paired = select(vec![
        (MemoryState::Close, Reading::PairedClose),
        (MemoryState::Connecting, Reading::Redialling),
    ]);
    let ago = || select(vec![60_000, 80_000, 160_000, 1_000_000, 4_000_000]);
    (
        instance(moment().boxed()),
        paired,
        ago(),
        ago(),
        count(),
        prop_oneof![Just(0), 0..64_u8],
    )
        .prop_map(
            |(wild, (state, reading), bad_ms, steady_ms, checks, keep)| {
                let now = Timestamp::from_ms(NOON_MS);
                let kept = |bit: u8| keep & (1 << bit) != 0;
                Instance {
                    status: if kept(0) {
                        wild.status
                    } else {
                        Status::Disconnected
                    },
                    reading: if kept(1) { wild.reading } else { Some(reading) },
                    unanswered: wild.unanswered.filter(|_| kept(2)),
                    halted_at: wild.halted_at.filter(|_| kept(3)),
                    changes: if kept(4) {
                        wild.changes
                    } else {
                        Changes::default()
                    },
                    bad: Some(Streak {
                        first: now.plus_ms(-bad_ms),
                        last: now,
                        checks,
                    }),
                    steady: Some(Steady {
                        state,
                        first: now.plus_ms(-steady_ms),
                        last: if kept(5) { now.plus_ms(-30_000) } else { now },
                        checks,
                    }),
                    ..wild
                }
            },
        )
}

/// What speaks against acting now, of all that the policy promises.
fn objection(
    instance: &Instance,
    attempts: &[Attempt],
    evidence: Evidence,
    at: Timestamp,
    settings: &Settings,
    (action, grounds): (Action, Grounds),
) -> Option<&'static str> {
    let ago = |moment: Timestamp| at.ms_since(moment);
    let within = |window_s: u32| {
        let recent = |attempt: &&Attempt| ago(attempt.at) < i64::from(window_s) * 1_000;
        u32::try_from(attempts.iter().filter(recent).count()).unwrap_or(u32::MAX)
    };
    let settling = attempts
        .last()
        .is_some_and(|last| last.settling(at, settings));
    let dial_heard = evidence.heard.last_connecting.map(ago);
    let first_action_ms = i64::from(settings.first_action_after_s) * 1_000;
    let steady_ms = i64::from(settings.steady_close_s) * 1_000;
    let spent = within(3_600) >= settings.attempts_per_hour;
    let window_s = if spent { settings.probe_every_s } else { 300 };
    let max = if spent {
        1
    } else {
        settings.attempts_per_5_min
    };
    match (action, grounds, instance.reading) {
        (Action::Restart, Grounds::State, Some(Reading::Redialling)) => {}
        (
            Action::Connect,
            Grounds::Webhook | Grounds::Neighbour | Grounds::Blind,
            Some(Reading::PairedClose),
        ) => {}
        _ => return Some("the reading does not call for it"),
    }
    let steady = instance.steady.filter(|steady| steady.last == at);
    let close_ms = steady.map_or(0, |steady| steady.ms_in(MemoryState::Close));
    match () {
        () if !evidence.may_act => Some("nothing may be done there"),
        () if evidence.standing != Standing::Sound => Some("the gateway is at fault"),
        () if instance.unanswered.is_some() => Some("it did not answer"),
        () if instance.halted_at.is_some() => Some("it was made worse"),
        () if matches!(
            instance.status,
            Status::Misconfigured | Status::Zombie | Status::GatewayUnreachable
        ) =>
        {
            Some("a person must see to it")
        }
        () if instance
            .bad
            .is_none_or(|bad| ago(bad.first) < first_action_ms) =>
        {
            Some("too early")
        }
        () if settling => Some("things may be settling"),
        () if within(window_s) >= max => Some("the budget is spent"),
        () if action == Action::Connect && close_ms < steady_ms => Some("the close is not steady"),
        () if grounds == Grounds::Webhook && dial_heard.is_some_and(|ms| ms < steady_ms) => {
            Some("a dial was heard")
        }
        () if action == Action::Restart && dial_heard.is_some_and(|ms| ms < first_action_ms) => {
            Some("another dial was heard")
        }
        () if grounds == Grounds::Neighbour && !evidence.neighbour_open => Some("no neighbour"),
        () => None,
    }
}

/// Nothing is done but for the two readings that it helps, and then only where nothing speaks against
/// it, whatever is remembered. The memories are drawn so that many of them do call for an action.
#[test]
fn an_action_always_has_its_grounds() {
    let now = Timestamp::from_ms(NOON_MS);
    let cases = (
        prop_oneof![8 => outage(), 1 => instance(moment().boxed()), 1 => instance(any_moment().boxed())],
        prop_oneof![Just(Vec::new()), attempts(moment().boxed())],
        prop_oneof![calm_evidence(), evidence(moment().boxed())],
        settings(),
        any::<i64>(),
    );
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: 20_000,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let acted = RefCell::new(BTreeMap::<String, u32>::new());
    let held = runner.run(&cases, |(instance, attempts, evidence, settings, id)| {
        let decision = decide(id, &instance, &attempts, evidence, &settings, now);
        if let Decision::Act(action, grounds) = decision {
            let wrong = objection(
                &instance,
                &attempts,
                evidence,
                now,
                &settings,
                (action, grounds),
            );
            prop_assert_eq!(wrong, None, "{:?}", decision);
            *acted
                .borrow_mut()
                .entry(format!("{grounds:?}"))
                .or_default() += 1;
        }
        Ok(())
    });
    assert_eq!(held, Ok(()));
    let acted = acted.into_inner();
    assert_eq!(acted.len(), 4, "{acted:?}");
    assert!(acted.values().all(|count| *count > 100), "{acted:?}");
}
