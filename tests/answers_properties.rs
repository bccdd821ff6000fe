//! What is read from an answer depends on the fields that it is read from and on nothing else, and
//! nothing else of the answer goes any further.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod answers;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use whatsapp_monitor::gateway::address::{is_public_host, query_value};
use whatsapp_monitor::monitor::{Fault, GatewayFault};

use answers::{NAME, Understood, full_answers, incoming, recorded_answers};

/// Stands for whatever must not go further: tokens, keys, QR codes.
const SECRET: &str = "c0ffee-5ec2e7-0123456789";

/// Levels of arrays and objects within each other that the JSON parser takes.
const MAX_DEPTH: usize = 128;

/// What is read of a row of Evolution 2.
const FLAT: [&str; 8] = [
    "name",
    "connectionStatus",
    "ownerJid",
    "profileName",
    "profilePicUrl",
    "integration",
    "disconnectionReasonCode",
    "disconnectionAt",
];

/// What is read of a row of Evolution 1, and of a live state.
const WRAPPED: [&str; 6] = [
    "state",
    "instanceName",
    "owner",
    "profileName",
    "profilePictureUrl",
    "integration",
];

/// Whether anything is read from this place, or from a part of it.
fn is_read(pointer: &str) -> bool {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let is_row = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    match parts[..] {
        [] | ["instance" | "version" | "alwaysOnline" | "error" | "code" | "response"] => true,
        ["response", "message", ..] => true,
        ["instance", field] => WRAPPED.contains(&field),
        [row] => is_row(row),
        [row, "instance"] => is_row(row),
        [row, "instance", field] => is_row(row) && WRAPPED.contains(&field),
        [row, field] => is_row(row) && FLAT.contains(&field),
        _ => false,
    }
}

/// Every place in a value, as JSON pointers, that of the whole first.
fn places(value: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let below = |key: &str, value: &Value| -> Vec<String> {
        let key = key.replace('~', "~0").replace('/', "~1");
        let inner = self::places(value).into_iter();
        inner.map(|place| format!("/{key}{place}")).collect()
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places.extend(below(&index.to_string(), item));
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                places.extend(below(key, field));
            }
        }
        _ => {}
    }
    places
}

/// Without what is at a place that is not the whole.
fn without(body: &Value, place: &str) -> Value {
    let mut body = body.clone();
    let (parent, key) = place.rsplit_once('/').expect("not the whole");
    match body.pointer_mut(parent) {
        Some(Value::Array(items)) => {
            items.remove(key.parse::<usize>().expect("an index"));
        }
        Some(Value::Object(fields)) => {
            fields.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        _ => unreachable!("a place is in an array or an object"),
    }
    body
}

/// With another value at a place.
fn with(body: &Value, place: &str, value: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(place).expect("a place") = value;
    body
}

/// The text of a value within so many arrays, which the parser may be unable to read.
fn nested(value: &Value, depth: usize) -> String {
    format!("{}{value}{}", "[".repeat(depth), "]".repeat(depth))
}

/// A value of every kind, the extreme ones included.
fn strange_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(401),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(f64::MIN_POSITIVE),
        json!(""),
        json!("open"),
        json!(SECRET),
        json!("a\u{0}\u{2028}\u{202e}\u{10ffff}"),
        json!("9".repeat(3_000)),
        json!([]),
        json!({}),
        json!([[{ "instance": { "state": "open", "name": NAME } }]]),
    ]
}

