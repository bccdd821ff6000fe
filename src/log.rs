//! What a run writes to the log. The texts are those that operators search for; organizations are
//! named, instances are not, and never a key, a token or a payload.

use std::collections::BTreeMap;

use crate::monitor::webhook::Hook;
use crate::monitor::{Ack, Action, Fault, Pause, Reason, Status, Verdict};
use crate::store::alerts::Settled;

/// Instances up to which each has its own lines. The platform cuts a log at 100 lines in 10 s, so a
/// larger fleet has a summary, and lines for what changed.
pub const SMALL_FLEET: usize = 20;

/// What became of one check, as far as the log is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The organization it is for.
    pub organization_id: String,
    /// What the instance was before.
    pub before: Status,
    /// What it is now.
    pub now: Status,
    /// Why, where a reason counts.
    pub reason: Option<Reason>,
    /// What keeps the monitor from trying again.
    pub pause: Option<Pause>,
    /// What earlier attempts came to.
    pub verdicts: Vec<Verdict>,
}

/// The lines for the checks of one run, all of which are written to the database.
pub fn lines(checked: &[Checked]) -> Vec<String> {
    let all = checked.len() <= SMALL_FLEET;
    let told: Vec<&Checked> = checked
        .iter()
        .filter(|each| all || each.before != each.now || !each.verdicts.is_empty())
        .collect();
    let mut lines: Vec<String> = told
        .iter()
        .take(SMALL_FLEET)
        .flat_map(|each| about(each))
        .collect();
    if told.len() > SMALL_FLEET {
        lines.push(format!("… e mais {} mudanças", told.len() - SMALL_FLEET));
    }
    let connected = checked
        .iter()
        .filter(|each| each.now == Status::Connected)
        .count();
    if !checked.is_empty() {
        lines.push(format!(
            "💓 Heartbeat enviado ({connected} de {} conectadas)",
            checked.len()
        ));
    }
    lines
}

/// The lines for one check.
fn about(checked: &Checked) -> Vec<String> {
    let organization = single_line(&checked.organization_id);
    let why = checked.reason.map_or_else(String::new, |reason| {
        format!(
            " [{}: {}]",
            reason.code(),
            reason.diagnosis().portuguese.text()
        )
    });
    let mut lines = vec![format!("🔍 Verificando conexão para org {organization}...")];
    lines.push(match checked.now {
        Status::Connected => "✅ Conexão estável".to_owned(),
        Status::Connecting | Status::WaitingQr | Status::Disconnected | Status::Blocked => {
            format!("⚠️ Conexão perdida (status: DISCONNECTED){why}")
        }
        Status::Zombie | Status::GatewayUnreachable | Status::Misconfigured | Status::Unknown => {
            format!("⚠️ Conexão perdida (status: ERROR){why}")
        }
    });
    lines.extend(checked.verdicts.iter().map(|verdict| {
        match verdict {
            Verdict::Worked => "✅ Reconexão bem-sucedida!".to_owned(),
            Verdict::NoEffect => "❌ Erro ao reconectar: a tentativa não teve efeito".to_owned(),
            Verdict::Refused => "❌ Erro ao reconectar: o gateway recusou".to_owned(),
            Verdict::MadeWorse => {
                "❌ Erro ao reconectar: a tentativa piorou a situação; o monitor parou de tentar"
                    .to_owned()
            }
        }
    }));
    match checked.pause {
        Some(Pause::Budget) => {
            lines.push("⚠️ Limite de tentativas atingido. Aguardando...".to_owned());
        }
        Some(Pause::BackOff { left_ms }) => {
            let seconds = left_ms.div_euclid(1_000) + 1;
            lines.push(format!(
                "⏳ Aguardando {seconds}s antes da próxima tentativa..."
            ));
        }
        None => {}
    }
    if checked.before != checked.now {
        lines.push(status_written(checked.now));
    }
    lines
}

/// The line for a status that has changed.
pub fn status_written(now: Status) -> String {
    let word = if now == Status::Connected {
        "CONECTADO"
    } else {
        "DESCONECTADO"
    };
    format!("📝 Status atualizado no banco: {word}")
}

