//! The model of the gateway takes the courses that were recorded of the real one, and is fit to
//! judge a monitor by: what it calls the truth can be tried out, and the same seed gives the same
//! history.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Action, Body, Config, Cure, Delivery, FINAL_CODES, Failure, Fault, Gateway, Hang, HttpFault,
    Memory, Process, Reception, Request, Rng, RowStatus, Truth, Unreachable, Whom,
};
use serde_json::{Value, json};

const A: &str = "loja-a";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A gateway with one paired, healthy instance that has a webhook.
fn healthy() -> Gateway {
    healthy_with(Config::default())
}

fn healthy_with(config: Config) -> Gateway {
    let mut gateway = Gateway::new(config);
    gateway.add_open(A);
    gateway.set_webhook(A, "https://monitor.example/hook");
    gateway
}

fn truth(gateway: &Gateway) -> Truth {
    gateway.truth(A).expect("it is there")
}

fn pass(gateway: &mut Gateway, ms: i64) {
    gateway.advance(gateway.now_ms() + ms);
}

fn inflict(gateway: &mut Gateway, fault: &Fault) {
    gateway.inflict(gateway.now_ms(), fault);
}

fn heal(gateway: &mut Gateway, fault: &Fault) {
    gateway.heal(gateway.now_ms(), fault);
}

fn ask(gateway: &mut Gateway, request: fn(&str, &str) -> Request) -> (u16, Value) {
    let request = request(A, gateway.key());
    let exchange = gateway.request(gateway.now_ms(), &request);
    match exchange.outcome {
        Ok((status, Body::Json(body))) => (status, body),
        other => panic!("no answer: {other:?}"),
    }
}

/// The states that are read in a span, by milliseconds, each change once.
fn states(gateway: &mut Gateway, ms: i64) -> Vec<Memory> {
    let mut seen = Vec::new();
    for _ in 0..ms {
        seen.push(truth(gateway).memory);
        pass(gateway, 1);
    }
    seen.dedup();
    seen
}

/// How much of a span, in hundredths, reads so.
fn share(gateway: &mut Gateway, ms: i64, memory: Memory) -> i64 {
    let hits = (0..ms).filter(|_| {
        pass(gateway, 1);
        truth(gateway).memory == memory
    });
    hits.count() as i64 * 100 / ms
}

/// The webhooks that arrive, each accepted.
fn deliveries(gateway: &mut Gateway) -> Vec<Delivery> {
    let arrived = gateway.take_deliveries();
    for delivery in &arrived {
        gateway.answer_delivery(delivery.id, Reception::Answered(200));
    }
    arrived
}

/// How many `connection.update` of each state arrived.
fn updates(gateway: &mut Gateway) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for delivery in deliveries(gateway) {
        if delivery.event == "connection.update" {
            let state = delivery.body["data"]["state"].as_str().expect("a state");
            *counts.entry(state.to_owned()).or_default() += delivery.count;
        }
    }
    counts
}

fn restored(gateway: &Gateway) {
    let truth = truth(gateway);
    assert!(truth.connected && !truth.doubled, "{truth:?}");
    assert_eq!((truth.sockets, truth.cure), (1, Cure::Healthy));
    assert_eq!((truth.memory, truth.row), (Memory::Open, RowStatus::Open));
}

#[test]
fn a_recoverable_drop_redials_by_itself_and_leaves_the_row_alone() {
    for code in [405, 408, 409, 411, 428, 440, 500, 501, 503, 515, 516] {
        let mut gateway = healthy();
        inflict(&mut gateway, &Fault::Drop(A.to_owned(), code));
        assert_eq!(truth(&gateway).row, RowStatus::Open);
        assert_eq!(truth(&gateway).cure, Cure::Itself);
        let seen = states(&mut gateway, 1_000);
        assert_eq!(
            seen,
            [Memory::Close, Memory::Connecting, Memory::Open],
            "{code}"
        );
        restored(&gateway);
        let expected = [("connecting".to_owned(), 1), ("open".to_owned(), 1)];
        assert_eq!(updates(&mut gateway), BTreeMap::from(expected), "{code}");
    }
}

