//! Why an instance is in its status, in plain words.

use serde::{Deserialize, Serialize};

use super::observation::{ConfigFault, Fault, GatewayFault};

/// A disconnect reason as the gateway's row holds it. It **may be stale**: it describes the last
/// final disconnect ever and survives every later login, so nothing can be concluded from it
/// alone. [`super::reading::read`] makes a [`FinalReason`] of it where it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReason {
    /// WhatsApp's disconnect code.
    pub code: u16,
    /// When, as the gateway wrote it. Only ever compared for equality: it is another clock.
    pub at: Option<String>,
}

/// A disconnect after which the gateway has deleted the session: only a person can bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalReason {
    /// 401: unlinked on the phone, or logged out.
    LoggedOut,
    /// 402: the account is temporarily restricted.
    Restricted,
    /// 403: WhatsApp has banned the number.
    Banned,
    /// 406: a variant of the ban.
    NotAcceptable,
    /// 408: the connection was lost, for which some gateways delete the session too.
    ConnectionLost,
}

/// The disconnect codes after which a gateway deletes the session and dials no more. After every
/// other code it redials by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "&'static [u16]", from = "Vec<u16>")]
pub enum FinalCodes {
    /// 401 alone.
    LoggedOut,
    /// 401, 402, 403 and 406: WhatsApp has refused the session.
    #[default]
    Refused,
    /// Those, and 408: the connection was lost.
    RefusedOrLost,
}

impl FinalCodes {
    /// The codes themselves.
    pub const fn codes(self) -> &'static [u16] {
        match self {
            Self::LoggedOut => &[401],
            Self::Refused => &[401, 402, 403, 406],
            Self::RefusedOrLost => &[401, 402, 403, 406, 408],
        }
    }

    /// The reason behind a code, or `None` where the gateway redials after it by itself.
    pub fn reason(self, code: u16) -> Option<FinalReason> {
        if !self.codes().contains(&code) {
            return None;
        }
        match code {
            401 => Some(FinalReason::LoggedOut),
            402 => Some(FinalReason::Restricted),
            403 => Some(FinalReason::Banned),
            406 => Some(FinalReason::NotAcceptable),
            408 => Some(FinalReason::ConnectionLost),
            _ => None,
        }
    }
}

/// Codes that are none of these lists are those of most gateways.
impl From<Vec<u16>> for FinalCodes {
    fn from(codes: Vec<u16>) -> Self {
        [Self::LoggedOut, Self::Refused, Self::RefusedOrLost]
            .into_iter()
            .find(|known| known.codes() == codes)
            .unwrap_or_default()
    }
}

impl From<FinalCodes> for &'static [u16] {
    fn from(codes: FinalCodes) -> Self {
        codes.codes()
    }
}

/// Why an instance is in its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// WhatsApp ended the session for good.
    Final(FinalReason),
    /// The row says logged out, and no reason is recorded for it.
    LoggedOut,
    /// The instance was created and never paired.
    NeverPaired,
    /// A QR code waits for a person.
    WaitingForScan,
    /// The gateway has shown all the QR codes it is allowed to, and stopped.
    QrLimit,
    /// The gateway says open and has no socket.
    Zombie,
    /// The connection comes and goes without settling.
    Unstable,
    /// An action of the monitor has made things worse, and nothing more is done.
    MadeWorse,
    /// The instance reaches WhatsApp through an official interface: there is no connection to watch.
    Socketless,
    /// The gateway's process is starting.
    Booting,
    /// Nothing was learned about the instance.
    Fault(Fault),
}

impl Reason {
    /// The short name: WhatsApp's code where it gave one, a word elsewhere.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Final(FinalReason::LoggedOut) => "401",
            Self::Final(FinalReason::Restricted) => "402",
            Self::Final(FinalReason::Banned) => "403",
            Self::Final(FinalReason::NotAcceptable) => "406",
            Self::Final(FinalReason::ConnectionLost) => "408",
            Self::LoggedOut => "logged_out",
            Self::NeverPaired => "never_paired",
            Self::WaitingForScan => "waiting_for_scan",
            Self::QrLimit => "qr_limit",
            Self::Zombie => "zombie",
            Self::MadeWorse => "made_worse",
            Self::Unstable => "unstable",
            Self::Socketless => "no_connection_to_watch",
            Self::Booting => "booting",
            Self::Fault(Fault::Gateway(fault)) => match fault {
                GatewayFault::Refused => "connection_refused",
                GatewayFault::NameNotFound => "name_not_found",
                GatewayFault::Tls => "tls",
                GatewayFault::Broken => "connection_broken",
                GatewayFault::TimedOut => "timeout",
                GatewayFault::ServerError(_) => "server_error",
                GatewayFault::DatabaseDown => "gateway_database_down",
                GatewayFault::KeyUnconfirmed => "key_unconfirmed",
                GatewayFault::NotJson(_) => "not_json",
                GatewayFault::Unintelligible(_) => "unintelligible",
                GatewayFault::TooLarge => "too_large",
                GatewayFault::Untrusted => "gateway_unstable",
            },
            Self::Fault(Fault::Config(fault)) => match fault {
                ConfigFault::WrongKey => "wrong_key",
                ConfigFault::UnknownInstance => "unknown_instance",
                ConfigFault::UnknownRoute => "unknown_route",
                ConfigFault::BadUrl => "bad_url",
                ConfigFault::PrivateAddress => "private_address",
                ConfigFault::Redirected => "redirected",
                ConfigFault::LicenceRequired => "licence_required",
            },
        }
    }
}
