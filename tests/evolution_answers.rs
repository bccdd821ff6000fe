//! What the Evolution client makes of the recorded answers of a real Evolution 2.3.6, and of
//! anything else that may come.

#![allow(clippy::expect_used, reason = "a test may fail")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::monitor::{
    ConfigFault, Fault, GatewayFault, MemoryState, RecordedReason, Row, RowStatus,
};
use whatsapp_monitor::web::fetch::Incoming;

/// A recorded exchange, as far as it matters here.
struct Exchange {
    method: String,
    path: String,
    answer: Incoming,
}

fn recorded() -> BTreeMap<String, Exchange> {
    include_str!("fixtures/evolution-2.3.6.jsonl")
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a fixture is JSON");
            let text = |key: &str| line[key].as_str().expect("a text").to_owned();
            let status = line["status"].as_u64().expect("a status");
            let exchange = Exchange {
                method: text("method"),
                path: text("path"),
                answer: Incoming {
                    status: u16::try_from(status).expect("an HTTP status"),
                    body: line["response"].to_string(),
                },
            };
            (text("id"), exchange)
        })
        .collect()
}

fn incoming(status: u16, body: &str) -> Incoming {
    Incoming {
        status,
        body: body.to_owned(),
    }
}

#[test]
fn every_recorded_connection_state_is_understood() {
    use MemoryState::{Close, Connecting, NotLoaded, Open};
    let unknown = Err(Fault::Config(ConfigFault::UnknownInstance));
    let wrong_key = Err(Fault::Config(ConfigFault::WrongKey));
    let expected = BTreeMap::from([
        ("A2", unknown),
        ("A3", unknown),
        ("A4", unknown),
        ("A13", Ok(Close)),
        ("A14", Ok(Close)),
        ("A15", wrong_key),
        ("A16", wrong_key),
        ("A17", wrong_key),
        ("A37", Err(Fault::Config(ConfigFault::UnknownRoute))),
        ("A39", Ok(Close)),
        ("B7", Ok(Close)),
        ("C1", Ok(Connecting)),
        ("C8", Ok(Open)),
        ("D3", Ok(Connecting)),
        ("F7", unknown),
        ("I4", Ok(Open)),
        ("I5", wrong_key),
        ("I7", Err(Fault::Gateway(GatewayFault::ServerError(500)))),
        ("N1", Ok(NotLoaded)),
    ]);
    let recorded = recorded();
    let understood: BTreeMap<&str, Result<MemoryState, Fault>> = recorded
        .iter()
        .filter(|(_, exchange)| {
            exchange.method == "GET" && exchange.path.starts_with("/instance/connectionState/")
        })
        .map(|(id, exchange)| (id.as_str(), answer::connection_state(&exchange.answer)))
        .collect();
    assert_eq!(understood, expected);
}

#[test]
fn every_recorded_row_is_understood() {
    let recorded = recorded();
    let row = |id: &str, name: &str| answer::row(&recorded[id].answer, name);
    let plain = |status| {
        Ok(Some(Row {
            status,
            reason: None,
        }))
    };
    assert_eq!(row("A41", "loja-a"), plain(RowStatus::Close));
    assert_eq!(row("A43", "loja-a"), plain(RowStatus::Close));
    assert_eq!(row("A45", "loja b"), plain(RowStatus::Close));
    assert_eq!(row("C3", "loja-a"), plain(RowStatus::Connecting));
    assert_eq!(row("C10", "loja-a"), plain(RowStatus::Open));
    // Not there, not loaded yet, or somebody else's.
    assert_eq!(row("A5", "loja-a"), Ok(None));
    assert_eq!(row("A42", "ghost"), Ok(None));
    assert_eq!(row("N4", "loja-a"), Ok(None));
    assert_eq!(row("A41", "another"), Ok(None));
    // And what is no answer.
    assert_eq!(
        row("A47", "loja b"),
        Err(Fault::Config(ConfigFault::WrongKey))
    );
    assert_eq!(
        row("I6", "loja-a"),
        Err(Fault::Gateway(GatewayFault::ServerError(500)))
    );
}

#[test]
fn the_reason_in_a_row_is_kept_as_it_stands() {
    let body = json!([{
        "name": "loja-a", "connectionStatus": "close", "disconnectionReasonCode": 401,
        "disconnectionAt": "2026-11-23T13:55:25.539Z", "token": "secret",
    }]);
    assert_eq!(
        answer::row(&incoming(200, &body.to_string()), "loja-a"),
        Ok(Some(Row {
            status: RowStatus::Close,
            reason: Some(RecordedReason {
                code: 401,
                at: Some("2026-11-23T13:55:25.539Z".to_owned()),
            }),
        }))
    );
}

