//! The tokens of the page's forms, and the ids of browsers.
//!
//! Guarantee: a form is taken only from the browser and the user that it was shown to: its token is a keyed hash of both, and the browser's
//! id is in a cookie that no other site can cause to be sent.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use crate::random::{NoRandom, random};

/// Makes and checks tokens.
pub(crate) struct Tokens {
    key: [u8; 32],
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// With the master key, tokens are good for every process that has it, and after a restart.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub(crate) fn new(master_key: Option<&SecretString>) -> Result<Self, NoRandom> {
        let key = match master_key {
            Some(key) => keyed(b"openregister-webhooks page", &[key.expose_secret().as_bytes()])
                .finalize()
                .into_bytes()
                .into(),
            None => random()?,
        };
        Ok(Self { key })
    }

    /// The token of the forms that this user is shown in this browser.
    pub(crate) fn of(&self, browser: &str, user: &str) -> String {
        let hash = keyed(&self.key, &[browser.as_bytes(), user.as_bytes()]);
        BASE64URL_NOPAD.encode(&hash.finalize().into_bytes())
    }

    /// Whether a token is that of this user's forms in this browser; the time does not tell how much of it is right.
    pub(crate) fn fits(&self, token: &str, browser: &str, user: &str) -> bool {
        BASE64URL_NOPAD.decode(token.as_bytes()).is_ok_and(|given| {
            keyed(&self.key, &[browser.as_bytes(), user.as_bytes()])
                .verify_slice(&given)
                .is_ok()
        })
    }
}

/// A new id of a browser, or of a login.
///
/// # Errors
/// If the operating system gives no random bytes.
pub(crate) fn new_id() -> Result<String, NoRandom> {
    Ok(BASE64URL_NOPAD.encode(&random::<32>()?))
}

/// Whether a text looks like an id of ours.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 43 && BASE64URL_NOPAD.decode(text.as_bytes()).is_ok()
}

/// A keyed hash of parts, each with its length, so that no two lists of parts are the same.
fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_browser_and_its_user_only() {
        let key = SecretString::from("a master key");
        let tokens = Tokens::new(Some(&key)).unwrap();
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert!(is_id(&one) && one != other && !is_id("short") && !is_id(&"é".repeat(43)));
        let token = tokens.of(&one, "ann");
        assert!(tokens.fits(&token, &one, "ann"));
        assert!(!tokens.fits(&token, &other, "ann"));
        assert!(!tokens.fits(&token, &one, "bob"));
        assert!(!tokens.fits("", &one, "ann") && !tokens.fits(&token[1..], &one, "ann"));
        let again = Tokens::new(Some(&key)).unwrap();
        assert!(again.fits(&token, &one, "ann"));
        assert!(!Tokens::new(None).unwrap().fits(&token, &one, "ann"));
    }
}
