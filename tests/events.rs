//! What a gateway tells unasked: the recorded webhooks, what they mean to an instance, and what holds
//! of every text that could come in their place.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod memories;
mod mutations;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use whatsapp_monitor::gateway::evolution::event::{Delivery, Kind, parse};
use whatsapp_monitor::gateway::evolution::message::messages;
use whatsapp_monitor::monitor::{
    Effect, Event, FinalCodes, Instance, MemoryState, Observation, RecordedReason, Settings,
    Status, Timestamp,
};
use whatsapp_monitor::web::fetch::Incoming;
use whatsapp_monitor::web::json;

use memories::{NOON_MS, event, final_codes, instance, moment, sent_ms};
use mutations::{mutated, survive};

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NOON: Timestamp = Timestamp::from_ms(NOON_MS);
const KEPT: &str = "a test of its own in tests/events.rs";

/// The bodies that were recorded, by their ids.
fn recorded() -> BTreeMap<String, Map<String, Value>> {
    include_str!("fixtures/evolution-webhooks-2.3.6.jsonl")
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a fixture is JSON");
            let id = line["id"].as_str().expect("an id").to_owned();
            (id, fields(line["body"].clone()))
        })
        .collect()
}

fn fields(body: Value) -> Map<String, Value> {
    match body {
        Value::Object(fields) => fields,
        _ => panic!("no object: {body}"),
    }
}

fn told(body: Value) -> Option<Event> {
    parse(&fields(body), None).event
}

fn ended(code: u16, at: &str) -> Event {
    Event::Ended(RecordedReason {
        code,
        at: Some(at.to_owned()),
    })
}

#[test]
fn each_recorded_webhook_tells_what_it_told() {
    let told: BTreeMap<String, Option<Event>> = recorded()
        .into_iter()
        .map(|(id, body)| (id, parse(&body, None).event))
        .collect();
    let expected = [
        ("B2-1", Some(Event::Connecting)),
        ("C6-1", Some(Event::QrCode)),
        ("C7-1", Some(Event::Connecting)),
        ("C7-2", Some(Event::Open)),
        ("E1-1", Some(ended(401, "2026-11-23T13:53:25.538Z"))),
        ("E1-2", Some(Event::LoggedOut)),
        ("E1-3", Some(Event::Closed(Some(401)))),
        ("F1-1", Some(Event::Closed(Some(401)))),
        ("F1-2", Some(Event::LoggedOut)),
        ("F1-3", Some(ended(401, "2026-11-23T13:56:08.355Z"))),
        ("F4-1", Some(Event::QrCode)),
        ("F4-2", Some(Event::QrLimit)),
        ("F4-3", Some(Event::QrLimit)),
        ("G3-1", Some(Event::Connecting)),
        ("G3-2", Some(Event::Open)),
        ("H1-1", None),
    ];
    let expected = expected.map(|(id, event)| (id.to_owned(), event));
    assert_eq!(told, BTreeMap::from(expected));
}

#[test]
fn the_envelope_is_understood() {
    let open = &recorded()["C7-2"];
    let delivery = parse(open, None);
    assert_eq!(delivery.instance.as_deref(), Some("loja-a"));
    assert_eq!(delivery.sent_ms, Some(1_795_441_925_424));
    assert_eq!(
        delivery.profile.phone_number.as_deref(),
        Some("5511999990001")
    );
    let [message] = &messages(&recorded()["H1-1"], SECRET)[..] else {
        panic!("one message");
    };
    assert_eq!(message.id, "FAKE0010");
    assert_eq!(message.payload["apikey"], "[removido]");
    assert_eq!(message.payload["data"], recorded()["H1-1"]["data"]);
}