#[test]
fn a_final_drop_deletes_the_session_and_is_told_in_any_order() {
    let mut orders = BTreeSet::new();
    for seed in 0..40 {
        let code = FINAL_CODES[seed as usize % 4];
        let mut gateway = healthy_with(Config {
            seed,
            ..Config::default()
        });
        inflict(&mut gateway, &Fault::Drop(A.to_owned(), code));
        pass(&mut gateway, DAY_MS);
        let truth = truth(&gateway);
        assert_eq!((truth.memory, truth.row), (Memory::Close, RowStatus::Close));
        assert!(!truth.session && !truth.redialling && truth.owner);
        assert_eq!(truth.cure, Cure::Person);
        let (reason, _) = gateway.row_reason(A).expect("a reason");
        assert_eq!(reason, code);
        let mut arrived = deliveries(&mut gateway);
        arrived.sort_by_key(|delivery| delivery.id); // as they were sent
        let close = arrived
            .iter()
            .find(|delivery| delivery.event == "connection.update");
        assert_eq!(close.expect("close").body["data"]["statusReason"], code);
        orders.insert(
            arrived
                .iter()
                .map(|delivery| delivery.event)
                .collect::<Vec<_>>(),
        );
    }
    assert!(orders.iter().all(|order| order.len() == 3));
    assert!(orders.len() > 3, "{orders:?}");
}

#[test]
fn an_unresolvable_whatsapp_is_a_storm_that_reads_close() {
    let mut gateway = healthy();
    let fault = Fault::Unreachable(Whom::All, Unreachable::Unresolvable);
    inflict(&mut gateway, &fault);
    restored(&gateway); // a live socket notices after 35 s at the earliest
    pass(&mut gateway, 66_000);
    updates(&mut gateway);
    assert_eq!(share(&mut gateway, 5_000, Memory::Close), 100); // B2
    pass(&mut gateway, 55_000);
    let rate = updates(&mut gateway)["connecting"] / 60;
    assert!((115..=155).contains(&rate), "{rate} a second");
    assert_eq!(truth(&gateway).row, RowStatus::Open);
    assert_eq!(truth(&gateway).cure, Cure::Itself);

    pass(&mut gateway, HOUR_MS);
    let told = deliveries(&mut gateway);
    assert!(told.len() <= 362, "{} summaries in an hour", told.len());
    let gaps = told
        .windows(2)
        .filter(|two| two[1].first_ms > two[0].sent_ms);
    assert_eq!(gaps.count(), 0, "summaries leave no gap");

    heal(&mut gateway, &fault);
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn dropped_sockets_read_connecting_nearly_all_the_time() {
    let mut gateway = healthy();
    inflict(
        &mut gateway,
        &Fault::Unreachable(Whom::One(A.to_owned()), Unreachable::Dropping),
    );
    pass(&mut gateway, 2_000);
    updates(&mut gateway);
    let connecting = share(&mut gateway, 60_000, Memory::Connecting);
    assert!((85..100).contains(&connecting), "{connecting} % (D2)");
    let count = updates(&mut gateway)["connecting"];
    assert!(
        (100..=140).contains(&count),
        "{count} in a minute (D2: 12 in 6 s)"
    );
    assert_eq!(truth(&gateway).row, RowStatus::Open);
}

#[test]
fn a_silent_whatsapp_is_dialled_every_30_s() {
    let mut gateway = healthy();
    inflict(
        &mut gateway,
        &Fault::Unreachable(Whom::All, Unreachable::Silent),
    );
    pass(&mut gateway, 66_000);
    updates(&mut gateway);
    pass(&mut gateway, 10 * 60_000);
    assert_eq!(truth(&gateway).memory, Memory::Connecting);
    assert!((19..=21).contains(&updates(&mut gateway)["connecting"]));
}

#[test]
fn a_slow_lookup_reads_close_while_a_redial_is_under_way() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::SlowLookup(8_000));
    assert_eq!(
        ask(&mut gateway, Request::restart).1["instance"]["state"],
        "open"
    ); // D1
    pass(&mut gateway, 7_990);
    assert_eq!(truth(&gateway).memory, Memory::Close); // N9
    assert!(truth(&gateway).redialling);
    pass(&mut gateway, 20);
    assert_eq!(truth(&gateway).memory, Memory::Connecting);
    pass(&mut gateway, 200);
    restored(&gateway);
    let root = gateway.request(gateway.now_ms(), &Request::root());
    assert!((8_000..8_100).contains(&root.takes_ms)); // N8
}

