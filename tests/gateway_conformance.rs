//! Holds the model of the gateway to the recorded one: every exchange of the fixtures is sent again,
//! in the order in which it was recorded, through the story of `evolution-conformance.json`. The
//! stand-in of the local stack lives through the same one
//! (`tests/outside/evolution_conformance_test.ts`).

#![allow(clippy::expect_used, reason = "a test may fail")]

mod model;

use std::collections::{BTreeMap, BTreeSet};

use model::{Body, Config, Fault, Gateway, Hang, Process, Request, Unreachable, Whom};
use serde_json::{Map, Value};

/// The instance that the story is about.
const NAME: &str = "loja-a";

/// How long anything of the story may take.
const PATIENCE_MS: i64 = 3_600_000;

/// A gateway that lives through the story.
struct Play {
    gateway: Gateway,
    key: String,
}

impl Play {
    fn new() -> Self {
        let gateway = Gateway::new(Config::default());
        let key = gateway.key().to_owned();
        Self { gateway, key }
    }

    /// Lets time pass until something is so, by milliseconds.
    fn until(&mut self, what: &str, mut so: impl FnMut(&Gateway) -> bool) {
        let end_ms = self.gateway.now_ms() + PATIENCE_MS;
        while !so(&self.gateway) {
            assert!(self.gateway.now_ms() < end_ms, "never {what}");
            self.gateway.advance(self.gateway.now_ms() + 1);
        }
    }

    fn until_state(&mut self, word: &str) {
        self.until(word, |gateway| {
            let truth = gateway.truth(NAME).expect("it is there");
            truth.memory.word() == Some(word)
        });
    }

    fn until_qrs(&mut self, count: u32) {
        self.until("so many QRs", |gateway| {
            gateway
                .truth(NAME)
                .is_some_and(|truth| truth.qr_count == count)
        });
    }

    fn inflict(&mut self, fault: &Fault) {
        self.gateway.inflict(self.gateway.now_ms(), fault);
    }

    fn heal(&mut self, fault: &Fault) {
        self.gateway.heal(self.gateway.now_ms(), fault);
    }

    /// One step of the story.
    fn step(&mut self, word: &str, value: &Value, at: &str) {
        let text = value.as_str().unwrap_or_default();
        let unreachable = |how| Fault::Unreachable(Whom::All, how);
        match (word, text) {
            ("whatsapp", "unresolvable") => self.inflict(&unreachable(Unreachable::Unresolvable)),
            ("whatsapp", "dropping") => self.inflict(&unreachable(Unreachable::Dropping)),
            ("whatsapp", "reachable") => self.heal(&unreachable(Unreachable::Dropping)),
            ("next_dial", "hangs") => self.gateway.next_dial_hangs(NAME, Hang::Login),
            ("lookup_ms", _) => self.inflict(&Fault::SlowLookup(number(value))),
            ("database", "down") => self.inflict(&Fault::DatabaseDown),
            ("database", "up") => self.heal(&Fault::DatabaseDown),
            ("reboot", "quickly" | "slowly") => {
                if text == "slowly" {
                    self.inflict(&Fault::SlowLookup(8_000));
                }
                self.inflict(&Fault::ProcessRestart);
                self.until("up", |gateway| gateway.process() == Process::Up);
            }
            ("until", _) => self.until_state(text),
            ("seen", _) => {
                for state in value.as_array().expect("states") {
                    self.until_state(state.as_str().expect("a state"));
                }
            }
            ("qrs", "limit") => {
                self.until_qrs(30);
                self.until("the limit", |gateway| {
                    gateway
                        .truth(NAME)
                        .is_some_and(|truth| truth.qr_count != 30)
                });
                self.is(&serde_json::json!({ "qrs": 0 }), at);
            }
            ("qrs", "") => self.until_qrs(u32::try_from(number(value)).expect("a count")),
            ("scan", _) => self.gateway.scan(NAME),
            ("pair", _) => {
                let request = Request::connect(NAME, &self.key);
                self.gateway.request(self.gateway.now_ms(), &request);
                self.until_state("connecting");
                self.until("a QR", |gateway| {
                    gateway.truth(NAME).is_some_and(|truth| truth.qr_on_offer)
                });
                self.gateway.scan(NAME);
                self.until_state("open");
            }
            ("disconnect", _) => self.disconnect(value),
            ("disconnects", _) => {
                for kind in value.as_array().expect("kinds") {
                    self.disconnect(&kind[0]);
                    let kept = kind[3] == "kept";
                    let so = serde_json::json!({
                        "row": kind[1], "reason": kind[2], "session": kept, "owner": true,
                    });
                    self.is(&so, &format!("{at} {kind}"));
                    let back = if kept {
                        ("until", "open".into())
                    } else {
                        ("pair", true.into())
                    };
                    self.step(back.0, &back.1, at);
                    self.is(&serde_json::json!({ "row": "open", "reason": kind[2] }), at);
                }
            }
            ("pass_s", _) => self
                .gateway
                .advance(self.gateway.now_ms() + 1_000 * number(value)),
            ("is", _) => self.is(value, at),
            _ => panic!("{at}: no step {word} {value}"),
        }
    }

    fn disconnect(&mut self, code: &Value) {
        let code = u16::try_from(number(code)).expect("a code");
        self.inflict(&Fault::Drop(NAME.to_owned(), code));
    }

