//! The monitor's decisions, driven under a virtual clock.

#![allow(clippy::expect_used, reason = "a test may fail")]

use whatsapp_monitor::monitor::{
    ConfigFault, Fault, FinalCodes, FinalReason, GatewayFault, Instance, Integration, MemoryState,
    Observation, Profile, Reading, Reason, RecordedReason, Row, RowStatus, Settings, Status,
    Timestamp, read,
};

const NOON_MS: i64 = 1_795_435_200_000;

fn row(status: RowStatus, reason: Option<(u16, &str)>) -> Row {
    Row {
        status: Some(status),
        profile: Profile::default(),
        integration: Integration::Socket,
        reason: reason.map(|(code, at)| RecordedReason {
            code,
            at: Some(at.to_owned()),
        }),
    }
}

fn seen(memory: MemoryState, row: Option<Row>) -> Observation {
    Observation::Seen {
        memory,
        row,
        socket: None,
        final_codes: FinalCodes::default(),
    }
}

fn open() -> Observation {
    seen(MemoryState::Open, Some(row(RowStatus::Open, None)))
}

/// Paired, between two redials.
fn dropped() -> Observation {
    seen(MemoryState::Close, Some(row(RowStatus::Open, None)))
}

fn logged_out(code: u16, at: &str) -> Observation {
    seen(
        MemoryState::Close,
        Some(row(RowStatus::Close, Some((code, at)))),
    )
}

fn failed(fault: impl Into<Fault>) -> Observation {
    Observation::Failed(fault.into())
}

/// An instance and the virtual clock it lives under.
struct World {
    instance: Instance,
    now: Timestamp,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        Self {
            instance: Instance::default(),
            now: Timestamp::from_ms(NOON_MS),
            settings: Settings::default(),
        }
    }

    /// An instance that was open for a while.
    fn connected() -> Self {
        let mut world = Self::new();
        world.check(&open());
        world.check(&open());
        assert_eq!(world.instance.status, Status::Connected);
        world
    }

    /// A check `after_s` seconds from now.
    fn check_after(&mut self, after_s: i64, observation: &Observation) -> Status {
        self.now = self.now.plus_ms(after_s * 1_000);
        // What Postgres keeps is what counts: every check starts from it.
        let stored = serde_json::to_string(&self.instance).expect("an instance is JSON");
        let loaded: Instance = serde_json::from_str(&stored).expect("and back again");
        assert_eq!(loaded, self.instance);
        self.instance = loaded.observe(observation, self.now, &self.settings);
        self.instance.status
    }

    /// A check after the usual 30 seconds.
    fn check(&mut self, observation: &Observation) -> Status {
        self.check_after(30, observation)
    }
}

#[test]
fn the_two_states_are_read_together_as_the_table_says() {
    use MemoryState::{Close, Connecting, NotLoaded, Open};
    let open = row(RowStatus::Open, None);
    let connecting = row(RowStatus::Connecting, None);
    let close = row(RowStatus::Close, None);
    let ended = |code| row(RowStatus::Close, Some((code, "then")));
    for (memory, row, expected) in [
        (Open, Some(&open), Reading::Open),
        (Open, Some(&connecting), Reading::Open),
        (Open, Some(&ended(401)), Reading::Open),
        (Open, None, Reading::Open),
        (Connecting, Some(&open), Reading::Redialling),
        (Close, Some(&open), Reading::PairedClose),
        (Connecting, Some(&connecting), Reading::WaitingForScan),
        (Connecting, Some(&close), Reading::WaitingForScan),
        (Close, Some(&connecting), Reading::QrLimit),
        (Close, Some(&close), Reading::NeverPaired),
        (
            Close,
            Some(&ended(401)),
            Reading::Ended(FinalReason::LoggedOut),
        ),
        (
            Close,
            Some(&ended(402)),
            Reading::Ended(FinalReason::Restricted),
        ),
        (
            Close,
            Some(&ended(403)),
            Reading::Ended(FinalReason::Banned),
        ),
        (
            Close,
            Some(&ended(406)),
            Reading::Ended(FinalReason::NotAcceptable),
        ),
        (Close, Some(&ended(428)), Reading::LoggedOut),
        (Close, None, Reading::NotOpen),
        (Connecting, None, Reading::NotOpen),
        (NotLoaded, Some(&open), Reading::Booting),
        (NotLoaded, None, Reading::Booting),
    ] {
        assert_eq!(
            read(memory, row, FinalCodes::default(), None, false),
            expected,
            "{memory:?} {row:?}"
        );
    }
}

