//! When a slot is looked at, how often it is set, and what that came to.

use std::collections::BTreeSet;

use whatsapp_monitor::monitor::webhook::{
    Drift, Due, Finding, Memory, Occasion, Policy, SECRET_HEADER,
};
use whatsapp_monitor::monitor::{Heard, Verdict};

use super::{OURS, SOMEBODYS, THEIRS, WANTED, World, hook, ours, texts, webhooks, wiped};

#[test]
fn there_is_one_repair_in_five_minutes() {
    let mut world = World::new();
    world.look();
    world.slot = Some(wiped());
    assert_eq!(world.look(), (Finding::Wiped, None));
    assert_eq!(world.verdicts(), [Some(Verdict::NoEffect)]);
    assert!(!world.is_due(), "it is known that nothing may be done");
    world.wait_s(299);
    assert_eq!(world.look(), (Finding::Wiped, None));
    assert!(!world.is_due());
    world.wait_s(1);
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Wiped, Some(Occasion::Wiped)));
}

/// Three repairs, five minutes apart, each undone by somebody else, and five minutes after them.
fn undone_three_times() -> World {
    let mut world = World::new();
    for _ in 0..3 {
        world.slot = Some(wiped());
        assert_eq!(world.look(), (Finding::Wiped, Some(Occasion::Wiped)));
        world.wait_s(300);
    }
    world.slot = Some(wiped());
    assert_eq!(world.look(), (Finding::Contended, None));
    world
}

#[test]
fn after_three_repairs_in_vain_we_stop_for_an_hour() {
    let mut world = undone_three_times();
    for _ in 0..11 {
        world.wait_s(300);
        assert_eq!(world.look(), (Finding::Contended, None));
    }
    world.wait_s(299);
    assert_eq!(world.look(), (Finding::Contended, None));
    world.wait_s(1);
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Wiped, Some(Occasion::Wiped)));
}

#[test]
fn we_do_not_stop_where_something_else_is_wanted() {
    let mut world = undone_three_times();
    world.secret = "second-secret".to_owned();
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Wiped, Some(Occasion::Changed)));
    assert_eq!(world.look(), (Finding::Right, None));
    assert_eq!(world.memory.contended_at, None);
}

#[test]
fn what_is_right_again_is_not_contended() {
    let mut world = undone_three_times();
    world.slot = Some(ours());
    world.wait_s(300);
    assert_eq!(world.look(), (Finding::Right, None));
    assert!(!world.is_due());
    world.slot = Some(hook(SOMEBODYS));
    world.wait_s(300);
    assert_eq!(world.look(), (Finding::Foreign, None));
}

#[test]
fn what_the_gateway_refuses_is_tried_again_as_the_budget_allows() {
    let mut world = World {
        refuses: true,
        ..World::new()
    };
    assert_eq!(world.look(), (Finding::Empty, Some(Occasion::Empty)));
    assert_eq!(world.look(), (Finding::Refused, None));
    for _ in 0..2 {
        world.wait_s(300);
        assert_eq!(world.look(), (Finding::Refused, Some(Occasion::Empty)));
    }
    world.wait_s(300);
    assert_eq!(world.look(), (Finding::Refused, None), "nobody rewrites it");
    assert_eq!(world.verdicts(), [Some(Verdict::Refused); 3]);
    world.wait_s(2_700);
    assert!(world.is_due());
    world.refuses = false;
    assert_eq!(world.look(), (Finding::Refused, Some(Occasion::Empty)));
    assert_eq!(world.look(), (Finding::Right, None));
}

#[test]
fn an_answer_that_makes_no_sense_changes_nothing() {
    let mut world = World::settled();
    let before = world.memory.clone();
    world.secret = "second-secret".to_owned();
    world.storm_until = Some(world.now.plus_ms(600_000));
    assert_eq!(world.look_in_vain(), (Finding::Unreadable, None));
    assert!(!world.memory.tells_of_dials);
    let expected = Memory {
        finding: Some(Finding::Unreadable),
        tells_of_dials: false,
        looked_at: Some(world.now),
        ..before
    };
    assert_eq!(world.memory, expected);
    assert!(
        !world.is_due(),
        "who has not told is not asked at every check"
    );
    world.wait_s(300);
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.verdicts(), [Some(Verdict::Worked), None]);
}

#[test]
fn a_storm_does_without_the_event_that_comes_in_thousands() {
    let mut world = World::settled();
    world.storm_until = Some(world.now.plus_ms(300_000));
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.hook().events, texts(&WANTED[1..]));
    assert_eq!(world.look(), (Finding::Right, None));
    assert!(!world.memory.tells_of_dials);
    world.wait_s(300);
    assert!(world.is_due(), "it is over");
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.hook(), &ours());
    assert_eq!(world.look(), (Finding::Right, None));
    assert!(world.memory.tells_of_dials);
}

/// What changes is set five minutes later where something was set just before: it is still no repair.
#[test]
fn storms_all_day_long_are_not_taken_for_somebody_who_rewrites_it() {
    let mut world = World::settled();
    for _ in 0..12 {
        // It begins between two ticks, and is over a little before the five minutes are.
        world.storm_until = Some(world.now.plus_ms(290_000));
        assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
        assert_eq!(world.look(), (Finding::Right, None));
        world.wait_s(290);
        assert_eq!(world.look(), (Finding::Drifted, None), "too soon");
        assert!(!world.is_due());
        assert_eq!(world.look_in_vain(), (Finding::Unreadable, None));
        world.wait_s(10);
        assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
        assert_eq!(world.look(), (Finding::Right, None));
        world.wait_s(300);
    }
}

