//! What is shown and stored.

use serde::{Deserialize, Serialize};

/// The condition of an instance, as people and other programs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Open: messages flow.
    Connected,
    /// Pairing or redialling: not open, and not yet (or no longer) an outage that counts.
    Connecting,
    /// A person must scan: logged out, never paired, or at the QR limit.
    WaitingQr,
    /// Down, and expected to be recoverable.
    Disconnected,
    /// WhatsApp has restricted or banned the number (402, 403, 406).
    Blocked,
    /// Says open and has no socket.
    Zombie,
    /// The gateway itself is at fault, for long enough to count.
    GatewayUnreachable,
    /// Wrong key, unknown instance or bad URL: a person must correct it.
    Misconfigured,
    /// Not checked yet, or the gateway is booting.
    Unknown,
}

impl Status {
    /// Whether nothing but a person, at the phone, brings the instance back.
    pub const fn needs_person(self) -> bool {
        matches!(self, Self::WaitingQr | Self::Blocked)
    }
}
