//! The memory of instances and gateways, as it may come back from Postgres: of another version,
//! edited, or of a clock that was set. Whatever it is, a check goes on from there.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod memories;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;
use serde_json::{Map, Value, json};
use whatsapp_monitor::monitor::{
    Answer, Capabilities, Check, FinalCodes, Finding, Gateway, GatewayFault, Instance, MemoryState,
    Observation, Question, Settings, Status, Steady, Streak, Timestamp, Visit, Visited, conclude,
};
use whatsapp_monitor::store::gateways::GatewayKnown;
use whatsapp_monitor::store::tick::{Claimed, Stale};

use memories::{
    END_MS, NOON_MS, any_json, any_moment, attempts, evidence, final_codes, gateway, gateway_fault,
    instance, kept_moment, memory_state, observation, row, settings, socket,
};

/// Changes between open and not open that are remembered.
const MAX_CHANGES: usize = 8;

/// The memory of a claimed instance whose row holds this.
fn claimed(state: &Value) -> Instance {
    let row = json!({
        "id": 7, "organization_id": "o", "gateway_url": "https://gw.example", "name": "loja-a",
        "api_key": "k", "fence": 1, "version": 1, "state": state,
    });
    let claimed: Claimed = serde_json::from_str(&row.to_string()).expect("a claim");
    claimed.state.value
}

/// What must hold of a memory that began empty and was told of nothing later than `at`.
fn is_consistent(instance: &Instance, at: Timestamp) {
    let Instance {
        since,
        bad,
        unanswered,
        down_since,
        good,
        recovered_at,
        last_open,
        last_look,
        steady,
        probed_at,
        socket_missing,
        halted_at,
        ..
    } = instance.clone();
    let streaks = [bad, unanswered, good, socket_missing];
    let moments = [
        since,
        down_since,
        recovered_at,
        last_open,
        last_look.map(|look| look.at),
        steady.map(|steady| steady.last),
        probed_at,
        halted_at,
    ];
    let firsts = streaks.iter().flatten().map(|streak| streak.first);
    for moment in moments.into_iter().flatten().chain(firsts) {
        assert!(moment <= at, "nothing lies in the future: {instance:?}");
    }
    for streak in streaks.into_iter().flatten() {
        assert!(streak.checks > 0, "a streak has a check: {instance:?}");
    }
    if let Some(steady) = steady {
        assert!(steady.first <= steady.last && steady.checks > 0);
    }
    assert!(since.is_some(), "shown since some time: {instance:?}");
    assert!(bad.is_none() || good.is_none(), "not both: {instance:?}");
    assert!(
        good.is_none() || instance.is_down(),
        "an end needs an outage: {instance:?}"
    );
    assert!(
        down_since.is_none() || recovered_at <= down_since,
        "the last outage ended before this one began: {instance:?}"
    );
    match instance.status {
        Status::Connected => assert!(!instance.is_down(), "{instance:?}"),
        Status::Zombie | Status::Disconnected => assert!(instance.is_down(), "{instance:?}"),
        _ => {}
    }
    let kept = json!(instance.changes);
    assert!(
        kept.as_array()
            .is_some_and(|kept| kept.len() <= MAX_CHANGES)
    );
}

/// More than proptest's own number: what is tried takes microseconds.
fn often() -> Config {
    let config = Config::default();
    Config {
        cases: config.cases.saturating_mul(8),
        ..config
    }
}

