//! Evolution API: 2.1 to 2.3, and 1.x and 2.4 as far as looking goes.

pub mod answer;
pub mod version;

use gloo_net::http::Method;

use self::version::Version;
use super::Gateway;
use super::address::{Address, query_value};
use crate::monitor::{ConfigFault, Fault, GatewayFault, MemoryState, Row};
use crate::web::fetch::{FetchError, Incoming, Outgoing, fetch, fetch_dated, is_header_value};

/// The largest body that is read, in bytes. A row is some 3 kB.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Small answers are not worth unpacking, and tell their length.
const PLAIN: (&str, &str) = ("accept-encoding", "identity");

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
        get(url, self.key, (self.timeout_ms)()).await
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
    if timeout_ms == 0 {
        return Err(GatewayFault::TimedOut.into());
    }
    let (answer, clock_ms) = fetch_dated(question(&address.root(), &[PLAIN], timeout_ms))
        .await
        .map_err(fault)?;
    Ok(Root {
        version: answer::version(&answer)?,
        clock_ms,
    })
}

/// One question. 0 ms means that there is no time for one.
async fn get(url: &str, key: &str, timeout_ms: u32) -> Result<Incoming, Fault> {
    if timeout_ms == 0 {
        return Err(GatewayFault::TimedOut.into());
    }
    let headers = [("apikey", key), PLAIN];
    fetch(question(url, &headers, timeout_ms))
        .await
        .map_err(fault)
}

const fn question<'a>(
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    timeout_ms: u32,
) -> Outgoing<'a> {
    Outgoing {
        method: Method::GET,
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