    fn is(&self, expected: &Value, at: &str) {
        let truth = self.gateway.truth(NAME).expect("it is there");
        let reason = self.gateway.row_reason(NAME).map(|(code, _)| code);
        for (what, value) in expected.as_object().expect("an object") {
            let now: Value = match what.as_str() {
                "memory" => truth.memory.word().into(),
                "row" => truth.row.word().into(),
                "sockets" => truth.sockets.into(),
                "session" => truth.session.into(),
                "reason" => reason.into(),
                "owner" => truth.owner.into(),
                "qrs" => truth.qr_count.into(),
                _ => panic!("{at}: unknown {what}"),
            };
            assert_eq!(now, *value, "{at}: {what}");
        }
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

/// Compares answers with recorded ones.
struct Comparison<'a> {
    story: &'a Value,
    /// What was generated there, and what stands for it here. This token was chosen.
    generated: BTreeMap<String, String>,
}

impl Comparison<'_> {
    fn lists(&self, list: &str, key: &str) -> bool {
        self.story[list]
            .as_array()
            .expect("a list")
            .iter()
            .any(|listed| listed == key)
    }

    /// The same keys, and the same values but for those that cannot be.
    fn same(&mut self, recorded: &Value, ours: &Value, at: &str, key: &str) {
        match (recorded, ours) {
            (Value::Array(a), Value::Array(b)) => {
                assert_eq!(a.len(), b.len(), "{at}: {ours}");
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    self.same(a, b, &format!("{at}[{i}]"), key);
                }
            }
            (Value::Object(a), Value::Object(b)) => {
                let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
                assert_eq!(keys(a), keys(b), "{at}: keys");
                for (key, value) in a {
                    self.same(value, &b[key], &format!("{at}.{key}"), key);
                }
            }
            (Value::String(a), Value::String(b)) => self.same_text(a, b, at, key),
            _ => assert_eq!(recorded, ours, "{at}"),
        }
    }

    fn same_text(&mut self, recorded: &str, ours: &str, at: &str, key: &str) {
        if self.lists("generated", key) {
            let known = self
                .generated
                .entry(recorded.to_owned())
                .or_insert(ours.to_owned());
            assert_eq!(known, ours, "{at}: not the {key} of before");
        } else if self.lists("dates", key) {
            let digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
            assert_eq!(digits(ours), digits(recorded), "{at}: {ours}");
        } else if let Some(beginning) = self.story["beginnings"][key].as_str() {
            assert!(ours.starts_with(beginning), "{at}: {ours}");
        } else if let Some((head, rest)) = recorded.split_once('…') {
            assert!(ours.starts_with(head), "{at}: {ours}");
            // Only the text of the database layer goes on otherwise.
            if !head.contains(self.story["other_endings"].as_str().expect("a text")) {
                let chars = rest.trim_start_matches('(').trim_end_matches(" chars)");
                assert_eq!(ours.chars().count().to_string(), chars, "{at}: length");
            }
        } else {
            assert_eq!(ours, recorded, "{at}");
        }
    }
}

fn recorded() -> Vec<Value> {
    include_str!("fixtures/evolution-2.3.6.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a fixture is JSON"))
        .collect()
}

fn story() -> Value {
    serde_json::from_str(include_str!("fixtures/evolution-conformance.json")).expect("JSON")
}

/// A recorded request, as it is sent to ours.
fn again(exchange: &Value, play: &Play, comparison: &Comparison<'_>) -> Request {
    let text = |key: &str| exchange[key].as_str().expect("a text");
    let method = match text("method") {
        "GET" => "GET",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "POST",
    };
    let mut path = text("path").to_owned();
    for (theirs, ours) in &comparison.generated {
        path = path.replace(theirs, ours); // A43
    }
    let mut request = Request::new(method, &path, &play.key);
    request.key = match text("auth") {
        "global key" => request.key,
        "instance token" => Some("token-loja-a-0001".to_owned()),
        "wrong key" => Some("wrong-key".to_owned()),
        _ => None,
    };
    let body = &exchange["request"];
    request.body = (!body.is_null()).then(|| body.to_string());
    if let Some(body) = comparison.story["sent"][text("id")]["body"].as_str() {
        request.body = Some(body.to_owned());
    }
    request
}

#[test]
fn the_model_answers_as_the_recorded_gateway() {
    let story = story();
    let exchanges = recorded();
    assert_eq!(exchanges.len(), 126, "the fixtures are whole");
    let mut play = Play::new();
    let token = "token-loja-a-0001".to_owned();
    let mut comparison = Comparison {
        story: &story,
        generated: BTreeMap::from([(token.clone(), token)]),
    };
    let mut replayed = BTreeSet::new();
    for exchange in &exchanges {
        let id = exchange["id"].as_str().expect("an id");
        if story["excluded"].get(id).is_some() {
            continue;
        }
        for step in story["before"][id].as_array().into_iter().flatten() {
            let (word, value) = step
                .as_object()
                .and_then(|step| step.iter().next())
                .expect("a step");
            play.step(word, value, id);
        }
        let request = again(exchange, &play, &comparison);
        let answer = play.gateway.request(play.gateway.now_ms(), &request);
        let (status, body) = answer.outcome.expect("an answer");
        let Body::Json(body) = body else {
            panic!("{id}: no JSON");
        };
        assert_eq!(exchange["status"], status, "{id}: {body}");
        comparison.same(&exchange["response"], &body, id, "");
        play.gateway
            .advance(play.gateway.now_ms() + answer.takes_ms);
        replayed.insert(id);
    }
    let named = story["before"].as_object().expect("steps").keys();
    assert!(named.clone().all(|id| replayed.contains(id.as_str())));
    let excluded = story["excluded"].as_object().expect("a map");
    assert_eq!(
        replayed.len() + excluded.len(),
        exchanges.len(),
        "nothing is skipped"
    );
}
