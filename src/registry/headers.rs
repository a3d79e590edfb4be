//! The headers that a registration sends (`headers` and `authData`), and which of their values are shown to nobody.

use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::fields::{InvalidField, invalid, kind};

/// What stands for a stored secret in answers; sent back by a client it means "as it was".
pub const MASK: &str = "***";

const MOST_HEADERS: usize = 64;
const LARGEST_HEADERS: usize = 16_384;

/// Headers by name, in the order given.
pub(crate) type Headers = Vec<(String, SecretString)>;

/// Headers that would break the request or its signature if a registration set them.
const OURS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

pub(super) fn read_headers(field: &str, map: &Map<String, Value>) -> Result<Headers, InvalidField> {
    if map.len() > MOST_HEADERS {
        return Err(invalid(
            field,
            format!("must have at most {MOST_HEADERS} entries"),
        ));
    }
    let mut size = 0;
    let mut headers = Vec::with_capacity(map.len());
    for (name, value) in map {
        let at = || format!("{field}.{name}");
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return Err(invalid(at(), format!("must be a string, not {}", kind(other)))),
        };
        if name.is_empty()
            || name
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || c == ':')
        {
            return Err(invalid(at(), "is no name of a header"));
        }
        if OURS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(invalid(at(), "is set by the sender and cannot be registered"));
        }
        if HeaderValue::from_str(&text).is_err() && HeaderValue::from_bytes(text.as_bytes()).is_err() {
            return Err(invalid(
                at(),
                "must not contain line breaks or other control characters",
            ));
        }
        size += name.len() + text.len();
        headers.push((name.clone(), SecretString::from(text)));
    }
    if size > LARGEST_HEADERS {
        return Err(invalid(
            field,
            format!("must have at most {LARGEST_HEADERS} bytes"),
        ));
    }
    Ok(headers)
}

/// Whether HTTP allows this name: Nextcloud's API takes others too, and they cannot be sent.
#[must_use]
pub fn can_be_sent(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Whether a header's value is likely to be a credential, so that answers show [`MASK`] in its place.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    const WORDS: [&str; 9] = [
        "auth",
        "cookie",
        "credential",
        "key",
        "passw",
        "secret",
        "session",
        "signature",
        "token",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Puts the stored value where the request sent back the mask that it was shown.
pub(crate) fn unmask(sent: &mut Headers, stored: Option<&Headers>) {
    for (name, value) in sent {
        if value.expose_secret() == MASK
            && let Some((_, kept)) = stored.into_iter().flatten().find(|(n, _)| n == name)
        {
            *value = kept.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_comes_back_keeps_what_is_stored() {
        let stored: Headers = vec![("X-Token".into(), "abc".to_owned().into())];
        let mut sent: Headers = vec![
            ("X-Token".into(), MASK.to_owned().into()),
            ("X-Other".into(), MASK.to_owned().into()),
        ];
        unmask(&mut sent, Some(&stored));
        assert_eq!(sent[0].1.expose_secret(), "abc");
        assert_eq!(sent[1].1.expose_secret(), MASK);
        assert!(looks_secret("X-Api-Key") && looks_secret("Authorization") && !looks_secret("X-A"));
    }
}
