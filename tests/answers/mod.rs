//! The recorded answers, all that is read from one answer, and what must hold of that whatever the
//! answer was.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "a test may fail, and need not use everything"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};
use whatsapp_monitor::gateway::evolution::answer;
use whatsapp_monitor::gateway::evolution::version::Version;
use whatsapp_monitor::monitor::{
    Ack, Fault, FinalCodes, GatewayFault, Instance, MemoryState, Observation, Row, Settings,
    Socket, Timestamp,
};
use whatsapp_monitor::store::check::Outcome;
use whatsapp_monitor::web::fetch::Incoming;

/// The instance that is asked for.
pub const NAME: &str = "loja-a";

const NOON: Timestamp = Timestamp::from_ms(1_795_435_200_000);

/// Bytes that the JSON of an outcome may have: 2,000 characters of a URL, each escaped, and the rest.
const MAX_OUTCOME_BYTES: usize = 8_000;

/// A recorded exchange, as far as it matters here.
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub request: Value,
    pub answer: Incoming,
}

/// All exchanges that were recorded, by their ids.
pub fn recorded() -> BTreeMap<String, Exchange> {
    include_str!("../fixtures/evolution-2.3.6.jsonl")
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a fixture is JSON");
            let text = |key: &str| line[key].as_str().expect("a text").to_owned();
            let status = line["status"].as_u64().expect("a status");
            let exchange = Exchange {
                method: text("method"),
                path: text("path"),
                request: line["request"].clone(),
                answer: Incoming {
                    status: u16::try_from(status).expect("an HTTP status"),
                    body: line["response"].to_string(),
                },
            };
            (text("id"), exchange)
        })
        .collect()
}

/// The recorded answers, those that are the same but once.
pub fn recorded_answers() -> Vec<Incoming> {
    let exchanges = recorded().into_values();
    let answers = exchanges.map(|exchange| (exchange.answer.body, exchange.answer.status));
    let different: BTreeSet<(String, u16)> = answers.collect();
    let different = different.into_iter();
    different
        .map(|(body, status)| incoming(status, &body))
        .collect()
}

/// Answers with every field that is read and little else: the row of an instance by Evolution 2, and
/// by Evolution 1 in either shape, of which there is no recording.
pub fn full_answers() -> Vec<Incoming> {
    let (name, owner) = (NAME, "5511999990001@s.whatsapp.net");
    let picture = "https://pps.whatsapp.net/v/t61.24694-24/1_n.jpg?ccb=11-4";
    let flat = json!({
        "name": name, "connectionStatus": "close", "ownerJid": owner, "profileName": "Loja Teste",
        "profilePicUrl": picture, "integration": "WHATSAPP-BAILEYS", "token": "token-loja-a-0001",
        "disconnectionReasonCode": 401, "disconnectionAt": "2026-11-23T13:48:51.178Z",
    });
    let wrapped = json!({ "instance": {
        "instanceName": name, "owner": owner, "profileName": "Loja Teste", "state": "open",
        "profilePictureUrl": picture, "integration": "WHATSAPP-BAILEYS", "apikey": "secret",
    }});
    [json!([flat]), json!([wrapped]), wrapped]
        .map(|body| incoming(200, &body.to_string()))
        .to_vec()
}

pub fn incoming(status: u16, body: &str) -> Incoming {
    Incoming {
        status,
        body: body.to_owned(),
    }
}

/// All that is read from an answer, whatever was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Understood {
    pub state: Result<MemoryState, Fault>,
    pub row: Result<Option<Row>, Fault>,
    pub version: Result<Version, Fault>,
    pub always_online: Option<bool>,
    pub socket: Option<Socket>,
    pub acted: Ack,
}

impl Understood {
    pub fn of(answer: &Incoming) -> Self {
        Self {
            state: answer::connection_state(answer),
            row: answer::row(answer, NAME),
            version: answer::version(answer),
            always_online: answer::always_online(answer),
            socket: answer::socket(answer),
            acted: answer::acted(answer),
        }
    }

