//! What is done about an instance, case by case, under a virtual clock.

#![allow(clippy::expect_used, reason = "a test may fail")]

use whatsapp_monitor::monitor::{
    Action, Attempt, Budget, Capabilities, ConfigFault, Decision, Evidence, Fault, GatewayFault,
    Grounds, Heard, Instance, Integration, MemoryState, Observation, Profile, RecordedReason, Row,
    RowStatus, Settings, Socket, Standing, Status, Timestamp, Verdict, decide,
};

const NOON_MS: i64 = 1_795_435_200_000;
const CONNECT_A: Decision = Decision::Act(Action::Connect, Grounds::Webhook);
const CONNECT_B: Decision = Decision::Act(Action::Connect, Grounds::Blind);
const CONNECT_C: Decision = Decision::Act(Action::Connect, Grounds::Neighbour);
const RESTART: Decision = Decision::Act(Action::Restart, Grounds::State);

fn row(status: RowStatus) -> Row {
    Row {
        status: Some(status),
        profile: Profile::default(),
        integration: Integration::Socket,
        reason: None,
    }
}

fn ended(code: u16) -> Row {
    Row {
        reason: Some(RecordedReason {
            code,
            at: Some("now".to_owned()),
        }),
        ..row(RowStatus::Close)
    }
}

fn seen(memory: MemoryState, row: Option<Row>) -> Observation {
    Observation::Seen {
        memory,
        row,
        socket: None,
        final_codes: Capabilities::default().final_codes,
    }
}

fn paired(memory: MemoryState) -> Observation {
    seen(memory, Some(row(RowStatus::Open)))
}

fn probed(socket: Socket) -> Observation {
    Observation::Seen {
        memory: MemoryState::Open,
        row: None,
        socket: Some(socket),
        final_codes: Capabilities::default().final_codes,
    }
}

/// One instance, what was done to it, and what else is known; checked every 30 s.
struct World {
    instance: Instance,
    attempts: Vec<Attempt>,
    evidence: Evidence,
    settings: Settings,
    now: Timestamp,
}

impl World {
    /// An instance that was open so far, alone on a gateway without a webhook.
    fn new() -> Self {
        let mut world = Self {
            instance: Instance::default(),
            attempts: Vec::new(),
            evidence: Evidence {
                standing: Standing::Sound,
                may_act: true,
                heard: Heard::default(),
                neighbour_open: false,
            },
            settings: Settings::default(),
            now: Timestamp::from_ms(NOON_MS),
        };
        for _ in 0..5 {
            assert_eq!(world.check(&paired(MemoryState::Open)), Decision::Nothing);
        }
        world
    }

    fn with_neighbour() -> Self {
        let mut world = Self::new();
        world.evidence.neighbour_open = true;
        world
    }

    fn with_webhook() -> Self {
        let mut world = Self::new();
        world.evidence.heard.last_event = Some(world.now);
        world
    }

    /// Our webhook tells of a dial.
    fn hears(&mut self, at: Timestamp) {
        self.evidence.heard = Heard {
            last_event: Some(at),
            last_connecting: Some(at),
        };
    }

    /// A check half a minute after the last. What it decides to do is done.
    fn check(&mut self, observation: &Observation) -> Decision {
        self.now = self.now.plus_ms(30_000);
        let (instance, verdicts) = self
            .instance
            .observe(observation, self.now, &self.settings)
            .judged(&mut self.attempts, self.now, &self.settings);
        for (id, verdict) in verdicts {
            assert_eq!(self.attempt(id).verdict, Some(verdict));
        }
        self.instance = instance;
        let decision = decide(
            7,
            &self.instance,
            &self.attempts,
            self.evidence,
            &self.settings,
            self.now,
        );
        if let Decision::Act(action, grounds) = decision {
            self.attempts.push(Attempt {
                id: i64::try_from(self.attempts.len()).expect("few"),
                action,
                grounds: Some(grounds),
                at: self.now,
                verdict: None,
            });
        }
        decision
    }

    fn attempt(&self, id: i64) -> &Attempt {
        self.attempts
            .iter()
            .find(|attempt| attempt.id == id)
            .expect("an attempt of that number")
    }