proptest! {
    #![proptest_config(often())]

    #[test]
    fn the_memory_of_an_instance_survives_postgres(instance in instance(kept_moment().boxed())) {
        let json = serde_json::to_value(&instance).expect("JSON");
        prop_assert_eq!(claimed(&json), instance);
    }

    #[test]
    fn the_memory_of_a_gateway_survives_postgres(gateway in gateway(kept_moment().boxed())) {
        let json = json!({
            "url": "https://gw.example", "version": null, "version_due": false, "state_version": 3,
            "state": gateway,
        });
        let known: GatewayKnown = serde_json::from_str(&json.to_string()).expect("a gateway");
        prop_assert_eq!(known.state.value, gateway);
    }

    /// Whatever somebody has put in its place, the tick goes on, for this instance as for one that
    /// was never checked.
    #[test]
    fn any_json_is_a_memory(state in any_json()) {
        let read = serde_json::from_value(state.clone()).unwrap_or_default();
        prop_assert_eq!(&claimed(&state), &read);
        let stale = json!({ "id": 7, "version": 1, "state": state });
        let stale: Stale = serde_json::from_str(&stale.to_string()).expect("a stale row");
        prop_assert_eq!(stale.state.value, read);
        let known = json!({
            "url": "u", "version": null, "version_due": true, "state_version": 0, "state": state,
        });
        let known: Result<GatewayKnown, _> = serde_json::from_str(&known.to_string());
        prop_assert!(known.is_ok());
    }

    /// A field more or less, as after an upgrade or its undoing, leaves the others; one that cannot
    /// be read, or a moment that no database can hold, leaves none.
    #[test]
    fn a_memory_with_one_field_changed_is_read(
        instance in instance(kept_moment().boxed()), field in any::<Index>(), value in any_json(),
    ) {
        let json = serde_json::to_value(&instance).expect("JSON");
        let fields: Map<String, Value> = json.as_object().cloned().expect("an object");
        let names: Vec<&String> = fields.keys().collect();
        let name = *field.get(&names);

        let mut less = fields.clone();
        less.remove(name);
        let mut expected = fields.clone();
        let default = serde_json::to_value(Instance::default()).expect("JSON");
        expected.insert(name.clone(), default[name].clone());
        prop_assert_eq!(claimed(&less.into()), claimed(&expected.into()));

        let mut more = fields.clone();
        more.insert("of_a_later_version".to_owned(), value.clone());
        prop_assert_eq!(&claimed(&more.into()), &instance);

        let mut other = fields.clone();
        other.insert(name.clone(), value);
        let read = claimed(&other.into());
        let rest = |fields: &Value| {
            let mut fields = fields.as_object().cloned().expect("an object");
            fields.remove(name);
            fields
        };
        let kept = serde_json::to_value(&read).expect("JSON");
        prop_assert!(read == Instance::default() || rest(&kept) == rest(&json));
        for moment in [read.since, read.down_since, read.recovered_at] {
            let ms = moment.map_or(0, Timestamp::as_ms);
            prop_assert!((0..=END_MS).contains(&ms), "{}", ms);
        }
    }

    /// Whatever is remembered, seen and set, at whatever time: a whole visit ends, and what it comes to
    /// can be written down.
    #[test]
    fn no_memory_stops_a_visit(
        instances in prop::collection::vec(
            (
                instance(any_moment().boxed()), attempts(any_moment().boxed()), observation(),
                evidence(any_moment().boxed()), any_moment(), any::<i64>(),
            ),
            0..4,
        ),
        gateway in gateway(any_moment().boxed()),
        finding in prop_oneof![
            Just(Finding::Sound), Just(Finding::Nothing), gateway_fault().prop_map(Finding::AtFault),
        ],
        settings in settings(),
        at in any_moment(),
    ) {
        let visit = Visit {
            gateway: &gateway, finding, may_act: true, open_elsewhere: false, at,
        };
        let visited: Vec<Visited> = instances
            .iter()
            .map(|(instance, attempts, observation, evidence, at, id)| Visited {
                id: *id,
                instance,
                attempts,
                heard: evidence.heard,
                at: *at,
                observation,
            })
            .collect();
        let (gateway, conclusions) = conclude(visit, &visited, &settings);
        prop_assert!(serde_json::to_string(&gateway).is_ok());
        prop_assert_eq!(conclusions.len(), visited.len());
        for conclusion in conclusions {
            prop_assert!(serde_json::to_string(&conclusion.instance).is_ok());
            let kept = json!(conclusion.instance.changes);
            prop_assert!(kept.as_array().is_some_and(|kept| kept.len() <= 12));
        }
    }

    /// The same of the questions: every check ends after a few of them, whatever is answered.
    #[test]
    fn every_check_ends(
        instance in instance(any_moment().boxed()), at in any_moment(), id in any::<i64>(),
        states in prop::collection::vec(memory_state(), 8), row in prop::option::of(row()),
        always in prop::option::of(any::<bool>()), socket in prop::option::of(socket()),
        may_act in any::<bool>(), final_codes in final_codes(), settings in settings(),
    ) {
        let capabilities = Capabilities { final_codes, may_act, webhooks: None };
        let mut check = Check::new(id, &instance, at, capabilities, &settings);
        let mut asked = Vec::new();
        while let Some(question) = check.question() {
            asked.push(question);
            prop_assert!(asked.len() <= 4, "{:?}", asked);
            let answer = match question {
                Question::State | Question::StateAgain => Answer::State(Ok(states[asked.len()])),
                Question::Row => Answer::Row(row.clone()),
                Question::AlwaysOnline => Answer::AlwaysOnline(always),
                Question::Socket => Answer::Socket(socket),
            };
            check.answer(answer, capabilities);
        }
        // To look for the socket shows the instance offline.
        let probed = asked.contains(&Question::Socket);
        prop_assert!(!probed || (always == Some(false) && may_act), "{:?}", asked);
        let _ = instance.observe(&check.observation(capabilities), at, &settings);
    }

    /// From nothing on, check by check: what is remembered fits together.
    #[test]
    fn a_history_of_any_checks_is_consistent(
        checks in prop::collection::vec((observation(), 0..200_000_i64), 1..60),
    ) {
        let settings = Settings::default();
        let mut instance = Instance::default();
        let mut now = Timestamp::from_ms(NOON_MS);
        for (observation, after_ms) in checks {
            now = now.plus_ms(after_ms);
            instance = instance.observe(&observation, now, &settings);
            is_consistent(&instance, now);
        }
    }

    /// Two that write one instance apply their observations in the order of the writing, not of the
    /// looking.
    #[test]
    fn an_observation_that_comes_late_is_survived(
        checks in prop::collection::vec((observation(), -20_000..60_000_i64), 1..40),
    ) {
        let settings = Settings::default();
        let mut instance = Instance::default();
        let mut now = Timestamp::from_ms(NOON_MS);
        let mut latest = now;
        for (observation, after_ms) in checks {
            now = now.plus_ms(after_ms);
            latest = latest.max(now);
            instance = instance.observe(&observation, now, &settings);
            let json = serde_json::to_value(&instance).expect("JSON");
            prop_assert_eq!(&claimed(&json), &instance);
            let moments = [instance.since, instance.down_since, instance.recovered_at];
            prop_assert!(moments.into_iter().flatten().all(|moment| moment <= latest));
        }
    }
}