#[test]
fn a_reason_that_stood_there_when_it_was_open_is_stale() {
    let known = RecordedReason {
        code: 401,
        at: Some("monday".to_owned()),
    };
    let same = row(RowStatus::Close, Some((401, "monday")));
    let newer = row(RowStatus::Close, Some((401, "tuesday")));
    let read = |row| {
        let codes = FinalCodes::default();
        read(MemoryState::Close, Some(row), codes, Some(&known), true)
    };
    assert_eq!(read(&same), Reading::LoggedOut);
    assert_eq!(read(&newer), Reading::Ended(FinalReason::LoggedOut));
}

#[test]
fn a_healthy_instance_is_connected_at_its_first_check() {
    let mut world = World::new();
    assert_eq!(world.check(&open()), Status::Connected);
    assert_eq!(world.instance.since, Some(world.now));
    let since = world.instance.since;
    assert_eq!(world.check(&open()), Status::Connected);
    assert_eq!(world.instance.since, since);
    assert_eq!(world.instance.reason, None);
}

#[test]
fn a_drop_counts_after_three_checks_and_is_dated_to_the_first() {
    let mut world = World::connected();
    assert_eq!(world.check(&dropped()), Status::Connecting);
    let first = world.now;
    assert_eq!(world.check(&dropped()), Status::Connecting);
    assert_eq!(world.check(&dropped()), Status::Disconnected);
    assert_eq!(world.instance.since, Some(first));
    assert_eq!(world.instance.down_since, Some(first));
}

#[test]
fn three_hasty_checks_are_no_outage_before_its_time_has_passed() {
    let mut world = World::connected();
    for _ in 0..10 {
        assert_eq!(world.check_after(6, &dropped()), Status::Connecting);
    }
    assert_eq!(world.check_after(1, &dropped()), Status::Disconnected);
}

#[test]
fn two_late_checks_are_no_outage_either() {
    let mut world = World::connected();
    world.settings.interval_s = 600;
    assert_eq!(world.check_after(600, &dropped()), Status::Connecting);
    assert_eq!(world.check_after(600, &dropped()), Status::Connecting);
    assert_eq!(world.check_after(600, &dropped()), Status::Disconnected);
}

#[test]
fn whatever_is_not_open_for_long_enough_is_an_outage() {
    use MemoryState::{Close, Connecting};
    for observation in [
        dropped(),
        seen(Connecting, Some(row(RowStatus::Open, None))),
        seen(Connecting, Some(row(RowStatus::Connecting, None))),
        seen(Close, Some(row(RowStatus::Connecting, None))),
        seen(Close, None),
    ] {
        let mut world = World::connected();
        world.check(&observation);
        let first = world.now;
        world.check(&observation);
        assert_eq!(world.instance.down_since, None, "{observation:?}");
        world.check(&observation);
        assert_eq!(world.instance.down_since, Some(first), "{observation:?}");
    }
}

#[test]
fn what_lies_before_a_time_in_which_nobody_looked_is_part_of_no_outage_after_it() {
    let mut world = World::connected();
    world.check(&dropped());
    world.check_after(3_600, &dropped());
    let first = world.now;
    world.check(&dropped());
    assert_eq!(
        world.instance.down_since, None,
        "two short drops, an hour apart"
    );
    world.check(&dropped());
    assert_eq!(world.instance.down_since, Some(first));

    // Nor is the gateway's own outage.
    let mut world = World::connected();
    world.check(&dropped());
    for _ in 0..40 {
        world.check(&failed(GatewayFault::Broken));
    }
    world.check(&dropped());
    world.check(&dropped());
    assert_eq!(world.instance.down_since, None);

    // What is confirmed goes on.
    let mut world = World::connected();
    let first = world.now.plus_ms(30_000);
    for after_s in [30, 30, 30, 3_600, 30] {
        world.check_after(after_s, &dropped());
    }
    assert_eq!(world.instance.down_since, Some(first));
}

