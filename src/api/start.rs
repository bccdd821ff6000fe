//! `/whatsapp/monitor/start`: runs ticks.

use std::rc::Rc;

use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::Context;
use super::auth::{self, Presented};
use super::body;
use super::refusals;
use super::reply::Reply;
use super::source::{Sent, source};
use crate::store::ledger::Why;
use crate::store::tick::BeginAnswer;
use crate::store::{Store, StoreError};
use crate::tick::{self, Order};
use crate::web::console;
use crate::web::crypto::random_uuid;

/// Begins a run and answers; the work goes on behind the answer, unless the caller waits for it.
pub async fn answer(context: &Context<'_>) -> Reply {
    match begin(context).await {
        Ok(reply) | Err(reply) => reply,
    }
}

async fn begin(context: &Context<'_>) -> Result<Reply, Reply> {
    let wait = wait(context.query("wait").as_deref())?;
    let sent = Sent::by(context);
    let Some(caller) = auth::identify(&Presented::by(context), context.environment) else {
        refusals::count(context, source(&sent, None), Why::NoToken);
        return Err(unauthorized());
    };
    let body = body::json(context).await?;
    let organization_id = organization_id(&body)?;
    let source = source(&sent, body.get("source").and_then(Value::as_str));
    let store = Store::new(context.environment).map_err(|error| unavailable(&error))?;
    let order = Order {
        tick_id: random_uuid(),
        caller,
        source,
        organization_id,
        report: wait,
        reach: context.environment.reach(),
    };
    let begun = match order.begin(&store, &order.tick_id).await {
        Ok(BeginAnswer::Accepted(begun)) => begun,
        Ok(BeginAnswer::Unauthorized) => {
            refusals::count(context, source, Why::BadToken);
            return Err(unauthorized());
        }
        Ok(BeginAnswer::UnknownOrganization) => {
            refusals::count(context, source, Why::UnknownOrganization);
            return Err(unknown_organization());
        }
        Err(error) => return Err(unavailable(&error)),
    };
    refusals::tell(context);
    let tick_id = order.tick_id.clone();
    let finished = Rc::new(std::cell::RefCell::new(None));
    let report = Rc::clone(&finished);
    // Always inside waitUntil: a caller that hangs up must not cut the work.
    let work = future_to_promise(async move {
        let done = tick::run(&store, &order, begun).await;
        if let Some(error) = &done.error {
            console::error(&format!("❌ Erro no monitoramento: {error}"));
        }
        *report.borrow_mut() = Some(done);
        Ok(JsValue::UNDEFINED)
    });
    context.keep_alive(&work);
    if wait {
        let _ = JsFuture::from(work).await;
        return Ok(match finished.take() {
            Some(done) if done.success => Reply::json(200, &done),
            Some(done) => Reply::json(503, &done),
            None => Reply::error(500, "Erro interno ao iniciar monitoramento"),
        });
    }
    Ok(Reply::json(
        200,
        &json!({
            "success": true,
            "message": "Monitoramento iniciado com sucesso",
            "monitoring": true,
            "tick_id": tick_id,
        }),
    ))
}

/// The organization that the caller limits the run to. One that is named and blank is none: to
/// check them all must not happen by mistake.
fn organization_id(body: &Map<String, Value>) -> Result<Option<String>, Reply> {
    match body.get("organization_id") {
        None | Some(Value::Null) => Ok(None),
        // Postgres has no text with a zero byte.
        Some(Value::String(id)) if id.trim().is_empty() || id.contains('\0') => {
            Err(unknown_organization())
        }
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(_) => Err(Reply::error(400, "organization_id deve ser um texto")),
    }
}

fn unknown_organization() -> Reply {
    Reply::error(400, "WhatsApp não configurado para esta organização")
}

/// Whether the caller waits for the report.
fn wait(parameter: Option<&str>) -> Result<bool, Reply> {
    match parameter {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Reply::error(400, "wait deve ser true ou false")),
    }
}

/// The answer to whoever no door opens for: wrong, missing and expired look alike.
pub fn unauthorized() -> Reply {
    Reply::error(401, "Não autorizado: envie o token do monitor")
}

/// The database is away, or not ready: later, or after what the sentence says, it will work.
pub fn unavailable(error: &StoreError) -> Reply {
    console::error(&format!("❌ Erro no monitoramento: {error}"));
    Reply::error(
        503,
        match error {
            StoreError::NotConfigured => {
                "Falta SUPABASE_URL ou a chave de serviço no ambiente da função"
            }
            StoreError::NotInstalled => {
                "As funções SQL do monitor não existem: aplique as migrações no banco de dados"
            }
            StoreError::Forbidden(_) => "O banco de dados recusou a chave de serviço da função",
            StoreError::Refused { .. } | StoreError::Unintelligible => {
                "O banco de dados e a função não se entendem: aplique as migrações de novo"
            }
            _ => "O banco de dados não responde; tente de novo em instantes",
        },
    )
}
