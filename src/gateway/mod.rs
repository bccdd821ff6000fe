//! WhatsApp gateways, one provider a folder, behind one trait.

pub mod address;
pub mod evolution;

use crate::monitor::{Fault, MemoryState, Row};

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
}
