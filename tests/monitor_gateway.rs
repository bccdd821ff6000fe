//! When a gateway is at fault, and what that means for its instances.

use whatsapp_monitor::monitor::{
    Capabilities, ConfigFault, Fault, Finding, Gateway, GatewayFault, MemoryState, Observation,
    Settings, Standing, Tally, Timestamp,
};

const NOON_MS: i64 = 1_795_435_200_000;

fn tally(faults: &[Option<Fault>]) -> Tally {
    let mut tally = Tally::default();
    for fault in faults {
        tally.note(*fault);
    }
    tally
}

fn answered(good: usize, failed: usize) -> Tally {
    let refused = Some(GatewayFault::Refused.into());
    tally(&[vec![None; good], vec![refused; failed]].concat())
}

#[test]
fn three_failures_that_are_half_of_all_speak_for_the_gateway() {
    let at_fault = Finding::AtFault(GatewayFault::Refused);
    for (good, failed, expected) in [
        (0, 3, at_fault),
        (3, 3, at_fault),
        (0, 200, at_fault),
        (4, 3, Finding::Sound),
        (1, 2, Finding::Sound),
        (2, 2, Finding::Sound),
        (3, 0, Finding::Sound),
    ] {
        let tally = answered(good, failed);
        assert!(!tally.wants_root(), "{good} good, {failed} failed");
        assert_eq!(
            tally.finding(None),
            expected,
            "{good} good, {failed} failed"
        );
    }
}

#[test]
fn of_one_or_two_instances_the_root_must_fail_too() {
    let server_error = || Some(Err(GatewayFault::ServerError(500).into()));
    for (good, failed) in [(0, 1), (0, 2), (1, 1)] {
        let tally = answered(good, failed);
        assert!(tally.wants_root(), "{good} good, {failed} failed");
        let at_fault = Finding::AtFault(GatewayFault::Refused);
        assert_eq!(tally.finding(server_error()), at_fault);
        assert_eq!(tally.finding(Some(Ok(()))), Finding::Nothing);
        assert_eq!(tally.finding(None), Finding::Nothing);
        let slow = Some(Err(GatewayFault::TimedOut.into()));
        assert_eq!(
            tally.finding(slow),
            Finding::Nothing,
            "slowness is no evidence"
        );
        let other = Some(Err(ConfigFault::UnknownRoute.into()));
        assert_eq!(tally.finding(other), Finding::Nothing);
    }
    let sound = answered(1, 0);
    assert!(!sound.wants_root());
    assert_eq!(
        sound.finding(server_error()),
        Finding::Sound,
        "it tells of its instance"
    );
}

#[test]
fn what_is_no_failure_of_the_gateway_does_not_count_as_one() {
    let config: Fault = ConfigFault::WrongKey.into();
    let nobody = tally(&[Some(config); 3]);
    assert_eq!(
        nobody.finding(None),
        Finding::Nothing,
        "it says nothing either way"
    );
    for fault in [
        GatewayFault::Unintelligible(200),
        GatewayFault::TooLarge,
        GatewayFault::KeyUnconfirmed,
    ] {
        assert_eq!(
            tally(&[Some(fault.into()); 3]).finding(None),
            Finding::Sound,
            "{fault:?}"
        );
    }
}

/// A gateway and the virtual clock it lives under.
struct World {
    gateway: Gateway,
    now: Timestamp,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        Self {
            gateway: Gateway::default(),
            now: Timestamp::from_ms(NOON_MS),
            settings: Settings::default(),
        }
    }

    /// A tick half a minute later.
    fn tick(&mut self, finding: Finding) -> Standing {
        self.now = self.now.plus_ms(30_000);
        self.gateway = self.gateway.observe(finding, self.now, &self.settings);
        self.gateway.standing(finding, self.now)
    }
}

const AT_FAULT: Finding = Finding::AtFault(GatewayFault::Refused);

#[test]
fn an_outage_of_the_gateway_is_confirmed_like_any_other_and_dated_back() {
    let mut world = World::new();
    world.tick(Finding::Sound);
    assert_eq!(world.tick(AT_FAULT), Standing::AtFault, "from the first on");
    let first = world.now;
    world.tick(AT_FAULT);
    assert!(!world.gateway.is_down());
    world.tick(AT_FAULT);
    assert_eq!(world.gateway.down_since, Some(first));
    assert_eq!(world.gateway.fault, Some(GatewayFault::Refused));
}

#[test]
fn two_bad_ticks_with_nothing_between_them_for_an_hour_are_no_outage_of_it() {
    let mut world = World::new();
    world.tick(AT_FAULT);
    world.tick(AT_FAULT);
    world.now = world.now.plus_ms(3_600_000);
    world.tick(AT_FAULT);
    assert!(!world.gateway.is_down());
}

#[test]
fn after_its_return_its_instances_are_left_alone_for_two_intervals() {
    let mut world = World::new();
    for _ in 0..3 {
        world.tick(AT_FAULT);
    }
    assert_eq!(world.tick(Finding::Sound), Standing::CoolingDown);
    let back = world.now;
    assert!(world.gateway.is_down(), "one good tick is not enough");
    assert_eq!(
        world.tick(Finding::Nothing),
        Standing::CoolingDown,
        "and nothing is nothing"
    );
    assert_eq!(world.tick(Finding::Sound), Standing::CoolingDown);
    assert_eq!(world.gateway.recovered_at, Some(back));
    assert_eq!(
        (world.gateway.is_down(), world.gateway.fault),
        (false, None)
    );
    assert_eq!(world.tick(Finding::Sound), Standing::CoolingDown);
    assert_eq!(world.tick(Finding::Sound), Standing::Sound);
}

#[test]
fn a_single_bad_tick_leaves_no_trace() {
    let mut world = World::new();
    world.tick(AT_FAULT);
    assert_eq!(world.tick(Finding::Sound), Standing::Sound);
    assert_eq!(world.gateway, Gateway::default());
}

#[test]
fn what_a_gateway_at_fault_says_counts_only_where_it_is_good() {
    let seen = |memory| Observation::Seen {
        memory,
        row: None,
        socket: None,
        final_codes: Capabilities::default().final_codes,
    };
    let untrusted = Observation::Failed(GatewayFault::Untrusted.into());
    for standing in [Standing::AtFault, Standing::CoolingDown] {
        for memory in [
            MemoryState::Close,
            MemoryState::Connecting,
            MemoryState::NotLoaded,
        ] {
            assert_eq!(seen(memory).as_far_as_trusted(standing), untrusted);
        }
        let open = seen(MemoryState::Open);
        assert_eq!(open.clone().as_far_as_trusted(standing), open);
    }
    let close = seen(MemoryState::Close);
    assert_eq!(close.clone().as_far_as_trusted(Standing::Sound), close);
}
