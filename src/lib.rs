//! A WhatsApp connection monitor for Supabase Edge Functions.
//!
//! This file is the WebAssembly boundary and nothing else: [`boot`] once per instance of the
//! module, [`handle`] for each request. What happens in between is in the modules:
//!
//! | module | is |
//! |---|---|
//! | [`api`] | HTTP in |
//! | [`tick`] | one sweep over all that is due |
//! | [`hear`] | an event of a gateway |
//! | [`gateway`] | HTTP out to WhatsApp gateways |
//! | [`alert`] | HTTP out to whoever wants to be told |
//! | [`store`] | HTTP out to Postgres |
//! | [`monitor`] | the heart: pure, no I/O |
//! | [`report`], [`log`] | what a run tells its caller, and its operators |
//! | [`web`], [`environment`] | what the platform and the deployment give |

pub mod alert;
pub mod api;
pub mod environment;
pub mod gateway;
pub mod hear;
pub mod log;
pub mod monitor;
pub mod report;
pub mod store;
pub mod tick;
pub mod web;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::Request;

use environment::Environment;

thread_local! {
    static ENVIRONMENT: RefCell<Rc<Environment>> = RefCell::default();
    static ON_PANIC: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Prepares an instance of the module.
///
/// `environment` is an object of the environment's variables. `on_panic` is called with a message
/// when the monitor panics; what it returns is thrown, so that the caller recognizes it. After
/// that the instance must not be used again.
///
/// # Errors
/// When `environment` is not an object of strings.
#[wasm_bindgen]
pub fn boot(environment: JsValue, on_panic: Function) -> Result<(), JsValue> {
    ON_PANIC.set(Some(on_panic));
    std::panic::set_hook(Box::new(|info| {
        let thrown = ON_PANIC.with_borrow(|on_panic| {
            on_panic.as_ref().and_then(|on_panic| {
                let message = JsValue::from_str(&info.to_string());
                on_panic.call1(&JsValue::UNDEFINED, &message).ok()
            })
        });
        if let Some(thrown) = thrown {
            wasm_bindgen::throw_val(thrown);
        }
    }));
    let variables: BTreeMap<String, String> = serde_wasm_bindgen::from_value(environment)?;
    ENVIRONMENT.set(Rc::new(Environment::from_variables(&variables)));
    Ok(())
}

/// Answers a request. `wait_until` takes promises that must settle before the isolate may end.
///
/// `mounted` is for functions that have routes of their own: a list of paths, or of beginnings of
/// paths that end in `/*`. Requests for others are answered with `undefined`.
///
/// # Errors
/// What the `Response` constructor throws.
#[wasm_bindgen(unchecked_return_type = "Response | undefined")]
pub async fn handle(
    request: Request,
    wait_until: Function,
    mounted: Option<Vec<String>>,
) -> Result<JsValue, JsValue> {
    let environment = ENVIRONMENT.with_borrow(Rc::clone);
    match api::handle(&request, &environment, &wait_until, mounted.as_deref()).await {
        Some(reply) => Ok(reply.into_response()?.into()),
        None => Ok(JsValue::UNDEFINED),
    }
}
