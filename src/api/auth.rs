//! Who is calling. Closed by default; wrong, missing and expired look alike.

use subtle::{Choice, ConstantTimeEq};

use super::Context;
use crate::environment::Environment;
use crate::store::tick::Caller;
use crate::web::crypto::{sha256, sha256_hex};

/// What a caller presents, by the door it comes through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// The header `x-monitor-token`.
    pub monitor_token: Option<String>,
    /// The header `Authorization`, as it is.
    pub authorization: Option<String>,
    /// The header `apikey`.
    pub apikey: Option<String>,
    /// The parameter `token` of the query, for services that cannot send headers.
    pub query_token: Option<String>,
}

impl Presented {
    /// What this request presents.
    pub fn by(context: &Context<'_>) -> Self {
        Self {
            monitor_token: context.header("x-monitor-token"),
            authorization: context.header("authorization"),
            apikey: context.header("apikey"),
            query_token: context.query("token"),
        }
    }

    fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.authorization.as_deref()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    }
}

/// Who the caller may be, or `None` where nothing it presents could open any door. Tokens are only
/// known to the database, which is asked about their digests; one of the wrong shape is not even
/// asked about.
pub fn identify(presented: &Presented, environment: &Environment) -> Option<Caller> {
    let bearer = presented.bearer();
    let keys = [presented.apikey.as_deref(), bearer];
    if keys
        .into_iter()
        .flatten()
        .any(|key| is_one_of(key, &environment.service_keys))
    {
        return Some(Caller::ServiceKey);
    }
    let tokens = [
        presented.monitor_token.as_deref(),
        bearer,
        presented.query_token.as_deref(),
    ];
    if let Some(expected) = &environment.trigger_token
        && tokens
            .into_iter()
            .flatten()
            .any(|token| is_one_of(token, std::slice::from_ref(expected)))
    {
        return Some(Caller::Environment);
    }
    let token_digests: Vec<String> = tokens
        .into_iter()
        .flatten()
        .filter(|token| has_the_shape_of_a_token(token))
        .map(digest)
        .collect();
    (!token_digests.is_empty()).then_some(Caller::Token { token_digests })
}

/// Compares digests, in a time that does not depend on the values.
fn is_one_of(presented: &str, expected: &[String]) -> bool {
    let presented = sha256(presented);
    expected
        .iter()
        .fold(Choice::from(0), |found, expected| {
            found | presented.ct_eq(&sha256(expected))
        })
        .into()
}

/// A token or a secret that the database made is 64 hex digits.
pub fn has_the_shape_of_a_token(token: &str) -> bool {
    token.len() == 64
        && token
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is known of a token where the token itself must not be: its SHA-256, in hex.
pub fn digest(token: &str) -> String {
    sha256_hex(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn environment() -> Environment {
        Environment {
            service_keys: vec!["sb_secret_one".to_owned(), "eyJlegacy".to_owned()],
            trigger_token: Some("from the environment".to_owned()),
            ..Environment::default()
        }
    }

    fn doors(value: &str) -> [(&'static str, Presented); 4] {
        let some = || Some(value.to_owned());
        let none = Presented::default;
        [
            (
                "x-monitor-token",
                Presented {
                    monitor_token: some(),
                    ..none()
                },
            ),
            (
                "bearer",
                Presented {
                    authorization: Some(format!("bearer {value}")),
                    ..none()
                },
            ),
            (
                "query",
                Presented {
                    query_token: some(),
                    ..none()
                },
            ),
            (
                "apikey",
                Presented {
                    apikey: some(),
                    ..none()
                },
            ),
        ]
    }

    #[test]
    fn each_secret_opens_its_own_doors() {
        for (value, expected, opens) in [
            (
                "sb_secret_one",
                Caller::ServiceKey,
                &["bearer", "apikey"][..],
            ),
            ("eyJlegacy", Caller::ServiceKey, &["bearer", "apikey"][..]),
            (
                "from the environment",
                Caller::Environment,
                &["x-monitor-token", "bearer", "query"][..],
            ),
            (
                TOKEN,
                Caller::Token {
                    token_digests: vec![digest(TOKEN)],
                },
                &["x-monitor-token", "bearer", "query"][..],
            ),
        ] {
            for (door, presented) in doors(value) {
                let caller = identify(&presented, &environment());
                let expected = opens.contains(&door).then(|| expected.clone());
                assert_eq!(caller, expected, "{value} at {door}");
            }
        }
    }

    #[test]
    fn what_has_the_wrong_shape_is_refused_unasked() {
        let upper = TOKEN.to_uppercase();
        for value in ["", " ", "sb_secret_two", &TOKEN[1..], &upper, "null"] {
            for (door, presented) in doors(value) {
                assert_eq!(
                    identify(&presented, &environment()),
                    None,
                    "{value:?} at {door}"
                );
            }
        }
        assert_eq!(identify(&Presented::default(), &environment()), None);
    }

    #[test]
    fn nothing_configured_opens_nothing() {
        for value in ["", "undefined", "sb_secret_one"] {
            for (door, presented) in doors(value) {
                assert_eq!(
                    identify(&presented, &Environment::default()),
                    None,
                    "{value:?} at {door}"
                );
            }
        }
    }

    #[test]
    fn an_anonymous_key_beside_the_token_does_no_harm() {
        let presented = Presented {
            monitor_token: Some(TOKEN.to_owned()),
            authorization: Some("Bearer sb_publishable_x".to_owned()),
            apikey: Some("sb_publishable_x".to_owned()),
            query_token: None,
        };
        assert!(matches!(
            identify(&presented, &environment()),
            Some(Caller::Token { .. })
        ));
    }
}
