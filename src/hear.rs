//! One event of a gateway: whose it is, what follows, and who else is to have it.

pub mod forward;
mod repeats;

use crate::gateway::address::Reach;
use crate::gateway::evolution::event::{Delivery, Kind};
use crate::gateway::evolution::message::Message;
use crate::log;
use crate::monitor::{Effect, Event, Status, Timestamp};
use crate::store::check::Outcome;
use crate::store::events::{Addressed, BeginEvent, EventAnswer, EventWritten, FinishEvent, Note};
use crate::store::{Store, StoreError};
use crate::tick::WRITE_ROUNDS;
use crate::web::console;
use crate::web::crypto::random_uuid;
use crate::web::performance::now_ms;
use forward::{Forward, NotForwarded};
use repeats::Heard;

/// An event that has arrived.
#[derive(Clone, Debug)]
pub struct Arrived<'a> {
    /// The SHA-256 digest in hex of the secret that came with it.
    pub digest: &'a str,
    /// What it says.
    pub delivery: &'a Delivery,
    /// Its messages.
    pub messages: &'a [Message],
    /// What is passed on of it.
    pub forward: Forward<'a>,
    /// Where it may be passed on to.
    pub reach: Reach,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is dealt with.
    Done,
    /// No secret in force.
    Unauthorized,
    /// The secret is another instance's.
    OtherInstance,
}

/// Why an event is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HearError {
    /// The database could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be passed on.
    #[error(transparent)]
    NotForwarded(#[from] NotForwarded),
}

/// Deals with an event.
///
/// # Errors
/// [`HearError`]: the event is to be sent again.
pub async fn hear(store: &Store, arrived: &Arrived<'_>) -> Result<Answer, HearError> {
    let delivery = arrived.delivery;
    let note = note(delivery);
    let heard = Heard::new(arrived.digest, delivery.instance.as_deref(), note);
    let Some(count) = repeats::count(&heard, now_ms()) else {
        return Ok(Answer::Done);
    };
    let answer = store
        .begin_event(&BeginEvent {
            digest: arrived.digest,
            instance: delivery.instance.as_deref(),
            note,
            count,
            state: delivery.event.is_some(),
            messages: arrived.messages,
        })
        .await?;
    let known = match answer {
        EventAnswer::Accepted(known) => known,
        EventAnswer::Unauthorized => return Ok(Answer::Unauthorized),
        EventAnswer::OtherInstance => return Ok(Answer::OtherInstance),
    };
    if let (Some(event), Some(instance)) = (&delivery.event, known.instance) {
        apply(store, delivery, event, instance).await?;
    }
    match &known.forward_to {
        Some(url) => arrived.forward.send(url, arrived.reach).await?,
        None => repeats::done(&heard, known.noted, now_ms()),
    }
    Ok(Answer::Done)
}

/// What an event is to the record of what was heard.
fn note(delivery: &Delivery) -> Note {
    match (&delivery.event, delivery.kind) {
        (Some(Event::Connecting), _) => Note::Connecting,
        (_, Kind::MessagesUpsert) => Note::Message,
        _ => Note::Other,
    }
}

/// Writes what follows from an event. An instance that somebody else has written meanwhile is taken as
/// it is now, and the event is applied to that: neither is lost.
async fn apply(
    store: &Store,
    delivery: &Delivery,
    event: &Event,
    instance: Addressed,
) -> Result<(), StoreError> {
    let event_id = random_uuid();
    let at = Timestamp::from_ms(instance.now_ms);
    let final_codes = instance.final_codes.unwrap_or_default();
    let (mut version, mut state) = (instance.version, instance.state.value);
    for _ in 0..WRITE_ROUNDS {
        let effect = state.hear(event, delivery.sent_ms, final_codes, at, &instance.settings);
        let (next, qr_code) = match effect {
            // The next QR code is the same news, and another code.
            Effect::Nothing if delivery.qr_code.is_some() && state.status == Status::WaitingQr => {
                (None, delivery.qr_code.as_deref())
            }
            Effect::Nothing => return Ok(()),
            Effect::Look => (None, None),
            Effect::Change(next) => (Some(*next), delivery.qr_code.as_deref()),
        };
        // The fence is the database's to see: an event holds no lease.
        let claim = (instance.id, 0, version);
        let result = next.map(|next| Outcome::new(claim, at, next, false, Some(&delivery.profile)));
        let written = store
            .finish_event(&FinishEvent {
                event_id: &event_id,
                instance_id: instance.id,
                result: result.as_ref(),
                qr_code,
            })
            .await?;
        match written {
            EventWritten::Stale(newer) => (version, state) = (newer.version, newer.state.value),
            EventWritten::Written => {
                if let Some(result) = result {
                    tell(delivery.kind, state.status, result.status);
                }
                return Ok(());
            }
            EventWritten::Gone => return Ok(()),
        }
    }
    Err(StoreError::Contended)
}

/// Logs a change of the status, in the words that operators search for.
fn tell(kind: Kind, before: Status, now: Status) {
    if before != now {
        let line = log::status_written(now);
        console::log(&format!("{line} (webhook {})", kind.name()));
    }
}
