//! What an alert says, in Portuguese and in English, and again for programs.

use serde::Serialize;

use crate::monitor::{Timestamp, diagnosis};
use crate::store::alerts::{Alert, Kind};
use crate::store::check::PlainReason;

/// Characters of a name that are shown.
const NAME_LENGTH: usize = 80;

/// The body of the request. Slack, Mattermost and Discord show the text and leave the rest alone.
#[derive(Debug, Serialize)]
struct Body<'a> {
    text: String,
    alert: Facts<'a>,
}

/// The same for programs.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    id: &'a str,
    kind: Kind,
    organization_id: Option<&'a str>,
    instance_name: Option<&'a str>,
    gateway_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<u32>,
    since: String,
    until: Option<String>,
    duration_s: i64,
    reason: Option<&'a PlainReason>,
}

/// The body of the request for an alert that is sent at `now`.
///
/// # Errors
/// What `serde_json` makes of it; nothing here gives it a reason.
pub fn body(alert: &Alert, now: Timestamp) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Body {
        text: text(alert, now),
        alert: Facts {
            id: &alert.id,
            kind: alert.kind,
            organization_id: alert.organization_id.as_deref(),
            instance_name: alert.instance_name.as_deref(),
            gateway_url: without_credentials(&alert.gateway_url),
            affected: alert.affected,
            since: iso(alert.since_ms),
            until: alert.until_ms.map(iso),
            duration_s: seconds(
                alert.since_ms,
                alert.until_ms.unwrap_or_else(|| now.as_ms()),
            ),
            reason: alert.reason.as_ref(),
        },
    })
}

/// What people read: a line in Portuguese, a line in English.
pub fn text(alert: &Alert, now: Timestamp) -> String {
    let (quem, who) = subject(alert);
    let end_ms = alert.until_ms.unwrap_or_else(|| now.as_ms());
    let lasted = duration(seconds(alert.since_ms, end_ms));
    let (desde, since) = (portuguese(alert.since_ms), english(alert.since_ms));
    let (ate, until) = (portuguese(end_ms), english(end_ms));
    match alert.kind {
        Kind::Down => {
            let (motivo, why) = why(alert.reason.as_ref());
            format!(
                "🔴 WhatsApp fora do ar: {quem} desde {desde}, há {lasted}. {motivo}\n\
                 🔴 WhatsApp is down: {who} since {since}, {lasted} ago. {why}"
            )
        }
        Kind::Up => format!(
            "🟢 WhatsApp voltou: {quem} em {ate}, após {lasted} fora do ar (desde {desde}).\n\
             🟢 WhatsApp is back: {who} at {until}, after {lasted} down (since {since})."
        ),
    }
}

/// Who is down, in both languages: an instance, or a gateway with all of its.
fn subject(alert: &Alert) -> (String, String) {
    let Some(name) = &alert.instance_name else {
        let gateway = quoted(&without_credentials(&alert.gateway_url));
        let count = alert.affected.unwrap_or_default();
        return (
            format!("o gateway {gateway} ({count} instâncias)"),
            format!("the gateway {gateway} ({count} instances)"),
        );
    };
    let name = quoted(name);
    let of = |word: &str| {
        alert
            .organization_id
            .as_deref()
            .map_or_else(String::new, |id| format!(" ({word} {})", quoted(id)))
    };
    (
        format!("{name}{}", of("organização")),
        format!("{name}{}", of("organization")),
    )
}

/// Why, and what to do, in both languages. What stands in the database is what was told then.
fn why(reason: Option<&PlainReason>) -> (String, String) {
    let Some(reason) = reason else {
        let words = diagnosis::DROPPED;
        return (words.portuguese.text(), words.english.text());
    };
    let words = diagnosis::diagnosis(&reason.code).unwrap_or(diagnosis::UNKNOWN);
    (harmless(&reason.text), words.english.text())
}

/// A name as it may stand in a message. Names come from users. Between backticks nothing is a
/// link, a mention or an emoji to Discord and Mattermost; to Slack that is so of all that lacks
/// its own signs, which are replaced by others that look alike.
fn quoted(name: &str) -> String {
    let name = harmless(name.trim());
    let mut short: String = name.chars().take(NAME_LENGTH).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    let shown = short.trim();
    format!("`{}`", if shown.is_empty() { "?" } else { shown })
}

