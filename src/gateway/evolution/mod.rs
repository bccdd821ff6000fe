//! Evolution API: 2.1 to 2.3, and 1.x and 2.4 as far as looking goes.

pub mod answer;
pub mod event;
pub mod message;
pub mod version;
pub mod webhook;

use gloo_net::http::Method;

use self::version::Version;
use super::Gateway;
use super::address::{Address, query_value};
use crate::monitor::webhook::Hook;
use crate::monitor::{
    Ack, Action, ConfigFault, Fault, GatewayFault, MemoryState, Row, Socket, Webhooks,
};
use crate::web::fetch::{FetchError, Incoming, Outgoing, fetch, fetch_dated, is_header_value};

/// The largest body that is read, in bytes. A row is some 3 kB.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Small answers are not worth unpacking, and tell their length.
const PLAIN: (&str, &str) = ("accept-encoding", "identity");

/// What a body of ours is.
const JSON: (&str, &str) = ("content-type", "application/json");

/// The presence that has no side effect where the instance is not kept online: `available` would
/// mute the notifications on the owner's phone.
const PRESENCE: &str = r#"{"presence":"unavailable"}"#;

/// An instance name that nobody has. See [`Evolution::confirm_wrong_key`].
const NO_SUCH_INSTANCE: &str = "whatsapp-monitor-no-such-instance";

/// The client of one Evolution server, with one key.
pub struct Evolution<'a, T> {
    address: &'a Address,
    key: &'a str,
    timeout_ms: T,
}

impl<'a, T: Fn() -> u32> Evolution<'a, T> {
    /// A client. `timeout_ms` is asked before each request how long it may take.
    ///
    /// # Errors
    /// [`ConfigFault::WrongKey`] where the key could not even be sent.
    pub fn new(address: &'a Address, key: &'a str, timeout_ms: T) -> Result<Self, ConfigFault> {
        let key = key.trim();
        if is_header_value(key) {
            Ok(Self {
                address,
                key,
                timeout_ms,
            })
        } else {
            Err(ConfigFault::WrongKey)
        }
    }

    async fn get(&self, url: &str) -> Result<Incoming, Fault> {
        self.ask(Method::GET, url, None).await
    }

    async fn post(&self, url: &str, body: &str) -> Result<Incoming, Fault> {
        self.ask(Method::POST, url, Some(body)).await
    }

    async fn ask(&self, method: Method, url: &str, body: Option<&str>) -> Result<Incoming, Fault> {
        let timeout_ms = (self.timeout_ms)();
        let headers = [("apikey", self.key), PLAIN, JSON];
        // Without a body there is no content to have a type.
        let headers = &headers[..if body.is_some() { 3 } else { 2 }];
        in_time(timeout_ms)?;
        fetch(Outgoing {
            body,
            ..question(method, url, headers, timeout_ms)
        })
        .await
        .map_err(fault)
    }

    async fn ask_connection_state(&self, instance: &str) -> Result<MemoryState, Fault> {
        let url = self
            .address
            .route(["instance", "connectionState", instance])
            .ok_or(ConfigFault::UnknownInstance)?;
        answer::connection_state(&self.get(&url).await?)
    }

    /// A 401 alone is no proof of a wrong key: an instance's own token is refused too while the
    /// gateway's database is down (I5). A name that nobody has tells: it is looked up in the
    /// database before any key is checked, so it is 404 with the database (A4) and 500 without
    /// (I7).
    async fn confirm_wrong_key(&self) -> Fault {
        match self.ask_connection_state(NO_SUCH_INSTANCE).await {
            Err(Fault::Gateway(GatewayFault::ServerError(_))) => GatewayFault::DatabaseDown.into(),
            Err(Fault::Gateway(_)) => GatewayFault::KeyUnconfirmed.into(),
            _ => ConfigFault::WrongKey.into(),
        }
    }
}