#[test]
fn other_shapes_and_spellings_mean_the_same() {
    for name in [
        "connection.update",
        "CONNECTION_UPDATE",
        " connection-update ",
    ] {
        let body = json!({ "event": name, "data": { "state": "open" } });
        assert_eq!(told(body), Some(Event::Open), "{name}");
    }
    let nameless = fields(json!({ "data": { "state": "open" } }));
    let kind = |suffix| parse(&nameless, suffix).kind;
    assert_eq!(kind(Some("connection-update")), Kind::ConnectionUpdate);
    assert_eq!(kind(Some("presence-update")), Kind::Other);
    assert_eq!(kind(None), Kind::Other);

    let status = |data: Value| told(json!({ "event": "status.instance", "data": data }));
    let object = json!({ "error": { "output": { "statusCode": 403 } } });
    let by_object = Some(Event::Ended(RecordedReason {
        code: 403,
        at: None,
    }));
    assert_eq!(status(json!({ "disconnectionObject": object })), by_object);
    assert_eq!(
        status(json!({ "disconnectionObject": object.to_string() })),
        by_object
    );
    assert_eq!(
        status(json!({ "disconnectionReasonCode": "403" })),
        by_object
    );
    // Evolution 1 tells no reason.
    assert_eq!(
        status(json!({ "status": "closed" })),
        Some(Event::LoggedOut)
    );
    assert_eq!(status(Value::Null), Some(Event::LoggedOut));
    for name in ["connection.update", "qrcode.updated", "messages.upsert"] {
        assert_eq!(told(json!({ "event": name, "data": null })), None, "{name}");
    }

    let instance = |value: Value| parse(&fields(json!({ "instance": value })), None).instance;
    assert_eq!(instance(json!("a")).as_deref(), Some("a"));
    assert_eq!(
        instance(json!({ "instanceName": "a" })).as_deref(),
        Some("a")
    );
    assert_eq!(instance(Value::Null), None);
    assert_eq!(
        instance(json!(5)).as_deref(),
        Some(""),
        "no name is not none"
    );

    let sent = |text: &str| parse(&fields(json!({ "date_time": text })), None).sent_ms;
    assert_eq!(sent("1970-01-01T00:00:00.000Z"), Some(0));
    assert_eq!(
        sent("2024-02-29T23:59:59.999-03:00"),
        Some(1_709_251_199_999)
    );
    for no_time in [
        "",
        "2026",
        "2026-13-01T00:00:00Z",
        "2026-01-01 00:00:00",
        "é".repeat(20).as_str(),
    ] {
        assert_eq!(sent(no_time), None, "{no_time}");
    }
}

/// An instance that is open.
fn open() -> Instance {
    let seen = Observation::Seen {
        memory: MemoryState::Open,
        row: None,
        socket: None,
        final_codes: FinalCodes::Refused,
    };
    Instance::default().observe(&seen, NOON, &Settings::default())
}

fn hear(instance: &Instance, event: &Event, sent_ms: i64) -> Effect {
    let at = NOON.plus_ms(60_000);
    instance.hear(
        event,
        Some(sent_ms),
        FinalCodes::Refused,
        at,
        &Settings::default(),
    )
}

fn changed(effect: Effect) -> Instance {
    match effect {
        Effect::Change(next) => *next,
        effect => panic!("{effect:?}"),
    }
}

#[test]
fn an_older_event_changes_nothing_unless_the_clock_was_set() {
    let dropped = changed(hear(&open(), &Event::Connecting, 5_000_000));
    assert_eq!(dropped.status, Status::Connecting);
    for (older_ms, expected) in [(1, Effect::Look), (3_600_000, Effect::Look)] {
        assert_eq!(hear(&dropped, &Event::Open, 5_000_000 - older_ms), expected);
    }
    for sent_ms in [5_000_000, 5_000_001, 5_000_000 - 3_600_001] {
        let next = changed(hear(&dropped, &Event::Open, sent_ms));
        assert_eq!(
            (next.status, next.told.map(|told| told.sent_ms)),
            (Status::Connected, Some(sent_ms))
        );
    }
    assert_eq!(
        hear(&dropped, &Event::Connecting, 5_000_000),
        Effect::Nothing
    );
}

#[test]
fn a_drop_that_is_told_of_confirms_no_outage() {
    let mut told = open();
    for n in 0..100 {
        if let Effect::Change(next) = hear(&told, &Event::Connecting, n) {
            told = *next;
        }
    }
    assert_eq!(
        (told.status, told.bad, told.down_since),
        (Status::Connecting, None, None)
    );
}

