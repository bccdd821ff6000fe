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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(into = "&'static [u16]")]
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

    /// One plain sentence for the monitor's users.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Final(FinalReason::LoggedOut) => {
                "O aparelho foi desconectado no celular ou saiu da conta; escaneie um novo QR code."
            }
            Self::Final(FinalReason::Restricted) => {
                "O WhatsApp restringiu a conta temporariamente; aguarde antes de escanear um novo QR code."
            }
            Self::Final(FinalReason::Banned) => {
                "O WhatsApp bloqueou este número; não reconecte, verifique a conta no celular."
            }
            Self::Final(FinalReason::NotAcceptable) => {
                "O WhatsApp recusou este número (bloqueio); verifique a conta no celular."
            }
            Self::Final(FinalReason::ConnectionLost) => {
                "O gateway apagou a sessão após uma queda de rede (Evolution 2.4); escaneie um novo QR code."
            }
            Self::LoggedOut => "A sessão foi encerrada; escaneie um novo QR code.",
            Self::NeverPaired => "A instância nunca foi conectada; escaneie o QR code.",
            Self::WaitingForScan => "Aguardando a leitura do QR code.",
            Self::QrLimit => {
                "O limite de QR codes foi atingido; gere um novo quando puder escaneá-lo."
            }
            Self::Zombie => {
                "O gateway diz que está conectado, mas não há conexão com o WhatsApp; reinicie o processo da Evolution (não precisa de QR code)."
            }
            Self::Unstable => {
                "A conexão cai e volta sem parar; talvez outro servidor use o mesmo número: desligue-o ou reinicie o processo da Evolution."
            }
            Self::Socketless => {
                "A instância usa a API oficial, sem conexão que possa cair; o monitor não a acompanha."
            }
            Self::Booting => "O gateway está iniciando e ainda não carregou a instância.",
            Self::Fault(Fault::Gateway(fault)) => match fault {
                GatewayFault::Refused => "O gateway recusou a conexão; verifique se está no ar.",
                GatewayFault::NameNotFound => {
                    "O endereço do gateway não existe (DNS); verifique a URL."
                }
                GatewayFault::Tls => "O certificado TLS do gateway não é válido.",
                GatewayFault::Broken => "A conexão com o gateway caiu antes da resposta.",
                GatewayFault::TimedOut => "O gateway não respondeu a tempo.",
                GatewayFault::ServerError(_) => "O gateway respondeu com um erro interno (5xx).",
                GatewayFault::DatabaseDown => "O banco de dados do gateway não responde.",
                GatewayFault::KeyUnconfirmed => {
                    "O gateway recusou a chave de API, mas parou de responder antes de se confirmar o motivo."
                }
                GatewayFault::NotJson(_) => {
                    "O endereço do gateway respondeu com uma página, não com a API; talvez o proxy esteja sem o gateway."
                }
                GatewayFault::Unintelligible(_) => {
                    "O gateway respondeu de uma forma que o monitor não conhece."
                }
                GatewayFault::TooLarge => "A resposta do gateway é grande demais.",
                GatewayFault::Untrusted => {
                    "O gateway falha para a maioria das suas instâncias ou acaba de voltar; aguarde."
                }
            },
            Self::Fault(Fault::Config(fault)) => match fault {
                ConfigFault::WrongKey => {
                    "O gateway recusou a chave de API; corrija a chave desta instância."
                }
                ConfigFault::UnknownInstance => {
                    "O gateway não conhece uma instância com este nome; corrija o nome ou crie a instância."
                }
                ConfigFault::UnknownRoute => {
                    "O endereço responde, mas não é a Evolution API; corrija a URL do gateway."
                }
                ConfigFault::BadUrl => {
                    "A URL do gateway não é válida; use http:// ou https:// e o endereço, sem usuário, senha, ? ou #."
                }
                ConfigFault::PrivateAddress => {
                    "A URL do gateway aponta para um endereço privado, que o Supabase não alcança; use um endereço público."
                }
                ConfigFault::Redirected => {
                    "A URL do gateway redireciona para outro endereço; use o endereço final (por exemplo, https://)."
                }
                ConfigFault::LicenceRequired => {
                    "O gateway exige a ativação da licença antes de funcionar (Evolution 2.4)."
                }
            },
        }
    }
}
