//! What the function's environment says.

use std::collections::BTreeMap;

use crate::gateway::address::{Reach, is_public_host};
use crate::web::fetch::is_header_value;

/// The settings that come with the deployment, as opposed to those in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The project's URL, without a slash at its end; empty where nothing names it.
    pub supabase_url: String,
    /// The key that opens the database; empty where nothing names it.
    pub service_key: String,
    /// Every key that a caller may present as the service's own.
    pub service_keys: Vec<String>,
    /// A trigger token beside those in the database.
    pub trigger_token: Option<String>,
    /// Whether the drill route exists. See [`crate::api`].
    pub drill: bool,
}

/// Where the project's URL stands; the first that is not empty wins.
const URL_NAMES: [&str; 3] = ["RENDIZY_SUPABASE_URL", "LOCAL_SUPABASE_URL", "SUPABASE_URL"];

/// Where a service key of one's own choice stands. Such a name is only set on purpose, so it wins
/// over what the platform sets.
const CHOSEN_KEY_NAMES: [&str; 4] = [
    "SERVICE_ROLE_KEY",
    "PRIVATE_SERVICE_ROLE_KEY",
    "RENDIZY_SERVICE_ROLE_KEY",
    "LOCAL_SERVICE_ROLE_KEY",
];

/// Bytes that a URL may have, as the database's settings take them.
const MAX_URL_BYTES: usize = 2048;

impl Environment {
    /// Reads the variables by their names.
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| {
            variables
                .get(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let mut platform_keys = secret_keys(get("SUPABASE_SECRET_KEYS").as_deref());
        platform_keys.extend(get("SUPABASE_SERVICE_ROLE_KEY"));
        let service_keys: Vec<String> = CHOSEN_KEY_NAMES
            .into_iter()
            .filter_map(get)
            .chain(platform_keys)
            .collect();
        Self {
            supabase_url: URL_NAMES
                .into_iter()
                .find_map(get)
                .map(|url| url.trim_end_matches('/').to_owned())
                .unwrap_or_default(),
            service_key: service_keys.first().cloned().unwrap_or_default(),
            service_keys,
            trigger_token: get("WHATSAPP_MONITOR_TOKEN"),
            drill: get("WHATSAPP_MONITOR_DRILL").as_deref() == Some("on"),
        }
    }

    /// The public URL of a path below the project's own; `None` where nothing names a project.
    pub fn public_url(&self, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.supabase_url);
        let plain = url.starts_with("http://") || url.starts_with("https://");
        (plain && is_header_value(&url) && url.len() <= MAX_URL_BYTES).then_some(url)
    }

    /// Where gateways may live. A project whose own URL is public is a hosted one; one that is
    /// reached at a private address (self-hosted, or on a developer's machine) may have its
    /// gateway next door.
    pub fn reach(&self) -> Reach {
        let host = self
            .supabase_url
            .split_once("://")
            .map_or("", |(_, rest)| rest)
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        if is_public_host(name) {
            Reach::Public
        } else {
            Reach::Any
        }
    }
}

/// The keys of `SUPABASE_SECRET_KEYS`, a JSON object; the one named "default" comes first.
fn secret_keys(json: Option<&str>) -> Vec<String> {
    let mut keys: BTreeMap<String, String> = json
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    keys.remove("default")
        .into_iter()
        .chain(keys.into_values())
        .filter(|key| !key.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(
            &variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn the_platforms_own_names_suffice() {
        let environment = environment(&[
            ("SUPABASE_URL", "https://abc.supabase.co/"),
            (
                "SUPABASE_SECRET_KEYS",
                r#"{"a":"sb_secret_a","default":"sb_secret_d"}"#,
            ),
            ("SUPABASE_SERVICE_ROLE_KEY", "eyJ"),
        ]);
        assert_eq!(environment.supabase_url, "https://abc.supabase.co");
        assert_eq!(environment.service_key, "sb_secret_d");
        assert_eq!(
            environment.service_keys,
            ["sb_secret_d", "sb_secret_a", "eyJ"]
        );
        assert_eq!(environment.reach(), Reach::Public);
        assert_eq!(environment.trigger_token, None);
    }

    #[test]
    fn names_set_on_purpose_win_and_empty_ones_do_not_count() {
        let environment = environment(&[
            ("RENDIZY_SUPABASE_URL", " "),
            ("LOCAL_SUPABASE_URL", "http://127.0.0.1:54321"),
            ("SUPABASE_URL", "https://abc.supabase.co"),
            ("SERVICE_ROLE_KEY", "chosen"),
            ("SUPABASE_SECRET_KEYS", "not json"),
            ("SUPABASE_SERVICE_ROLE_KEY", "platform"),
            ("WHATSAPP_MONITOR_TOKEN", ""),
        ]);
        assert_eq!(environment.supabase_url, "http://127.0.0.1:54321");
        assert_eq!(environment.service_key, "chosen");
        assert_eq!(environment.reach(), Reach::Any);
        assert_eq!(environment.trigger_token, None);
    }

    #[test]
    fn nothing_is_no_key() {
        assert_eq!(environment(&[]).service_keys, Vec::<String>::new());
        assert_eq!(
            environment(&[("SUPABASE_URL", "http://[::1]:8000")]).reach(),
            Reach::Any
        );
        assert_eq!(
            environment(&[("SUPABASE_URL", "http://kong:8000")]).reach(),
            Reach::Any
        );
    }
}
