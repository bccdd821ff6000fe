//! Checks that leave nothing to remember but when they were: what the database keeps for them, one
//! moment, is worth as much as the whole memory.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod memories;

use proptest::prelude::*;
use whatsapp_monitor::monitor::{
    FinalCodes, GatewayFault, Instance, Integration, MemoryState, Observation, Profile, Row,
    RowStatus, Settings, Socket, Timestamp,
};

use memories::{NOON_MS, instance, kept_moment, observation};

fn seen(memory: MemoryState, row: Option<Row>, socket: Option<Socket>) -> Observation {
    Observation::Seen {
        memory,
        row,
        socket,
        final_codes: FinalCodes::default(),
    }
}

fn open() -> Observation {
    seen(MemoryState::Open, None, None)
}

fn paired() -> Row {
    Row {
        status: Some(RowStatus::Open),
        reason: None,
        profile: Profile::default(),
        integration: Integration::Socket,
    }
}

/// One that was open for a while, and when it was last checked.
fn connected() -> (Instance, Timestamp) {
    let first = Timestamp::from_ms(NOON_MS);
    let settings = Settings::default();
    let with_row = seen(MemoryState::Open, Some(paired()), None);
    let instance = Instance::default().observe(&with_row, first, &settings);
    (instance, first)
}

#[test]
fn a_connection_that_lasts_settles_at_every_check() {
    let settings = Settings::default();
    let (stored, mut at) = connected();
    let mut instance = stored.clone();
    for _ in 0..1_000 {
        at = at.plus_ms(30_000);
        let next = instance.observe(&open(), at, &settings);
        assert!(next.is_settled(&instance, at));
        // All that is kept of a thousand checks is when the last was.
        assert_eq!(next, stored.clone().settled(at));
        instance = next;
    }
}

#[test]
fn what_is_news_never_settles() {
    let settings = Settings::default();
    let (before, last) = connected();
    let settles = |observation: &Observation, after_ms: i64| {
        let at = last.plus_ms(after_ms);
        let next = before.observe(observation, at, &settings);
        next.is_settled(&before, at)
    };
    assert!(settles(&open(), 30_000));
    for news in [
        seen(MemoryState::Open, Some(paired()), None),
        seen(MemoryState::Open, None, Some(Socket::There)),
        seen(MemoryState::Open, None, Some(Socket::Missing)),
        seen(MemoryState::Close, None, None),
        seen(MemoryState::Connecting, None, None),
        seen(MemoryState::NotLoaded, None, None),
        Observation::Failed(GatewayFault::TimedOut.into()),
    ] {
        assert!(!settles(&news, 30_000), "{news:?}");
    }
    let gap = "what lies before a time in which nobody looked is not remembered as one with it";
    assert!(!settles(&open(), 120_000), "{gap}");
    let late = "the moment of an older check is no later one's";
    assert!(!settles(&open(), -1), "{late}");
}

#[test]
fn the_first_check_does_not_settle() {
    let at = Timestamp::from_ms(NOON_MS);
    let never = Instance::default();
    let next = never.observe(&open(), at, &Settings::default());
    assert!(!next.is_settled(&never, at));
}

/// What is seen at a check: an open connection as a rule, and all else now and then.
fn mostly_open() -> impl Strategy<Value = Observation> {
    prop_oneof![3 => Just(open()), 1 => observation()]
}

proptest! {
    /// Whatever is remembered and seen: a memory that is written only where there is news, with the
    /// moment of the last check beside it, is the same as one that is written at every check.
    #[test]
    fn a_settled_memory_is_as_good_as_the_whole(
        before in instance(kept_moment().boxed()),
        history in prop::collection::vec(mostly_open(), 1..12),
    ) {
        let settings = Settings::default();
        let mut at = Timestamp::from_ms(NOON_MS);
        let (mut whole, mut stored, mut settled_at) = (before.clone(), before, None);
        for observation in &history {
            at = at.plus_ms(30_000);
            let loaded = match settled_at {
                Some(at) => stored.clone().settled(at),
                None => stored.clone(),
            };
            let next = loaded.observe(observation, at, &settings);
            if next.is_settled(&loaded, at) {
                let is_open = matches!(observation, Observation::Seen { memory: MemoryState::Open, .. });
                prop_assert!(is_open, "{observation:?}");
                settled_at = Some(at);
            } else {
                (stored, settled_at) = (next.clone(), None);
            }
            whole = whole.observe(observation, at, &settings);
            prop_assert_eq!(&next, &whole);
        }
    }
}
