//! Signatures after Standard Webhooks (v1, HMAC-SHA256).
//!
//! Guarantees: a secret is decoded once for each signature and wiped afterwards; several secrets give several signatures, newest first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A signing secret that cannot be used. The message does not show the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is not base64, optionally after whsec_")]
pub struct BadSecret;

/// The value of `webhook-signature`: `v1,<base64>` for every secret, separated by spaces; empty without secrets.
///
/// # Errors
/// [`BadSecret`].
pub fn signatures(
    secrets: &[SecretString],
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> Result<String, BadSecret> {
    let mut all = String::new();
    for secret in secrets {
        let text = secret.expose_secret();
        let key = STANDARD
            .decode(text.strip_prefix("whsec_").unwrap_or(text))
            .map(Zeroizing::new)
            .map_err(|_| BadSecret)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| BadSecret)?;
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut all);
    }
    Ok(all)
}

/// The header of OpenRegister's own webhooks.
pub(crate) const LEGACY_HEADER: &str = "x-webhook-signature";

/// The value of `X-Webhook-Signature` as OpenRegister's manual documents it: HMAC-SHA256 of the body in lower-case hex.
/// The key is the secret's text as it is, with `whsec_`: receivers of OpenRegister's webhooks are set up with that. It covers neither id
/// nor time, so a receiver cannot notice a replay: `webhook-signature` is the better one.
///
/// # Errors
/// [`BadSecret`].
pub fn legacy_signature(secret: &SecretString, body: &[u8]) -> Result<String, BadSecret> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| BadSecret)?;
    mac.update(body);
    Ok(HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// Verifies `X-Webhook-Signature`.
///
/// # Errors
/// [`BadSignature::Wrong`].
pub fn verify_legacy(secret: &SecretString, given: &str, body: &[u8]) -> Result<(), BadSignature> {
    let expected = legacy_signature(secret, body)?;
    bool::from(given.as_bytes().ct_eq(expected.as_bytes()))
        .then_some(())
        .ok_or(BadSignature::Wrong)
}

/// How far a timestamp may be from now.
const TOLERANCE_SECONDS: i64 = 300;

/// Why a request is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("its webhook-timestamp is more than five minutes from now")]
    Stale,
    #[error("no signature matches: another secret, or the body was changed")]
    Wrong,
    #[error(transparent)]
    Secret(#[from] BadSecret),
}

/// Verifies a request as a receiver does: the values of its three headers (empty where missing) and its body.
///
/// # Errors
/// [`BadSignature`].
pub fn verify(
    secret: &SecretString,
    (id, timestamp, given): (&str, &str, &str),
    body: &[u8],
    now: i64,
) -> Result<(), BadSignature> {
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", given),
    ] {
        if value.is_empty() {
            return Err(BadSignature::Missing(name));
        }
    }
    let at: i64 = timestamp.parse().map_err(|_| BadSignature::Stale)?;
    if now.abs_diff(at) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(BadSignature::Stale);
    }
    let expected = signatures(std::slice::from_ref(secret), id, at, body)?;
    let matches = |one: &str| bool::from(one.as_bytes().ct_eq(expected.as_bytes()));
    given
        .split(' ')
        .any(matches)
        .then_some(())
        .ok_or(BadSignature::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_published_vector() {
        let signed = signatures(&[SecretString::from(SECRET)], ID, 1_614_265_330, BODY);
        assert_eq!(
            signed.as_deref(),
            Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn either_secret_verifies_during_a_rotation() {
        let newer = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let now = chrono::Utc::now().timestamp();
        let signed = signatures(
            &[SecretString::from(newer), SecretString::from(SECRET)],
            ID,
            now,
            BODY,
        )
        .unwrap();
        for secret in [newer, SECRET] {
            let mut headers = hyper::HeaderMap::new();
            headers.insert("webhook-id", ID.parse().unwrap());
            headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
            headers.insert("webhook-signature", signed.parse().unwrap());
            let theirs = standardwebhooks::Webhook::new(secret).unwrap();
            theirs.verify(BODY, &headers).unwrap();
            assert!(theirs.verify(b"{}", &headers).is_err());
        }
    }

    #[test]
    fn the_legacy_signature_is_what_php_makes() {
        // php -r 'echo hash_hmac("sha256", "{\"test\": 2432232314}", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");'
        let secret = SecretString::from(SECRET);
        let signed = legacy_signature(&secret, BODY).unwrap();
        assert_eq!(
            signed,
            "80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"
        );
        assert_eq!(verify_legacy(&secret, &signed, BODY), Ok(()));
        assert_eq!(verify_legacy(&secret, &signed, b"{}"), Err(BadSignature::Wrong));
        assert_eq!(verify_legacy(&secret, "", BODY), Err(BadSignature::Wrong));
    }

    #[test]
    fn a_bad_secret_is_said_without_showing_it() {
        let error = signatures(&[SecretString::from("whsec_§§§")], ID, 0, BODY).unwrap_err();
        assert!(!error.to_string().contains('§'));
    }

    #[test]
    fn a_receiver_believes_what_is_signed_and_fresh() {
        let secret = SecretString::from(SECRET);
        let signed = "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |signature, body, now| verify(&secret, (ID, "1614265330", signature), body, now);
        assert_eq!(check(signed, BODY, 1_614_265_331), Ok(()));
        assert_eq!(check(signed, BODY, 1_614_265_931), Err(BadSignature::Stale));
        assert_eq!(check(signed, b"{}", 1_614_265_331), Err(BadSignature::Wrong));
        assert_eq!(check("v1,AAAA", BODY, 1_614_265_331), Err(BadSignature::Wrong));
        let missing = Err(BadSignature::Missing("webhook-signature"));
        assert_eq!(check("", BODY, 1_614_265_331), missing);
    }
}