#[test]
fn a_code_that_is_not_final_there_is_a_drop() {
    let settings = Settings::default();
    for (code, codes, expected) in [
        (408, FinalCodes::Refused, Status::Connecting),
        (408, FinalCodes::RefusedOrLost, Status::WaitingQr),
        (403, FinalCodes::LoggedOut, Status::Connecting),
        (403, FinalCodes::Refused, Status::Blocked),
        (401, FinalCodes::LoggedOut, Status::WaitingQr),
    ] {
        let effect = open().hear(&Event::Closed(Some(code)), None, codes, NOON, &settings);
        assert_eq!(changed(effect).status, expected, "{code} {codes:?}");
    }
}

proptest! {
    #[test]
    fn an_event_counts_once_and_leaves_a_sound_memory(
        before in instance(moment().boxed()),
        event in event(),
        sent_ms in sent_ms(),
        codes in final_codes(),
        at in moment(),
    ) {
        let settings = Settings::default();
        let hear = |instance: &Instance| instance.hear(&event, Some(sent_ms), codes, at, &settings);
        if let Effect::Change(next) = hear(&before) {
            prop_assert_eq!(hear(&next), Effect::Nothing, "once");
            let kept = serde_json::to_value(&*next).expect("JSON");
            let read: Instance = serde_json::from_value(kept).expect("a memory");
            prop_assert_eq!(&read, &*next);
            if event == Event::Connecting {
                prop_assert_eq!((next.bad, next.steady), (before.bad, before.steady));
            }
        }
    }
}

/// Evolution 1's events, of which there is no recording, and others with every field that is read.
fn full() -> Vec<Incoming> {
    let bodies = [
        json!({ "event": "status.instance", "instance": { "instanceName": "loja-a" },
                "data": { "disconnectionObject": { "error": { "output": { "statusCode": 403 } } } } }),
        json!({ "event": "CONNECTION_UPDATE", "instance": "loja-a", "date_time": "2026-11-23T13:53:25.538Z",
                "data": { "state": "open", "wuid": "5511999990001@s.whatsapp.net", "profileName": "Loja",
                          "profilePictureUrl": "https://pps.whatsapp.net/v/1_n.jpg" } }),
        json!({ "event": "messages.upsert", "apikey": SECRET, "data": [
                { "key": { "id": "A" }, "message": { "conversation": SECRET } }, { "key": {} }] }),
    ];
    bodies.map(|body| incoming(&body)).to_vec()
}

fn incoming(body: &Value) -> Incoming {
    Incoming {
        status: 200,
        body: body.to_string(),
    }
}

/// What must hold of a body, whatever it is.
fn try_out(_: u16, body: &str) -> Result<(), String> {
    let Ok(Value::Object(fields)) = json::parse(body) else {
        return Ok(());
    };
    let Delivery {
        instance,
        profile,
        event,
        ..
    } = parse(&fields, Some("messages-upsert"));
    let at = match &event {
        Some(Event::Ended(reason)) => reason.at.as_deref(),
        _ => None,
    };
    let texts = [
        (instance.as_deref(), 1_020),
        (at, 40),
        (profile.phone_number.as_deref(), 15),
        (profile.profile_name.as_deref(), 400),
        (profile.profile_picture_url.as_deref(), 2_000),
    ];
    for (text, limit) in texts {
        if text.is_some_and(|text| text.len() > limit) {
            return Err(format!("more than {limit} bytes: {text:?}"));
        }
    }
    for message in messages(&fields, SECRET) {
        let stored = message.payload.to_string();
        if message.id.is_empty() || message.id.len() > 200 || message.id.contains('\0') {
            return Err(format!("an id that cannot be stored: {:?}", message.id));
        }
        if stored.contains(SECRET) || stored.contains("\\u0000") && !stored.contains("\\\\u0000") {
            return Err(format!("not to be stored: {stored}"));
        }
    }
    Ok(())
}

#[test]
fn mutated_events_are_survived() {
    let recorded = recorded()
        .into_values()
        .map(|body| incoming(&Value::Object(body)));
    survive(&mutated(vec![recorded.collect(), full()]), KEPT, try_out);
}
