//! Signing secrets: `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks wants them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::random::{NoRandom, random};

const PREFIX: &str = "whsec_";
/// Bytes of a secret made here.
const MADE: usize = 32;

/// A new secret.
///
/// # Errors
/// Where the operating system gives no random bytes.
pub(crate) fn generate() -> Result<SecretString, NoRandom> {
    let bytes = Zeroizing::new(random::<MADE>()?);
    Ok(format!("{PREFIX}{}", STANDARD.encode(*bytes)).into())
}

/// Reads a secret of the caller's; the error says what it must look like and never repeats it.
pub(crate) fn parse(text: &str) -> Result<SecretString, &'static str> {
    const WANTED: &str =
        "must be \"whsec_\" and base64 of 24 to 64 bytes, or \"generate\" to have one made and shown once";
    let encoded = text.strip_prefix(PREFIX).ok_or(WANTED)?;
    let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| WANTED)?);
    if (24..=64).contains(&bytes.len()) {
        Ok(text.to_owned().into())
    } else {
        Err(WANTED)
    }
}

/// A secret as it is stored: what it is and, for one that was replaced, until when it still signs.
#[derive(Debug, Clone)]
pub(crate) struct StoredSecret {
    pub(crate) secret: SecretString,
    /// Seconds since 1970.
    pub(crate) until: Option<i64>,
}

/// The text that is encrypted: a line a secret, newest first, `secret` or `secret until`.
pub(crate) fn to_text(secrets: &[StoredSecret]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    for StoredSecret { secret, until } in secrets {
        text.push_str(secret.expose_secret());
        if let Some(until) = until {
            text.push(' ');
            text.push_str(&until.to_string());
        }
        text.push('\n');
    }
    text
}

/// Reads what [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Result<Vec<StoredSecret>, &'static str> {
    text.lines()
        .map(|line| {
            let (secret, until) = match line.split_once(' ') {
                Some((secret, until)) => (
                    secret,
                    Some(until.parse().map_err(|_| "a stored secret's end is no number")?),
                ),
                None => (line, None),
            };
            Ok(StoredSecret {
                secret: secret.to_owned().into(),
                until,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_strictly_and_made_well() {
        let made = generate().unwrap();
        assert!(parse(made.expose_secret()).is_ok());
        assert_ne!(made.expose_secret(), generate().unwrap().expose_secret());
        assert!(parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        for no in [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_%%%%",
        ] {
            assert!(parse(no).is_err(), "{no}");
        }
    }

    #[test]
    fn stored_secrets_come_back() {
        let stored = [
            StoredSecret {
                secret: "whsec_a".to_owned().into(),
                until: None,
            },
            StoredSecret {
                secret: "whsec_b".to_owned().into(),
                until: Some(1_700_000_000),
            },
        ];
        let back = from_text(&to_text(&stored)).unwrap();
        assert_eq!(back.len(), 2);
        assert_eq!(back[0].secret.expose_secret(), "whsec_a");
        assert_eq!(back[1].until, Some(1_700_000_000));
        assert!(from_text("whsec_a x\n").is_err());
    }
}
