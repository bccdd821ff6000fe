//! Who triggers, by what they send. Nothing of it is kept but the name on this list.

use super::Context;
use crate::store::ledger::Source;

/// What a request's headers tell about its sender.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The header `X-Client-Info`, by which Supabase's clients name themselves.
    pub client_info: Option<String>,
}

impl Sent {
    /// What this request tells.
    pub fn by(context: &Context<'_>) -> Self {
        Self {
            user_agent: context.header("user-agent"),
            client_info: context.header("x-client-info"),
        }
    }
}

/// The services whose `User-Agent` holds their name, in lower case:
///
/// - `pg_net/0.20.4`
/// - `Mozilla/4.0 (compatible; cron-job.org; http://cron-job.org/abuse/)`
/// - `Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)`
/// - `EasyCron/1.0 (https://www.easycron.com/)`
const SERVICES: [(&str, Source); 4] = [
    ("pg_net/", Source::PgCron),
    ("cron-job.org", Source::CronJobOrg),
    ("uptimerobot", Source::Uptimerobot),
    ("easycron", Source::Easycron),
];

/// How the `User-Agent` of what people use begins, in lower case.
const TOOLS: [&str; 6] = [
    "mozilla/",
    "curl/",
    "wget/",
    "httpie/",
    "postmanruntime/",
    "insomnia/",
];

/// Who has sent this: whoever the `word` in its body says, where that is on the list, or whoever its
/// headers point to.
pub fn source(sent: &Sent, word: Option<&str>) -> Source {
    if let Some(source) = word.and_then(Source::parse) {
        return source;
    }
    let agent = sent.user_agent.as_deref().unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    if let Some((_, source)) = SERVICES.iter().find(|(name, _)| agent.contains(name)) {
        return *source;
    }
    // A program that calls itself compatible with a browser is none.
    let tool = TOOLS.iter().any(|tool| agent.starts_with(tool)) && !agent.contains("(compatible;");
    let client = sent
        .client_info
        .as_deref()
        .is_some_and(|info| info.starts_with("supabase-"));
    if tool || client {
        Source::Person
    } else {
        Source::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(user_agent: &str) -> Sent {
        Sent {
            user_agent: Some(user_agent.to_owned()),
            client_info: None,
        }
    }

    fn by_agent(user_agent: &str) -> Source {
        source(&sent(user_agent), None)
    }

    #[test]
    fn services_are_known_by_their_name() {
        for (agent, expected) in [
            ("pg_net/0.20.4", Source::PgCron),
            (
                "Mozilla/4.0 (compatible; cron-job.org; http://cron-job.org/abuse/)",
                Source::CronJobOrg,
            ),
            (
                "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
                Source::Uptimerobot,
            ),
            ("EasyCron/1.0 (https://www.easycron.com/)", Source::Easycron),
        ] {
            assert_eq!(by_agent(agent), expected, "{agent}");
        }
    }

    #[test]
    fn people_use_browsers_terminals_and_supabases_clients() {
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
            "curl/8.5.0",
            "Wget/1.24.5",
            "PostmanRuntime/7.43.0",
        ] {
            assert_eq!(by_agent(agent), Source::Person, "{agent}");
        }
        let client = Sent {
            client_info: Some("supabase-js-node/2.84.0".to_owned()),
            ..sent("node")
        };
        assert_eq!(source(&client, None), Source::Person);
    }

    #[test]
    fn whatever_else_comes_is_other() {
        for agent in [
            "",
            "node",
            "Deno/2.1.4",
            "python-requests/2.32",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "xcurl/8",
            "\u{fffd}",
        ] {
            assert_eq!(by_agent(agent), Source::Other, "{agent:?}");
        }
        assert_eq!(source(&Sent::default(), None), Source::Other);
    }

    #[test]
    fn a_word_on_the_list_wins_and_no_other_does() {
        let curl = sent("curl/8.5.0");
        for expected in Source::ALL {
            assert_eq!(source(&curl, Some(expected.name())), expected);
            let json = serde_json::to_value(expected).unwrap_or_default();
            assert_eq!(json, expected.name(), "sent by the name that is read");
        }
        for word in ["", "PG_CRON", "pg_cron ", "root", "'; drop table"] {
            assert_eq!(source(&curl, Some(word)), Source::Person, "{word:?}");
        }
    }
}
