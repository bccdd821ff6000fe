//! The same in the words of each version, and what a real Evolution 2.3.6 said.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whatsapp_monitor::gateway::evolution::webhook::{body, found, was_set};
use whatsapp_monitor::monitor::webhook::{Drift, Finding, Hook, Occasion, SECRET_HEADER};
use whatsapp_monitor::monitor::{Ack, ConfigFault, Fault, GatewayFault};

use super::{OURS, SECRET, WANTED, World, hook, ours, texts, webhooks, wiped};
use crate::answers::{incoming, recorded};

const RECORDED_URL: &str = "http://127.0.0.1:18090/hook/loja-a";
const OLD_EVENTS: [&str; 3] = ["CONNECTION_UPDATE", "MESSAGES_UPSERT", "QRCODE_UPDATED"];

/// What A29 set and A30 found.
fn recorded_hook() -> Hook {
    Hook {
        headers: [
            ("jwt_key", "jwt-secret-0001"),
            ("x-monitor-secret", "s3cret"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        ..hook(RECORDED_URL)
    }
}

/// A body with its events in order: they are a set.
fn sorted(mut body: Value) -> Value {
    let events = body["webhook"]["events"].as_array_mut();
    events.expect("events").sort_by_key(Value::to_string);
    body
}

#[test]
fn every_version_is_told_in_its_own_words() {
    let with_secret = format!("{OURS}?secret={SECRET}");
    let all = texts(&WANTED);
    for (version, expected) in [
        (
            "1.8.2",
            json!({
                "enabled": true, "url": with_secret, "events": OLD_EVENTS,
                "webhook_by_events": false, "webhook_base64": false,
            }),
        ),
        (
            "2.0.10",
            json!({
                "enabled": true, "url": with_secret, "events": OLD_EVENTS,
                "webhookByEvents": false, "webhookBase64": false,
            }),
        ),
        (
            "2.1.0",
            json!({ "webhook": {
                "enabled": true, "url": with_secret, "events": all,
                "byEvents": false, "base64": false,
            }}),
        ),
        (
            "2.1.1",
            json!({ "webhook": {
                "enabled": true, "url": OURS, "events": all, "byEvents": false, "base64": false,
                "headers": { SECRET_HEADER: SECRET },
            }}),
        ),
    ] {
        let mut world = World::of(version);
        world.look();
        assert_eq!(body(world.hook(), world.webhooks), expected, "{version}");
    }
    assert_eq!(webhooks("2.1.1"), webhooks("2.2.3"));
    assert_eq!(webhooks("2.3.0"), webhooks("v2.4.0-rc2"));
    assert_eq!(webhooks("2.1"), webhooks("2.1.0"));
}

#[test]
fn a_version_without_headers_has_the_secret_in_the_url() {
    for version in ["1.8.2", "2.0.10", "2.1.0"] {
        let mut world = World::of(version);
        world.look();
        assert_eq!(world.look(), (Finding::Right, None), "{version}");
        assert!(world.memory.tells_of_dials);
        assert_eq!(
            world.memory.set_url.as_deref(),
            Some(OURS),
            "which is not kept"
        );
        world.wait_s(300);
        world.secret = "second-secret".to_owned();
        assert!(world.is_due());
        assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
        assert_eq!(world.memory.drift, [Drift::Url]);
        assert_eq!(world.hook().url, format!("{OURS}?secret=second-secret"));
        assert_eq!(world.look(), (Finding::Right, None));
    }
}

#[test]
fn a_gateway_that_learned_headers_gets_the_secret_out_of_the_url() {
    let mut world = World::of("2.1.0");
    world.look();
    world.look();
    world.wait_s(300);
    world.webhooks = webhooks("2.3.6");
    assert_eq!(world.look(), (Finding::Drifted, Some(Occasion::Changed)));
    assert_eq!(world.memory.drift, [Drift::Url, Drift::Headers]);
    assert_eq!(world.hook(), &ours());
}

#[test]
fn a_name_that_a_version_does_not_know_is_not_set() {
    for (version, known) in [
        ("1.8.2", &["CALL", "NEW_JWT_TOKEN"][..]),
        ("2.0.10", &["CALL"]),
        ("2.1.0", &["CALL", "INSTANCE_CREATE"]),
        ("2.2.3", &["CALL", "INSTANCE_CREATE"]),
        ("2.3.6", &["CALL", "INSTANCE_CREATE", "MESSAGES_EDITED"]),
    ] {
        let names = [
            "messages.edited",
            "NEW_JWT_TOKEN",
            "instance.create",
            "call",
            "CALL",
            "",
        ];
        let mut world = World {
            own_url: Some(super::THEIRS.to_owned()),
            own_events: names.map(str::to_owned).to_vec(),
            ..World::of(version)
        };
        world.look();
        assert_eq!(world.hook().events, texts(known), "{version}");
    }
}

/// The server's own list (A28) is what an empty one comes to: each name of it is taken.
#[test]
fn every_name_that_the_server_lists_can_be_subscribed_to() {
    let all = found(&recorded()["A28"].answer)
        .expect("a row")
        .expect("one");
    assert_eq!(all.events.len(), 31);
    let mut world = World {
        own_url: Some(super::THEIRS.to_owned()),
        own_events: all.events.iter().cloned().collect(),
        ..World::new()
    };
    world.look();
    assert_eq!(world.hook().events, all.events);
}

#[test]
fn every_recorded_webhook_is_understood() {
    let recorded = recorded();
    let recorded_hook = recorded_hook();
    let mut with_one_more = recorded_hook.clone();
    with_one_more.events.extend(texts(&["INSTANCE_DELETE"]));
    let expected = BTreeMap::from([
        ("A21", Ok(None)),
        ("A30", Ok(Some(recorded_hook.clone()))),
        ("A33", Err(Fault::Config(ConfigFault::UnknownInstance))),
        ("I8", Err(Fault::Gateway(GatewayFault::ServerError(500)))),
        ("N6", Ok(None)),
    ]);
    let exchanges = recorded.iter();
    let understood: BTreeMap<&str, _> = exchanges
        .filter(|(_, exchange)| exchange.path.starts_with("/webhook/find/"))
        .map(|(id, exchange)| (id.as_str(), found(&exchange.answer)))
        .collect();
    assert_eq!(understood, expected);
    // The answer to a set is the same row.
    let row = |id: &str| found(&recorded[id].answer).expect("a row").expect("one");
    assert_eq!(row("A29"), recorded_hook);
    assert_eq!(row("A32"), with_one_more);
    assert_eq!(
        row("A31"),
        Hook {
            enabled: false,
            events: texts(&[]),
            ..recorded_hook
        }
    );
    assert_eq!(row("A26").url, "");
    assert_eq!(row("A27").url, "not-a-url");
    assert!(row("G3").by_events);
}

#[test]
fn what_is_set_is_what_the_real_one_took() {
    let recorded = recorded();
    let mut request = recorded["A29"].request.clone();
    // What is left out of it would stay as it was.
    request["webhook"]["enabled"] = json!(true);
    let ours = body(&recorded_hook(), webhooks("2.3.6"));
    assert_eq!(sorted(ours), sorted(request));
}

#[test]
fn every_recorded_answer_to_a_set_is_understood() {
    let recorded = recorded();
    let exchanges = recorded.iter();
    let understood: BTreeMap<&str, Ack> = exchanges
        .filter(|(_, exchange)| exchange.path.starts_with("/webhook/set/"))
        .map(|(id, exchange)| (id.as_str(), was_set(&exchange.answer)))
        .collect();
    let expected = BTreeMap::from([
        ("A22", Ack::Refused),
        ("A23", Ack::Lost),
        ("A24", Ack::Refused),
        ("A25", Ack::Refused),
        ("A26", Ack::Accepted),
        ("A27", Ack::Accepted),
        ("A28", Ack::Accepted),
        ("A29", Ack::Accepted),
        ("A31", Ack::Accepted),
        ("A32", Ack::Accepted),
        ("A34", Ack::Refused),
        ("G3", Ack::Accepted),
        ("G4", Ack::Accepted),
    ]);
    assert_eq!(understood, expected);
}

#[test]
fn a_row_is_read_in_the_words_of_either_generation() {
    let row = |row: Value| found(&incoming(200, &row.to_string()));
    let read = Hook {
        by_events: true,
        base64: true,
        ..hook(OURS)
    };
    for flags in [
        json!({ "webhookByEvents": true, "webhookBase64": true }),
        json!({ "webhook_by_events": true, "webhook_base64": true }),
    ] {
        let mut told = json!({ "enabled": true, "url": OURS, "events": WANTED });
        for (name, value) in flags.as_object().expect("an object") {
            told[name] = value.clone();
        }
        assert_eq!(row(told), Ok(Some(read.clone())), "{flags}");
    }
    // The row that the gateway wiped (#2694).
    let gone = json!({ "url": "", "enabled": true, "events": [], "headers": null,
        "webhookByEvents": false, "webhookBase64": false });
    assert_eq!(row(gone), Ok(Some(wiped())));
    // A header is what is sent, whatever its type.
    let told = json!({ "enabled": true, "url": OURS, "events": WANTED, "headers": { "n": 1 } });
    let read = row(told).expect("a row").expect("one");
    assert_eq!(read.headers["n"], "1");
    for nonsense in [json!([]), json!("ok"), json!(true), json!(1)] {
        let fault = Fault::Gateway(GatewayFault::Unintelligible(200));
        assert_eq!(row(nonsense), Err(fault));
    }
}
