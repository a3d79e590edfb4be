//! Who sends CloudEvents: the attribute `source`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// OpenRegister, as its own CloudEvents say.
const DEFAULT: &str = "/apps/openregister";
const OIN_DIGITS: usize = 20;
const LONGEST: usize = 255;
/// What is encoded of a system's name in a URN.
const IN_URN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Who sends CloudEvents, by the settings `ORW_OIN` and `ORW_EVENT_SOURCE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventSource {
    /// The organisation's number.
    pub oin: Option<String>,
    /// The system.
    pub name: Option<String>,
}

impl EventSource {
    /// An organisatie-identificatienummer: 20 digits.
    ///
    /// # Errors
    /// What it must look like.
    pub fn parse_oin(text: &str) -> Result<String, String> {
        if text.len() == OIN_DIGITS && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(text.to_owned())
        } else {
            Err(format!("must be an OIN: {OIN_DIGITS} digits"))
        }
    }

    /// The name of the system that events come from, which is a URI reference, too.
    ///
    /// # Errors
    /// What it must look like.
    pub fn parse_name(text: &str) -> Result<String, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&b);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(text.to_owned())
        } else {
            Err(format!(
                "must be a name or URI of 1 to {LONGEST} letters, digits and -._~:/?#[]@!$&'()*+,;="
            ))
        }
    }

    /// `source` in the format `cloudevents`.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT)
    }

    /// `source` as the NL GOV profile wants it; `None` unless both settings are there.
    #[must_use]
    pub fn urn(&self) -> Option<String> {
        let (oin, name) = (self.oin.as_ref()?, self.name.as_ref()?);
        Some(format!(
            "urn:nld:oin:{oin}:systeem:{}",
            utf8_percent_encode(name, IN_URN)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_uri_or_the_urn_of_the_profile() {
        let mut source = EventSource::default();
        assert_eq!((source.uri(), source.urn()), ("/apps/openregister", None));
        source.name = Some(EventSource::parse_name("zaken/acc").unwrap());
        assert_eq!((source.uri(), source.urn()), ("zaken/acc", None));
        source.oin = Some(EventSource::parse_oin("00000001823288444000").unwrap());
        assert_eq!(
            source.urn().as_deref(),
            Some("urn:nld:oin:00000001823288444000:systeem:zaken%2Facc")
        );
        for wrong in ["", "1", "0000000182328844400x", "000000018232884440001"] {
            assert!(EventSource::parse_oin(wrong).is_err(), "{wrong}");
        }
        assert!(EventSource::parse_name("a b").is_err() && EventSource::parse_name("ü").is_err());
    }
}