#[test]
fn a_gateways_fault_is_not_dated_into_a_time_in_which_nobody_looked() {
    let mut world = World::connected();
    world.check(&failed(GatewayFault::Refused));
    let status = world.check_after(3_600, &failed(GatewayFault::Refused));
    assert_eq!(status, Status::Connected, "it may be a moment, twice");
}

#[test]
fn an_outage_lasts_from_its_first_bad_check_to_its_first_good_one() {
    let mut world = World::connected();
    world.check(&dropped());
    let first_bad = world.now;
    // The session ends for good while the drop goes on: the same outage.
    world.check(&logged_out(401, "now"));
    assert_eq!(world.instance.down_since, Some(first_bad));
    world.check(&failed(GatewayFault::TimedOut));
    world.check(&failed(ConfigFault::WrongKey));
    assert_eq!(
        world.instance.down_since,
        Some(first_bad),
        "it moves nothing"
    );
    world.check(&open());
    let first_good = world.now;
    assert_eq!(world.instance.down_since, Some(first_bad), "not over yet");
    world.check(&failed(GatewayFault::TimedOut));
    world.check(&open());
    assert_eq!(world.instance.down_since, None);
    assert_eq!(world.instance.recovered_at, Some(first_good));
}

#[test]
fn after_a_scan_the_second_login_is_not_shown_as_a_drop() {
    let mut world = World::connected();
    world.check(&logged_out(401, "now"));
    let began = world.now;
    assert_eq!(world.check(&dropped()), Status::Connecting);
    assert_eq!(world.instance.down_since, Some(began), "the outage goes on");
    assert_eq!(world.check(&dropped()), Status::Disconnected);
}

#[test]
fn a_blip_leaves_no_trace() {
    let mut world = World::connected();
    assert_eq!(world.check(&dropped()), Status::Connecting);
    assert_eq!(world.check(&open()), Status::Connected);
    assert_eq!(world.check(&dropped()), Status::Connecting);
    assert_eq!(world.check(&dropped()), Status::Connecting);
    assert_eq!(world.check(&open()), Status::Connected);
    assert_eq!(world.instance.bad, None);
}

#[test]
fn an_outage_is_over_after_two_good_checks() {
    let mut world = World::connected();
    for _ in 0..3 {
        world.check(&dropped());
    }
    assert_eq!(world.check(&open()), Status::Connecting);
    assert_eq!(world.check(&dropped()), Status::Disconnected, "it goes on");
    assert_eq!(world.check(&open()), Status::Connecting);
    assert_eq!(world.check(&open()), Status::Connected);
    assert!(!world.instance.is_down());
}

#[test]
fn the_settings_decide_how_many_checks_it_takes() {
    let mut world = World::connected();
    world.settings = Settings {
        down_after_checks: 1,
        down_after_s: 0,
        up_after_checks: 1,
        ..Settings::default()
    };
    assert_eq!(world.check(&dropped()), Status::Disconnected);
    assert_eq!(world.check(&open()), Status::Connected);
}

#[test]
fn a_logout_and_a_ban_count_at_once() {
    for (code, status, reason) in [
        (401, Status::WaitingQr, FinalReason::LoggedOut),
        (402, Status::Blocked, FinalReason::Restricted),
        (403, Status::Blocked, FinalReason::Banned),
        (406, Status::Blocked, FinalReason::NotAcceptable),
    ] {
        let mut world = World::connected();
        assert_eq!(world.check(&logged_out(code, "now")), status, "{code}");
        assert_eq!(world.instance.reason, Some(Reason::Final(reason)));
        assert_eq!(world.instance.since, Some(world.now));
        assert_eq!(
            world.instance.reason.map(Reason::code),
            Some(&*code.to_string())
        );
    }
}