/// Counters that have come to their end stay there.
#[test]
fn counters_saturate() {
    let end = Streak {
        first: Timestamp::from_ms(NOON_MS),
        last: Timestamp::from_ms(NOON_MS),
        checks: u32::MAX,
    };
    let (at, settings) = (end.first.plus_ms(30_000), Settings::default());
    let unanswered = Observation::Failed(GatewayFault::Refused.into());
    let dropped = Observation::Seen {
        memory: MemoryState::Close,
        row: None,
        socket: None,
        final_codes: FinalCodes::default(),
    };
    let before = Instance {
        bad: Some(end),
        unanswered: Some(end),
        steady: Some(Steady {
            state: MemoryState::Close,
            first: end.first,
            last: end.first,
            checks: u32::MAX,
        }),
        ..Instance::default()
    };
    let end = Some(Streak { last: at, ..end });
    assert_eq!(before.observe(&unanswered, at, &settings).unanswered, end);
    let after = before.observe(&dropped, at, &settings);
    assert_eq!(after.bad, end);
    assert_eq!(after.steady.map(|steady| steady.checks), Some(u32::MAX));
    let gateway = Gateway {
        failing: end,
        ..Gateway::default()
    };
    let found = Finding::AtFault(GatewayFault::Refused);
    assert_eq!(
        gateway
            .observe(found, at, &settings)
            .failing
            .map(|failing| failing.checks),
        Some(u32::MAX)
    );
}
