//! WhatsApp gateways, one provider a folder, behind one trait.

pub mod address;
pub mod evolution;

use crate::monitor::webhook::Hook;
use crate::monitor::{Ack, Action, Fault, MemoryState, Row, Socket, Webhooks};

/// What the monitor asks a gateway. Each question either gets an answer that means something, or a
/// typed [`Fault`]: a gateway that is down, a wrong key and an unknown instance are different
/// things, and none of them is "disconnected".
#[allow(
    async_fn_in_trait,
    reason = "one thread, and no caller needs a Send bound"
)]
pub trait Gateway {
    /// The live state of an instance.
    async fn connection_state(&self, instance: &str) -> Result<MemoryState, Fault>;

    /// The stored row of an instance; `None` where the gateway has none to show at the moment.
    async fn row(&self, instance: &str) -> Result<Option<Row>, Fault>;

    /// Whether an instance is to be shown online always; `None` where the gateway does not tell.
    async fn always_online(&self, instance: &str) -> Option<bool>;

    /// Whether there is a socket behind an open state; `None` where the answer does not tell. Only
    /// to be asked where [`always_online`](Self::always_online) is false: as a side effect the
    /// instance is shown offline.
    async fn socket(&self, instance: &str) -> Option<Socket>;

    /// Acts. This and [`set_webhook`](Self::set_webhook) are all that ever changes anything on a
    /// gateway.
    async fn act(&self, instance: &str, action: Action) -> Ack;

    /// What is in the webhook slot of an instance; `None` where nothing was ever set, or the instance
    /// is not loaded.
    async fn webhook(&self, instance: &str) -> Result<Option<Hook>, Fault>;

    /// Writes the webhook slot of an instance, replacing what is in it.
    async fn set_webhook(&self, instance: &str, hook: &Hook, webhooks: Webhooks) -> Ack;
}