#[test]
fn a_storm_is_none_of_somebody_elses_business() {
    let mut world = World {
        own_url: Some(THEIRS.to_owned()),
        ..World::new()
    };
    world.storm_until = Some(world.now.plus_ms(300_000));
    world.look();
    assert_eq!(world.hook().events, texts(&WANTED));
}

#[test]
fn it_is_looked_at_where_it_became_open_and_every_so_often() {
    let mut world = World::settled();
    assert!(!world.is_due());
    assert_eq!(world.known().due(true, world.now), Due::Look);
    // Since noon, each instance in its own phase.
    let mut phases = BTreeSet::new();
    for id in 0..50 {
        world.id = id;
        world.look();
        let mut looks = Vec::new();
        for second in 1..=1_500 {
            world.wait_s(1);
            if world.is_due() {
                assert_eq!(world.look(), (Finding::Right, None));
                looks.push(second);
            }
        }
        assert_eq!(looks.len(), 5, "{looks:?}");
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] == 300));
        phases.insert(looks[0]);
    }
    assert!(phases.len() > 25, "{phases:?}");
}

#[test]
fn whatever_else_is_wanted_is_wanted_at_once() {
    type Change = fn(&mut World);
    let changes: [(&str, Change, bool); 7] = [
        ("another secret", |it| it.secret = "second".to_owned(), true),
        ("another policy", |it| it.policy = Policy::TakeOver, true),
        (
            "a setting",
            |it| it.setting_url = Some(THEIRS.to_owned()),
            true,
        ),
        ("their own", |it| it.own_url = Some(THEIRS.to_owned()), true),
        (
            "another road",
            |it| it.receiver = Some(OURS.replace("loja", "new")),
            true,
        ),
        (
            "another version",
            |it| it.webhooks = webhooks("2.2.3"),
            true,
        ),
        (
            "events without a URL",
            |it| it.own_events = vec!["CALL".to_owned()],
            false,
        ),
    ];
    for (what, change, due) in changes {
        let mut world = World::settled();
        change(&mut world);
        assert_eq!(world.is_due(), due, "{what}");
        world.look();
        assert!(!world.is_due() || world.sets.len() == 2, "{what}");
        assert_eq!(world.look(), (Finding::Right, None), "{what}");
        assert!(!world.is_due(), "{what}");
    }
}

#[test]
fn a_new_secret_is_set_and_says_nothing_about_what_was_set_before() {
    let mut world = World::new();
    world.look();
    world.wait_s(300);
    world.secret = "second-secret".to_owned();
    assert!(world.is_due());
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.memory.drift, [Drift::Headers]);
    assert_eq!(world.hook().headers[SECRET_HEADER], "second-secret");
    assert_eq!(world.verdicts(), [None, None]);
    assert_eq!(world.look(), (Finding::Right, None));
    assert_eq!(world.verdicts(), [Some(Verdict::Worked); 2]);
}

#[test]
fn what_was_set_in_vain_is_judged_once() {
    let mut world = World::new();
    world.look();
    world.slot = Some(hook(SOMEBODYS));
    for _ in 0..2 {
        assert_eq!(world.look(), (Finding::Foreign, None));
        assert_eq!(world.verdicts(), [Some(Verdict::NoEffect)]);
    }
}

#[test]
fn what_was_heard_is_evidence_only_where_events_of_dials_reach_us() {
    type Change = fn(&mut World);
    let mut world = World::settled();
    world.heard = Heard {
        last_event: Some(world.now),
        last_connecting: Some(world.now),
    };
    assert_eq!(world.known().heard(world.now), world.heard);
    let changes: [(&str, Change); 12] = [
        ("nobody has looked", |it| it.memory = Memory::default()),
        ("verify", |it| it.policy = Policy::Verify),
        ("off", |it| it.policy = Policy::Off),
        ("a new secret", |it| it.secret = "second".to_owned()),
        ("no receiver", |it| it.receiver = None),
        ("a storm", |it| it.storm_until = Some(it.now.plus_ms(1))),
        ("a storm that was seen to", |it| {
            it.storm_until = Some(it.now.plus_ms(1));
            it.look();
            it.look();
        }),
        ("the end of a storm, not seen to", |it| {
            it.storm_until = Some(it.now.plus_ms(1_000));
            it.look();
            it.look();
            it.wait_s(1);
        }),
        ("drift", |it| {
            it.slot = Some(wiped());
            it.look();
        }),
        ("somebody else's", |it| {
            it.slot = Some(hook(SOMEBODYS));
            it.look();
        }),
        ("no answer", |it| {
            it.look_in_vain();
        }),
        ("their own", |it| {
            it.own_url = Some(THEIRS.to_owned());
            it.look();
            it.look();
        }),
    ];
    for (what, change) in changes {
        let mut world = world.clone();
        change(&mut world);
        assert_eq!(world.known().heard(world.now), Heard::default(), "{what}");
    }
}

#[test]
fn nobody_looks_where_it_is_not_known_where_events_should_go() {
    let mut world = World {
        receiver: None,
        ..World::with(ours())
    };
    assert_eq!(world.known().conclude(Ok(None), world.now), None);
    let Due::Nowhere(memory) = world.known().due(true, world.now) else {
        panic!("nothing to compare with");
    };
    assert_eq!(memory.finding, Some(Finding::NoReceiver));
    world.memory = *memory;
    world.wait_s(3_600);
    assert_eq!(
        world.known().due(true, world.now),
        Due::No,
        "once is enough"
    );
    world.receiver = Some(OURS.to_owned());
    assert!(world.is_due());
}
