//! The field `handshake`: whether a receiver is asked first if it wants requests, and what it answered.
//!
//! It is the abuse protection of the CloudEvents "HTTP 1.1 Web Hooks for Event Delivery" 1.0, which the NL GOV profile's webhook guideline
//! takes over.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::fields::{Fields, InvalidField, invalid, within};

const FIELD: &str = "handshake";
const KNOWN: [&str; 6] = [
    "origin",
    "ratePerMinute",
    "allowedRate",
    "allowedAt",
    "refusedSince",
    "refusal",
];
/// How long a permission counts before the receiver is asked again.
const RENEW_AFTER: TimeDelta = TimeDelta::days(1);
/// How long a receiver must keep refusing until that counts as a withdrawal.
const WITHDRAWN_AFTER: TimeDelta = TimeDelta::hours(1);
const FASTEST: u32 = 600_000;
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// What a receiver is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeWish {
    /// A DNS name that stands for everything that sends on behalf of this system.
    pub origin: String,
    /// Requests per minute.
    pub rate: Option<u32>,
}

/// What a receiver has allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    pub wish: HandshakeWish,
    /// Requests per minute; `None` if there is no limit.
    pub allowed_rate: Option<u32>,
    pub allowed_at: DateTime<Utc>,
    /// Since then it refuses what it allowed.
    pub refusal: Option<Refusal>,
}

/// A receiver that was asked again no longer allows what it allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub since: DateTime<Utc>,
    /// What its last refusal was, in words.
    pub reason: String,
}

/// What a request says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeChoice {
    /// The receiver has to be asked before this is saved.
    Ask(HandshakeWish),
    /// It was asked, and allows it.
    Made(Handshake),
    Remove,
}

impl HandshakeChoice {
    /// The field: an object with at least `origin`; an empty one to have no handshake.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, InvalidField> {
        let Some(given) = fields.nested(FIELD)? else {
            return Ok(None);
        };
        if given.is_empty() {
            return Ok(Some(Self::Remove));
        }
        // What an answer showed may come back.
        given.only(&KNOWN).map_err(within(FIELD))?;
        let origin = given.text("origin").map_err(within(FIELD))?.unwrap_or_default();
        if !is_dns_name(origin) {
            return Err(invalid(
                format!("{FIELD}.origin"),
                "must be a DNS name that stands for this sender, such as events.gemeente.example",
            ));
        }
        Ok(Some(Self::Ask(HandshakeWish {
            origin: origin.to_ascii_lowercase(),
            rate: given.number("ratePerMinute", 1, FASTEST).map_err(within(FIELD))?,
        })))
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= LONGEST_NAME && name.contains('.') && name.split('.').all(label)
}

impl Handshake {
    /// Whether the receiver is to be asked again: the permission is older than a day, or was refused since.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.refusal.is_some() || self.allowed_at + RENEW_AFTER <= now
    }

    /// The same after a refusal. What was allowed still counts.
    #[must_use]
    pub fn refused(&self, reason: String, now: DateTime<Utc>) -> Self {
        let since = self.refusal.as_ref().map_or(now, |before| before.since);
        Self {
            refusal: Some(Refusal { since, reason }),
            ..self.clone()
        }
    }

    /// Why the permission no longer counts, if the receiver has refused for long enough.
    #[must_use]
    pub fn withdrawn(&self, now: DateTime<Utc>) -> Option<&str> {
        let refusal = self.refusal.as_ref()?;
        (refusal.since + WITHDRAWN_AFTER <= now).then_some(&*refusal.reason)
    }

    /// As answers show it.
    pub(super) fn shown(&self) -> Value {
        json!({
            "origin": self.wish.origin,
            "ratePerMinute": self.wish.rate,
            "allowedRate": self.allowed_rate,
            "allowedAt": self.allowed_at.to_rfc3339(),
            "refusedSince": self.refusal.as_ref().map(|refusal| refusal.since.to_rfc3339()),
            "refusal": self.refusal.as_ref().map(|refusal| &refusal.reason),
        })
    }

    /// Reads what is stored: the text of [`Self::shown`].
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let fields = orw_model::json::parse_object(text).map_err(|error| error.to_string())?;
        let at = fields
            .get("allowedAt")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let allowed_at = DateTime::parse_from_rfc3339(at).map_err(|error| format!("allowedAt: {error}"))?;
        let refusal = match fields.get("refusedSince").and_then(Value::as_str) {
            None => None,
            Some(since) => Some(Refusal {
                since: DateTime::parse_from_rfc3339(since)
                    .map_err(|error| format!("refusedSince: {error}"))?
                    .to_utc(),
                reason: fields
                    .get("refusal")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            }),
        };
        let fields = Fields::json([(FIELD.to_owned(), Value::Object(fields))].into_iter().collect());
        let Some(HandshakeChoice::Ask(wish)) =
            HandshakeChoice::read(&fields).map_err(|error| error.to_string())?
        else {
            return Err("has no origin".to_owned());
        };
        let given = fields
            .nested(FIELD)
            .map_err(|error| error.to_string())?
            .unwrap_or_default();
        Ok(Self {
            wish,
            allowed_rate: given
                .number("allowedRate", 1, u32::MAX)
                .map_err(|error| error.to_string())?,
            allowed_at: allowed_at.to_utc(),
            refusal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Option<HandshakeChoice>, String> {
        let fields = Fields::json([(FIELD.to_owned(), value)].into_iter().collect());
        HandshakeChoice::read(&fields).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_stored_and_shown_comes_back() {
        let made = Handshake {
            wish: HandshakeWish {
                origin: "events.example".to_owned(),
                rate: Some(120),
            },
            allowed_rate: Some(30),
            allowed_at: DateTime::from_timestamp(1_705_314_900, 0).unwrap(),
            refusal: None,
        };
        let later = |minutes| made.allowed_at + TimeDelta::minutes(minutes);
        assert!(!made.is_due(later(1_439)) && made.is_due(later(1_440)));
        let once = made.refused("first".to_owned(), later(1_440));
        assert_eq!(Handshake::from_text(&once.shown().to_string()), Ok(once.clone()));
        assert!(once.is_due(later(1_440)) && once.withdrawn(later(1_499)).is_none());
        let again = once.refused("second".to_owned(), later(1_500));
        assert_eq!(again.withdrawn(later(1_500)), Some("second"));
        assert_eq!(Handshake::from_text(&made.shown().to_string()), Ok(made.clone()));
        assert_eq!(read(made.shown()), Ok(Some(HandshakeChoice::Ask(made.wish))));
        assert_eq!(read(json!({})), Ok(Some(HandshakeChoice::Remove)));
        for wrong in [
            json!({"origin": "nobody"}),
            json!({"origin": "a b.nl"}),
            json!({"origin": "-a.nl"}),
            json!({"ratePerMinute": 5}),
            json!({"origin": "a.nl", "rate": 5}),
            json!({"origin": "a.nl", "ratePerMinute": 0}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
