//! What the Evolution client makes of the recorded answers of a real Evolution 2.3.6, and of
//! anything else that may come.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod answers;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::gateway::evolution::version::{Generation, Version};
use whatsapp_monitor::monitor::{
    ConfigFault, Fault, FinalCodes, GatewayFault, Integration, MemoryState, Profile,
    RecordedReason, Row, RowStatus,
};

use answers::{incoming, recorded};

/// A row of an instance that was never paired.
fn plain_row(status: RowStatus) -> Row {
    Row {
        status: Some(status),
        reason: None,
        profile: Profile::default(),
        integration: Integration::Socket,
    }
}

/// The row in an answer of status 200, of the instance `loja-a`.
fn row_in(body: &Value) -> Option<Row> {
    answer::row(&incoming(200, &body.to_string()), "loja-a")
        .ok()
        .flatten()
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
    let plain = |status| Ok(Some(plain_row(status)));
    assert_eq!(row("A41", "loja-a"), plain(RowStatus::Close));
    assert_eq!(row("A43", "loja-a"), plain(RowStatus::Close));
    assert_eq!(row("A45", "loja b"), plain(RowStatus::Close));
    assert_eq!(row("C3", "loja-a"), plain(RowStatus::Connecting));
    assert_eq!(
        row("C10", "loja-a"),
        Ok(Some(Row {
            profile: Profile {
                phone_number: Some("5511999990001".to_owned()),
                profile_name: Some("Loja Teste".to_owned()),
                profile_picture_url: None,
            },
            ..plain_row(RowStatus::Open)
        }))
    );
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
            reason: Some(RecordedReason {
                code: 401,
                at: Some("2026-11-23T13:55:25.539Z".to_owned()),
            }),
            ..plain_row(RowStatus::Close)
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
        Ok(Version::parse("2.3.6").expect("a version"))
    );
    assert_eq!(
        answer::version(&incoming(200, "{}")),
        Err(Fault::Config(ConfigFault::UnknownRoute))
    );
}

#[test]
fn a_version_is_fit_to_be_stored() {
    for (text, kept) in [
        ("2.3.6", Some("2.3.6")),
        ("2.4.0-rc2", Some("2.4.0-rc2")),
        ("  v1.8.2\n", Some("v1.8.2")),
        ("2.3.6 (da casa)\u{0}", Some("2.3.6dacasa")),
        ("<b>nightly</b>", Some("bnightlyb")),
        ("", None),
        ("\u{0} \u{1f511}", None),
    ] {
        let version = Version::parse(text);
        assert_eq!(version.as_ref().map(Version::as_str), kept, "{text:?}");
    }
    let long = Version::parse(&"9".repeat(100_000)).expect("a version");
    assert_eq!(long.as_str().len(), 32);
}

#[test]
fn what_a_version_can_do_follows_from_its_numbers() {
    use FinalCodes::{LoggedOut, Refused, RefusedOrLost};
    for (text, generation, final_codes, may_act) in [
        ("1.7.5", Generation::V1, LoggedOut, false),
        ("1.8.2", Generation::V1, LoggedOut, false),
        ("2.0.10", Generation::Other, Refused, false),
        ("2.1.1", Generation::V2, Refused, true),
        ("2.2.3", Generation::V2, Refused, true),
        ("v2.3.7", Generation::V2, Refused, true),
        ("2.3", Generation::V2, Refused, true),
        ("2.4.0-rc2", Generation::V2_4, RefusedOrLost, false),
        ("2.4-beta", Generation::V2_4, RefusedOrLost, false),
        ("2.30.1", Generation::Other, Refused, false),
        ("2", Generation::Other, Refused, false),
        ("3.0.0", Generation::Other, Refused, false),
        ("latest", Generation::Other, Refused, false),
        ("99999999999.1", Generation::Other, Refused, false),
    ] {
        let version = Version::parse(text).expect("a version");
        assert_eq!(version.generation(), generation, "{text}");
        assert_eq!(version.capabilities().final_codes, final_codes, "{text}");
        assert_eq!(version.capabilities().may_act, may_act, "{text}");
    }
}

