//! A request to the gateway, and what comes of it on the way.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::faults::HttpFault;
use super::gateway::Gateway;
use super::history::What;
use super::process::Process;
use super::{answers, routes};

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub path: String,
    /// The `apikey` header.
    pub key: Option<String>,
    /// The body, of type JSON.
    pub body: Option<String>,
    /// Who sends it: whatever the record of requests shall show.
    pub by: &'static str,
}

impl Request {
    /// A request of the monitor.
    pub fn new(method: &'static str, path: &str, key: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            key: Some(key.to_owned()),
            body: None,
            by: "monitor",
        }
    }

    fn named(method: &'static str, route: &str, name: &str, key: &str) -> Self {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        Self::new(method, &format!("/{route}/{name}"), key)
    }

    /// `GET /`.
    pub fn root() -> Self {
        Self {
            key: None,
            ..Self::new("GET", "/", "")
        }
    }

    /// `GET /instance/connectionState/{name}`.
    pub fn connection_state(name: &str, key: &str) -> Self {
        Self::named("GET", "instance/connectionState", name, key)
    }

    /// `GET /instance/fetchInstances?instanceName={name}`.
    pub fn row(name: &str, key: &str) -> Self {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let path = format!("/instance/fetchInstances?instanceName={name}");
        Self::new("GET", &path, key)
    }

    /// `GET /instance/connect/{name}`.
    pub fn connect(name: &str, key: &str) -> Self {
        Self::named("GET", "instance/connect", name, key)
    }

    /// `POST /instance/restart/{name}`.
    pub fn restart(name: &str, key: &str) -> Self {
        Self::named("POST", "instance/restart", name, key)
    }

    /// `POST /instance/setPresence/{name}`.
    pub fn set_presence(name: &str, key: &str, presence: &str) -> Self {
        Self {
            body: Some(json!({ "presence": presence }).to_string()),
            ..Self::named("POST", "instance/setPresence", name, key)
        }
    }

    /// `GET /webhook/find/{name}`.
    pub fn webhook_find(name: &str, key: &str) -> Self {
        Self::named("GET", "webhook/find", name, key)
    }

    /// `POST /webhook/set/{name}`.
    pub fn webhook_set(name: &str, key: &str, body: &Value) -> Self {
        Self {
            body: Some(body.to_string()),
            ..Self::named("POST", "webhook/set", name, key)
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing listens.
    Refused,
    /// The connection broke.
    Broken,
    /// No answer within the time limit.
    TimedOut,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// JSON, as Evolution answers.
    Json(Value),
    /// Anything else, as proxies answer.
    Text(String),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Status and body, or why there is none.
    pub outcome: Result<(u16, Body), Failure>,
    /// Milliseconds until then; [`i64::MAX`] where nothing ever comes.
    pub takes_ms: i64,
}

impl Exchange {
    /// What a client with a time limit sees, the body as text, and how long it took.
    pub fn within(&self, limit_ms: i64) -> (Result<(u16, String), Failure>, i64) {
        if self.takes_ms > limit_ms {
            return (Err(Failure::TimedOut), limit_ms);
        }
        let seen = match &self.outcome {
            Ok((status, Body::Json(body))) => Ok((*status, body.to_string())),
            Ok((status, Body::Text(text))) => Ok((*status, text.clone())),
            Err(failure) => Err(*failure),
        };
        (seen, self.takes_ms)
    }
}

/// Whose key a request held; the key itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// The global key.
    Gateway,
    /// The token of some instance.
    Instance,
    /// Nobody's.
    Nobody,
    /// It had none.
    None,
}

/// A request that reached Evolution, whatever became of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// When.
    pub at_ms: i64,
    /// The verb.
    pub method: &'static str,
    /// Path and query as sent.
    pub path: String,
    /// Whose key it held.
    pub key: KeyOf,
    /// Its body: JSON, or its text, or null.
    pub body: Value,
    /// Who sent it.
    pub by: &'static str,
    /// The status it was answered with.
    pub status: u16,
}

