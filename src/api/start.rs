//! `/whatsapp/monitor/start`: runs ticks.

use std::rc::Rc;

use gloo_timers::future::TimeoutFuture;
use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::Context;
use super::auth::{self, Presented};
use super::body;
use super::refusals;
use super::reply::Reply;
use super::rhythm::{self, Rhythm};
use super::route;
use super::source::{Sent, source};
use crate::report::Report;
use crate::store::ledger::Why;
use crate::store::tick::{BeginAnswer, Begun, Deployment};
use crate::store::{Store, StoreError};
use crate::tick::{self, Order};
use crate::web::console;
use crate::web::crypto::random_uuid;
use crate::web::performance::{left_ms, now_ms};

/// Begins a run and answers; the work goes on behind the answer, unless the caller waits for it.
pub async fn answer(context: &Context<'_>) -> Reply {
    match begin(context).await {
        Ok(reply) | Err(reply) => reply,
    }
}

async fn begin(context: &Context<'_>) -> Result<Reply, Reply> {
    let came_ms = now_ms();
    let wait = wait(context.query("wait").as_deref())?;
    let rhythm = rhythm(context, wait)?;
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
        follow_up: false,
        reach: context.environment.reach(),
        deployment: deployment(context),
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
        *report.borrow_mut() = Some(run(&store, &order, begun).await);
        if let Some(rhythm) = rhythm {
            follow_up(&store, &order, rhythm, came_ms).await;
        }
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

/// Does the work of a run that has begun.
pub async fn run(store: &Store, order: &Order, begun: Begun) -> Report {
    let done = tick::run(store, order, begun).await;
    if let Some(error) = &done.error {
        console::error(&format!("❌ Erro no monitoramento: {error}"));
    }
    done
}

/// Sweeps again for a caller that cannot come so often. Each sweep is a run of its own, as if the
/// caller had come for it; one that is late begins as soon as the one before is over.
async fn follow_up(store: &Store, order: &Order, rhythm: Rhythm, came_ms: f64) {
    for at_ms in rhythm.later_ms() {
        TimeoutFuture::new(left_ms(at_ms, now_ms() - came_ms)).await;
        let order = order.follow_up();
        match order.begin(store, &order.tick_id).await {
            Ok(BeginAnswer::Accepted(mut begun)) => {
                begun.settings.tick_budget_ms =
                    rhythm::budget_ms(&begun.settings, now_ms() - came_ms);
                run(store, &order, begun).await;
            }
            // The token was revoked, or the organization removed, meanwhile.
            Ok(_) => return,
            Err(error) => console::error(&format!("❌ Erro no monitoramento: {error}")),
        }
    }
}

/// What the function can tell of itself, by its environment and by the path that it was found at.
pub fn deployment(context: &Context<'_>) -> Deployment {
    let environment = context.environment;
    Deployment {
        environment_token_digest: environment.trigger_token.as_deref().map(auth::digest),
        function_url: route::public(&context.url.pathname())
            .and_then(|path| environment.public_url(&path)),
    }
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

/// When the caller wants to be served again.
fn rhythm(context: &Context<'_>, wait: bool) -> Result<Option<Rhythm>, Reply> {
    let (every, until) = (context.query("every"), context.query("for"));
    match Rhythm::parse(every.as_deref(), until.as_deref()) {
        Ok(Some(_)) if wait => Err(Reply::error(
            400,
            "wait=true não combina com every e for: ninguém espera um minuto pela resposta",
        )),
        parsed => parsed.map_err(|sentence| Reply::error(400, sentence)),
    }
}

/// The answer to whoever no door opens for: wrong, missing and expired look alike.
pub fn unauthorized() -> Reply {
    Reply::error(401, "Não autorizado: envie o token do monitor")
}

/// The database is away, or not ready: later, or after what the sentence says, it will work.
pub fn unavailable(error: &StoreError) -> Reply {
    Reply::error(503, away(error))
}

/// Notes why the database gives no answer; the sentence is for the caller.
pub fn away(error: &StoreError) -> &'static str {
    console::error(&format!("❌ Erro no monitoramento: {error}"));
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
    }
}
