//! The calls behind an event of a gateway.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::check::Outcome;
use super::memory::Memory;
use super::outcome::named;
use super::{Patience, Store, StoreError};
use crate::gateway::evolution::message::Message;
use crate::monitor::{FinalCodes, Instance, Settings, Timestamp};

/// The gateway sends again what is not taken: to answer soon is better than to try for long.
const PATIENCE: Patience = Patience {
    total_ms: 3_000,
    try_ms: 2_500,
};

/// What an event is to the record of what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A dial was told of.
    Connecting,
    /// A message came.
    Message,
    /// Anything else.
    Other,
}

/// The request of `begin_event`.
#[derive(Clone, Debug, Serialize)]
pub struct BeginEvent<'a> {
    /// The SHA-256 digest in hex of the secret that came with it.
    pub digest: &'a str,
    /// The instance that it says it is about.
    pub instance: Option<&'a str>,
    /// What it is.
    pub note: Note,
    /// How many of its kind it stands for, itself included.
    pub count: u32,
    /// Whether what is known of the instance is to be told.
    pub state: bool,
    /// Its messages, to be stored.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub messages: &'a [Message],
}

/// The answer of `begin_event`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once an event")]
pub enum EventAnswer {
    /// The event is one of this instance.
    Accepted(Known),
    /// No secret in force.
    Unauthorized,
    /// The secret is another instance's.
    OtherInstance,
}

impl<'de> Deserialize<'de> for EventAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Named {
            Accepted,
            Unauthorized,
            OtherInstance,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let answer = named(text.get()).and_then(|outcome| match outcome {
            Named::Accepted => serde_json::from_str(text.get()).map(Self::Accepted),
            Named::Unauthorized => Ok(Self::Unauthorized),
            Named::OtherInstance => Ok(Self::OtherInstance),
        });
        answer.map_err(D::Error::custom)
    }
}

/// What is known when an event has arrived.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    /// Whether it was written down that it came: not oftener than every few seconds.
    pub noted: bool,
    /// Where events are passed on to.
    pub forward_to: Option<String>,
    /// The instance, where that was asked for.
    pub instance: Option<Addressed>,
}

/// The instance that an event is about.
#[derive(Clone, Debug, Deserialize)]
pub struct Addressed {
    /// Its number.
    pub id: i64,
    /// The database's time, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// The settings in force.
    pub settings: Settings,
    /// The codes after which its gateway gives up a session.
    #[serde(default)]
    pub final_codes: Option<FinalCodes>,
    /// The version of `state`.
    pub version: i64,
    /// The monitor's memory of it.
    pub state: Memory<Instance>,
    /// When a later check found it just so; [`Store::begin_event`] has made that part of `state`.
    #[serde(default)]
    settled_ms: Option<Timestamp>,
}

/// The request of `finish_event`.
#[derive(Clone, Debug, Serialize)]
pub struct FinishEvent<'a> {
    /// Names this delivery of the event.
    pub event_id: &'a str,
    /// The instance's number.
    pub instance_id: i64,
    /// What follows for it; where nothing does, its next check is brought forward all the same.
    pub result: Option<&'a Outcome>,
    /// The QR code that a person is to scan, where the instance waits for that.
    pub qr_code: Option<&'a str>,
}

/// The answer of `finish_event`.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once an event")]
pub enum EventWritten {
    /// It is done, by this call or an earlier one.
    Written,
    /// Somebody else has written meanwhile.
    Stale(Newer),
    /// The instance is gone.
    Gone,
}

/// How an instance is that somebody else has written meanwhile.
#[derive(Clone, Debug, Deserialize)]
pub struct Newer {
    /// The version of `state`.
    pub version: i64,
    /// The monitor's memory of it.
    pub state: Memory<Instance>,
    /// When a later check found it just so; [`Store::finish_event`] has made that part of `state`.
    #[serde(default)]
    settled_ms: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for EventWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Named {
            Written,
            Stale,
            Gone,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let answer = named(text.get()).and_then(|outcome| match outcome {
            Named::Written => Ok(Self::Written),
            Named::Stale => serde_json::from_str(text.get()).map(Self::Stale),
            Named::Gone => Ok(Self::Gone),
        });
        answer.map_err(D::Error::custom)
    }
}

impl Store {
    /// Finds whose event it is, notes that it came, and stores its messages. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`], after 3 s at the latest.
    pub async fn begin_event(&self, request: &BeginEvent<'_>) -> Result<EventAnswer, StoreError> {
        let mut answer = self
            .call("whatsapp_monitor_begin_event", request, PATIENCE)
            .await?;
        if let EventAnswer::Accepted(Known {
            instance: Some(instance),
            ..
        }) = &mut answer
        {
            instance.state.settle(instance.settled_ms);
        }
        Ok(answer)
    }

    /// Writes what follows from an event. Idempotent by its id.
    ///
    /// # Errors
    /// [`StoreError`], after 3 s at the latest.
    pub async fn finish_event(
        &self,
        request: &FinishEvent<'_>,
    ) -> Result<EventWritten, StoreError> {
        let mut written = self
            .call("whatsapp_monitor_finish_event", request, PATIENCE)
            .await?;
        if let EventWritten::Stale(newer) = &mut written {
            newer.state.settle(newer.settled_ms);
        }
        Ok(written)
    }
}