#[test]
fn a_connect_during_a_redial_is_a_fight_that_only_a_process_restart_ends() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::SlowLookup(700));
    ask(&mut gateway, Request::restart);
    pass(&mut gateway, 300);
    let began_ms = gateway.now_ms();
    assert_eq!(ask(&mut gateway, Request::connect).1, json!({ "count": 0 })); // O2
    assert_eq!(gateway.double_sockets()[0].at_ms, began_ms);
    pass(&mut gateway, 2_000);
    updates(&mut gateway);
    let changes = states(&mut gateway, 15_000);
    let times = |memory| changes.iter().filter(|&&seen| seen == memory).count();
    for memory in [Memory::Open, Memory::Connecting, Memory::Close] {
        assert!((10..=15).contains(&times(memory)), "{changes:?}");
    }
    assert!(truth(&gateway).doubled);
    assert_eq!(
        (truth(&gateway).sockets, truth(&gateway).row),
        (2, RowStatus::Open)
    );
    for _ in 0..200 {
        ask(&mut gateway, Request::restart); // O3
        ask(&mut gateway, Request::connect);
        pass(&mut gateway, HOUR_MS / 10 + 13);
        assert_eq!(truth(&gateway).cure, Cure::Operator);
    }
    assert_eq!(gateway.double_sockets().len(), 1);
    inflict(&mut gateway, &Fault::ProcessRestart);
    pass(&mut gateway, 5_000);
    restored(&gateway);
}

#[test]
fn a_connect_in_a_storm_ends_in_a_fight_when_whatsapp_is_back() {
    let mut gateway = healthy();
    let fault = Fault::Unreachable(Whom::All, Unreachable::Unresolvable);
    inflict(&mut gateway, &fault);
    pass(&mut gateway, 66_000);
    ask(&mut gateway, Request::connect);
    heal(&mut gateway, &fault);
    pass(&mut gateway, 60_000);
    assert!(truth(&gateway).doubled && !truth(&gateway).connected);
    updates(&mut gateway);
    pass(&mut gateway, 60_000);
    let rate = updates(&mut gateway)["connecting"] / 60;
    assert!((13..=15).contains(&rate), "{rate} a second");
}

#[test]
fn another_process_on_the_session_is_a_fight_that_a_person_ends() {
    let mut gateway = healthy();
    let fault = Fault::Replaced(A.to_owned());
    inflict(&mut gateway, &fault);
    pass(&mut gateway, 1_000);
    updates(&mut gateway);
    let changes = states(&mut gateway, 5_000);
    let closes = changes
        .iter()
        .filter(|&&seen| seen == Memory::Close)
        .count();
    assert!(
        closes > 50 && !changes.contains(&Memory::Open),
        "{closes} in 5 s (L3: 70 sockets)"
    );
    pass(&mut gateway, 55_000);
    let counts = updates(&mut gateway);
    assert!((13..=15).contains(&(counts["connecting"] / 60)));
    assert!(!counts.contains_key("open"));
    assert_eq!(
        (truth(&gateway).cure, truth(&gateway).row),
        (Cure::Person, RowStatus::Open)
    );
    heal(&mut gateway, &fault);
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn a_socket_that_closes_without_the_database_leaves_a_zombie() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::DatabaseDown);
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
    heal(&mut gateway, &Fault::DatabaseDown);
    let logout = |name: &str, key: &str| Request {
        method: "DELETE",
        ..Request::new("DELETE", &format!("/instance/logout/{name}"), key)
    };
    for request in [Request::restart, Request::connect, logout] {
        ask(&mut gateway, request); // K7, K8, J8
        pass(&mut gateway, HOUR_MS);
        let truth = truth(&gateway);
        assert_eq!((truth.memory, truth.row), (Memory::Open, RowStatus::Open));
        assert_eq!(
            (truth.sockets, truth.session, truth.cure),
            (0, true, Cure::Operator)
        );
    }
    assert!(deliveries(&mut gateway).is_empty());
    let probe = |name: &str, key: &str| Request::set_presence(name, key, "unavailable");
    assert_eq!(ask(&mut gateway, probe).0, 400); // J1
    inflict(&mut gateway, &Fault::ProcessRestart);
    pass(&mut gateway, 5_000);
    restored(&gateway); // K0
    assert_eq!(ask(&mut gateway, probe).0, 201); // K1
}