    /// What a check makes of it, as the database gets it, and as a log could show it.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for observation in self.observations() {
            let state = Instance::default().observe(&observation, NOON, &Settings::default());
            let outcome = Outcome::new((7, 1, 1), NOON, state, true, observation.profile());
            let json = serde_json::to_string(&outcome).expect("an outcome is JSON");
            let _ = writeln!(shown, "{observation:?} {outcome:?} {json}");
        }
        let _ = writeln!(shown, "{self:?}");
        shown
    }

    /// Every observation that these answers could be part of.
    fn observations(&self) -> Vec<Observation> {
        let row = self.row.clone().ok().flatten();
        let version = self.version.as_ref();
        let final_codes = version.map_or(FinalCodes::default(), |version| {
            version.capabilities().final_codes
        });
        let seen = [
            MemoryState::Open,
            MemoryState::Connecting,
            MemoryState::Close,
            MemoryState::NotLoaded,
        ]
        .map(|memory| Observation::Seen {
            memory,
            row: row.clone(),
            socket: self.socket,
            final_codes,
        });
        let failed = self.state.err().map(Observation::Failed);
        failed.into_iter().chain(seen).collect()
    }

    /// What must hold, whatever the answer was.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, answer: &Incoming) -> Result<(), String> {
        self.is_about(answer)?;
        self.is_bounded()?;
        self.is_remembered()
    }

    /// A fault is that of this answer, and nothing is read from what is no good answer.
    fn is_about(&self, answer: &Incoming) -> Result<(), String> {
        let status = answer.status;
        let good = (200..300).contains(&status);
        let json: Option<Value> = serde_json::from_str(&answer.body).ok();
        let faults = [
            self.state.err(),
            self.row.as_ref().err().copied(),
            self.version.as_ref().err().copied(),
        ];
        for fault in faults.into_iter().flatten() {
            let told = match fault {
                Fault::Gateway(
                    GatewayFault::ServerError(told)
                    | GatewayFault::NotJson(told)
                    | GatewayFault::Unintelligible(told),
                ) => told,
                _ => status,
            };
            that(told == status, "a fault of another status", fault)?;
            let not_json = fault == GatewayFault::NotJson(status).into();
            let redirect = (300..400).contains(&status);
            that(
                redirect || not_json == json.is_none(),
                "what is no JSON is told apart",
                fault,
            )?;
        }
        let row = matches!(self.row, Ok(Some(_)));
        let read = self.state.is_ok() || row || self.version.is_ok();
        that(
            (good && json.is_some()) || !(read || self.always_online.is_some()),
            "only a good answer tells anything",
            self,
        )?;
        that(
            (good && json.is_some()) || self.acted != Ack::Accepted,
            "only a good answer accepts",
            self.acted,
        )?;
        that(
            self.socket.is_none() || [201, 400].contains(&status),
            "a socket by its status",
            self.socket,
        )
    }

    /// Every text that is kept is short, in one line, and none that Postgres would refuse.
    fn is_bounded(&self) -> Result<(), String> {
        let row = self.row.as_ref().ok().and_then(Option::as_ref);
        let profile = row.map(|row| &row.profile);
        let of_profile = profile.map(|profile| {
            [
                (profile.phone_number.as_deref(), 15),
                (profile.profile_name.as_deref(), 400),
                (profile.profile_picture_url.as_deref(), 2_000),
            ]
        });
        let reason = row.and_then(|row| row.reason.as_ref());
        let moment = reason.and_then(|reason| reason.at.as_deref());
        let version = self.version.as_ref().ok().map(Version::as_str);
        for (text, most) in of_profile
            .into_iter()
            .flatten()
            .chain([(moment, 40), (version, 32)])
        {
            let Some(text) = text else { continue };
            that(
                (1..=most).contains(&text.len()),
                "of bounded length",
                text.len(),
            )?;
            let line = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
            that(text.chars().all(line), "in one line", text)?;
        }
        Ok(())
    }

    /// Whatever it means for an instance, the database can keep it and gives it back as it was.
    fn is_remembered(&self) -> Result<(), String> {
        for observation in self.observations() {
            let state = Instance::default().observe(&observation, NOON, &Settings::default());
            let json = serde_json::to_string(&state).map_err(|error| error.to_string())?;
            let again: Instance = serde_json::from_str(&json).map_err(|error| error.to_string())?;
            that(again == state, "a memory that survives", &json)?;
            let outcome = Outcome::new((7, 1, 1), NOON, state, true, observation.profile());
            let json = serde_json::to_string(&outcome).map_err(|error| error.to_string())?;
            that(
                json.len() <= MAX_OUTCOME_BYTES,
                "a bounded outcome",
                json.len(),
            )?;
        }
        Ok(())
    }
}

fn that(holds: bool, what: &str, about: impl std::fmt::Debug) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{what}: {about:?}"))
    }
}
