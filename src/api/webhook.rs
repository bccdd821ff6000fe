//! `/whatsapp/webhook`: events from gateways.
//!
//! Evolution sends again, for minutes, whatever is answered with an error, but for the statuses 400,
//! 401, 403, 404 and 422: such an event is lost. So these are the answers only where it is of no use
//! to anybody however often it comes.
//!
//! | status | where |
//! |---|---|
//! | 200 | dealt with: stored, applied, passed on; or of no interest |
//! | 400 | complete, and no JSON object |
//! | 401 | no secret in force |
//! | 403 | the secret is another instance's |
//! | 408, 503 | it did not arrive whole; the database, or whoever it is passed on to, did not take it |
//! | 422 | larger than what can be stored |

use serde_json::{Map, Value, json};

use super::Context;
use super::auth::{digest, has_the_shape_of_a_token};
use super::body;
use super::reply::Reply;
use super::route;
use super::start::unavailable;
use crate::gateway::evolution::event::{self, Kind};
use crate::gateway::evolution::message;
use crate::hear::forward::{self, Forward};
use crate::hear::{Answer, Arrived, HearError, hear};
use crate::store::Store;
use crate::web::console;

/// The header by which a gateway proves that it is one of ours.
const SECRET: &str = "x-monitor-webhook-secret";

/// The largest event that is taken, in bytes. Our webhooks ask for no media; a foreign one may.
const LIMITS: body::Limits = body::Limits {
    max_bytes: 8 * 1024 * 1024,
    timeout_ms: 15_000,
};

/// Takes an event.
pub async fn answer(context: &Context<'_>) -> Reply {
    match take(context).await {
        Ok(reply) | Err(reply) => reply,
    }
}

async fn take(context: &Context<'_>) -> Result<Reply, Reply> {
    // The URL where the gateway's version sends no headers.
    let secret = context
        .header(SECRET)
        .or_else(|| context.query("secret"))
        .filter(|secret| has_the_shape_of_a_token(secret))
        .ok_or_else(unauthorized)?;
    let text = text(context).await?;
    let body = object(&text)?;
    // Its name is there where the gateway was told to put it into the path.
    let path = context.url.pathname();
    let delivery = event::parse(&body, route::event(&path));
    let messages = match delivery.kind {
        Kind::MessagesUpsert => message::messages(&body, &secret),
        _ => Vec::new(),
    };
    drop(body);
    let headers: Vec<(&str, String)> = forward::HEADERS
        .into_iter()
        .filter_map(|name| Some((name, context.header(name)?)))
        .collect();
    let store = Store::new(context.environment).map_err(|error| unavailable(&error))?;
    let heard = hear(
        &store,
        &Arrived {
            digest: &digest(&secret),
            delivery: &delivery,
            messages: &messages,
            forward: Forward {
                body: &text,
                headers: &headers,
            },
            reach: context.environment.reach(),
        },
    )
    .await;
    match heard {
        Ok(Answer::Done) => Ok(Reply::json(200, &json!({ "success": true }))),
        Ok(Answer::Unauthorized) => Err(unauthorized()),
        Ok(Answer::OtherInstance) => Err(Reply::error(403, "O segredo é de outra instância")),
        Err(HearError::Store(error)) => Err(unavailable(&error)),
        Err(HearError::NotForwarded(error)) => {
            console::error(&format!("❌ Erro no webhook: {error}"));
            Err(Reply::error(503, "forward_to não aceitou o evento"))
        }
    }
}

/// The body, whole.
async fn text(context: &Context<'_>) -> Result<String, Reply> {
    let bytes = body::bytes(context, LIMITS)
        .await
        .map_err(|fault| match fault {
            body::Fault::TooLarge => {
                console::error("❌ Erro no webhook: um evento grande demais foi recusado");
                Reply::error(422, "O evento é grande demais")
            }
            body::Fault::TooSlow => Reply::error(408, "O corpo não chegou a tempo"),
            body::Fault::Broken => Reply::error(503, "O corpo não pôde ser lido até o fim"),
        })?;
    String::from_utf8(bytes).map_err(|_| Reply::error(400, "O corpo não é JSON válido"))
}

fn object(text: &str) -> Result<Map<String, Value>, Reply> {
    match crate::web::json::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Reply::error(400, "O corpo deve ser um objeto JSON")),
        Err(error) => Err(body::no_json(&error)),
    }
}

/// The answer to whoever sends no secret in force: wrong, missing and expired look alike.
fn unauthorized() -> Reply {
    Reply::error(401, "Não autorizado: envie o segredo do webhook")
}