#[test]
fn a_process_that_restarts_refuses_then_dials_everything_by_itself() {
    let mut gateway = healthy();
    gateway.add_unpaired("loja-b");
    inflict(&mut gateway, &Fault::SlowLookup(8_000));
    inflict(&mut gateway, &Fault::ProcessRestart);
    let request = Request::connection_state(A, gateway.key());
    let refused = gateway.request(gateway.now_ms(), &request);
    assert_eq!(refused.outcome, Err(Failure::Refused)); // I1
    pass(&mut gateway, 3_000);
    assert_eq!(gateway.process(), Process::Up);
    let body = ask(&mut gateway, Request::connection_state).1;
    assert_eq!(body, json!({ "instance": { "instanceName": A } })); // N1
    assert_eq!(ask(&mut gateway, Request::row).0, 404); // N4
    assert_eq!(ask(&mut gateway, Request::connect).1["error"], true); // N2
    assert_eq!(truth(&gateway).cure, Cure::Itself);
    pass(&mut gateway, 8_000);
    restored(&gateway);
    assert!(
        gateway
            .truth("loja-b")
            .is_some_and(|other| other.memory == Memory::Connecting)
    ); // C1
    assert!(gateway.double_sockets().is_empty());
}

#[test]
fn a_boot_dial_that_hangs_is_for_the_operator_and_one_that_threw_for_a_connect() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::BootHangs(A.to_owned()));
    inflict(&mut gateway, &Fault::ProcessRestart);
    pass(&mut gateway, DAY_MS);
    assert_eq!(truth(&gateway).memory, Memory::Absent);
    assert_eq!(truth(&gateway).cure, Cure::Operator);

    inflict(&mut gateway, &Fault::BootThrows(A.to_owned()));
    inflict(&mut gateway, &Fault::ProcessRestart);
    pass(&mut gateway, DAY_MS);
    assert_eq!(truth(&gateway).memory, Memory::Close);
    assert_eq!(truth(&gateway).restored_by, Some(Action::Connect));
    ask(&mut gateway, Request::connect);
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn a_lookup_that_hangs_is_mended_by_connect_and_by_nothing_else() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::DialHangs(A.to_owned(), Hang::Lookup));
    pass(&mut gateway, DAY_MS);
    assert_eq!(ask(&mut gateway, Request::restart).1["error"], true); // A18
    pass(&mut gateway, HOUR_MS);
    assert_eq!(truth(&gateway).memory, Memory::Close);
    assert_eq!(truth(&gateway).row, RowStatus::Open);
    assert_eq!(truth(&gateway).restored_by, Some(Action::Connect));
    assert!(deliveries(&mut gateway).is_empty());
    ask(&mut gateway, Request::connect);
    pass(&mut gateway, 1_000);
    restored(&gateway);
    assert!(gateway.double_sockets().is_empty());
}

