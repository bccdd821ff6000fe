//! `/whatsapp/status`, `/channels/whatsapp/status` and `/chat/channels/whatsapp/status`: one
//! organization's status, for a frontend that polls.
//!
//! The answer is the database's. Where that is older than the interval, one of those who ask is
//! handed a check, and waits for it a while; all others have their answer at once. To be offline is
//! a state and no error.

use std::pin::pin;

use futures_util::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::Context;
use super::auth::{self, Presented};
use super::body;
use super::refusals;
use super::reply::Reply;
use super::start::{away, deployment, run, unauthorized, unavailable};
use crate::monitor::Status;
use crate::store::ledger::{Source, Why};
use crate::store::poll::{Polled, StatusOf, StatusOfAnswer, StatusOfRequest};
use crate::store::tick::{BeginAnswer, Caller, Deployment};
use crate::store::{Store, StoreError};
use crate::tick::Order;
use crate::web::console;
use crate::web::crypto::random_uuid;

/// Milliseconds for which an answer waits for the check that it has caused. The check goes on.
const CHECK_MS: u32 = 4_000;

/// The longest session token that is looked for, in bytes.
const MAX_TOKEN_BYTES: usize = 4_096;

/// Intervals after which a status is old: somebody should have checked meanwhile.
const STALE_INTERVALS: i64 = 3;

/// Seconds after which a frontend may ask again, at the least.
const POLL_AFTER_S: i64 = 30;

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the frontend of the system this replaces reads it.
    Frontend,
    /// As that system's chat reads it.
    Chat,
}

/// How the organization of the caller, or the one that it may name, is.
pub async fn answer(context: &Context<'_>, form: Form) -> Reply {
    match look(context).await {
        Ok(Some(found)) => form.found(&found),
        Ok(None) => form.no_organization(),
        Err(Refusal::Away(error)) => form.away(&error),
        Err(Refusal::Caller(reply)) => reply,
    }
}

/// Why there is no status.
enum Refusal {
    /// Because of the caller.
    Caller(Reply),
    /// Because of the database.
    Away(StoreError),
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Self::Caller(reply)
    }
}

async fn look(context: &Context<'_>) -> Result<Option<StatusOf>, Refusal> {
    let body = body::json(context).await?;
    let mut request = request(context, &body)?;
    if request.session_token.is_none()
        && request.caller.is_none()
        && request.organization_id.is_none()
    {
        refusals::count(context, Source::Poll, Why::NoToken);
        return Err(unauthorized().into());
    }
    let found = ask(context, &request).await?;
    let Some(organization_id) = due(found.as_ref()) else {
        return Ok(found);
    };
    check(context, organization_id).await;
    request.check = false;
    // What was known before is an answer, too.
    Ok(ask(context, &request).await.unwrap_or(found))
}

/// The organization that the caller is to check.
fn due(found: Option<&StatusOf>) -> Option<String> {
    found
        .filter(|found| found.check_due)
        .map(|found| found.organization_id.clone())
}

async fn ask(
    context: &Context<'_>,
    request: &StatusOfRequest,
) -> Result<Option<StatusOf>, Refusal> {
    let store = Store::new(context.environment).map_err(Refusal::Away)?;
    match store.status_of(request).await.map_err(Refusal::Away)? {
        StatusOfAnswer::Accepted(found) => Ok(Some(found)),
        StatusOfAnswer::NoOrganization => Ok(None),
        StatusOfAnswer::Unauthorized => {
            let presented = request.session_token.is_some() || request.caller.is_some();
            let why = if presented {
                Why::BadToken
            } else {
                Why::NoToken
            };
            refusals::count(context, Source::Poll, why);
            Err(unauthorized().into())
        }
    }
}

/// What the database is asked. Where a session is presented, it alone decides: whoever passes on a
/// person's session with a key of its own asks for that person.
fn request(context: &Context<'_>, body: &Map<String, Value>) -> Result<StatusOfRequest, Reply> {
    let session_token = context
        .header("x-auth-token")
        .filter(|token| !token.is_empty());
    if session_token
        .as_ref()
        .is_some_and(|token| token.len() > MAX_TOKEN_BYTES)
    {
        refusals::count(context, Source::Poll, Why::BadToken);
        return Err(unauthorized());
    }
    let caller = match session_token {
        Some(_) => None,
        None => auth::identify(&Presented::by(context), context.environment),
    };
    Ok(StatusOfRequest {
        session_token,
        caller,
        organization_id: named(context, body)?,
        check: true,
    })
}

/// The organization that the caller names; one that is blank is none.
fn named(context: &Context<'_>, body: &Map<String, Value>) -> Result<Option<String>, Reply> {
    let in_body = match body.get("organization_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(Reply::error(400, "organization_id deve ser um texto")),
    };
    let given = |id: &String| !id.trim().is_empty();
    Ok(context
        .query("organization_id")
        .filter(given)
        .or_else(|| context.header("x-organization-id").filter(given))
        .or_else(|| in_body.filter(given))
        // Postgres has no text with a zero byte, so no organization has such an id.
        .map(|id| id.replace('\0', "\u{fffd}")))
}

