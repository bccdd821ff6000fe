//! Sending one alert.

use gloo_net::http::Method;

use super::message;
use super::signature::Signer;
use crate::gateway::address::{self, Reach};
use crate::monitor::{ConfigFault, Timestamp};
use crate::store::alerts::Alert;
use crate::web::fetch::{FetchError, Outgoing, fetch_status};

/// Why something was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The URL is none that may be posted to.
    Url(ConfigFault),
    /// The secret is none.
    Secret,
    /// There was no answer.
    Fetch(FetchError),
    /// The answer had this status.
    Status(u16),
}

impl Failure {
    /// The short name, for the database and the log. It holds nothing of the URL.
    pub fn code(self) -> String {
        match self {
            Self::Url(ConfigFault::PrivateAddress) => "private_address",
            Self::Url(_) => "bad_url",
            Self::Secret => "bad_secret",
            Self::Fetch(FetchError::Refused) => "connection_refused",
            Self::Fetch(FetchError::NameNotFound) => "name_not_found",
            Self::Fetch(FetchError::Tls) => "tls",
            Self::Fetch(FetchError::Broken | FetchError::TooLarge) => "connection_broken",
            Self::Fetch(FetchError::TimedOut) => "timeout",
            Self::Status(status) => return format!("status_{status}"),
        }
        .to_owned()
    }
}

/// Where alerts go.
pub struct Receiver {
    url: String,
    signer: Signer,
}

impl Receiver {
    /// Checks the URL and the secret of the settings.
    ///
    /// # Errors
    /// [`Failure::Url`] for what is no plain URL or out of reach, [`Failure::Secret`].
    pub fn new(url: &str, secret: &str, reach: Reach) -> Result<Self, Failure> {
        Ok(Self {
            url: address::receiver(url, reach).map_err(Failure::Url)?,
            signer: Signer::new(secret).ok_or(Failure::Secret)?,
        })
    }

    /// Sends an alert.
    ///
    /// # Errors
    /// [`Failure`], for every answer but a 2xx.
    pub async fn post(
        &self,
        alert: &Alert,
        now: Timestamp,
        timeout_ms: u32,
    ) -> Result<(), Failure> {
        let broken = Failure::Fetch(FetchError::Broken);
        let body = message::body(alert, now).map_err(|_| broken)?;
        let timestamp_s = now.as_ms() / 1000;
        let signature = self.signer.sign(&alert.id, timestamp_s, &body);
        let answer = fetch_status(Outgoing {
            method: Method::POST,
            url: &self.url,
            headers: &[
                ("content-type", "application/json"),
                ("webhook-id", &alert.id),
                ("webhook-timestamp", &timestamp_s.to_string()),
                ("webhook-signature", &signature),
            ],
            body: Some(&body),
            timeout_ms,
            max_bytes: 0,
        })
        .await;
        is_delivered(answer)
    }
}

/// Only a 2xx is a delivery.
///
/// # Errors
/// [`Failure`], for all else.
pub fn is_delivered(answer: Result<u16, FetchError>) -> Result<(), Failure> {
    match answer.map_err(Failure::Fetch)? {
        200..=299 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}
