//! The token of `authMethod: jwt`: HS256, with the claims that the Autorisaties API of VNG and Open Notificaties read.
//!
//! Guarantee: a token is made for one request and is valid for five minutes.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::Sha256;

use crate::registry::JwtCredentials;

/// How long before now a token says it was made: a receiver whose clock is behind refuses one from its future.
const BEFORE: i64 = 30;
/// How long it is valid from then on, in seconds.
const VALID: i64 = 300;

/// The value of `Authorization`.
pub(super) fn bearer(credentials: &JwtCredentials, now: DateTime<Utc>) -> SecretString {
    let issued = now.timestamp() - BEFORE;
    let header = json!({"alg": "HS256", "typ": "JWT", "client_identifier": credentials.client_id});
    let claims = json!({
        "iss": credentials.client_id,
        "iat": issued,
        "exp": issued + VALID,
        "client_id": credentials.client_id,
        "user_id": credentials.user_id.as_deref().unwrap_or(&credentials.client_id),
        "user_representation": credentials.user_representation.as_deref().unwrap_or("openregister-webhooks"),
    });
    let encode = |part: &serde_json::Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    #[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(credentials.secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of every length");
    mac.update(signed.as_bytes());
    let signature = BASE64URL_NOPAD.encode(&mac.finalize().into_bytes());
    format!("Bearer {signed}.{signature}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_and_short_lived() {
        let credentials = JwtCredentials {
            client_id: "openregister".into(),
            secret: "geheim".to_owned().into(),
            user_id: None,
            user_representation: None,
        };
        let now = DateTime::from_timestamp(1_705_314_900, 0).unwrap();
        let value = bearer(&credentials, now);
        let token = value.expose_secret().strip_prefix("Bearer ").unwrap();
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts: {token}")
        };
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(
            read(header),
            json!({"alg": "HS256", "typ": "JWT", "client_identifier": "openregister"})
        );
        assert_eq!(
            read(claims),
            json!({"iss": "openregister", "iat": 1_705_314_870, "exp": 1_705_315_170, "client_id": "openregister",
                "user_id": "openregister", "user_representation": "openregister-webhooks"})
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(b"geheim").unwrap();
        mac.update(format!("{header}.{claims}").as_bytes());
        mac.verify_slice(&BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap())
            .unwrap();
    }
}