#[test]
fn a_stale_reason_never_sends_a_person_to_scan() {
    let mut world = World::connected();
    world.check(&logged_out(401, "monday"));
    let scanned = seen(
        MemoryState::Open,
        Some(row(RowStatus::Open, Some((401, "monday")))),
    );
    world.check(&scanned);
    assert_eq!(world.check(&scanned), Status::Connected);
    assert_eq!(world.instance.reason, None, "the old reason is not shown");
    let recoverable = seen(
        MemoryState::Close,
        Some(row(RowStatus::Open, Some((401, "monday")))),
    );
    for _ in 0..5 {
        let status = world.check(&recoverable);
        assert!(!status.needs_person(), "{status:?}");
        assert_eq!(world.instance.reason, None);
    }
    // And one that is new counts again.
    assert_eq!(world.check(&logged_out(403, "friday")), Status::Blocked);
}

#[test]
fn what_waits_for_a_person_says_why() {
    use MemoryState::{Close, Connecting};
    for (observation, reason) in [
        (
            seen(Connecting, Some(row(RowStatus::Connecting, None))),
            Reason::WaitingForScan,
        ),
        (
            seen(Close, Some(row(RowStatus::Connecting, Some((401, "old"))))),
            Reason::QrLimit,
        ),
        (
            seen(Close, Some(row(RowStatus::Close, None))),
            Reason::NeverPaired,
        ),
    ] {
        let mut world = World::new();
        assert_eq!(world.check(&observation), Status::WaitingQr);
        assert_eq!(world.instance.reason, Some(reason));
    }
}

#[test]
fn an_instance_that_waits_for_its_first_scan_was_never_cut_off() {
    use MemoryState::{Close, Connecting};
    for observation in [
        seen(Connecting, Some(row(RowStatus::Connecting, None))),
        seen(Connecting, Some(row(RowStatus::Close, None))),
        seen(Close, Some(row(RowStatus::Connecting, None))),
        seen(Close, Some(row(RowStatus::Close, None))),
    ] {
        let mut world = World::new();
        for _ in 0..20 {
            assert_eq!(world.check(&observation), Status::WaitingQr);
            // Its row is not asked for each time.
            assert_eq!(world.check(&seen(Close, None)), Status::WaitingQr);
        }
        assert!(!world.instance.is_down(), "{observation:?}");
        // Somebody scans: a second login, and it is there.
        world.check(&seen(Connecting, Some(row(RowStatus::Open, None))));
        assert!(!world.instance.is_down(), "{observation:?}");
        assert_eq!(world.check(&open()), Status::Connected);
        // From now on it can be cut off.
        for _ in 0..3 {
            world.check(&observation);
        }
        assert!(world.instance.is_down(), "{observation:?}");
    }
}

#[test]
fn a_first_scan_that_is_broken_off_is_no_outage_either() {
    let mut world = World::new();
    world.check(&dropped());
    world.check(&dropped());
    let limit = seen(MemoryState::Close, Some(row(RowStatus::Connecting, None)));
    world.check(&limit);
    assert!(!world.instance.is_down());
}

#[test]
fn one_that_was_never_seen_open_and_whose_session_has_ended_was_cut_off() {
    let mut world = World::new();
    world.check(&logged_out(401, "now"));
    assert!(world.instance.is_down());
}

#[test]
fn a_row_that_cannot_be_had_changes_nothing_for_who_waits_for_a_person() {
    let mut world = World::connected();
    world.check(&logged_out(401, "now"));
    let shown = |instance: &Instance| (instance.status, instance.since, instance.reason);
    let before = shown(&world.instance);
    world.check(&seen(MemoryState::Close, None));
    assert_eq!(shown(&world.instance), before);
}

#[test]
fn without_the_row_a_drop_is_a_drop() {
    let mut world = World::connected();
    for _ in 0..2 {
        assert_eq!(
            world.check(&seen(MemoryState::Close, None)),
            Status::Connecting
        );
    }
    assert_eq!(
        world.check(&seen(MemoryState::Close, None)),
        Status::Disconnected
    );
}

#[test]
fn a_gateways_fault_must_last_and_then_is_dated_back() {
    let mut world = World::connected();
    let down = failed(GatewayFault::Refused);
    assert_eq!(world.check(&down), Status::Connected);
    let first = world.now;
    assert_eq!(
        world.instance.reason.map(Reason::code),
        Some("connection_refused"),
        "but it is not kept secret"
    );
    assert_eq!(world.check(&down), Status::Connected);
    assert_eq!(world.check(&down), Status::GatewayUnreachable);
    assert_eq!(world.instance.since, Some(first));
    // The instance itself had no outage.
    assert!(!world.instance.is_down());
    assert_eq!(world.check(&open()), Status::Connected);
}