/// Evolution 1: each element wrapped, the status that of the memory, the account under other names.
#[test]
fn a_row_of_evolution_1_is_read_by_its_shape() {
    let wrapped = |name: &str| {
        json!({ "instance": {
            "instanceName": name, "instanceId": "x", "owner": "5511999990000@s.whatsapp.net",
            "profileName": "Loja", "profilePictureUrl": "https://pps.whatsapp.net/a.jpg?b=1",
            "profileStatus": "Aberto", "status": "open", "apikey": "secret",
        }})
    };
    let expected = Some(Row {
        status: None,
        reason: None,
        profile: Profile {
            phone_number: Some("5511999990000".to_owned()),
            profile_name: Some("Loja".to_owned()),
            profile_picture_url: Some("https://pps.whatsapp.net/a.jpg?b=1".to_owned()),
        },
        integration: Integration::Socket,
    });
    // Asked with the server's key it is an object, with the instance's a list.
    assert_eq!(row_in(&wrapped("loja-a")), expected);
    assert_eq!(
        row_in(&json!([wrapped("other"), wrapped("loja-a")])),
        expected
    );
    assert_eq!(row_in(&wrapped("other")), None);
    // Not open: nothing but the state.
    let closed = json!({ "instance": { "instanceName": "loja-a", "status": "close" } });
    assert_eq!(
        row_in(&closed),
        Some(Row {
            status: None,
            ..plain_row(RowStatus::Close)
        })
    );
    // An object that is no row is no answer.
    assert_eq!(
        answer::row(&incoming(200, r#"{"error":true}"#), "loja-a"),
        Err(Fault::Gateway(GatewayFault::Unintelligible(200)))
    );
}

#[test]
fn an_integration_without_a_socket_is_told_apart() {
    for (integration, expected) in [
        (json!("WHATSAPP-BAILEYS"), Integration::Socket),
        (json!("WHATSAPP-BUSINESS"), Integration::Socketless),
        (json!("EVOLUTION"), Integration::Socketless),
        (json!(null), Integration::Socket),
        (json!({ "EVOLUTION": 1 }), Integration::Socket),
    ] {
        let row = row_in(&json!([{ "name": "loja-a", "integration": integration }]));
        assert_eq!(
            row.map(|row| row.integration),
            Some(expected),
            "{integration}"
        );
    }
}

#[test]
fn only_what_looks_like_an_account_is_kept() {
    let profile = |key: &str, value: Value| {
        let row = row_in(&json!([{ "name": "loja-a", key: value }]));
        row.expect("a row").profile
    };
    for (owner, number) in [
        (json!("5511999990000@s.whatsapp.net"), Some("5511999990000")),
        (
            json!("5511999990000:12@s.whatsapp.net"),
            Some("5511999990000"),
        ),
        (json!("5511999990000"), Some("5511999990000")),
        // An identifier that is no number.
        (json!("173207265054845@lid"), None),
        (json!("5511999990000\u{0}@s.whatsapp.net"), None),
        (json!("1".repeat(16)), None),
        (json!("٥٥١١٩٩٩٩٩٠٠٠٠@s.whatsapp.net"), None),
        (json!("@s.whatsapp.net"), None),
        (json!(""), None),
        (json!(5_511_999_990_000_u64), None),
    ] {
        let kept = profile("ownerJid", owner.clone()).phone_number;
        assert_eq!(kept.as_deref(), number, "{owner}");
    }
    for (name, shown) in [
        (json!("Pousada São João 🏖️"), Some("Pousada São João 🏖️")),
        (json!(" a\u{0}b\r\n\u{85} "), Some("ab")),
        (json!("\u{0}\n "), None),
        (json!(["Loja"]), None),
    ] {
        let kept = profile("profileName", name.clone()).profile_name;
        assert_eq!(kept.as_deref(), shown, "{name}");
    }
    for (url, good) in [
        (
            "https://pps.whatsapp.net/v/t61.24694-24/1_n.jpg?ccb=11-4&oh=01",
            true,
        ),
        ("http://gw.example/p.png", true),
        ("javascript:alert(1)", false),
        ("data:image/png;base64,AAAA", false),
        ("ftp://gw.example/p.png", false),
        ("https://", false),
        ("https:///p.png", false),
        ("https://gw.example/a b", false),
        ("https://gw.example/\u{0}", false),
        ("//gw.example/p.png", false),
    ] {
        let kept = profile("profilePicUrl", json!(url)).profile_picture_url;
        assert_eq!(kept.as_deref(), good.then_some(url), "{url}");
    }
    let long = format!("https://gw.example/{}", "a".repeat(200_000));
    assert_eq!(
        profile("profilePicUrl", json!(long)).profile_picture_url,
        None
    );
    let long = profile("profileName", json!("é".repeat(200_000))).profile_name;
    assert_eq!(long.map(|name| name.chars().count()), Some(100));
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
        Just("instanceName".to_owned()),
        Just("status".to_owned()),
        Just("owner".to_owned()),
        Just("ownerJid".to_owned()),
        Just("profileName".to_owned()),
        Just("profilePicUrl".to_owned()),
        Just("profilePictureUrl".to_owned()),
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

/// Texts of every kind and of great length, and some that are nearly right.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x7f]{0,40}",
        "[0-9]{0,20}[:@\\x00]?[0-9]{0,3}(@s\\.whatsapp\\.net)?",
        "https?://[a-z.]{0,9}[/ -~\\x00]{0,20}",
        "v?[0-9]{0,12}\\.[0-9]{0,12}.{0,9}",
        (any::<char>(), 1_usize..5_000).prop_map(|(c, n)| c.to_string().repeat(n)),
    ]
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
            let one = [body.clone()];
            let rows = body.as_array().map_or(&one[..], Vec::as_slice);
            let named = |row: &Value| {
                row["name"] == "loja-a" || row["instance"]["instanceName"] == "loja-a"
            };
            prop_assert!(rows.iter().any(named));
        }
    }

    /// Whatever a row holds, what is kept of it is bounded and Postgres takes it.
    #[test]
    fn what_is_kept_of_a_row_is_fit_to_be_stored(
        owner in any_text(), name in any_text(), picture in any_text(), at in any_text(),
        old in any::<bool>(),
    ) {
        let body = if old {
            json!({ "instance": {
                "instanceName": "loja-a", "owner": owner, "profileName": name,
                "profilePictureUrl": picture,
            }})
        } else {
            json!([{
                "name": "loja-a", "ownerJid": owner, "profileName": name, "profilePicUrl": picture,
                "disconnectionReasonCode": 401, "disconnectionAt": at,
            }])
        };
        let row = row_in(&body).expect("a row");
        let Profile { phone_number, profile_name, profile_picture_url } = row.profile;
        let at = row.reason.and_then(|reason| reason.at);
        for (text, most) in [
            (phone_number, 15), (profile_name, 400), (profile_picture_url, 2_000), (at, 40),
        ] {
            let Some(text) = text else { continue };
            prop_assert!((1..=most).contains(&text.len()), "{}", text.len());
            prop_assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    /// The same of a version.
    #[test]
    fn what_is_kept_of_a_version_is_fit_to_be_stored(text in any_text()) {
        if let Some(version) = Version::parse(&text) {
            prop_assert!((1..=32).contains(&version.as_str().len()));
            prop_assert!(version.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            let _ = version.capabilities();
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