    /// Checks for so long that see the same; gives what was decided that is not to wait, and after
    /// how many seconds of it.
    fn checks(&mut self, seconds: i64, observation: &Observation) -> Vec<(i64, Decision)> {
        let mut done = Vec::new();
        for check in 0..=seconds / 30 {
            let decision = self.check(observation);
            if decision != Decision::Wait {
                done.push((check * 30, decision));
            }
        }
        done
    }

    fn verdicts(&self) -> Vec<Option<Verdict>> {
        self.attempts
            .iter()
            .map(|attempt| attempt.verdict)
            .collect()
    }
}

#[test]
fn a_paired_close_is_dialled_when_another_instance_shows_that_whatsapp_is_there() {
    let mut world = World::with_neighbour();
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

#[test]
fn a_live_webhook_that_tells_of_no_dial_is_evidence() {
    let mut world = World::with_webhook();
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_A)]
    );
}

#[test]
fn a_live_webhook_that_tells_of_a_dial_speaks_against_it_whatever_else_is_known() {
    let mut world = World::with_neighbour();
    for _ in 0..200 {
        // One a minute: a gateway that keeps dialling.
        world.hears(world.now.plus_ms(-60_000));
        assert_eq!(world.check(&paired(MemoryState::Close)), Decision::Wait);
    }
    let since = world.now;
    world.hears(since);
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(120, CONNECT_A)],
        "150 s after the last"
    );
}

#[test]
fn without_any_evidence_it_is_tried_after_long_and_once_an_hour() {
    let mut world = World::new();
    let day = world.checks(3 * 3_600, &paired(MemoryState::Close));
    let times: Vec<i64> = day.iter().map(|(after, _)| *after).collect();
    assert!(day.iter().all(|(_, decision)| *decision == CONNECT_B));
    assert_eq!(times, [900, 4_500, 8_100]);

    let mut world = World::new();
    world.settings.blind_connect_after_s = 0;
    assert_eq!(world.checks(3 * 3_600, &paired(MemoryState::Close)), []);
}

