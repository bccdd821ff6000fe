//! What a reason means to people, in Portuguese and in English: one sentence what happened, one what
//! to do.

use super::reason::Reason;

/// What happened and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// What happened, in one sentence.
    pub happened: &'static str,
    /// What to do, in one sentence.
    pub advice: &'static str,
}

impl Words {
    /// Both in one sentence.
    pub fn text(self) -> String {
        let (first, rest) = self.advice.split_at(1);
        let happened = self.happened.trim_end_matches('.');
        format!("{happened}; {}{rest}", first.to_ascii_lowercase())
    }
}

/// A reason in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The reason's [`code`](Reason::code).
    pub code: &'static str,
    /// In Portuguese, the language of the monitor's users.
    pub portuguese: Words,
    /// In English.
    pub english: Words,
}

impl Reason {
    /// The reason in words.
    pub fn diagnosis(self) -> Diagnosis {
        diagnosis(self.code()).unwrap_or(UNKNOWN)
    }
}

/// The words for a reason's code, as it is stored; `None` where no reason has it.
pub fn diagnosis(code: &str) -> Option<Diagnosis> {
    ALL.iter().find(|each| each.code == code).copied()
}

/// An outage without a reason that counts: a drop that the gateway should mend by itself.
pub const DROPPED: Diagnosis = new(
    "dropped",
    "A conexão com o WhatsApp caiu.",
    "O gateway costuma reconectar sozinho; se isto durar, verifique o celular e o gateway.",
    "The connection to WhatsApp was lost.",
    "The gateway usually reconnects by itself; if this lasts, look at the phone and at the gateway.",
);

/// A code that this version does not know.
pub const UNKNOWN: Diagnosis = new(
    "unknown",
    "Algo está errado com esta instância.",
    "Verifique o celular e o gateway.",
    "Something is wrong with this instance.",
    "Look at the phone and at the gateway.",
);

const fn new(
    code: &'static str,
    aconteceu: &'static str,
    conselho: &'static str,
    happened: &'static str,
    advice: &'static str,
) -> Diagnosis {
    Diagnosis {
        code,
        portuguese: Words {
            happened: aconteceu,
            advice: conselho,
        },
        english: Words { happened, advice },
    }
}