/// A gateway's text is stored with the tick of everybody: only what looks like a moment is taken.
#[test]
fn a_moment_that_is_none_is_not_kept() {
    for at in [
        json!("a\u{0}b"),
        json!("2".repeat(200_000)),
        json!("2026-11-23 13:55"),
        json!(""),
        json!("amanhã"),
        json!(7),
        json!(null),
    ] {
        let body = json!([{
            "name": "loja-a", "connectionStatus": "close", "disconnectionReasonCode": 401,
            "disconnectionAt": at,
        }]);
        let row = answer::row(&incoming(200, &body.to_string()), "loja-a");
        let reason = row.ok().flatten().and_then(|row| row.reason);
        assert_eq!(
            reason,
            Some(RecordedReason {
                code: 401,
                at: None
            }),
            "{at}"
        );
    }
}

#[test]
fn the_version_is_read_from_the_root() {
    let recorded = recorded();
    assert_eq!(
        answer::version(&recorded["A1"].answer),
        Ok("2.3.6".to_owned())
    );
    assert_eq!(
        answer::version(&incoming(200, "{}")),
        Err(Fault::Config(ConfigFault::UnknownRoute))
    );
}

#[test]
fn what_is_no_answer_is_a_fault_of_its_own_kind() {
    let licence = json!({ "error": "x", "code": "LICENSE_REQUIRED", "register_url": "x" });
    let about = |message: Value| json!({ "status": 404, "response": { "message": message } });
    for (status, body, expected) in [
        (
            502,
            "<html>Bad Gateway</html>".to_owned(),
            Fault::Gateway(GatewayFault::NotJson(502)),
        ),
        (
            200,
            "<html>Welcome</html>".to_owned(),
            Fault::Gateway(GatewayFault::NotJson(200)),
        ),
        (
            401,
            "Authorization Required".to_owned(),
            Fault::Gateway(GatewayFault::NotJson(401)),
        ),
        (
            200,
            String::new(),
            Fault::Gateway(GatewayFault::NotJson(200)),
        ),
        (
            200,
            r#"{"error":true,"message":"[object Object]"}"#.to_owned(),
            Fault::Gateway(GatewayFault::Unintelligible(200)),
        ),
        (
            200,
            r#"{"instance":{"state":7}}"#.to_owned(),
            Fault::Gateway(GatewayFault::Unintelligible(200)),
        ),
        (
            503,
            licence.to_string(),
            Fault::Config(ConfigFault::LicenceRequired),
        ),
        (
            503,
            "{}".to_owned(),
            Fault::Gateway(GatewayFault::ServerError(503)),
        ),
        (
            429,
            "{}".to_owned(),
            Fault::Gateway(GatewayFault::Unintelligible(429)),
        ),
        (302, String::new(), Fault::Config(ConfigFault::Redirected)),
        (
            404,
            about(json!(["The \"Cannot GET\" instance does not exist"])).to_string(),
            Fault::Config(ConfigFault::UnknownInstance),
        ),
        (
            404,
            about(json!(["Cannot GET /instance/x does not exist"])).to_string(),
            Fault::Config(ConfigFault::UnknownRoute),
        ),
        (
            404,
            "{}".to_owned(),
            Fault::Config(ConfigFault::UnknownRoute),
        ),
    ] {
        assert_eq!(
            answer::connection_state(&incoming(status, &body)),
            Err(expected),
            "{status} {body}"
        );
    }
}

/// JSON values of every shape, with the keys that the parser looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("instance".to_owned()),
        Just("state".to_owned()),
        Just("name".to_owned()),
        Just("connectionStatus".to_owned()),
        Just("disconnectionReasonCode".to_owned()),
        Just("disconnectionAt".to_owned()),
        Just("response".to_owned()),
        Just("message".to_owned()),
        Just("code".to_owned()),
        Just("version".to_owned()),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("open".to_owned()),
            Just("close".to_owned()),
            Just("loja-a".to_owned()),
            ".{0,12}",
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Only a word in its place is a state: nothing else is ever taken for one.
    #[test]
    fn nothing_but_a_state_is_a_state(status in 100_u16..600, body in any_json()) {
        let answer = answer::connection_state(&incoming(status, &body.to_string()));
        if let Ok(state) = answer {
            prop_assert!((200..300).contains(&status));
            let word = &body["instance"]["state"];
            let expected = match word.as_str() {
                Some("open") => MemoryState::Open,
                Some("connecting") => MemoryState::Connecting,
                Some(_) => MemoryState::Close,
                None => MemoryState::NotLoaded,
            };
            prop_assert_eq!(state, expected);
            prop_assert!(word.is_string() || word.is_null());
        }
    }

    /// A row is the row of that name, or none.
    #[test]
    fn a_row_is_of_the_name_that_was_asked_for(status in 100_u16..600, body in any_json()) {
        if let Ok(Some(_)) = answer::row(&incoming(status, &body.to_string()), "loja-a") {
            prop_assert!((200..300).contains(&status));
            let rows = body.as_array().expect("only a list holds rows");
            prop_assert!(rows.iter().any(|row| row["name"] == "loja-a"));
        }
    }

    /// Bytes of any kind are a fault, never a panic.
    #[test]
    fn any_bytes_are_survived(status in 0_u16..=999, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let answer = incoming(status, &String::from_utf8_lossy(&bytes));
        let _ = answer::connection_state(&answer);
        let _ = answer::row(&answer, "loja-a");
        let _ = answer::version(&answer);
    }
}