#[test]
fn a_close_that_is_broken_begins_anew() {
    let mut world = World::with_neighbour();
    assert_eq!(world.checks(120, &paired(MemoryState::Close)), []);
    assert_eq!(
        world.check(&paired(MemoryState::Connecting)),
        Decision::Wait
    );
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

#[test]
fn a_close_that_nobody_watched_is_not_unbroken() {
    let mut world = World::with_neighbour();
    world.check(&paired(MemoryState::Close));
    world.now = world.now.plus_ms(600_000);
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

/// No answer: the gateway's process may be starting anew.
fn failed() -> Observation {
    Observation::Failed(GatewayFault::Broken.into())
}

#[test]
fn a_close_with_a_silence_in_between_is_not_unbroken() {
    let mut world = World::with_neighbour();
    assert_eq!(world.checks(90, &paired(MemoryState::Close)), []);
    assert_eq!(world.check(&failed()), Decision::Wait);
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

#[test]
fn a_dial_that_hung_before_a_silence_is_not_stuck_after_it() {
    let mut world = World::new();
    assert_eq!(world.checks(60, &paired(MemoryState::Connecting)), []);
    assert_eq!(world.check(&failed()), Decision::Wait);
    assert_eq!(
        world.checks(90, &paired(MemoryState::Connecting)),
        [(90, RESTART)]
    );
}

#[test]
fn an_hour_of_open_heals_whether_or_not_a_check_fails_meanwhile() {
    let mut world = World::with_neighbour();
    world.instance.halted_at = Some(world.now);
    world.checks(1_770, &paired(MemoryState::Open));
    world.check(&failed());
    world.checks(1_500, &paired(MemoryState::Open));
    assert!(world.instance.halted_at.is_some(), "not before");
    world.checks(300, &paired(MemoryState::Open));
    assert_eq!(world.instance.halted_at, None);

    world.instance.halted_at = Some(world.now);
    for _ in 0..10 {
        // So long that nobody can say what was meanwhile.
        for _ in 0..3 {
            world.check(&failed());
        }
        world.checks(3_000, &paired(MemoryState::Open));
    }
    assert!(world.instance.halted_at.is_some(), "never for an hour");
}

#[test]
fn without_the_row_nothing_is_done() {
    let mut world = World::with_neighbour();
    assert_eq!(world.checks(3_600, &seen(MemoryState::Close, None)), []);
    assert_eq!(
        world.checks(3_600, &seen(MemoryState::Connecting, None)),
        []
    );
}

#[test]
fn a_dial_that_is_stuck_is_restarted() {
    let mut world = World::new();
    assert_eq!(
        world.checks(90, &paired(MemoryState::Connecting)),
        [(90, RESTART)],
        "the fourth check"
    );
}

#[test]
fn a_dial_that_the_webhook_tells_of_is_not_stuck() {
    let mut world = World::new();
    for _ in 0..100 {
        world.hears(world.now);
        assert_eq!(
            world.check(&paired(MemoryState::Connecting)),
            Decision::Wait
        );
    }
}

#[test]
fn a_person_is_asked_and_the_instance_left_alone() {
    use MemoryState::{Close, Connecting};
    for (observation, expected) in [
        (
            seen(Connecting, Some(row(RowStatus::Connecting))),
            Decision::AskForQr,
        ),
        (
            seen(Close, Some(row(RowStatus::Connecting))),
            Decision::AskForQr,
        ),
        (seen(Close, Some(row(RowStatus::Close))), Decision::AskForQr),
        (seen(Close, Some(ended(401))), Decision::AskForQr),
        (seen(Close, Some(ended(402))), Decision::AskOwner),
        (seen(Close, Some(ended(403))), Decision::AskOwner),
        (seen(Close, Some(ended(406))), Decision::AskOwner),
        (seen(Close, Some(ended(428))), Decision::AskForQr),
    ] {
        let mut world = World::with_neighbour();
        for _ in 0..200 {
            assert_eq!(world.check(&observation), expected, "{observation:?}");
        }
        // Where the row is not to be had, what it said stands.
        let Observation::Seen { memory, .. } = observation else {
            unreachable!()
        };
        if world.instance.status != Status::Connecting {
            assert_eq!(world.check(&seen(memory, None)), expected);
        }
    }
}

#[test]
fn a_fault_is_the_operators() {
    let failed = |fault: Fault| Observation::Failed(fault);
    let mut world = World::with_neighbour();
    let wrong_key = failed(ConfigFault::WrongKey.into());
    assert_eq!(world.check(&wrong_key), Decision::TellOperator);
    let mut world = World::with_neighbour();
    let refused = failed(GatewayFault::Refused.into());
    assert_eq!(world.check(&refused), Decision::Wait, "it may be a moment");
    world.check(&refused);
    assert_eq!(world.check(&refused), Decision::TellOperator);
}

#[test]
fn while_the_gateway_is_at_fault_nothing_is_done() {
    for standing in [Standing::AtFault, Standing::CoolingDown] {
        let mut world = World::with_neighbour();
        world.evidence.standing = standing;
        assert_eq!(world.checks(3_600, &paired(MemoryState::Close)), []);
        assert_eq!(world.checks(3_600, &paired(MemoryState::Connecting)), []);
    }
}

#[test]
fn a_gateway_that_is_only_looked_at_is_never_acted_upon() {
    let mut world = World::with_neighbour();
    world.evidence.may_act = false;
    assert_eq!(world.checks(3_600, &paired(MemoryState::Close)), []);
    assert_eq!(world.checks(3_600, &paired(MemoryState::Connecting)), []);
}

#[test]
fn a_process_that_boots_for_minutes_is_the_operators() {
    let mut world = World::with_neighbour();
    let booting = seen(MemoryState::NotLoaded, None);
    assert_eq!(
        world.checks(330, &booting),
        [(300, Decision::TellOperator), (330, Decision::TellOperator)]
    );
}

#[test]
fn the_budget_holds_and_then_the_slow_probe() {
    let mut world = World::with_neighbour();
    let done = world.checks(6 * 3_600, &paired(MemoryState::Close));
    let times: Vec<i64> = done.iter().map(|(after, _)| *after).collect();
    for (index, start) in times.iter().enumerate() {
        let within = |window_s: i64| {
            times[index..]
                .iter()
                .filter(|time| **time - start < window_s)
                .count()
        };
        assert!(within(300) <= 3, "{times:?}");
        // The sixth of an hour is the slow probe, half an hour after the fifth.
        assert!(within(3_600) <= 6, "{times:?}");
    }
    assert!(times.len() >= 12, "it never gives up: {times:?}");
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= 90), "{gaps:?}");
    assert!(gaps[0] < gaps[2], "they grow: {gaps:?}");
    assert_eq!(
        world.verdicts()[..times.len() - 1],
        vec![Some(Verdict::NoEffect); times.len() - 1]
    );
}

#[test]
fn the_budget_is_what_the_database_is_asked_to_keep() {
    let settings = Settings::default();
    let now = Timestamp::from_ms(NOON_MS);
    let attempts = |ages_s: &[i64]| -> Vec<Attempt> {
        ages_s
            .iter()
            .zip(0..)
            .map(|(age_s, id)| Attempt {
                id,
                action: Action::Connect,
                grounds: None,
                at: now.plus_ms(-age_s * 1_000),
                verdict: None,
            })
            .collect()
    };
    let budgets = |ages_s: &[i64]| -> Vec<(u32, u32)> {
        Budget::of(&attempts(ages_s), now, &settings)
            .into_iter()
            .map(|budget| (budget.window_s, budget.max))
            .collect()
    };
    assert_eq!(budgets(&[]), [(300, 3), (3_600, 5)]);
    assert_eq!(budgets(&[3_000, 2_000, 1_000, 500]), [(300, 3), (3_600, 5)]);
    assert_eq!(budgets(&[3_000, 2_000, 1_000, 500, 100]), [(1_800, 1)]);
    assert_eq!(
        budgets(&[3_600, 2_000, 1_000, 500, 100]),
        [(300, 3), (3_600, 5)]
    );
}

#[test]
fn with_no_attempts_allowed_nothing_is_ever_done() {
    type Turn = fn(&mut Settings);
    let turns: [Turn; 2] = [
        |settings| settings.attempts_per_hour = 0,
        |settings| settings.attempts_per_5_min = 0,
    ];
    for turn in turns {
        let mut world = World::with_neighbour();
        turn(&mut world.settings);
        assert_eq!(world.checks(3 * 3_600, &paired(MemoryState::Close)), []);
        assert_eq!(
            world.checks(3 * 3_600, &paired(MemoryState::Connecting)),
            []
        );
    }
}

#[test]
fn a_dial_that_brings_it_back_has_worked() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    world.check(&paired(MemoryState::Connecting));
    world.check(&paired(MemoryState::Open));
    assert_eq!(
        world.verdicts(),
        [None],
        "nothing is judged while it settles"
    );
    world.check(&paired(MemoryState::Open));
    assert_eq!(world.verdicts(), [Some(Verdict::Worked)]);
    assert_eq!(world.instance.status, Status::Connected);
}