#[test]
fn a_gateways_fault_moves_no_counter() {
    let mut world = World::connected();
    world.check(&dropped());
    world.check(&dropped());
    let bad = world.instance.bad;
    for fault in [
        GatewayFault::TimedOut,
        GatewayFault::ServerError(500),
        GatewayFault::NotJson(502),
        GatewayFault::DatabaseDown,
    ] {
        world.check_after(20, &failed(fault));
        assert_eq!(world.instance.bad, bad, "{fault:?}");
    }
    assert_eq!(world.check_after(10, &dropped()), Status::Disconnected);
}

#[test]
fn a_wrong_setting_is_wrong_at_once_and_right_at_once() {
    for fault in [
        ConfigFault::WrongKey,
        ConfigFault::UnknownInstance,
        ConfigFault::BadUrl,
        ConfigFault::LicenceRequired,
    ] {
        let mut world = World::connected();
        assert_eq!(world.check(&failed(fault)), Status::Misconfigured);
        assert_eq!(
            world.instance.reason,
            Some(Reason::Fault(Fault::Config(fault)))
        );
        assert_eq!(world.check(&open()), Status::Connected);
        assert_eq!(world.instance.reason, None);
    }
}

#[test]
fn a_gateways_fault_does_not_hide_what_a_person_has_to_do() {
    let mut wrong = World::connected();
    wrong.check(&failed(ConfigFault::WrongKey));
    let mut ended = World::connected();
    ended.check(&logged_out(401, "now"));
    for mut world in [wrong, ended] {
        let before = (world.instance.status, world.instance.reason);
        world.check(&failed(GatewayFault::TimedOut));
        assert_eq!((world.instance.status, world.instance.reason), before);
        world.check(&failed(GatewayFault::TimedOut));
        assert_eq!(
            world.check(&failed(GatewayFault::TimedOut)),
            Status::GatewayUnreachable,
            "until it lasts"
        );
    }
}

#[test]
fn a_booting_gateway_is_unknown_and_no_outage() {
    let mut world = World::connected();
    let booting = seen(MemoryState::NotLoaded, None);
    for _ in 0..10 {
        assert_eq!(world.check(&booting), Status::Unknown);
    }
    assert!(!world.instance.is_down());
    assert_eq!(world.check(&open()), Status::Connected);
}

/// Whether the row would be asked for `after_s` seconds from the last check.
fn wants_row(world: &World, memory: MemoryState, after_s: i64) -> bool {
    world
        .instance
        .wants_row(memory, world.now.plus_ms(after_s * 1_000))
}

#[test]
fn the_row_is_asked_for_once_after_each_open() {
    use MemoryState::{Close, Connecting, NotLoaded, Open};
    let mut world = World::new();
    assert!(wants_row(&world, Open, 30), "never looked");
    world.check(&open());
    assert!(!wants_row(&world, Open, 30));
    assert!(!wants_row(&world, Open, 1_000_000));
    assert!(wants_row(&world, Close, 30));
    assert!(wants_row(&world, Connecting, 30));
    assert!(!wants_row(&world, NotLoaded, 30));
    world.check(&dropped());
    assert!(wants_row(&world, Open, 30), "the reason there may be new");
    // A row that did not come is asked for again.
    world.check(&seen(Open, None));
    assert!(wants_row(&world, Open, 30));
}

#[test]
fn a_row_that_lags_behind_a_login_is_asked_for_again_later() {
    use MemoryState::Open;
    let mut world = World::new();
    world.check(&seen(Open, Some(row(RowStatus::Connecting, None))));
    assert!(!wants_row(&world, Open, 30));
    assert!(!wants_row(&world, Open, 299));
    assert!(wants_row(&world, Open, 300));
    world.check(&open());
    assert!(!wants_row(&world, Open, 300));
}

