//! What a gateway can be seen to say.

use serde::{Deserialize, Serialize};

use super::gateway::Standing;
use super::reason::{FinalCodes, RecordedReason};

/// One check of one instance: what came back for one question about its live state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The gateway answered for this instance.
    Seen {
        /// The live state.
        memory: MemoryState,
        /// The stored row, where it was asked for and given.
        row: Option<Row>,
        /// Whether there is a socket behind an open state; `None` where nobody looks for it.
        socket: Option<Socket>,
        /// The codes that are final to this gateway.
        final_codes: FinalCodes,
    },
    /// Nothing was learned about the instance.
    Failed(Fault),
}

impl Observation {
    /// What is left of it, given how far the gateway's word counts. That an instance is open is
    /// believed all the same: nothing bad follows from it.
    #[must_use]
    pub fn as_far_as_trusted(self, standing: Standing) -> Self {
        match (&self, standing) {
            (_, Standing::Sound)
            | (Self::Failed(_), _)
            | (
                Self::Seen {
                    memory: MemoryState::Open,
                    ..
                },
                _,
            ) => self,
            (Self::Seen { .. }, Standing::AtFault | Standing::CoolingDown) => {
                Self::Failed(GatewayFault::Untrusted.into())
            }
        }
    }

    /// What was wrong, where nothing was learned.
    pub const fn fault(&self) -> Option<Fault> {
        match self {
            Self::Failed(fault) => Some(*fault),
            Self::Seen { .. } => None,
        }
    }

    /// What the gateway says of the account, where it was asked.
    pub const fn profile(&self) -> Option<&Profile> {
        match self {
            Self::Seen { row: Some(row), .. } => Some(&row.profile),
            Self::Seen { row: None, .. } | Self::Failed(_) => None,
        }
    }
}

/// The live state of an instance in the gateway's process: the truth about its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryState {
    /// Logged in to WhatsApp, or so the gateway believes.
    Open,
    /// A socket is being dialled, or a QR code is on offer.
    Connecting,
    /// No socket: between two redials, logged out, or never paired. Words that this monitor does
    /// not know count as this too, because what matters is that they are not `open`.
    Close,
    /// The gateway knows the instance and has not loaded it yet: its process is booting.
    NotLoaded,
}

/// What a question that needs the socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It is there.
    There,
    /// It is not, although the live state says open (J1).
    Missing,
    /// The answer does not tell.
    Untold,
    /// The question must not be asked: the instance is to be shown online always.
    Forbidden,
}

/// What the gateway's database holds about an instance. It lags behind the live state and
/// disagrees with it during every outage; it is asked for the reason, never for the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The stored connection status. `None` where it is not known: Evolution 1 shows the live state
    /// in its place, which says nothing about pairing.
    pub status: Option<RowStatus>,
    /// The last final disconnect ever recorded, however long ago.
    pub reason: Option<RecordedReason>,
    /// The account that is, or was last, paired.
    pub profile: Profile,
    /// How the gateway reaches WhatsApp for this instance.
    pub integration: Integration,
}

/// The WhatsApp account behind an instance, as far as the gateway tells. What a gateway sends is
/// stored, so each field is bounded and holds no control character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its number: digits, with the country code.
    pub phone_number: Option<String>,
    /// The name it shows.
    pub profile_name: Option<String>,
    /// Where its picture is, an `http` or `https` URL.
    pub profile_picture_url: Option<String>,
}

/// How a gateway reaches WhatsApp for an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integration {
    /// Through a socket of its own, as a paired device: what this monitor is about.
    #[default]
    Socket,
    /// Without a socket, through an official interface: its live state is `open` whatever happens.
    Socketless,
}

/// The stored connection status of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Paired: written at login, and kept through every drop that is not final.
    Open,
    /// A QR code was issued and not scanned so far.
    Connecting,
    /// Created and never paired, or finally logged out.
    Close,
}

/// Why nothing was learned about an instance. None of these means "disconnected".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The gateway did not answer, or not as a gateway in good health does.
    Gateway(GatewayFault),
    /// What the monitor was given to ask with is wrong; only a person can change that.
    Config(ConfigFault),
}

/// What can be wrong with a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayFault {
    /// Nothing listens at the address.
    Refused,
    /// The host name does not resolve.
    NameNotFound,
    /// No trusted TLS connection could be made.
    Tls,
    /// The connection broke before the answer was complete.
    Broken,
    /// No complete answer within the time allowed.
    TimedOut,
    /// An answer of status 5xx in the gateway's own shape.
    ServerError(u16),
    /// The gateway answers while its database does not.
    DatabaseDown,
    /// The gateway refused the key, and then did not say whether its database is at work.
    KeyUnconfirmed,
    /// An answer that is not JSON, of this status: as a rule a reverse proxy's page.
    NotJson(u16),
    /// JSON of a shape that no known version sends, of this status.
    Unintelligible(u16),
    /// An answer larger than any honest one.
    TooLarge,
    /// An answer that counts for nothing, because the gateway fails for most of its instances.
    Untrusted,
}

/// What can be wrong with what the monitor was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigFault {
    /// The gateway knows the instance and refuses the key, with its database at work.
    WrongKey,
    /// The gateway does not know an instance of this name.
    UnknownInstance,
    /// Something answers at the address, but has no such route: a wrong path or another product.
    UnknownRoute,
    /// The address is no `http` or `https` URL.
    BadUrl,
    /// The address is not a public one, and the monitor runs on a hosted project.
    PrivateAddress,
    /// The address sends elsewhere; redirects are not followed.
    Redirected,
    /// The gateway refuses to work until its licence is activated (Evolution 2.4).
    LicenceRequired,
}

impl GatewayFault {
    /// Whether nothing at all came back in time, so that asking again at once would only cost.
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// Whether this is a transport error, a 5xx, or somebody else's page in the gateway's place:
    /// what it looks like when the gateway itself is at fault.
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::NameNotFound
                | Self::Tls
                | Self::Broken
                | Self::TimedOut
                | Self::ServerError(_)
                | Self::DatabaseDown
                | Self::NotJson(_)
        )
    }
}

impl Fault {
    /// Whether the gateway's own program answered, be it with an error.
    pub const fn is_answer(self) -> bool {
        match self {
            Self::Gateway(fault) => matches!(
                fault,
                GatewayFault::ServerError(_)
                    | GatewayFault::DatabaseDown
                    | GatewayFault::KeyUnconfirmed
                    | GatewayFault::Unintelligible(_)
                    | GatewayFault::TooLarge
                    | GatewayFault::Untrusted
            ),
            Self::Config(fault) => matches!(
                fault,
                ConfigFault::WrongKey
                    | ConfigFault::UnknownInstance
                    | ConfigFault::UnknownRoute
                    | ConfigFault::LicenceRequired
            ),
        }
    }
}

impl From<GatewayFault> for Fault {
    fn from(fault: GatewayFault) -> Self {
        Self::Gateway(fault)
    }
}

impl From<ConfigFault> for Fault {
    fn from(fault: ConfigFault) -> Self {
        Self::Config(fault)
    }
}
