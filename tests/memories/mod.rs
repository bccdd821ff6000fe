//! Memories, observations and all else that a decision is made from, drawn at random: near each other
//! in time as in an outage, or with nothing that fits together.

#![allow(dead_code, reason = "a test need not use everything")]

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use whatsapp_monitor::monitor::{
    Action, Attempt, Changes, ConfigFault, Event, Evidence, Fault, FinalCodes, FinalReason,
    Gateway, GatewayFault, Grounds, Heard, Instance, Integration, Look, MemoryState, Observation,
    Profile, Reading, Reason, RecordedReason, Row, RowStatus, Settings, Socket, Standing, Status,
    Steady, Streak, Timestamp, Told, Verdict,
};

pub const NOON_MS: i64 = 1_795_435_200_000;

/// The last moment of the year 9999.
pub const END_MS: i64 = 253_402_300_799_999;

/// Moments of the present, a few hours apart at the most.
pub fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        -100_000..100_000_i64,
        -10_000_000..10_000_000_i64,
        select(vec![0, -55_000, -90_000, -150_000, -900_000, -3_600_000]),
    ]
    .prop_map(|ms| Timestamp::from_ms(NOON_MS + ms))
}

/// Moments that a memory may hold.
pub fn kept_moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => moment(),
        1 => (0..=END_MS).prop_map(Timestamp::from_ms),
        1 => select(vec![0, END_MS]).prop_map(Timestamp::from_ms),
    ]
}

/// Moments of any kind.
pub fn any_moment() -> impl Strategy<Value = Timestamp> {
    let extremes = vec![i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    prop_oneof![
        4 => moment(),
        1 => any::<i64>().prop_map(Timestamp::from_ms),
        2 => select(extremes).prop_map(Timestamp::from_ms),
    ]
}

pub fn count() -> impl Strategy<Value = u32> {
    prop_oneof![0..10_u32, any::<u32>(), Just(u32::MAX)]
}

pub fn streak(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Streak> {
    (moment.clone(), moment, count()).prop_map(|(first, last, checks)| Streak {
        first,
        last,
        checks,
    })
}

pub fn memory_state() -> impl Strategy<Value = MemoryState> {
    use MemoryState::{Close, Connecting, NotLoaded, Open};
    select(vec![Open, Connecting, Close, NotLoaded])
}

pub fn fault() -> impl Strategy<Value = Fault> {
    use ConfigFault as C;
    use GatewayFault as G;
    prop_oneof![
        select(vec![
            G::Refused,
            G::NameNotFound,
            G::Tls,
            G::Broken,
            G::TimedOut,
            G::DatabaseDown,
            G::KeyUnconfirmed,
            G::TooLarge,
            G::Untrusted,
        ])
        .prop_map(Fault::Gateway),
        any::<u16>().prop_map(|status| G::ServerError(status).into()),
        any::<u16>().prop_map(|status| G::NotJson(status).into()),
        any::<u16>().prop_map(|status| G::Unintelligible(status).into()),
        select(vec![
            C::WrongKey,
            C::UnknownInstance,
            C::UnknownRoute,
            C::BadUrl,
            C::PrivateAddress,
            C::Redirected,
            C::LicenceRequired,
        ])
        .prop_map(Fault::Config),
    ]
}

pub fn gateway_fault() -> impl Strategy<Value = GatewayFault> {
    fault().prop_map(|fault| match fault {
        Fault::Gateway(fault) => fault,
        Fault::Config(_) => GatewayFault::Refused,
    })
}

pub fn final_reason() -> impl Strategy<Value = FinalReason> {
    use FinalReason::{Banned, ConnectionLost, LoggedOut, NotAcceptable, Restricted};
    select(vec![
        LoggedOut,
        Restricted,
        Banned,
        NotAcceptable,
        ConnectionLost,
    ])
}

pub fn recorded_reason() -> impl Strategy<Value = RecordedReason> {
    let code = prop_oneof![select(vec![401, 402, 403, 406, 408, 428]), any::<u16>()];
    (code, prop::option::of("[!-~]{1,40}")).prop_map(|(code, at)| RecordedReason { code, at })
}

pub fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        final_reason().prop_map(Reason::Final),
        fault().prop_map(Reason::Fault),
        select(vec![
            Reason::LoggedOut,
            Reason::NeverPaired,
            Reason::WaitingForScan,
            Reason::QrLimit,
            Reason::Zombie,
            Reason::Unstable,
            Reason::Socketless,
            Reason::Booting,
        ]),
    ]
}

