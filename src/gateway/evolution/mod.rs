//! Evolution API: 2.1 to 2.3, and 1.x and 2.4 as far as looking goes.

pub mod answer;
pub mod version;

use gloo_net::http::Method;

use self::version::Version;
use super::Gateway;
use super::address::{Address, query_value};
use crate::monitor::{ConfigFault, Fault, GatewayFault, MemoryState, Row};
use crate::web::fetch::{FetchError, Incoming, Outgoing, fetch, is_header_value};

/// The largest body that is read, in bytes. A row is some 3 kB.
const MAX_BODY_BYTES: usize = 256 * 1024;

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
        get(url, &[("apikey", self.key)], (self.timeout_ms)()).await
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

/// The server's version; no key is needed. The question costs it a lookup of its
/// own, for 8 s where its DNS is slow (N8): it is no heartbeat.
///
/// # Errors
/// [`Fault`], where the server does not tell.
pub async fn version(address: &Address, timeout_ms: u32) -> Result<Version, Fault> {
    answer::version(&get(&address.root(), &[], timeout_ms).await?)
}

/// One question. 0 ms means that there is no time for one.
async fn get(url: &str, key: &[(&str, &str)], timeout_ms: u32) -> Result<Incoming, Fault> {
    if timeout_ms == 0 {
        return Err(GatewayFault::TimedOut.into());
    }
    let headers = [key, &[("accept-encoding", "identity")]].concat();
    fetch(Outgoing {
        method: Method::GET,
        url,
        headers: &headers,
        body: None,
        timeout_ms,
        max_bytes: MAX_BODY_BYTES,
    })
    .await
    .map_err(|error| match error {
        FetchError::Refused => GatewayFault::Refused.into(),
        FetchError::NameNotFound => GatewayFault::NameNotFound.into(),
        FetchError::Tls => GatewayFault::Tls.into(),
        FetchError::Broken => GatewayFault::Broken.into(),
        FetchError::TimedOut => GatewayFault::TimedOut.into(),
        FetchError::TooLarge => GatewayFault::TooLarge.into(),
    })
}