impl Gateway {
    /// Sends a request. What it changes is changed at once, whether its answer arrives or not; and
    /// the answer is that of the moment at which it is made, which may lie ahead (F3).
    pub fn request(&mut self, now_ms: i64, request: &Request) -> Exchange {
        self.advance(now_ms);
        let wire_ms = self.rng.between(4, 40);
        let fault = self.http_fault(request);
        if let Some(kept_off) = self.kept_off(fault, wire_ms) {
            return kept_off;
        }
        let answer = match fault {
            Some(HttpFault::Error(status)) => answers::failure(status, json!("Simulated fault")),
            Some(HttpFault::Garbage) => answers::Answer {
                text: Some(r#"{"instance":{"instanceName":"lo"#.to_owned()),
                ..answers::ok(Value::Null)
            },
            Some(HttpFault::Licence) if request.path != "/" => answers::licence_required(),
            _ => self.answer(request),
        };
        self.record(request, answer.status);
        let slow_ms = match fault {
            Some(HttpFault::Slow(ms)) => ms,
            _ => 0,
        };
        Exchange {
            outcome: match (fault, answer.text) {
                (Some(HttpFault::AnswerLost), _) => Err(Failure::Broken),
                (_, Some(text)) => Ok((answer.status, Body::Text(text))),
                (_, None) => Ok((answer.status, Body::Json(answer.body))),
            },
            takes_ms: wire_ms + answer.waits_ms + slow_ms,
        }
    }

    /// The fault of the whole gateway, or else of the instance that the request is about.
    fn http_fault(&self, request: &Request) -> Option<HttpFault> {
        let own = || {
            let name = routes::name_in(&request.path)?;
            self.instances[self.id(&name)?].http
        };
        self.http.or_else(own)
    }

    /// What comes of a request that never reaches Evolution.
    fn kept_off(&mut self, fault: Option<HttpFault>, wire_ms: i64) -> Option<Exchange> {
        let failed = |failure, takes_ms| Exchange {
            outcome: Err(failure),
            takes_ms,
        };
        let page = |status: u16| Exchange {
            outcome: Ok((
                status,
                Body::Text(format!(
                    "<html>\r\n<head><title>{status} Bad Gateway</title></head>\r\n</html>\r\n"
                )),
            )),
            takes_ms: wire_ms,
        };
        if self.network_lost {
            return Some(failed(Failure::TimedOut, i64::MAX));
        }
        match fault {
            Some(HttpFault::Refused) => Some(failed(Failure::Refused, wire_ms)),
            Some(HttpFault::Silent) => Some(failed(Failure::TimedOut, i64::MAX)),
            Some(HttpFault::Broken) => Some(failed(Failure::Broken, wire_ms)),
            Some(HttpFault::Page(status)) => Some(page(status)),
            _ if self.process == Process::Up => None,
            _ if self.config.behind_proxy => Some(page(502)),
            _ => Some(failed(Failure::Refused, wire_ms)),
        }
    }

    fn record(&mut self, request: &Request, status: u16) {
        let what = format!(
            "{} {} {} {status}",
            request.by, request.method, request.path
        );
        self.happened(None, What::Request(what));
        let key = match &request.key {
            None => KeyOf::None,
            Some(key) if self.is_global_key(key) => KeyOf::Gateway,
            Some(key)
                if self
                    .live_ids()
                    .iter()
                    .any(|&id| self.instances[id].token == *key) =>
            {
                KeyOf::Instance
            }
            Some(_) => KeyOf::Nobody,
        };
        let body = request
            .body
            .as_ref()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())));
        self.received.push(Received {
            at_ms: self.now_ms,
            method: request.method,
            path: request.path.clone(),
            key,
            body: body.unwrap_or_default(),
            by: request.by,
            status,
        });
    }

    pub(super) fn is_global_key(&self, key: &str) -> bool {
        key == self.config.key && !self.key_changed
    }
}
