//! Signatures of the [Standard Webhooks](https://www.standardwebhooks.com) specification.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the secret begins with.
const PREFIX: &str = "whsec_";

/// Signs messages with one key.
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer with the key that the secret holds; `None` where it holds none.
    pub fn new(secret: &str) -> Option<Self> {
        let key = Base64::decode_vec(secret.strip_prefix(PREFIX)?).ok()?;
        if key.is_empty() {
            return None;
        }
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    /// The header `webhook-signature` of a message; `id` and `timestamp_s` are its other two.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        for part in [id, ".", &timestamp_s.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specifications_own_libraries() {
        let signer =
            Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap_or_else(|| panic!());
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_not base64",
        ] {
            assert!(Signer::new(bad).is_none(), "{bad:?}");
        }
    }
}
