//! What follows for each instance from all checks of its gateway in one tick.

use whatsapp_monitor::monitor::{
    Action, Capabilities, Decision, Finding, Gateway, GatewayFault, Grounds, Heard, Instance,
    Integration, MemoryState, Observation, Profile, Row, RowStatus, Settings, Timestamp, Visit,
    Visited, conclude,
};

const NOON_MS: i64 = 1_795_435_200_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(NOON_MS + seconds * 1_000)
}

fn seen(memory: MemoryState) -> Observation {
    Observation::Seen {
        memory,
        row: Some(Row {
            status: Some(RowStatus::Open),
            reason: None,
            profile: Profile::default(),
            integration: Integration::Socket,
        }),
        socket: None,
        final_codes: Capabilities::default().final_codes,
    }
}

/// The memory after these checks, half a minute apart.
fn after(checks: &[Observation]) -> Instance {
    checks
        .iter()
        .zip(0..)
        .fold(Instance::default(), |instance, (observation, check)| {
            instance.observe(observation, at(check * 30), &Settings::default())
        })
}

/// What is decided about an instance that was `close` for two and a half minutes, when it still is
/// and this is seen of its neighbour, open so far.
fn decided_beside(neighbour: &Observation) -> Decision {
    let (open, close) = (seen(MemoryState::Open), seen(MemoryState::Close));
    let instances = [
        after(&[vec![open.clone()], vec![close.clone(); 5]].concat()),
        after(&vec![open; 6]),
    ];
    let looks: Vec<Visited> = instances
        .iter()
        .zip([&close, neighbour])
        .zip(0..)
        .map(|((instance, observation), id)| Visited {
            id,
            instance,
            attempts: &[],
            heard: Heard::default(),
            at: at(180),
            observation,
        })
        .collect();
    let visit = Visit {
        gateway: &Gateway::default(),
        finding: Finding::Sound,
        may_act: true,
        open_elsewhere: false,
        at: at(181),
    };
    conclude(visit, &looks, &Settings::default()).1[0].decision
}

#[test]
fn a_neighbour_that_is_open_now_is_evidence() {
    let connect = Decision::Act(Action::Connect, Grounds::Neighbour);
    assert_eq!(decided_beside(&seen(MemoryState::Open)), connect);
}

#[test]
fn a_neighbour_that_was_open_and_does_not_answer_is_none() {
    let failed = Observation::Failed(GatewayFault::Broken.into());
    assert_eq!(decided_beside(&failed), Decision::Wait);
}