#[test]
fn a_login_that_hangs_is_mended_by_restart_and_by_nothing_else() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::DialHangs(A.to_owned(), Hang::Login));
    pass(&mut gateway, DAY_MS);
    assert_eq!(ask(&mut gateway, Request::connect).1, json!({ "count": 0 }));
    pass(&mut gateway, HOUR_MS);
    assert_eq!(truth(&gateway).memory, Memory::Connecting);
    assert_eq!(truth(&gateway).restored_by, Some(Action::Restart));
    ask(&mut gateway, Request::restart); // I3
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn qrs_come_every_45_s_until_the_limit_and_then_nothing_dials() {
    let mut gateway = Gateway::new(Config::default());
    gateway.add_unpaired(A);
    gateway.set_webhook(A, "https://monitor.example/hook");
    let qr = ask(&mut gateway, Request::connect).1;
    assert_eq!(qr["count"], 1); // F3
    assert!(qr["code"].is_string());
    pass(&mut gateway, 2_000);
    assert!(truth(&gateway).qr_on_offer);
    pass(&mut gateway, 45_000);
    assert_eq!(truth(&gateway).qr_count, 2);
    assert_eq!(truth(&gateway).row, RowStatus::Connecting); // C3
    pass(&mut gateway, 29 * 46_000);
    let truth = truth(&gateway);
    assert_eq!(
        (truth.memory, truth.row),
        (Memory::Close, RowStatus::Connecting)
    ); // F4
    assert_eq!((truth.qr_count, truth.cure), (0, Cure::Person));
    assert_eq!(
        gateway.next_event_ms(),
        None,
        "but for webhooks on their way"
    );
    let counts = updates(&mut gateway);
    // Six QRs a dial, 30 in all; the limit is met within the fifth.
    assert_eq!((counts["connecting"], counts["refused"]), (5, 1));
}

#[test]
fn a_person_who_scans_pairs_the_instance() {
    let mut gateway = Gateway::new(Config::default());
    gateway.add_unpaired(A);
    gateway.person_scans_after(A, Some(70_000));
    ask(&mut gateway, Request::connect);
    pass(&mut gateway, 69_000);
    assert!(truth(&gateway).qr_on_offer);
    pass(&mut gateway, 3_000);
    restored(&gateway);
    // D4: the last QR stays, dead.
    inflict(&mut gateway, &Fault::DialHangs(A.to_owned(), Hang::Login));
    pass(&mut gateway, 1_000);
    assert!(ask(&mut gateway, Request::connect).1["code"].is_string());
}

#[test]
fn a_refused_version_loops_until_the_operator_updates() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::VersionRefused);
    pass(&mut gateway, HOUR_MS);
    restored(&gateway); // a live socket is not touched
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
    pass(&mut gateway, HOUR_MS);
    assert_eq!(truth(&gateway).cure, Cure::Operator);
    assert!(truth(&gateway).session);
    heal(&mut gateway, &Fault::VersionRefused);
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn an_unlinking_that_the_gateway_does_not_hear_of_is_the_answer_to_its_next_login() {
    let mut gateway = healthy();
    let fault = Fault::Unreachable(Whom::All, Unreachable::Unresolvable);
    inflict(&mut gateway, &fault);
    pass(&mut gateway, 66_000);
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 401));
    pass(&mut gateway, HOUR_MS);
    assert_eq!(
        (truth(&gateway).session, truth(&gateway).cure),
        (true, Cure::Person)
    );
    heal(&mut gateway, &fault);
    pass(&mut gateway, 1_000);
    assert_eq!(
        (truth(&gateway).session, truth(&gateway).row),
        (false, RowStatus::Close)
    );
}