/// The lines for the alerts of one run.
pub fn alert_lines(settled: &[Settled]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for each in settled {
        let why = each.error.as_deref().unwrap_or_default();
        let what = match (each.delivered, each.retry_in_s) {
            (true, _) => "🔔 Alertas enviados".to_owned(),
            (false, Some(0)) => "⏳ Alertas adiados para a próxima verificação".to_owned(),
            (false, Some(s)) => {
                format!("⚠️ Alertas não entregues ({why}), nova tentativa em {s} s")
            }
            (false, None) => {
                let attempts = each.attempts;
                format!("❌ Alertas não entregues ({why}), desistência após {attempts} tentativas")
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(what, count)| format!("{what}: {count}"))
        .collect()
}

/// The line when a run begins.
pub fn starting(organization_id: Option<&str>) -> String {
    organization_id.map_or_else(
        || "🚀 Iniciando monitoramento de todas as organizações...".to_owned(),
        |id| {
            let organization = single_line(id);
            format!("🚀 Iniciando monitoramento para org {organization}...")
        },
    )
}

/// The line where somebody elsewhere could not be given the sign of life.
pub fn no_heartbeat(why: &str) -> String {
    format!("⚠️ heartbeat_url não avisada ({why})")
}

/// The line before an action.
pub fn acting(organization_id: &str, action: Action) -> String {
    let organization = single_line(organization_id);
    format!(
        "🔄 Tentando reconectar org {organization}... ({})",
        action.name()
    )
}

/// The line before many actions at once.
pub fn acting_on_many(number: usize) -> String {
    format!("🔄 {number} ações sobre instâncias e webhooks; o que cada uma deu fica no banco")
}

/// The line before a webhook is set.
pub fn setting_webhook(hook: &Hook) -> String {
    let url = hook.shown_url().unwrap_or_default();
    format!("🔗 Configurando webhooks para: {}", single_line(&url))
}

/// The line after it. Whether it stays is seen at the next look.
pub fn webhook_set(ack: Ack) -> String {
    match ack {
        Ack::Accepted => "✅ Webhooks configurados com sucesso",
        Ack::Refused => "⚠️ Erro ao configurar webhooks: o gateway recusou",
        Ack::Lost => "❌ Erro ao configurar webhooks: o gateway não respondeu",
    }
    .to_owned()
}

/// The line where a webhook could not be looked at.
pub fn webhook_not_read(fault: Fault) -> String {
    let code = Reason::Fault(fault).code();
    format!("❌ Erro ao configurar webhooks: não foi possível consultar ({code})")
}

/// The line after it. The gateway's word proves nothing: what came of it is seen at a later check.
pub fn acted(action: Action, ack: Ack) -> String {
    let name = action.name();
    match ack {
        Ack::Accepted => format!("⏳ {name} enviado; o resultado será verificado"),
        Ack::Refused => format!("❌ Erro ao reconectar: o gateway recusou ({name})"),
        Ack::Lost => format!("❌ Erro ao reconectar: o gateway não respondeu ({name})"),
    }
}

/// The line where the database did not say whether an action may be taken.
pub fn not_granted(error: &str) -> String {
    format!("❌ Erro ao reconectar: {error}")
}

/// The line where what the database remembers of an instance cannot be read.
pub fn memory_lost(organization_id: &str) -> String {
    let organization = single_line(organization_id);
    format!("❌ Memória ilegível na organização {organization}: começa de novo")
}

/// An organization's id comes from a table, and a line must stay one.
fn single_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(100)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::FinalReason;

    fn checked(before: Status, now: Status) -> Checked {
        Checked {
            organization_id: "org-1".to_owned(),
            before,
            now,
            reason: None,
            pause: None,
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn a_small_fleet_is_told_of_one_by_one() {
        let lost = Checked {
            reason: Some(Reason::Final(FinalReason::LoggedOut)),
            ..checked(Status::Connected, Status::WaitingQr)
        };
        let stable = checked(Status::Connected, Status::Connected);
        let lines = lines(&[stable, lost]);
        assert_eq!(
            lines,
            [
                "🔍 Verificando conexão para org org-1...",
                "✅ Conexão estável",
                "🔍 Verificando conexão para org org-1...",
                "⚠️ Conexão perdida (status: DISCONNECTED) [401: O aparelho foi desconectado no \
                 celular ou saiu da conta; escaneie um novo QR code.]",
                "📝 Status atualizado no banco: DESCONECTADO",
                "💓 Heartbeat enviado (1 de 2 conectadas)",
            ]
        );
    }

    #[test]
    fn what_was_tried_is_told() {
        let tried = Checked {
            verdicts: vec![Verdict::NoEffect],
            pause: Some(Pause::BackOff { left_ms: 28_300 }),
            ..checked(Status::Disconnected, Status::Disconnected)
        };
        let worked = Checked {
            verdicts: vec![Verdict::Worked],
            ..checked(Status::Connected, Status::Connected)
        };
        let spent = Checked {
            pause: Some(Pause::Budget),
            ..checked(Status::Disconnected, Status::Disconnected)
        };
        let lines = lines(&[tried, worked, spent]);
        for line in [
            "❌ Erro ao reconectar: a tentativa não teve efeito",
            "⏳ Aguardando 29s antes da próxima tentativa...",
            "✅ Reconexão bem-sucedida!",
            "⚠️ Limite de tentativas atingido. Aguardando...",
        ] {
            assert!(lines.iter().any(|each| each == line), "{line}");
        }
        assert_eq!(
            starting(Some("a\nb")),
            "🚀 Iniciando monitoramento para org a b..."
        );
    }

    #[test]
    fn a_large_fleet_has_a_summary_and_what_changed() {
        let mut fleet = vec![checked(Status::Connected, Status::Connected); 1_000];
        assert_eq!(
            lines(&fleet),
            ["💓 Heartbeat enviado (1000 de 1000 conectadas)"]
        );
        fleet[7].before = Status::Disconnected;
        assert_eq!(lines(&fleet).len(), 4);
        for each in &mut fleet {
            each.now = Status::Unknown;
        }
        let lines = lines(&fleet);
        assert!(lines.len() < 100, "{} lines", lines.len());
        assert!(lines.contains(&"… e mais 980 mudanças".to_owned()));
    }

    #[test]
    fn a_line_stays_one_line() {
        let forged = Checked {
            organization_id: "x\n[WhatsApp Monitor] ✅ Conexão estável".to_owned(),
            ..checked(Status::Unknown, Status::Unknown)
        };
        for line in lines(&[forged]) {
            assert!(!line.contains('\n'), "{line}");
        }
        assert_eq!(lines(&[]), Vec::<String>::new());
    }
}
