//! When the socket behind an open state is looked for, and what follows once it no longer is.

#![allow(clippy::expect_used, reason = "a test may fail")]

use whatsapp_monitor::monitor::{
    Answer, Capabilities, Check, GatewayFault, Instance, MemoryState, Question, Settings, Socket,
    Status, Timestamp,
};

const NOON_MS: i64 = 1_795_435_200_000;

/// An instance, checked every half minute, and the gateway that answers for it: open, whatever else.
struct World {
    instance: Instance,
    now: Timestamp,
    settings: Settings,
    capabilities: Capabilities,
    always_online: Option<bool>,
    socket: Option<Socket>,
    asked: Vec<Question>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            instance: Instance::default(),
            now: Timestamp::from_ms(NOON_MS),
            settings: Settings::default(),
            capabilities: Capabilities {
                may_act: true,
                ..Capabilities::default()
            },
            always_online: Some(false),
            socket: Some(Socket::There),
            asked: Vec::new(),
        };
        world.checks(3_600);
        world
    }

    fn zombie() -> Self {
        let mut world = Self::new();
        world.socket = Some(Socket::Missing);
        world.checks(1_200);
        assert_eq!(world.instance.status, Status::Zombie);
        world
    }

    /// Checks for so many seconds.
    fn checks(&mut self, seconds: i64) {
        for _ in 0..seconds / 30 {
            self.check(Ok(MemoryState::Open));
        }
    }

    fn check(&mut self, state: Result<MemoryState, GatewayFault>) {
        self.now = self.now.plus_ms(30_000);
        let (now, capabilities, settings) = (self.now, self.capabilities, &self.settings);
        let mut check = Check::new(1, &self.instance, now, capabilities, settings);
        while let Some(question) = check.question() {
            self.asked.push(question);
            let answer = match question {
                Question::State | Question::StateAgain => Answer::State(state.map_err(Into::into)),
                Question::Row => Answer::Row(None),
                Question::AlwaysOnline => Answer::AlwaysOnline(self.always_online),
                Question::Socket => Answer::Socket(self.socket),
            };
            check.answer(answer, capabilities);
        }
        let observation = check.observation(capabilities);
        self.instance = self.instance.observe(&observation, now, settings);
    }

    /// How often this was asked in the next hour.
    fn asked_in_an_hour(&mut self, question: Question) -> usize {
        self.asked.clear();
        self.checks(3_600);
        self.asked.iter().filter(|each| **each == question).count()
    }
}

#[test]
fn whether_it_must_be_always_online_is_asked_as_often_as_it_is_looked_for() {
    let mut world = World::new();
    for (always_online, socket) in [
        (Some(false), Some(Socket::There)),
        (Some(false), None),
        (Some(true), None),
        (None, None),
    ] {
        (world.always_online, world.socket) = (always_online, socket);
        assert_eq!(world.asked_in_an_hour(Question::AlwaysOnline), 6);
        let looks = if always_online == Some(false) { 6 } else { 0 };
        assert_eq!(world.asked_in_an_hour(Question::Socket), looks);
    }
}

#[test]
fn a_zombie_does_not_outlive_the_look_that_found_it() {
    type Turn = fn(&mut World);
    let turns: [Turn; 3] = [
        |world| world.settings.zombie_probe_every_s = 0,
        |world| world.always_online = Some(true),
        |world| world.capabilities.may_act = false,
    ];
    for turn in turns {
        let mut world = World::zombie();
        turn(&mut world);
        world.checks(60);
        assert_eq!(world.instance.status, Status::Connected);
        assert!(!world.instance.is_down());
    }
}

#[test]
fn an_answer_that_does_not_tell_and_a_gateway_that_does_not_answer_leave_it_a_zombie() {
    let mut world = World::zombie();
    world.socket = None;
    world.checks(600);
    assert_eq!(world.instance.status, Status::Zombie);
    for _ in 0..10 {
        world.check(Err(GatewayFault::Broken));
    }
    world.checks(30);
    assert_eq!(world.instance.status, Status::Zombie, "it is still open");
    world.socket = Some(Socket::There);
    world.checks(60);
    assert_eq!(world.instance.status, Status::Connected);
}
