//! `/whatsapp/monitor/drill?panic=before|after`: a rehearsal of what happens when the monitor
//! panics, before or after its first await. It exists only where `WHATSAPP_MONITOR_DRILL` is `on`
//! in the function's environment, and for holders of a secret that needs no database.

use gloo_timers::future::TimeoutFuture;

use super::Context;
use super::auth::{self, Presented};
use super::reply::Reply;
use crate::store::tick::Caller;

/// Panics, or says how to ask for it.
#[allow(clippy::panic, reason = "this is what a drill is for")]
pub async fn answer(context: &Context<'_>) -> Reply {
    match auth::identify(&Presented::by(context), context.environment) {
        Some(Caller::ServiceKey | Caller::Environment) => {}
        _ => return Reply::error(401, "Não autorizado"),
    }
    match context.query("panic").as_deref() {
        Some("before") => panic!("drill: before the first await"),
        Some("after") => {
            TimeoutFuture::new(0).await;
            panic!("drill: after the first await")
        }
        _ => Reply::error(400, "panic deve ser before ou after"),
    }
}
