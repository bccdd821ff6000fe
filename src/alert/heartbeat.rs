//! The sign of life for somebody elsewhere who tells when it stops coming.

use gloo_net::http::Method;

use super::send::{Failure, is_delivered};
use crate::gateway::address::{self, Reach};
use crate::web::fetch::{Outgoing, fetch_status};

/// Gives a sign of life at `url`.
///
/// # Errors
/// [`Failure`], for a URL that is none or out of reach, and for every answer but a 2xx.
pub async fn ping(url: &str, reach: Reach, timeout_ms: u32) -> Result<(), Failure> {
    let url = address::receiver(url, reach).map_err(Failure::Url)?;
    let answer = fetch_status(Outgoing {
        method: Method::GET,
        url: &url,
        headers: &[],
        body: None,
        timeout_ms,
        max_bytes: 0,
    })
    .await;
    is_delivered(answer)
}