#[test]
fn a_new_outage_does_not_inherit_the_patience_of_the_last() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    world.checks(120, &paired(MemoryState::Open));
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

/// Two sockets that replace each other: open, not open, open, …
fn fight(world: &mut World, checks: usize) -> Vec<Decision> {
    let states = [MemoryState::Open, MemoryState::Connecting];
    (0..checks)
        .map(|check| world.check(&paired(states[check % 2])))
        .collect()
}

#[test]
fn a_fight_that_an_own_dial_began_stops_all_further_action() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    fight(&mut world, 8);
    assert_eq!(world.verdicts(), [Some(Verdict::MadeWorse)]);
    assert!(world.instance.halted_at.is_some());
    // The fight ends, the instance stays down: nothing more is done to it.
    assert_eq!(
        world
            .checks(3 * 3_600, &paired(MemoryState::Close))
            .into_iter()
            .filter(|(_, decision)| *decision != Decision::TellOperator)
            .collect::<Vec<_>>(),
        []
    );
    // An hour of steady open clears it.
    world.checks(3_600, &paired(MemoryState::Open));
    assert_eq!(world.instance.halted_at, None);
    assert_eq!(
        world.checks(150, &paired(MemoryState::Close)),
        [(150, CONNECT_C)]
    );
}

#[test]
fn a_recovery_that_turns_out_to_be_a_fight_is_taken_back() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    world.checks(120, &paired(MemoryState::Open));
    assert_eq!(world.verdicts(), [Some(Verdict::Worked)]);
    fight(&mut world, 8);
    assert_eq!(world.verdicts(), [Some(Verdict::MadeWorse)]);
}