#[test]
fn each_http_fault_is_what_it_says() {
    let cases: [(HttpFault, Result<u16, Failure>, bool); 9] = [
        (HttpFault::Refused, Err(Failure::Refused), false),
        (HttpFault::Silent, Err(Failure::TimedOut), false),
        (HttpFault::Broken, Err(Failure::Broken), false),
        (HttpFault::AnswerLost, Err(Failure::Broken), true),
        (HttpFault::Page(502), Ok(0), false),
        (HttpFault::Error(500), Ok(500), true),
        (HttpFault::Garbage, Ok(0), true),
        (HttpFault::Slow(9_000), Err(Failure::TimedOut), true),
        (HttpFault::Licence, Ok(503), true),
    ];
    for (how, expected, arrives) in cases {
        for whom in [Whom::All, Whom::One(A.to_owned())] {
            let mut gateway = healthy();
            gateway.add_open("loja-b");
            let spared = whom != Whom::All;
            let fault = Fault::Http(whom, how);
            inflict(&mut gateway, &fault);
            let send = |name: &str, gateway: &mut Gateway| {
                let request = Request::connection_state(name, gateway.key());
                let exchange = gateway.request(gateway.now_ms(), &request);
                exchange.within(8_000).0.map(|(status, body)| {
                    let json = serde_json::from_str::<Value>(&body).is_ok();
                    if json { status } else { 0 }
                })
            };
            assert_eq!(send(A, &mut gateway), expected, "{how:?}");
            assert_eq!(
                gateway.take_received().len(),
                usize::from(arrives),
                "{how:?}"
            );
            assert_eq!(send("loja-b", &mut gateway) == Ok(200), spared, "{how:?}");
            heal(&mut gateway, &fault);
            assert_eq!(send(A, &mut gateway), Ok(200), "{how:?}");
        }
    }
}

#[test]
fn a_lost_answer_is_the_answer_to_a_deed_done() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::DialHangs(A.to_owned(), Hang::Lookup));
    inflict(&mut gateway, &Fault::Http(Whom::All, HttpFault::AnswerLost));
    let request = Request::connect(A, gateway.key());
    let exchange = gateway.request(gateway.now_ms(), &request);
    assert_eq!(exchange.outcome, Err(Failure::Broken));
    pass(&mut gateway, 1_000);
    restored(&gateway);
}

#[test]
fn a_failed_delivery_is_tried_again_and_a_refused_one_is_not() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
    let mut tries: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for _ in 0..5_000 {
        pass(&mut gateway, 1_000);
        for delivery in gateway.take_deliveries() {
            tries
                .entry(delivery.id)
                .or_default()
                .push(delivery.arrives_ms - delivery.sent_ms);
            gateway.answer_delivery(delivery.id, Reception::Answered(500));
        }
    }
    assert_eq!(tries.len(), 2);
    for tries in tries.values() {
        assert_eq!(tries.len(), 10);
        let waits: Vec<i64> = tries.windows(2).map(|two| two[1] - two[0]).collect();
        assert!((5_000..6_500).contains(&waits[0]), "{waits:?} (G2b)");
        assert!(
            waits.iter().all(|wait| (5_000..361_000).contains(wait)),
            "{waits:?}"
        );
    }
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
    pass(&mut gateway, 1_000);
    for delivery in gateway.take_deliveries() {
        gateway.answer_delivery(delivery.id, Reception::Answered(404)); // G2a
    }
    pass(&mut gateway, HOUR_MS);
    assert!(gateway.take_deliveries().is_empty());
}

#[test]
fn late_webhooks_arrive_out_of_order_and_those_in_memory_die_with_the_process() {
    let mut gateway = healthy();
    inflict(&mut gateway, &Fault::WebhooksLate(60_000));
    for _ in 0..20 {
        inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
        pass(&mut gateway, 5_000);
    }
    pass(&mut gateway, 60_000);
    let sent: Vec<i64> = deliveries(&mut gateway)
        .iter()
        .map(|delivery| delivery.sent_ms)
        .collect();
    assert_eq!(sent.len(), 40);
    assert!(!sent.is_sorted());

    heal(&mut gateway, &Fault::WebhooksLate(0));
    inflict(&mut gateway, &Fault::WebhooksLost);
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 428));
    pass(&mut gateway, 60_000);
    assert!(gateway.take_deliveries().is_empty());
    let mut restarted = gateway.clone();
    heal(&mut gateway, &Fault::WebhooksLost);
    pass(&mut gateway, 60_000);
    assert_eq!(deliveries(&mut gateway).len(), 2, "tried again");
    let restart_ms = restarted.now_ms();
    inflict(&mut restarted, &Fault::ProcessRestart);
    heal(&mut restarted, &Fault::WebhooksLost);
    pass(&mut restarted, 60_000);
    assert!(
        deliveries(&mut restarted)
            .iter()
            .all(|delivery| delivery.sent_ms > restart_ms)
    );
}