/// Every reason there is.
const ALL: &[Diagnosis] = &[
    new(
        "401",
        "O aparelho foi desconectado no celular ou saiu da conta.",
        "Escaneie um novo QR code.",
        "The device was unlinked on the phone or logged out.",
        "Scan a new QR code.",
    ),
    new(
        "402",
        "O WhatsApp restringiu a conta temporariamente.",
        "Aguarde antes de escanear um novo QR code.",
        "WhatsApp has restricted the account for now.",
        "Wait before you scan a new QR code.",
    ),
    new(
        "403",
        "O WhatsApp bloqueou este número.",
        "Não reconecte; verifique a conta no celular.",
        "WhatsApp has banned this number.",
        "Do not reconnect; look at the account on the phone.",
    ),
    new(
        "406",
        "O WhatsApp recusou este número (bloqueio).",
        "Não reconecte; verifique a conta no celular.",
        "WhatsApp has refused this number (a ban).",
        "Do not reconnect; look at the account on the phone.",
    ),
    new(
        "408",
        "O gateway apagou a sessão após uma queda de rede (Evolution 2.4).",
        "Escaneie um novo QR code.",
        "The gateway deleted the session after a network failure (Evolution 2.4).",
        "Scan a new QR code.",
    ),
    new(
        "logged_out",
        "A sessão foi encerrada.",
        "Escaneie um novo QR code.",
        "The session has ended.",
        "Scan a new QR code.",
    ),
    new(
        "never_paired",
        "A instância nunca foi conectada.",
        "Escaneie o QR code.",
        "The instance was never connected.",
        "Scan the QR code.",
    ),
    new(
        "waiting_for_scan",
        "O gateway aguarda a leitura do QR code.",
        "Escaneie o QR code.",
        "The gateway waits for its QR code to be scanned.",
        "Scan the QR code.",
    ),
    new(
        "qr_limit",
        "O limite de QR codes foi atingido.",
        "Gere um novo quando puder escaneá-lo.",
        "The limit of QR codes is reached.",
        "Make a new one when you can scan it.",
    ),
    new(
        "zombie",
        "O gateway diz que está conectado, mas não há conexão com o WhatsApp.",
        "Reinicie o processo da Evolution; não é preciso um novo QR code.",
        "The gateway says that it is connected, and has no connection to WhatsApp.",
        "Restart the Evolution process; no new QR code is needed.",
    ),
    new(
        "unstable",
        "A conexão cai e volta sem parar.",
        "Talvez outro servidor use o mesmo número: desligue-o, ou reinicie o processo da Evolution.",
        "The connection comes and goes without settling.",
        "Another server may be using the same number: stop it, or restart the Evolution process.",
    ),
    new(
        "made_worse",
        "Uma tentativa de reconexão piorou a situação, e o monitor parou de tentar.",
        "Reinicie o processo da Evolution e libere o monitor com whatsapp_monitor.resume.",
        "An attempt to reconnect made things worse, and the monitor has stopped trying.",
        "Restart the Evolution process, and let the monitor go on with whatsapp_monitor.resume.",
    ),
    new(
        "no_connection_to_watch",
        "A instância usa a API oficial, sem conexão que possa cair.",
        "Não é preciso fazer nada; o monitor não a acompanha.",
        "The instance uses the official API, and has no connection that could be lost.",
        "There is nothing to do; the monitor leaves it alone.",
    ),
    new(
        "booting",
        "O gateway está iniciando e ainda não carregou a instância.",
        "Aguarde; se durar minutos, reinicie o processo da Evolution.",
        "The gateway is starting and has not loaded the instance yet.",
        "Wait; if it lasts for minutes, restart the Evolution process.",
    ),
    new(
        "connection_refused",
        "O gateway recusou a conexão.",
        "Verifique se ele está no ar.",
        "The gateway refused the connection.",
        "See whether it is up.",
    ),
    new(
        "name_not_found",
        "O endereço do gateway não existe (DNS).",
        "Verifique a URL.",
        "The gateway's host name does not exist (DNS).",
        "Check the URL.",
    ),
    new(
        "tls",
        "O certificado TLS do gateway não é válido.",
        "Renove o certificado ou corrija a URL.",
        "The gateway's TLS certificate is not valid.",
        "Renew the certificate or correct the URL.",
    ),
    new(
        "connection_broken",
        "A conexão com o gateway caiu antes da resposta.",
        "Verifique o gateway e o proxy à sua frente.",
        "The connection to the gateway broke before it answered.",
        "Look at the gateway and at the proxy before it.",
    ),
    new(
        "timeout",
        "O gateway não respondeu a tempo.",
        "Verifique se ele está no ar e sem sobrecarga.",
        "The gateway did not answer in time.",
        "See whether it is up and not overloaded.",
    ),
    new(
        "server_error",
        "O gateway respondeu com um erro interno (5xx).",
        "Veja o log da Evolution.",
        "The gateway answered with an internal error (5xx).",
        "Look at Evolution's log.",
    ),
    new(
        "gateway_database_down",
        "O banco de dados do gateway não responde.",
        "Verifique o banco de dados da Evolution.",
        "The gateway's database does not answer.",
        "Look at Evolution's database.",
    ),
    new(
        "key_unconfirmed",
        "O gateway recusou a chave de API, mas parou de responder antes de se confirmar o motivo.",
        "Aguarde a próxima verificação.",
        "The gateway refused the API key, and then stopped answering before the cause was known.",
        "Wait for the next check.",
    ),
    new(
        "not_json",
        "O endereço do gateway respondeu com uma página, não com a API.",
        "Verifique se o proxy alcança o gateway.",
        "The gateway's address answered with a page, not with the API.",
        "See whether the proxy reaches the gateway.",
    ),
    new(
        "unintelligible",
        "O gateway respondeu de uma forma que o monitor não conhece.",
        "Verifique a URL e a versão da Evolution.",
        "The gateway answered in a form that the monitor does not know.",
        "Check the URL and Evolution's version.",
    ),
    new(
        "too_large",
        "A resposta do gateway é grande demais.",
        "Verifique se a URL é a da Evolution API.",
        "The gateway's answer is too large.",
        "Check that the URL is that of the Evolution API.",
    ),
    new(
        "gateway_unstable",
        "O gateway falha para a maioria das suas instâncias ou acaba de voltar.",
        "Aguarde; se durar, verifique o gateway.",
        "The gateway fails for most of its instances, or has only just come back.",
        "Wait; if it lasts, look at the gateway.",
    ),
    new(
        "wrong_key",
        "O gateway recusou a chave de API.",
        "Corrija a chave desta instância.",
        "The gateway refused the API key.",
        "Correct this instance's key.",
    ),
    new(
        "unknown_instance",
        "O gateway não conhece uma instância com este nome.",
        "Corrija o nome ou crie a instância.",
        "The gateway knows no instance of this name.",
        "Correct the name or create the instance.",
    ),
    new(
        "unknown_route",
        "O endereço responde, mas não é a Evolution API.",
        "Corrija a URL do gateway.",
        "Something answers at the address, but it is not the Evolution API.",
        "Correct the gateway's URL.",
    ),
    new(
        "bad_url",
        "A URL do gateway não é válida.",
        "Use http:// ou https:// e o endereço, sem usuário, senha, ? ou #.",
        "The gateway's URL is not valid.",
        "Use http:// or https:// and the address, without user, password, ? or #.",
    ),
    new(
        "private_address",
        "A URL do gateway aponta para um endereço privado, que o Supabase não alcança.",
        "Use um endereço público.",
        "The gateway's URL points to a private address, which Supabase does not reach.",
        "Use a public address.",
    ),
    new(
        "redirected",
        "A URL do gateway redireciona para outro endereço.",
        "Use o endereço final (por exemplo, https://).",
        "The gateway's URL redirects elsewhere.",
        "Use the final address (https://, for example).",
    ),
    new(
        "licence_required",
        "O gateway exige a ativação da licença antes de funcionar (Evolution 2.4).",
        "Ative a licença no gateway.",
        "The gateway asks for its licence to be activated before it works (Evolution 2.4).",
        "Activate the licence on the gateway.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sentences_make_one() {
        let logged_out = diagnosis("401").map(|each| each.portuguese.text());
        assert_eq!(
            logged_out.as_deref(),
            Some(
                "O aparelho foi desconectado no celular ou saiu da conta; escaneie um novo QR code."
            )
        );
    }

    #[test]
    fn each_code_stands_once_and_each_text_is_one_sentence() {
        for each in ALL {
            let same = ALL.iter().filter(|other| other.code == each.code).count();
            assert_eq!(same, 1, "{}", each.code);
            for words in [each.portuguese, each.english] {
                for sentence in [words.happened, words.advice] {
                    assert!(sentence.ends_with('.'), "{sentence}");
                    assert!(!sentence.contains(". "), "{sentence}");
                    assert!(sentence.starts_with(|first: char| first.is_ascii_uppercase()));
                }
            }
        }
    }
}