/// Every recorded answer, with each of its fields in turn removed, replaced, sent twice, and nested
/// so deeply that no parser follows.
#[test]
fn every_recorded_answer_is_survived_with_any_one_field_changed() {
    let mut tried = 0_u32;
    let mut understand = |status: u16, body: &str| {
        tried += 1;
        let answer = incoming(status, body);
        let understood = Understood::of(&answer);
        assert_eq!(understood.check(&answer), Ok(()), "{status} {body:.2000}");
        understood
    };
    for seed in [recorded_answers(), full_answers()].concat() {
        let Ok(body) = serde_json::from_str::<Value>(&seed.body) else {
            understand(seed.status, &seed.body);
            continue;
        };
        let before = understand(seed.status, &seed.body);
        for place in places(&body) {
            let mut same = |changed: &str| {
                let after = understand(seed.status, changed);
                if !is_read(&place) {
                    assert_eq!(after, before, "{place} in {changed:.2000}");
                }
            };
            if !place.is_empty() {
                same(&without(&body, &place).to_string());
            }
            for value in strange_values() {
                same(&with(&body, &place, value).to_string());
            }
            let value = body.pointer(&place).cloned().unwrap_or_default();
            let marked = with(&body, &place, json!(SECRET)).to_string();
            let secret = json!(SECRET).to_string();
            for depth in [1, 100] {
                same(&marked.replace(&secret, &nested(&value, depth)));
            }
            for depth in [MAX_DEPTH, 2_000] {
                let after = understand(
                    seed.status,
                    &marked.replace(&secret, &nested(&value, depth)),
                );
                if (200..300).contains(&seed.status) {
                    let fault = Fault::Gateway(GatewayFault::NotJson(seed.status));
                    assert_eq!(after.state, Err(fault));
                }
            }
            // Of a field that is sent twice the second one counts.
            let Some((_, key)) = place.rsplit_once('/') else {
                continue;
            };
            let field = json!(key);
            let twice = format!("{field}:{secret},{field}:{value}");
            let changed = marked.replace(&format!("{field}:{secret}"), &twice);
            if changed != marked {
                assert_eq!(understand(seed.status, &changed), before, "{changed:.2000}");
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

/// A parser that calls itself for every level would end the isolate.
#[test]
fn an_answer_of_a_million_brackets_is_no_json() {
    for (open, close) in [("[", "]"), ("{\"instance\":", "}")] {
        let body = format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
        let answer = incoming(200, &body);
        let understood = Understood::of(&answer);
        assert_eq!(understood.check(&answer), Ok(()));
        assert_eq!(understood.state, Err(GatewayFault::NotJson(200).into()));
    }
}

/// Tokens, keys and QR codes stand beside what is read. Whatever they are, the rest is understood as
/// before, and nothing of them is in what is stored, reported or could be logged.
#[test]
fn nothing_of_what_is_not_read_goes_any_further() {
    let mut hidden = 0;
    for seed in [recorded_answers(), full_answers()].concat() {
        let Ok(body) = serde_json::from_str::<Value>(&seed.body) else {
            continue;
        };
        let before = Understood::of(&seed);
        let mut marked = body.clone();
        for place in places(&body) {
            let value = marked.pointer_mut(&place);
            if let Some(value) = value.filter(|value| !value.is_object() && !value.is_array())
                && !is_read(&place)
            {
                *value = json!(SECRET);
                hidden += 1;
            }
        }
        let after = Understood::of(&incoming(seed.status, &marked.to_string()));
        assert_eq!(after, before, "{marked}");
        assert!(!after.shown().contains(SECRET), "{marked}");
    }
    assert!(hidden > 200, "{hidden}");
}

/// What is read is looked for in its own place alone: the same words elsewhere mean nothing.
#[test]
fn what_stands_in_another_place_is_not_read() {
    let row = json!({ "name": NAME, "connectionStatus": "open", "ownerJid": "5511999990000" });
    for body in [
        json!({ "data": [row] }),
        json!({ "instance": { "instance": { "state": "open", "instanceName": NAME } } }),
        json!([{ "Setting": row, "name": "another" }]),
        json!([[row]]),
        json!({ "response": { "version": "2.3.6", "alwaysOnline": true, "instance": row } }),
        json!([{ "instance": { "name": NAME, "connectionStatus": "open" } }]),
    ] {
        let understood = Understood::of(&incoming(200, &body.to_string()));
        assert_ne!(
            understood.state,
            Ok(whatsapp_monitor::monitor::MemoryState::Open)
        );
        assert_eq!(understood.row.clone().ok().flatten(), None, "{body}");
        assert!(understood.version.is_err(), "{body}");
        assert_eq!(understood.always_online, None, "{body}");
    }
}

/// Fields of any name and content, of which some carry the secret.
fn noise() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(json!(SECRET)),
        any::<String>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!({ "jid": SECRET, "base64": [SECRET] })),
    ];
    let fields = prop::collection::btree_map("[a-zA-Z]{1,12}", value, 0..8);
    fields.prop_map(|fields| {
        let read = |key: &str| {
            let others = [
                "instance",
                "version",
                "alwaysOnline",
                "error",
                "code",
                "response",
            ];
            FLAT.contains(&key) || WRAPPED.contains(&key) || others.contains(&key)
        };
        fields.into_iter().filter(|(key, _)| !read(key)).collect()
    })
}

proptest! {
    /// The same for answers that nobody has recorded: only the fields that are read count.
    #[test]
    fn any_other_field_may_be_anything(noise in noise(), position in 0_usize..3, status in 200_u16..300) {
        let row = json!({
            "name": NAME, "connectionStatus": "close", "ownerJid": "5511999990000@s.whatsapp.net",
            "profileName": "Loja", "profilePicUrl": "https://pps.whatsapp.net/a.jpg",
            "integration": "WHATSAPP-BAILEYS", "disconnectionReasonCode": 401,
            "disconnectionAt": "2026-11-23T13:48:51.178Z",
        });
        let mixed = |value: &Value| {
            let mut fields = noise.clone();
            fields.extend(value.as_object().cloned().unwrap_or_default());
            Value::Object(fields)
        };
        let root = json!({ "version": "2.3.6", "alwaysOnline": true, "error": true });
        let state = json!({ "instance": { "instanceName": NAME, "state": "connecting" } });
        let mut rows = vec![json!({ "name": "another" }); 2];
        rows.insert(position, row.clone());
        let mut noisy_rows: Vec<Value> = rows.iter().map(mixed).collect();
        noisy_rows.push(Value::Object(noise.clone()));
        let noisy_state = mixed(&json!({ "instance": mixed(&state["instance"]) }));
        for (plain, noisy) in [
            (Value::from(rows), Value::from(noisy_rows)),
            (root.clone(), mixed(&root)),
            (state, noisy_state),
        ] {
            let plain = Understood::of(&incoming(status, &plain.to_string()));
            let answer = incoming(status, &noisy.to_string());
            let understood = Understood::of(&answer);
            prop_assert_eq!(&understood, &plain);
            prop_assert!(!understood.shown().contains(SECRET));
            prop_assert_eq!(understood.check(&answer), Ok(()));
        }
    }

    /// A name is one segment of a URL, and one value of a query, whatever is in it.
    #[test]
    fn a_name_cannot_leave_its_place_in_a_url(name in any::<String>()) {
        let encoded = query_value(&name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        prop_assert!(encoded.bytes().all(plain), "{}", encoded);
    }

    /// An IPv4 address is public or not, in whatever IPv6 clothes it comes.
    #[test]
    fn an_address_in_disguise_is_the_same_address(bits in any::<u32>()) {
        let ip = Ipv4Addr::from_bits(bits);
        let public = is_public_host(&ip.to_string());
        let [a, b, c, d] = ip.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for disguise in [
            ip.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(is_public_host(&format!("[{disguise}]")), public, "{}", disguise);
        }
        let compatible = Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low).to_string();
        prop_assert!(!is_public_host(&compatible), "{}", compatible);
        for local in [0x7f00_0000, 0x0a00_0000, 0x0000_0000] {
            let ip = Ipv4Addr::from_bits(local | bits & 0x00ff_ffff);
            prop_assert!(!is_public_host(&ip.to_string()), "{}", ip);
        }
    }

    /// Nothing that a person may have typed as a host is too much.
    #[test]
    fn any_host_is_judged(host in prop_oneof![any::<String>(), "[\\[\\]:.0-9a-fA-F%]{0,50}"]) {
        let _ = is_public_host(&host);
    }
}