pub fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => select(vec![Reading::Redialling, Reading::PairedClose]),
        4 => select(vec![
            Reading::Open,
            Reading::NotOpen,
            Reading::WaitingForScan,
            Reading::QrLimit,
            Reading::LoggedOut,
            Reading::NeverPaired,
            Reading::Booting,
        ]),
        1 => final_reason().prop_map(Reading::Ended),
    ]
}

pub fn status() -> impl Strategy<Value = Status> {
    select(vec![
        Status::Connected,
        Status::Connecting,
        Status::WaitingQr,
        Status::Disconnected,
        Status::Blocked,
        Status::Zombie,
        Status::GatewayUnreachable,
        Status::Misconfigured,
        Status::Unknown,
    ])
}

pub fn integration() -> impl Strategy<Value = Integration> {
    prop_oneof![
        9 => Just(Integration::Socket),
        1 => Just(Integration::Socketless),
    ]
}

pub fn changes(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Changes> {
    prop_oneof![
        Just(Changes::default()),
        prop::collection::vec(moment, 0..12)
            .prop_map(|moments| { serde_json::from_value(json!(moments)).unwrap_or_default() }),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        select(vec![
            Event::Connecting,
            Event::Open,
            Event::Closed(None),
            Event::LoggedOut,
            Event::QrCode,
            Event::QrLimit,
            Event::Removed,
        ]),
        select(vec![401, 402, 403, 406, 408, 428]).prop_map(|code| Event::Closed(Some(code))),
        recorded_reason().prop_map(Event::Ended),
    ]
}

/// When an event was by its gateway's clock.
pub fn sent_ms() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => (-5_000_000..5_000_000_i64).prop_map(|ms| NOON_MS + ms),
        1 => any::<i64>(),
    ]
}

pub fn told() -> impl Strategy<Value = Told> {
    (sent_ms(), event()).prop_map(|(sent_ms, event)| Told { sent_ms, event })
}