#[test]
fn the_row_is_asked_for_at_every_check_of_a_drop() {
    use MemoryState::{Close, Connecting};
    let mut world = World::connected();
    for _ in 0..20 {
        assert!(wants_row(&world, Close, 30));
        assert!(wants_row(&world, Connecting, 30));
        world.check(&dropped());
    }
    // So a final logout is seen at the next check.
    assert_eq!(world.check(&logged_out(401, "now")), Status::WaitingQr);
}

#[test]
fn the_row_of_one_who_waits_for_a_person_is_asked_for_every_five_minutes() {
    use MemoryState::{Close, Connecting, Open};
    for code in [401, 403] {
        let mut world = World::connected();
        world.check(&logged_out(code, "now"));
        for _ in 0..9 {
            assert!(!wants_row(&world, Close, 30), "{code}");
            world.check(&seen(Close, None));
        }
        assert!(!wants_row(&world, Close, 29));
        assert!(wants_row(&world, Close, 30));
        // Something has happened.
        assert!(wants_row(&world, Connecting, 0));
        assert!(wants_row(&world, Open, 0));
        // A clock that was set back holds nothing up.
        assert!(wants_row(&world, Close, -10_000));
    }
}

/// Evolution 1 shows the live state in the row's place.
#[test]
fn a_row_that_tells_no_status_is_as_good_as_none() {
    use MemoryState::{Close, Connecting, Open};
    let silent = || {
        Some(Row {
            status: None,
            ..row(RowStatus::Close, None)
        })
    };
    for memory in [Close, Connecting] {
        let row = silent();
        assert_eq!(
            read(memory, row.as_ref(), FinalCodes::LoggedOut, None, true),
            Reading::NotOpen
        );
    }
    let mut world = World::new();
    assert_eq!(world.check(&seen(Open, silent())), Status::Connected);
    assert!(!wants_row(&world, Open, 30));
    assert!(!wants_row(&world, Close, 30), "it would tell nothing");
    assert_eq!(world.check(&seen(Close, silent())), Status::Connecting);
    assert!(!wants_row(&world, Connecting, 30));
    assert!(wants_row(&world, Connecting, 300));
    assert!(wants_row(&world, Open, 30), "the account may be another");
    assert_eq!(world.check(&seen(Connecting, None)), Status::Connecting);
    assert_eq!(world.check(&seen(Close, None)), Status::Disconnected);
}

#[test]
fn what_is_final_depends_on_the_gateway() {
    use FinalCodes::{LoggedOut, Refused, RefusedOrLost};
    for (code, reason, finals) in [
        (
            401,
            FinalReason::LoggedOut,
            vec![LoggedOut, Refused, RefusedOrLost],
        ),
        (402, FinalReason::Restricted, vec![Refused, RefusedOrLost]),
        (403, FinalReason::Banned, vec![Refused, RefusedOrLost]),
        (
            406,
            FinalReason::NotAcceptable,
            vec![Refused, RefusedOrLost],
        ),
        (408, FinalReason::ConnectionLost, vec![RefusedOrLost]),
    ] {
        for codes in [LoggedOut, Refused, RefusedOrLost] {
            let expected = finals.contains(&codes).then_some(reason);
            assert_eq!(codes.reason(code), expected, "{code} {codes:?}");
        }
    }
    for code in [0, 200, 405, 411, 428, 440, 500, 503, 515] {
        assert_eq!(RefusedOrLost.reason(code), None, "{code}");
    }
}

#[test]
fn a_session_lost_with_the_connection_waits_for_a_person() {
    let lost = Observation::Seen {
        memory: MemoryState::Close,
        socket: None,
        row: Some(row(RowStatus::Close, Some((408, "now")))),
        final_codes: FinalCodes::RefusedOrLost,
    };
    let mut world = World::connected();
    assert_eq!(world.check(&lost), Status::WaitingQr);
    assert_eq!(world.instance.reason.map(Reason::code), Some("408"));
    assert!(world.instance.is_down());
}

#[test]
fn memory_of_another_version_is_read_as_far_as_it_goes() {
    let old: Instance =
        serde_json::from_str(r#"{"status":"connected","unheard_of":1}"#).expect("readable");
    assert_eq!(old.status, Status::Connected);
    assert_eq!(old.bad, None);
    assert_eq!(old.last_look, None);
}