#[test]
fn date_time_is_local_time_with_a_false_z() {
    let zone_ms = -3 * HOUR_MS;
    let mut gateway = healthy_with(Config {
        zone_ms,
        ..Config::default()
    });
    inflict(&mut gateway, &Fault::Clock(60_000));
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 401));
    let (_, at) = gateway.row_reason(A).expect("a reason");
    assert!(
        at.starts_with("2026-11-23T13:21:00.00"),
        "{at}: true UTC, by a clock that is wrong"
    );
    pass(&mut gateway, 1_000);
    for delivery in deliveries(&mut gateway) {
        assert_eq!(delivery.body["date_time"], "2026-11-23T10:21:00.000Z"); // L2
    }
}

/// The keys of an object and of the objects in it.
fn keys(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        keys(value, &at, into);
        into.insert(at);
    }
}

#[test]
fn webhooks_have_the_keys_of_the_recorded_ones() {
    let mut gateway = Gateway::new(Config::default());
    gateway.add_unpaired(A);
    gateway.set_webhook(A, "https://monitor.example/hook");
    gateway.person_scans_after(A, Some(1_000));
    ask(&mut gateway, Request::connect);
    pass(&mut gateway, 10_000);
    inflict(&mut gateway, &Fault::Drop(A.to_owned(), 401));
    gateway.person_scans_after(A, None);
    ask(&mut gateway, Request::connect);
    pass(&mut gateway, HOUR_MS);
    let sent = deliveries(&mut gateway);
    let state = |delivery: &Delivery| delivery.body["data"]["state"].clone();
    let mut held = 0;
    for line in include_str!("fixtures/evolution-webhooks-2.3.6.jsonl").lines() {
        let line: Value = serde_json::from_str(line).expect("a fixture is JSON");
        let id = line["id"].as_str().expect("an id");
        let data = &line["body"]["data"];
        // G3 has but a part of the data, H1 is a message, F1 a body of E1 in another order.
        if id.starts_with("G3") || id.starts_with("H1") || id.starts_with("F1") {
            continue;
        }
        let limit = data.get("statusCode").is_some();
        let alike = sent.iter().find(|delivery| {
            delivery.event == line["event"]
                && state(delivery) == data["state"]
                && delivery.body["data"].get("statusCode").is_some() == limit
                && (line["body"].get("sender").is_some() == delivery.body.get("sender").is_some()
                    || line["partial"] == true)
        });
        let ours = &alike.unwrap_or_else(|| panic!("{id}: none like it")).body;
        let [mut theirs_keys, mut our_keys] = [BTreeSet::new(), BTreeSet::new()];
        let whole = line["partial"] != true;
        keys(
            if whole { &line["body"] } else { data },
            "",
            &mut theirs_keys,
        );
        keys(if whole { ours } else { &ours["data"] }, "", &mut our_keys);
        assert_eq!(our_keys, theirs_keys, "{id}");
        held += 1;
    }
    assert_eq!(held, 10);
}