/// A memory of which no two parts need to agree.
pub fn instance(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Instance> {
    use prop::option::of;
    let m = || moment.clone();
    let look = (m(), memory_state(), any::<bool>());
    let look = look.prop_map(|(at, memory, told)| Look { at, memory, told });
    let steady = (memory_state(), m(), m(), count());
    let steady = steady.prop_map(|(state, first, last, checks)| Steady {
        state,
        first,
        last,
        checks,
    });
    let shown = (status(), of(m()), of(reason()), of(reading()));
    let counted = (
        of(streak(m())),
        of(streak(m())),
        of(streak(m())),
        of(streak(m())),
    );
    let moments = (of(m()), of(m()), of(m()), of(m()), of(m()));
    let row = (
        of(recorded_reason()),
        any::<bool>(),
        of(look),
        integration(),
    );
    let told = (changes(m()), of(told()), changes(m()));
    (shown, counted, moments, row, of(steady), told).prop_map(
        |(shown, counted, moments, row, steady, told)| Instance {
            status: shown.0,
            since: shown.1,
            reason: shown.2,
            reading: shown.3,
            bad: counted.0,
            unanswered: counted.1,
            good: counted.2,
            socket_missing: counted.3,
            down_since: moments.0,
            recovered_at: moments.1,
            last_open: moments.2,
            probed_at: moments.3,
            halted_at: moments.4,
            known_reason: row.0,
            row_seen_open: row.1,
            last_look: row.2,
            integration: row.3,
            steady,
            changes: told.0,
            told: told.1,
            told_drops: told.2,
        },
    )
}

pub fn gateway(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Gateway> {
    use prop::option::of;
    let m = || moment.clone();
    let counted = (of(streak(m())), of(streak(m())), of(gateway_fault()));
    (counted, of(m()), of(m()), of(m())).prop_map(
        |((failing, sound, fault), down_since, recovered_at, cooldown_until)| Gateway {
            failing,
            fault,
            down_since,
            sound,
            recovered_at,
            cooldown_until,
        },
    )
}

pub fn row() -> impl Strategy<Value = Row> {
    let status = select(vec![
        Some(RowStatus::Open),
        Some(RowStatus::Connecting),
        Some(RowStatus::Close),
        None,
    ]);
    (status, prop::option::of(recorded_reason()), integration()).prop_map(
        |(status, reason, integration)| Row {
            status,
            reason,
            profile: Profile::default(),
            integration,
        },
    )
}

pub fn final_codes() -> impl Strategy<Value = FinalCodes> {
    use FinalCodes::{LoggedOut, Refused, RefusedOrLost};
    select(vec![LoggedOut, Refused, RefusedOrLost])
}

pub fn socket() -> impl Strategy<Value = Socket> {
    select(vec![
        Socket::There,
        Socket::Missing,
        Socket::Untold,
        Socket::Forbidden,
    ])
}

pub fn observation() -> impl Strategy<Value = Observation> {
    let seen = (
        memory_state(),
        prop::option::of(row()),
        prop::option::of(socket()),
        final_codes(),
    );
    let seen = seen.prop_map(|(memory, row, socket, final_codes)| Observation::Seen {
        memory,
        row,
        socket,
        final_codes,
    });
    prop_oneof![
        4 => seen,
        1 => fault().prop_map(Observation::Failed),
    ]
}

pub fn attempts(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Vec<Attempt>> {
    let action = select(vec![Action::Connect, Action::Restart]);
    let grounds = select(vec![
        None,
        Some(Grounds::State),
        Some(Grounds::Webhook),
        Some(Grounds::Neighbour),
        Some(Grounds::Blind),
    ]);
    let verdict = select(vec![
        None,
        Some(Verdict::Worked),
        Some(Verdict::NoEffect),
        Some(Verdict::Refused),
        Some(Verdict::MadeWorse),
    ]);
    let attempt = (any::<i64>(), action, grounds, moment, verdict);
    let attempt = attempt.prop_map(|(id, action, grounds, at, verdict)| Attempt {
        id,
        action,
        grounds,
        at,
        verdict,
    });
    prop::collection::vec(attempt, 0..8)
}

pub fn evidence(moment: BoxedStrategy<Timestamp>) -> impl Strategy<Value = Evidence> {
    let standing = prop_oneof![
        8 => Just(Standing::Sound),
        1 => Just(Standing::AtFault),
        1 => Just(Standing::CoolingDown),
    ];
    let heard = (prop::option::of(moment.clone()), prop::option::of(moment));
    (standing, any::<bool>(), heard, any::<bool>()).prop_map(
        |(standing, may_act, (last_event, last_connecting), neighbour_open)| Evidence {
            standing,
            may_act,
            heard: Heard {
                last_event,
                last_connecting,
            },
            neighbour_open,
        },
    )
}

/// What lets something be done, on one ground or another.
pub fn calm_evidence() -> impl Strategy<Value = Evidence> {
    let last_event = Timestamp::from_ms(NOON_MS);
    (prop::option::of(Just(last_event)), any::<bool>()).prop_map(|(last_event, neighbour_open)| {
        Evidence {
            standing: Standing::Sound,
            may_act: true,
            heard: Heard {
                last_event,
                last_connecting: None,
            },
            neighbour_open,
        }
    })
}

/// The defaults, what the table takes, and what it does not.
pub fn settings() -> impl Strategy<Value = Settings> {
    let any_settings = prop::collection::vec(count(), 17).prop_map(|n| Settings {
        interval_s: n[0],
        down_after_checks: n[1],
        down_after_s: n[2],
        up_after_checks: n[3],
        stuck_connecting_checks: n[4],
        first_action_after_s: n[5],
        steady_close_s: n[6],
        blind_connect_after_s: n[7],
        settle_s: n[8],
        attempts_per_5_min: n[9],
        attempts_per_hour: n[10],
        probe_every_s: n[11],
        zombie_probe_every_s: n[12],
        request_timeout_ms: n[13],
        concurrency: n[14],
        tick_budget_ms: n[15],
        webhook_check_every_s: n[16],
        ..Settings::default()
    });
    prop_oneof![
        2 => Just(Settings::default()),
        1 => any_settings,
    ]
}

/// Any JSON, the extremes of its numbers included.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![i64::MIN, i64::MAX, NOON_MS, END_MS + 1]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["connected", "open", "paired_close", "close"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
