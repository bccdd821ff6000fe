//! HTTP in: who may ask for what.
//!
//! | route | file |
//! |---|---|
//! | `/whatsapp/monitor/start` | [`start`] |
//! | `/whatsapp/monitor/status` | [`status`] |
//! | `/whatsapp/monitor/health` | [`health`] |
//! | `/whatsapp/monitor/drill` | [`drill`] |
//! | `/whatsapp/status`, `/channels/whatsapp/status`, `/chat/channels/whatsapp/status` | [`poll`] |
//! | `/whatsapp/webhook`, `/whatsapp/webhook/{event}` | [`webhook`] |
//!
//! Who triggers is [`source`]'s to tell; whoever is refused is counted by [`refusals`].

pub mod auth;
pub mod body;
pub mod drill;
pub mod health;
pub mod poll;
pub mod refusals;
pub mod reply;
pub mod rhythm;
pub mod route;
pub mod source;
pub mod start;
pub mod status;
pub mod webhook;

use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use web_sys::{Request, Url};

use crate::environment::Environment;
use crate::web::console;
use poll::Form;
use reply::Reply;
use route::{Method, Resource};

/// A request, and what is needed to answer it.
pub struct Context<'a> {
    /// The request itself.
    pub request: &'a Request,
    /// Its URL.
    pub url: Url,
    /// What the function's environment says.
    pub environment: &'a Environment,
    /// Keeps the isolate alive until a promise settles.
    pub wait_until: &'a Function,
}

impl Context<'_> {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<String> {
        self.request.headers().get(name).ok().flatten()
    }

    /// A parameter of the query, the first of that name.
    pub fn query(&self, name: &str) -> Option<String> {
        self.url.search_params().get(name)
    }

    /// Keeps the isolate alive for work behind the answer.
    pub fn keep_alive(&self, work: &Promise) {
        if self.wait_until.call1(&JsValue::UNDEFINED, work).is_err() {
            console::error("❌ Erro no monitoramento: waitUntil falhou");
        }
    }
}

/// Answers a request. Mounted into another function it answers those for the `mounted` routes
/// alone, and none to the others: they are that function's.
pub async fn handle(
    request: &Request,
    environment: &Environment,
    wait_until: &Function,
    mounted: Option<&[String]>,
) -> Option<Reply> {
    let url = Url::new(&request.url()).ok()?;
    let resource = route::resource(&url.pathname(), environment.drill);
    if let Some(routes) = mounted
        && !resource.is_some_and(|resource| resource.is_among(routes))
    {
        return None;
    }
    Some(reply(request, url, resource, environment, wait_until).await)
}

async fn reply(
    request: &Request,
    url: Url,
    resource: Option<Resource>,
    environment: &Environment,
    wait_until: &Function,
) -> Reply {
    let method = request.method();
    if method == "OPTIONS" {
        return Reply::preflight();
    }
    let Some(resource) = resource else {
        return Reply::error(404, "Rota não encontrada");
    };
    let Some(method) = Method::parse(&method).filter(|method| resource.allows(*method)) else {
        return Reply::method_not_allowed(resource.allowed());
    };
    let context = Context {
        request,
        url,
        environment,
        wait_until,
    };
    // In a box each: what is compiled for the first request is its own, and not that of all.
    let answer: LocalBoxFuture<'_, Reply> = match resource {
        Resource::Start => Box::pin(start::answer(&context)),
        Resource::Status => Box::pin(status::answer(&context)),
        Resource::Health => Box::pin(health::answer(&context)),
        Resource::Poll => Box::pin(poll::answer(&context, Form::Frontend)),
        Resource::ChannelPoll | Resource::ChatPoll => Box::pin(poll::answer(&context, Form::Chat)),
        Resource::Drill => Box::pin(drill::answer(&context)),
        Resource::Webhook => Box::pin(webhook::answer(&context)),
    };
    let reply = answer.await;
    if method == Method::Head {
        reply.without_body()
    } else {
        reply
    }
}
