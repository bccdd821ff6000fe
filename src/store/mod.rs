//! Postgres, through PostgREST's remote procedure calls.

pub mod actions;
pub mod alerts;
pub mod check;
pub mod events;
pub mod gateways;
pub mod health;
pub mod ledger;
pub mod memory;
pub mod outcome;
pub mod poll;
pub mod status;
pub mod tick;
pub mod webhooks;

use std::cell::Cell;

use gloo_net::http::Method;
use gloo_timers::future::TimeoutFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::environment::Environment;
use crate::web::fetch::{FetchError, Outgoing, fetch, is_header_value};
use crate::web::performance::{left_ms, now_ms};

/// The largest answer that is read, in bytes: a report of some fifty thousand instances.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Milliseconds between the first two tries of a call; doubled for each further one.
const FIRST_PAUSE_MS: u32 = 100;

/// Why the database gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing names the project's URL or its key.
    #[error("SUPABASE_URL or the service key is missing in the function's environment")]
    NotConfigured,
    /// It could not be reached, or not in time.
    #[error("the database did not answer: {0}")]
    Away(FetchError),
    /// It failed, with this HTTP status and SQLSTATE; the same call may work later.
    #[error("the database failed with status {status} {code}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// The SQLSTATE, or nothing.
        code: String,
    },
    /// The monitor's functions are not there: the SQL was never applied.
    #[error("the monitor's SQL functions are missing: apply supabase/migrations")]
    NotInstalled,
    /// It refuses the service key.
    #[error("the database refuses the service key (status {0})")]
    Forbidden(u16),
    /// It refuses the call itself.
    #[error("the database refused the call with status {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The SQLSTATE, or nothing.
        code: String,
    },
    /// Others wrote the same rows again and again.
    #[error("others keep writing the same instances")]
    Contended,
    /// It answered something else than was agreed on.
    #[error("the database answered in an unknown form")]
    Unintelligible,
}

impl StoreError {
    /// Whether the same call may succeed when it is made again.
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Failed { .. })
    }
}

/// How long a call may take in all, and how long one try of it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Milliseconds in all, tries and pauses together.
    pub total_ms: u32,
    /// Milliseconds for one try.
    pub try_ms: u32,
}

/// The client of one project's database.
#[derive(Debug)]
pub struct Store {
    rpc_url: String,
    key: String,
    round_trips: Cell<u32>,
}

impl Store {
    /// A client for the project that the environment names.
    ///
    /// # Errors
    /// [`StoreError::NotConfigured`].
    pub fn new(environment: &Environment) -> Result<Self, StoreError> {
        if environment.supabase_url.is_empty() || !is_header_value(&environment.service_key) {
            return Err(StoreError::NotConfigured);
        }
        Ok(Self {
            rpc_url: format!("{}/rest/v1/rpc/", environment.supabase_url),
            key: environment.service_key.clone(),
            round_trips: Cell::new(0),
        })
    }

    /// How many requests were sent so far.
    pub fn round_trips(&self) -> u32 {
        self.round_trips.get()
    }

    /// Calls a function that takes one argument, `request`, and is idempotent: a try without an
    /// answer is repeated while the patience lasts.
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        function: &str,
        request: &Q,
        patience: Patience,
    ) -> Result<A, StoreError> {
        let text = self.call_for_text(function, request, patience).await?;
        serde_json::from_str(&text).map_err(|_| StoreError::Unintelligible)
    }

    /// The same, giving the answer as it came.
    async fn call_for_text<Q: Serialize>(
        &self,
        function: &str,
        request: &Q,
        patience: Patience,
    ) -> Result<String, StoreError> {
        #[derive(Serialize)]
        struct Arguments<'a, Q> {
            request: &'a Q,
        }
        let arguments = serde_json::to_string(&Arguments { request })
            .map_err(|_| StoreError::Unintelligible)?;
        let started = now_ms();
        let mut pause_ms = FIRST_PAUSE_MS;
        loop {
            let left_ms = left_ms(patience.total_ms, now_ms() - started);
            let answer = self
                .try_call(function, &arguments, patience.try_ms.min(left_ms))
                .await;
            let error = match answer {
                Ok(text) => return Ok(text),
                Err(error) => error,
            };
            // What is left must be worth another try.
            let left_ms = left_ms_after(patience.total_ms, now_ms() - started, pause_ms);
            if !error.may_pass() || left_ms < FIRST_PAUSE_MS {
                return Err(error);
            }
            TimeoutFuture::new(pause_ms).await;
            pause_ms *= 2;
        }
    }

    async fn try_call(
        &self,
        function: &str,
        arguments: &str,
        timeout_ms: u32,
    ) -> Result<String, StoreError> {
        self.round_trips.set(self.round_trips.get() + 1);
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![
            ("apikey", self.key.as_str()),
            ("content-type", "application/json"),
        ];
        // Only a JWT may be a bearer: an `sb_secret_` key is refused there.
        if self.key.starts_with("eyJ") {
            headers.push(("authorization", &bearer));
        }
        let answer = fetch(Outgoing {
            method: Method::POST,
            url: &format!("{}{function}", self.rpc_url),
            headers: &headers,
            body: Some(arguments),
            timeout_ms,
            max_bytes: MAX_BODY_BYTES,
        })
        .await
        .map_err(StoreError::Away)?;
        if (200..300).contains(&answer.status) {
            Ok(answer.body)
        } else {
            Err(failure(answer.status, &answer.body))
        }
    }
}

/// Sorts PostgREST's errors. Their messages go no further: they may hold data.
fn failure(status: u16, body: &str) -> StoreError {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let code = body
        .get("code")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    match (status, code.as_str()) {
        (404, "PGRST202" | "42883") => StoreError::NotInstalled,
        (401 | 403, _) => StoreError::Forbidden(status),
        (429 | 500.., _) => StoreError::Failed { status, code },
        _ => StoreError::Refused { status, code },
    }
}

fn left_ms_after(total_ms: u32, elapsed_ms: f64, pause_ms: u32) -> u32 {
    left_ms(total_ms, elapsed_ms + f64::from(pause_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgrests_errors_are_told_apart() {
        let code = |code: &str| format!(r#"{{"code":"{code}","message":"m"}}"#);
        assert_eq!(failure(404, &code("PGRST202")), StoreError::NotInstalled);
        assert_eq!(failure(401, "no json"), StoreError::Forbidden(401));
        assert_eq!(failure(403, &code("42501")), StoreError::Forbidden(403));
        assert!(failure(500, &code("57014")).may_pass());
        assert!(failure(503, "<html>").may_pass());
        assert!(failure(546, "").may_pass());
        assert!(!failure(400, &code("22P02")).may_pass());
    }
}