#[test]
fn what_was_refused_takes_no_blame_off_the_dial_before_it() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    let refused = Attempt {
        id: 99,
        action: Action::Restart,
        grounds: Some(Grounds::State),
        at: world.now,
        verdict: Some(Verdict::Refused),
    };
    world.attempts.push(refused);
    fight(&mut world, 8);
    assert_eq!(
        world.verdicts(),
        [Some(Verdict::MadeWorse), Some(Verdict::Refused)]
    );
    assert!(world.instance.halted_at.is_some());
}

#[test]
fn drops_that_lie_hours_apart_are_not_put_down_to_an_old_dial() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    world.evidence.neighbour_open = false;
    world.checks(300, &paired(MemoryState::Close));
    assert_eq!(world.verdicts(), [Some(Verdict::NoEffect)]);
    for _ in 0..3 {
        world.checks(7_200, &paired(MemoryState::Open));
        world.check(&paired(MemoryState::Close));
    }
    assert_eq!(world.verdicts(), [Some(Verdict::NoEffect)]);
    assert_eq!(world.instance.halted_at, None);
}

#[test]
fn two_more_drops_within_the_hour_do_not_make_a_dial_that_worked_worse() {
    let mut world = World::with_neighbour();
    world.checks(150, &paired(MemoryState::Close));
    for _ in 0..3 {
        world.checks(1_200, &paired(MemoryState::Open));
        world.check(&paired(MemoryState::Close));
    }
    assert_eq!(world.verdicts(), [Some(Verdict::Worked)]);
    assert_eq!(world.instance.halted_at, None);
}

#[test]
fn a_fight_that_somebody_else_began_is_the_operators() {
    let mut world = World::with_neighbour();
    let decisions = fight(&mut world, 20);
    assert!(
        decisions[6..]
            .iter()
            .all(|each| *each == Decision::TellOperator)
    );
    assert_eq!(world.instance.reason.expect("a reason").code(), "unstable");
    assert_eq!(world.instance.halted_at, None, "it was not us");
    let done = world.checks(150, &paired(MemoryState::Close));
    assert_eq!(
        done.last(),
        Some(&(150, CONNECT_C)),
        "once it has settled, what helps is done"
    );
}

#[test]
fn a_socket_that_is_missing_twice_makes_a_zombie_that_we_never_repair() {
    let mut world = World::with_neighbour();
    assert_eq!(world.check(&probed(Socket::Missing)), Decision::Nothing);
    assert_eq!(
        world.instance.status,
        Status::Connected,
        "once is not enough"
    );
    let first = world.now;
    assert_eq!(
        world.check(&probed(Socket::Missing)),
        Decision::TellOperator
    );
    assert_eq!(world.instance.status, Status::Zombie);
    assert_eq!(world.instance.down_since, Some(first));
    for _ in 0..100 {
        assert_eq!(
            world.check(&probed(Socket::Missing)),
            Decision::TellOperator
        );
    }
    assert_eq!(world.instance.down_since, Some(first));
    world.check(&probed(Socket::There));
    world.check(&paired(MemoryState::Open));
    assert_eq!(world.instance.status, Status::Connected);
    assert!(!world.instance.is_down());
}

#[test]
fn a_socket_that_was_missing_once_and_is_there_is_nothing() {
    let mut world = World::with_neighbour();
    for _ in 0..10 {
        world.check(&probed(Socket::Missing));
        world.check(&probed(Socket::There));
    }
    assert_eq!(world.instance.status, Status::Connected);
    world.check(&probed(Socket::Missing));
    world.check(&paired(MemoryState::Connecting));
    world.check(&probed(Socket::Missing));
    assert_eq!(
        world.instance.status,
        Status::Connected,
        "a drop lies between"
    );
}
