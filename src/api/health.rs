//! `/whatsapp/monitor/health`: whether ticks arrive, for somebody who watches the watcher. It needs
//! no credentials, so it tells nothing of any tenant, and costs the database next to nothing.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use js_sys::Promise;
use serde_json::json;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::Context;
use super::reply::Reply;
use super::start::unavailable;
use crate::alert::message::duration;
use crate::environment::Environment;
use crate::store::health::Health;
use crate::store::{Store, StoreError};
use crate::web::performance::now_ms;

/// Milliseconds for which an isolate repeats what it has been told.
const CACHED_MS: f64 = 5_000.0;

/// Intervals without a tick after which the monitor counts as dead.
const INTERVALS: i64 = 3;

thread_local! {
    static LAST: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// One question to the database, which all who come meanwhile wait for.
#[derive(Clone)]
struct Look {
    asked_at_ms: f64,
    asking: Promise,
    reply: Rc<OnceCell<Reply>>,
}

impl Look {
    fn new(environment: &Environment) -> Self {
        let reply = Rc::new(OnceCell::new());
        let found = Rc::clone(&reply);
        let store = Store::new(environment);
        let asking = future_to_promise(async move {
            let answer = ask(store).await;
            let _ = found.set(answer.map_or_else(|error| unavailable(&error), |told| said(&told)));
            Ok(JsValue::UNDEFINED)
        });
        Self {
            asked_at_ms: now_ms(),
            asking,
            reply,
        }
    }
}

async fn ask(store: Result<Store, StoreError>) -> Result<Health, StoreError> {
    store?.health().await
}

/// 200 while ticks arrive, 503 when they do not, or nobody can tell.
pub async fn answer(context: &Context<'_>) -> Reply {
    let now_ms = now_ms();
    let look = LAST.with_borrow_mut(|last| match last {
        Some(look) if now_ms < look.asked_at_ms + CACHED_MS => look.clone(),
        _ => last.insert(Look::new(context.environment)).clone(),
    });
    let _ = JsFuture::from(look.asking).await;
    look.reply
        .get()
        .cloned()
        .unwrap_or_else(|| Reply::error(500, "Erro interno"))
}

/// What follows from the age of the last tick that committed.
fn said(health: &Health) -> Reply {
    let interval_s = health.interval_s;
    let Some(age_ms) = health.age_ms else {
        return Reply::error(
            503,
            "O monitor ainda não fez nenhuma verificação; \
             veja select * from whatsapp_monitor.checklist();",
        );
    };
    let age_s = age_ms / 1_000;
    let ago = duration(age_s);
    if age_ms > INTERVALS * interval_s * 1_000 {
        let sentence = format!(
            "O monitor parou: a última verificação terminou há {ago}; \
             veja select * from whatsapp_monitor.checklist();"
        );
        return Reply::json(
            503,
            &json!({
                "success": false,
                "error": sentence,
                "last_tick_age_s": age_s,
                "interval_s": interval_s,
            }),
        );
    }
    Reply::json(
        200,
        &json!({
            "success": true,
            "message": format!("O monitor está funcionando: a última verificação terminou há {ago}"),
            "last_tick_age_s": age_s,
            "interval_s": interval_s,
        }),
    )
}