/// A day of faults drawn from the whole matrix, looked at every half minute; what it comes to, as
/// one text.
fn faulty_day(seed: u64, each_look: &mut impl FnMut(&mut Gateway, &str)) -> String {
    let mut rng = Rng::new(seed ^ 0xFA17);
    let mut gateway = Gateway::new(Config {
        seed,
        ..Config::default()
    });
    let names: Vec<String> = (0..4).map(|i| format!("loja-{i}")).collect();
    for name in &names {
        gateway.add_open(name);
        gateway.set_webhook(name, "https://monitor.example/hook");
    }
    let mut story = String::new();
    let mut healing: BTreeMap<i64, Fault> = BTreeMap::new();
    for look in 0..DAY_MS / 30_000 {
        let now_ms = Config::default().start_ms + look * 30_000;
        while let Some((_, fault)) = healing
            .first_entry()
            .filter(|entry| *entry.key() <= now_ms)
            .map(|entry| entry.remove_entry())
        {
            gateway.heal(now_ms, &fault);
        }
        if rng.one_in(40) {
            let fault = Fault::draw(&mut rng, &names);
            gateway.inflict(now_ms, &fault);
            healing.insert(now_ms + rng.between(1_000, 2 * HOUR_MS), fault);
        }
        for name in &names {
            let request = Request::connection_state(name, gateway.key());
            let exchange = gateway.request(now_ms, &request);
            story += &format!("{exchange:?}\n{:?}\n", gateway.truth(name));
            each_look(&mut gateway, name);
        }
        for delivery in gateway.take_deliveries() {
            let status = *rng.pick(&[200, 200, 200, 500]);
            gateway.answer_delivery(delivery.id, Reception::Answered(status));
            story += &format!("{delivery:?}\n");
        }
    }
    for happening in gateway.take_history() {
        story += &format!("{happening:?}\n");
    }
    story
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let mut stories = BTreeSet::new();
    for seed in 0..10 {
        let story = faulty_day(seed, &mut |_, _| {});
        assert!(story == faulty_day(seed, &mut |_, _| {}), "seed {seed}");
        stories.insert(story);
    }
    assert_eq!(stories.len(), 10, "and another seed another one");
}

#[test]
fn what_is_called_the_truth_can_be_tried_out() {
    let mut tried: BTreeMap<&str, u32> = BTreeMap::new();
    let mut looks = 0;
    for seed in 100..120 {
        faulty_day(seed, &mut |gateway, name| {
            gateway.take_history(); // or each copy would carry it
            gateway.take_received();
            looks += 1;
            if looks % 17 != 0 {
                return;
            }
            let Some(truth) = gateway.truth(name) else {
                return;
            };
            let try_out = |action: Action| {
                let mut copy = gateway.clone();
                let request = match action {
                    Action::Connect => Request::connect(name, copy.key()),
                    Action::Restart => Request::restart(name, copy.key()),
                };
                copy.request(copy.now_ms(), &request);
                pass(&mut copy, 60_000);
                let now = copy.truth(name).expect("it is there");
                (
                    now.connected,
                    copy.double_sockets().len() > gateway.double_sockets().len(),
                )
            };
            match (truth.cure, truth.restored_by) {
                (Cure::Healthy, _) => assert!(truth.connected),
                (Cure::Connect | Cure::Restart, Some(action)) => {
                    *tried.entry("restored").or_default() += 1;
                    assert_eq!(try_out(action), (true, false), "{truth:?}");
                    let other = match action {
                        Action::Connect => Action::Restart,
                        Action::Restart => Action::Connect,
                    };
                    assert!(!try_out(other).0, "{truth:?}");
                }
                (Cure::Person | Cure::Operator, None) => {
                    *tried.entry("beyond us").or_default() += 1;
                    for action in [Action::Connect, Action::Restart] {
                        let process = gateway.process();
                        assert!(process != Process::Up || !try_out(action).0, "{truth:?}");
                    }
                }
                (Cure::Itself, None) => *tried.entry("by itself").or_default() += 1,
                (Cure::Connect | Cure::Restart, None) => {}
                other => panic!("{other:?}"),
            }
        });
    }
    assert!(
        tried.len() == 3 && tried.values().all(|&times| times > 100),
        "{tried:?}"
    );
}

#[test]
fn time_without_events_costs_nothing() {
    let mut gateway = Gateway::new(Config::default());
    for i in 0..1_000 {
        gateway.add_open(&format!("loja-{i}"));
    }
    gateway.take_history();
    assert_eq!(gateway.next_event_ms(), None);
    pass(&mut gateway, 1_000 * DAY_MS);
    assert!(gateway.take_history().is_empty());
}
