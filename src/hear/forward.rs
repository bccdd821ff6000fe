//! Passing an event on, as it came.

use gloo_net::http::Method;

use crate::alert::send::{Failure, is_delivered};
use crate::gateway::address::{self, Reach};
use crate::web::fetch::{Outgoing, fetch_status};

/// Milliseconds that whoever gets it may take.
const TIMEOUT_MS: u32 = 10_000;

/// The headers that Evolution sends with an event and that mean something to whoever gets it. Ours,
/// and those of the way here, are not among them.
pub const HEADERS: [&str; 7] = [
    "content-type",
    "authorization",
    "user-agent",
    "x-instance-id",
    "x-instance-name",
    "x-event-type",
    "x-timestamp",
];

/// What is passed on.
#[derive(Clone, Debug)]
pub struct Forward<'a> {
    /// The body, byte for byte.
    pub body: &'a str,
    /// Those of the [`HEADERS`] that it came with.
    pub headers: &'a [(&'static str, String)],
}

/// It was not taken; what kept it holds nothing of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("forward_to did not take the event: {0}")]
pub struct NotForwarded(String);

impl Forward<'_> {
    /// Sends it.
    ///
    /// # Errors
    /// [`NotForwarded`], for every answer but a 2xx.
    pub async fn send(&self, url: &str, reach: Reach) -> Result<(), NotForwarded> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let send = async {
            let url = address::receiver(url, reach).map_err(Failure::Url)?;
            let answer = fetch_status(Outgoing {
                method: Method::POST,
                url: &url,
                headers: &headers,
                body: Some(self.body),
                timeout_ms: TIMEOUT_MS,
                max_bytes: 0,
            })
            .await;
            is_delivered(answer)
        };
        send.await.map_err(|failure| NotForwarded(failure.code()))
    }
}