/// Checks an organization, and waits for that a while.
async fn check(context: &Context<'_>, organization_id: String) {
    let Ok(store) = Store::new(context.environment) else {
        return;
    };
    let order = Order {
        tick_id: random_uuid(),
        caller: Caller::Poll,
        source: Source::Poll,
        organization_id: Some(organization_id),
        report: false,
        follow_up: false,
        reach: context.environment.reach(),
        deployment: Deployment {
            // Triggers go to another route.
            function_url: None,
            ..deployment(context)
        },
    };
    // Inside waitUntil: a page that is closed must not cut the work.
    let work = future_to_promise(async move {
        match order.begin(&store, &order.tick_id).await {
            Ok(BeginAnswer::Accepted(begun)) => {
                run(&store, &order, begun).await;
            }
            // Its last instance was removed just now.
            Ok(_) => {}
            Err(error) => console::error(&format!("❌ Erro no monitoramento: {error}")),
        }
        Ok(JsValue::UNDEFINED)
    });
    context.keep_alive(&work);
    let done = pin!(JsFuture::from(work));
    let late = pin!(TimeoutFuture::new(CHECK_MS));
    match select(done, late).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

impl Form {
    /// The answer for an organization, with or without instances.
    fn found(self, found: &StatusOf) -> Reply {
        let (success, data) = match (found.is_public, found.instances.first()) {
            (true, first) => (true, self.to_anybody(first)),
            (false, Some(first)) => (true, self.to_its_own(first, found)),
            (false, None) => (self == Self::Chat, self.not_configured()),
        };
        Reply::json(
            200,
            &json!({
                "success": success,
                "data": data,
                "poll_after_s": found.interval_s.max(POLL_AFTER_S),
            }),
        )
    }

    /// Connected or not, and nothing else.
    fn to_anybody(self, first: Option<&Polled>) -> Value {
        let connected = first.is_some_and(|first| first.status == Status::Connected);
        match self {
            Self::Frontend => {
                let status = if connected {
                    "CONNECTED"
                } else {
                    "DISCONNECTED"
                };
                json!({ "status": status, "state": null, "rawData": null })
            }
            Self::Chat => json!({ "connected": connected, "phone_number": null, "state": null }),
        }
    }

    fn to_its_own(self, first: &Polled, found: &StatusOf) -> Value {
        let connected = first.status == Status::Connected;
        let state = state(first.status);
        let mut data = json!({
            "connected": connected,
            "phone_number": first.phone_number,
            "state": state,
            "status": first.status,
            "since": first.since,
            "reason": first.reason,
            "checked_at": first.checked_at,
            "stale": is_stale(first, found.interval_s),
            "instances": found.instances,
        });
        if self == Self::Frontend {
            data["monitor_status"] = data["status"].take();
            data["status"] = word(first.status).into();
            data["rawData"] = json!({
                "instance": { "instanceName": first.instance_name, "state": state },
            });
        }
        data
    }

    fn not_configured(self) -> Value {
        match self {
            Self::Frontend => json!({
                "status": "DISCONNECTED",
                "error": "WhatsApp não configurado para esta organização",
            }),
            Self::Chat => json!({ "connected": false, "error": "WhatsApp não configurado" }),
        }
    }

    fn no_organization(self) -> Reply {
        let error = "Não foi possível determinar a organização";
        match self {
            Self::Frontend => failed(400, error, "DISCONNECTED", error),
            Self::Chat => Reply::error(400, error),
        }
    }

    fn away(self, error: &StoreError) -> Reply {
        match self {
            Self::Frontend => failed(
                503,
                away(error),
                "ERROR",
                "Erro interno ao verificar status",
            ),
            Self::Chat => unavailable(error),
        }
    }
}

/// An error as the frontend reads it.
fn failed(code: u16, sentence: &str, status: &str, error: &str) -> Reply {
    let data = json!({ "status": status, "error": error });
    Reply::json(
        code,
        &json!({ "success": false, "error": sentence, "data": data }),
    )
}

/// The word that the frontend of the system this replaces has for a status. What is not known yet
/// is no outage.
const fn word(status: Status) -> &'static str {
    match status {
        Status::Connected => "CONNECTED",
        Status::Connecting | Status::Unknown => "CONNECTING",
        Status::WaitingQr | Status::Disconnected => "DISCONNECTED",
        Status::Blocked | Status::Zombie | Status::GatewayUnreachable | Status::Misconfigured => {
            "ERROR"
        }
    }
}

/// What the gateway says of an instance of this status, where it says anything.
const fn state(status: Status) -> &'static str {
    match status {
        Status::Connected | Status::Zombie => "open",
        Status::Connecting => "connecting",
        Status::WaitingQr | Status::Disconnected | Status::Blocked => "close",
        Status::GatewayUnreachable | Status::Misconfigured | Status::Unknown => "unknown",
    }
}

/// Whether nobody has checked it for so long that it may be something else by now.
const fn is_stale(instance: &Polled, interval_s: i64) -> bool {
    match instance.age_ms {
        Some(age_ms) => age_ms > STALE_INTERVALS * interval_s * 1_000,
        None => true,
    }
}