impl<T: Fn() -> u32> Gateway for Evolution<'_, T> {
    async fn connection_state(&self, instance: &str) -> Result<MemoryState, Fault> {
        match self.ask_connection_state(instance).await {
            Err(Fault::Config(ConfigFault::WrongKey)) => Err(self.confirm_wrong_key().await),
            answered => answered,
        }
    }

    async fn row(&self, instance: &str) -> Result<Option<Row>, Fault> {
        let route = self
            .address
            .route(["instance", "fetchInstances"])
            .ok_or(ConfigFault::BadUrl)?;
        let url = format!("{route}?instanceName={}", query_value(instance));
        answer::row(&self.get(&url).await?, instance)
    }

    async fn always_online(&self, instance: &str) -> Option<bool> {
        let url = self.address.route(["settings", "find", instance])?;
        answer::always_online(&self.get(&url).await.ok()?)
    }

    async fn socket(&self, instance: &str) -> Option<Socket> {
        let url = self.address.route(["instance", "setPresence", instance])?;
        answer::socket(&self.post(&url, PRESENCE).await.ok()?)
    }

    /// As 2.1 to 2.3 take it; for the others the capabilities forbid it: in 1.x `restart` has another
    /// verb, and does another thing.
    async fn act(&self, instance: &str, action: Action) -> Ack {
        let Some(url) = self.address.route(["instance", action.name(), instance]) else {
            return Ack::Refused;
        };
        let answered = match action {
            Action::Connect => self.get(&url).await,
            Action::Restart => self.post(&url, "{}").await,
        };
        answered.map_or(Ack::Lost, |answer| answer::acted(&answer))
    }

    async fn webhook(&self, instance: &str) -> Result<Option<Hook>, Fault> {
        let url = self.address.route(["webhook", "find", instance]);
        let url = url.ok_or(ConfigFault::UnknownInstance)?;
        webhook::found(&self.get(&url).await?)
    }

    async fn set_webhook(&self, instance: &str, hook: &Hook, webhooks: Webhooks) -> Ack {
        let Some(url) = self.address.route(["webhook", "set", instance]) else {
            return Ack::Refused;
        };
        let body = webhook::body(hook, webhooks).to_string();
        let answered = self.post(&url, &body).await;
        answered.map_or(Ack::Lost, |answer| webhook::was_set(&answer))
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its version.
    pub version: Version,
    /// What its clock, or that of a proxy before it, said when it answered: milliseconds since the
    /// Unix epoch, whole seconds.
    pub clock_ms: Option<i64>,
}

/// What the server says of itself; no key is needed. The question costs it a lookup of its own, for
/// 8 s where its DNS is slow (N8): it is no heartbeat.
///
/// # Errors
/// [`Fault`], where the server does not tell.
pub async fn root(address: &Address, timeout_ms: u32) -> Result<Root, Fault> {
    in_time(timeout_ms)?;
    let url = address.root();
    let asked = question(Method::GET, &url, &[PLAIN], timeout_ms);
    let (answer, clock_ms) = fetch_dated(asked).await.map_err(fault)?;
    Ok(Root {
        version: answer::version(&answer)?,
        clock_ms,
    })
}

/// 0 ms means that there is no time for a question.
fn in_time(timeout_ms: u32) -> Result<(), GatewayFault> {
    if timeout_ms == 0 {
        return Err(GatewayFault::TimedOut);
    }
    Ok(())
}

const fn question<'a>(
    method: Method,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    timeout_ms: u32,
) -> Outgoing<'a> {
    Outgoing {
        method,
        url,
        headers,
        body: None,
        timeout_ms,
        max_bytes: MAX_BODY_BYTES,
    }
}

fn fault(error: FetchError) -> Fault {
    match error {
        FetchError::Refused => GatewayFault::Refused,
        FetchError::NameNotFound => GatewayFault::NameNotFound,
        FetchError::Tls => GatewayFault::Tls,
        FetchError::Broken => GatewayFault::Broken,
        FetchError::TimedOut => GatewayFault::TimedOut,
        FetchError::TooLarge => GatewayFault::TooLarge,
    }
    .into()
}