/// Text on one line without the signs that chats take for markup, or that change what is seen.
fn harmless(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !matches!(*c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}')
        })
        .map(|c| match c {
            '<' => '‹',
            '>' => '›',
            '&' => '＆',
            '@' => '＠',
            '`' => '\'',
            '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// A gateway's URL without a user, a password, a query or a fragment.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return String::new();
    };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Whole seconds from one moment to another, none where the other is earlier.
fn seconds(from_ms: i64, to_ms: i64) -> i64 {
    let (from, to) = (Timestamp::from_ms(from_ms), Timestamp::from_ms(to_ms));
    to.ms_since(from).max(0) / 1000
}

/// A duration in its two largest units, which are written alike in both languages.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A moment as it is read in Brazil.
fn portuguese(ms: i64) -> String {
    let [year, month, day, hour, minute, _] = calendar(ms);
    format!("{day:02}/{month:02}/{year} {hour:02}:{minute:02} UTC")
}

/// A moment as nobody reads it wrongly elsewhere.
fn english(ms: i64) -> String {
    let [year, month, day, hour, minute, _] = calendar(ms);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// A moment in ISO 8601.
fn iso(ms: i64) -> String {
    let [year, month, day, hour, minute, second] = calendar(ms);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month, day, hour, minute and second (UTC) of a moment, so many milliseconds after the
/// Unix epoch.
fn calendar(ms: i64) -> [i64; 6] {
    let (days, second) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1000);
    // Counted from the first of March of the year 0, years end with their leap day.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    [
        year,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23 14:02:05 UTC.
    const SINCE_MS: i64 = 1_795_442_525_000;

    fn alert(kind: Kind) -> Alert {
        Alert {
            id: "1".to_owned(),
            kind,
            attempts: 0,
            organization_id: Some("org".to_owned()),
            instance_name: Some("loja".to_owned()),
            gateway_url: "https://gw.example".to_owned(),
            affected: None,
            since_ms: SINCE_MS,
            until_ms: (kind == Kind::Up).then_some(SINCE_MS + 3_900_000),
            reason: None,
        }
    }

    fn after_s(seconds: i64) -> Timestamp {
        Timestamp::from_ms(SINCE_MS + seconds * 1000)
    }

    #[test]
    fn a_drop_says_who_since_when_and_what_to_do() {
        let dropped = alert(Kind::Down);
        assert_eq!(
            text(&dropped, after_s(185)),
            "🔴 WhatsApp fora do ar: `loja` (organização `org`) desde 23/11/2026 14:02 UTC, há 3 \
             min. A conexão com o WhatsApp caiu; o gateway costuma reconectar sozinho; se isto durar, verifique o celular e o \
             gateway.\n\
             🔴 WhatsApp is down: `loja` (organization `org`) since 2026-11-23 14:02 UTC, 3 min \
             ago. The connection to WhatsApp was lost; the gateway usually reconnects by itself; if this lasts, look at the phone and \
             at the gateway."
        );
        let banned = Alert {
            reason: Some(PlainReason {
                code: "403".to_owned(),
                text: "O WhatsApp bloqueou este número.".to_owned(),
            }),
            organization_id: None,
            ..dropped
        };
        let lines = text(&banned, after_s(0));
        let (portuguese, english) = lines.split_once('\n').unwrap_or_default();
        assert!(portuguese.ends_with(
            "`loja` desde 23/11/2026 14:02 UTC, há 0 s. O WhatsApp bloqueou este número."
        ));
        assert!(english.ends_with("0 s ago. WhatsApp has banned this number; do not reconnect; look at the account on the phone."));
    }

    #[test]
    fn an_outage_of_a_gateway_is_told_once_for_all_its_instances() {
        let gateway = Alert {
            organization_id: None,
            instance_name: None,
            affected: Some(12),
            reason: Some(PlainReason {
                code: "connection_refused".to_owned(),
                text: "O gateway recusou a conexão; verifique se ele está no ar.".to_owned(),
            }),
            ..alert(Kind::Down)
        };
        assert_eq!(
            text(&gateway, after_s(60)),
            "🔴 WhatsApp fora do ar: o gateway `https://gw.example` (12 instâncias) desde 23/11/2026 \
             14:02 UTC, há 1 min. O gateway recusou a conexão; verifique se ele está no ar.\n\
             🔴 WhatsApp is down: the gateway `https://gw.example` (12 instances) since 2026-11-23 \
             14:02 UTC, 1 min ago. The gateway refused the connection; see whether it is up."
        );
    }

    #[test]
    fn a_return_says_how_long_it_took() {
        assert_eq!(
            text(&alert(Kind::Up), after_s(99_999)),
            "🟢 WhatsApp voltou: `loja` (organização `org`) em 23/11/2026 15:07 UTC, após 1 h 5 min \
             fora do ar (desde 23/11/2026 14:02 UTC).\n\
             🟢 WhatsApp is back: `loja` (organization `org`) at 2026-11-23 15:07 UTC, after 1 h 5 \
             min down (since 2026-11-23 14:02 UTC)."
        );
    }

    #[test]
    fn names_forge_no_markup_no_mention_and_no_line() {
        for (name, shown) in [
            ("<!channel>", "`‹!channel›`"),
            ("@everyone <@U1>", "`＠everyone ‹＠U1›`"),
            (
                "<https://evil.example|banco>",
                "`‹https://evil.example|banco›`",
            ),
            ("a` @here `b", "`a' ＠here 'b`"),
            ("x\n🟢 WhatsApp voltou\u{2028}y", "`x 🟢 WhatsApp voltou y`"),
            ("\u{202e}odasrever\u{200b}", "`odasrever`"),
            (" \u{200b} ", "`?`"),
            ("&lt;!here&gt;", "`＆lt;!here＆gt;`"),
        ] {
            assert_eq!(quoted(name), shown);
        }
        assert_eq!(quoted(&"é".repeat(100)), format!("`{}…`", "é".repeat(80)));
    }

    #[test]
    fn programs_get_the_facts_without_credentials() {
        let alert = Alert {
            gateway_url: "https://user:pass@gw.example:8080/api?key=1#x".to_owned(),
            ..alert(Kind::Up)
        };
        let body: serde_json::Value =
            serde_json::from_str(&body(&alert, after_s(0)).unwrap_or_default()).unwrap_or_default();
        assert_eq!(
            body["alert"],
            serde_json::json!({
                "id": "1",
                "kind": "up",
                "organization_id": "org",
                "instance_name": "loja",
                "gateway_url": "https://gw.example:8080/api",
                "since": "2026-11-23T14:02:05Z",
                "until": "2026-11-23T15:07:05Z",
                "duration_s": 3900,
                "reason": null,
            })
        );
    }

    #[test]
    fn every_day_has_its_date() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso(ms), expected);
        }
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(86_399), "23 h 59 min");
        assert_eq!(duration(200_000), "2 d 7 h");
    }
}
