//! What a caller asks to register, valid in every field before anything is stored.
//!
//! Required fields and types are checked first, then `authMethod`, `event` and `authData` in Nextcloud's order and with
//! its messages, then what Nextcloud lets pass and a delivery would fail on.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::advice;
use super::certificate::{self, CertificateChoice};
use super::fields::{Fields, invalid, kind, within};
use super::secret;
use super::target::{self, TargetPolicy};
use super::webhook::{EventPattern, Format, HttpMethod, InvalidField, Ordering};
use orw_filter::Filter;
use orw_model::EventClass;

/// What stands for a stored secret in answers; sent back by a client it means "as it was".
pub const MASK: &str = "***";

const LONGEST_USER: usize = 64;
const LONGEST_EVENT: usize = 255;
const MOST_HEADERS: usize = 64;
const LARGEST_HEADERS: usize = 16_384;

/// Paths into Nextcloud's own events. A filter that was written for those is answered with a plain "OK", as Nextcloud
/// does, although it matches no event of OpenRegister's; the log says so.
const NEXTCLOUDS_OWN: &str = "event.node";

/// Why a registration is refused: always the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there are {0} webhooks, and no more may be; remove one that is not needed first")]
    TooMany(i64),
    #[error(transparent)]
    Field(#[from] InvalidField),
    #[error("{0} is not an event class compatible with webhooks")]
    Event(String),
    #[error("This auth method does not exist")]
    AuthMethod,
    #[error("Header auth method needs an associative array of headers as auth data")]
    NoAuthData,
}

/// Headers by name, in the order given.
pub(crate) type Headers = Vec<(String, SecretString)>;

/// `authMethod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMethod {
    #[default]
    None,
    Header,
}

impl AuthMethod {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Header => "header",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "header" => Some(Self::Header),
            _ => None,
        }
    }
}

/// The signing secret that a request asks for.
#[derive(Debug, Clone)]
pub enum SecretChoice {
    Given(SecretString),
    Generate,
}

/// The fields that are ours; each only where the request sent it.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    pub format: Option<Format>,
    pub secret: Option<SecretChoice>,
    pub client_certificate: Option<CertificateChoice>,
    pub legacy_signature: Option<bool>,
    pub gap_events: Option<bool>,
    pub enabled: Option<bool>,
    pub per_second: Option<u32>,
    pub burst: Option<u32>,
    pub timeout: Option<Duration>,
    pub max_in_flight: Option<u32>,
    pub ordering: Option<Ordering>,
    pub max_attempts: Option<u32>,
    pub schedule: Option<Vec<Duration>>,
}

/// A request to register or update a webhook.
#[derive(Debug, Clone)]
pub struct Registration {
    pub method: HttpMethod,
    pub http_method: String,
    pub uri: String,
    pub target: Uri,
    pub event: EventPattern,
    pub event_filter: Value,
    pub user_id_filter: String,
    pub headers: Option<Headers>,
    pub auth_method: AuthMethod,
    pub auth_data: Option<Headers>,
    pub extras: Extras,
    /// What the caller should know; not an error.
    pub warnings: Vec<String>,
}

impl Registration {
    /// Reads a request's fields.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(fields: &Fields, policy: &dyn TargetPolicy) -> Result<Self, Refused> {
        let http_method = fields.required_text("httpMethod")?;
        let uri = fields.required_text("uri")?;
        let event = fields.required_text("event")?;
        let event_filter = fields.array("eventFilter")?;
        let user_id_filter = fields.text("userIdFilter")?.unwrap_or_default();
        let headers = fields.object("headers")?;
        let auth_method = fields.text("authMethod")?;
        let auth_data = fields.object("authData")?;

        let auth_method = auth_method
            .map_or(Some(AuthMethod::None), AuthMethod::parse)
            .ok_or(Refused::AuthMethod)?;
        let class = event.trim_start_matches('\\');
        let event = EventPattern::parse(event)
            .ok()
            .filter(|_| class.len() <= LONGEST_EVENT)
            .ok_or_else(|| Refused::Event(class.chars().take(LONGEST_EVENT).collect()))?;
        if auth_method == AuthMethod::Header && auth_data.is_none() {
            return Err(Refused::NoAuthData);
        }

        let method = HttpMethod::parse(&http_method.to_ascii_uppercase()).ok_or_else(|| {
            invalid(
                "httpMethod",
                format!("must be one of {}", HttpMethod::NAMES.join(", ")),
            )
        })?;
        let target = target::parse(uri).map_err(|reason| invalid("uri", reason))?;
        policy.check(&target).map_err(|reason| invalid("uri", reason))?;
        if user_id_filter.chars().count() > LONGEST_USER || user_id_filter.contains('\0') {
            return Err(invalid(
                "userIdFilter",
                format!("must be a user id of at most {LONGEST_USER} characters"),
            )
            .into());
        }
        let mut warnings = Vec::new();
        let (event_filter, asks_for_user) = filter(event_filter, event.classes(), &mut warnings)?;
        let headers = headers.map(|map| read_headers("headers", &map)).transpose()?;
        let auth_data = auth_data.map(|map| read_headers("authData", &map)).transpose()?;
        let extras = Extras::parse(fields)?;
        let shows_user = extras.format == Some(Format::Nextcloud);
        let asks_for_user = asks_for_user || !user_id_filter.is_empty();
        warnings.extend(advice::about_user(&event, asks_for_user, shows_user));
        if let Some(CertificateChoice::Given(certificate)) = &extras.client_certificate {
            certificate::check(certificate, &target, &mut warnings)?;
        }
        for (name, _) in headers.iter().chain(&auth_data).flatten() {
            if !can_be_sent(name) {
                // Not in the answer: Nextcloud's is plainly "OK" here.
                tracing::warn!(
                    header = name,
                    origin = target::origin(&target),
                    "a webhook is registered with a header that HTTP cannot carry"
                );
            }
        }
        Ok(Self {
            method,
            http_method: http_method.to_owned(),
            uri: uri.to_owned(),
            target,
            event,
            event_filter,
            user_id_filter: user_id_filter.to_owned(),
            headers,
            auth_method,
            auth_data,
            extras,
            warnings,
        })
    }
}

impl Extras {
    fn parse(fields: &Fields) -> Result<Self, Refused> {
        let rate = fields.nested("rateLimit")?.unwrap_or_default();
        let retry = fields.nested("retry")?.unwrap_or_default();
        let secret = match fields.text("secret")? {
            Some("generate") => Some(SecretChoice::Generate),
            _ => parse_secret(fields)?.map(SecretChoice::Given),
        };
        // `format=json` in a form body asks for the format of the answer, as in Nextcloud.
        let format = match fields.text("format")? {
            Some("json" | "xml") => None,
            _ => fields.one_of("format", Format::NAMES, Format::parse)?,
        };
        Ok(Self {
            format,
            secret,
            client_certificate: CertificateChoice::read(fields)?,
            legacy_signature: fields.boolean("legacySignature")?,
            gap_events: fields.boolean("gapEvents")?,
            enabled: fields.boolean("enabled")?,
            per_second: rate.number("perSecond", 1, 10_000).map_err(within("rateLimit"))?,
            burst: rate.number("burst", 1, 100_000).map_err(within("rateLimit"))?,
            timeout: fields
                .number("timeoutSeconds", 1, 300)?
                .map(|s| Duration::from_secs(s.into())),
            max_in_flight: fields.number("maxInFlight", 1, 512)?,
            ordering: fields.one_of("ordering", Ordering::NAMES, Ordering::parse)?,
            max_attempts: retry.number("maxAttempts", 1, 100).map_err(within("retry"))?,
            schedule: retry.delays("schedule", 50, 604_800).map_err(within("retry"))?,
        })
    }

    /// Whether the request sent any field of ours.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.format.is_some()
            || self.secret.is_some()
            || self.client_certificate.is_some()
            || self.legacy_signature.is_some()
            || self.gap_events.is_some()
            || self.enabled.is_some()
            || self.per_second.is_some()
            || self.burst.is_some()
            || self.timeout.is_some()
            || self.max_in_flight.is_some()
            || self.ordering.is_some()
            || self.max_attempts.is_some()
            || self.schedule.is_some()
    }
}

/// The field `secret`; `None` where it is absent or `generate`.
pub(crate) fn parse_secret(fields: &Fields) -> Result<Option<SecretString>, Refused> {
    match fields.text("secret")? {
        None | Some("generate") => Ok(None),
        Some(text) => Ok(Some(
            secret::parse(text).map_err(|reason| invalid("secret", reason))?,
        )),
    }
}

/// The filter, and whether it asks who did it.
fn filter(
    value: Option<&Value>,
    classes: &[EventClass],
    warnings: &mut Vec<String>,
) -> Result<(Value, bool), InvalidField> {
    let Some(value) = value else {
        return Ok((Value::Array(Vec::new()), false));
    };
    if value.to_string().len() > orw_filter::MAX_BYTES {
        return Err(invalid(
            "eventFilter",
            format!("must have at most {} bytes as JSON", orw_filter::MAX_BYTES),
        ));
    }
    let filter =
        Filter::parse_for(value, classes).map_err(|error| invalid("eventFilter", error.to_string()))?;
    for warning in filter.warnings() {
        if warning.starts_with(NEXTCLOUDS_OWN) {
            tracing::warn!(%warning, "a filter is registered that never matches");
        } else {
            warnings.push(format!("eventFilter: {warning}"));
        }
    }
    Ok((value.clone(), filter.needs().user()))
}

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

fn read_headers(field: &str, map: &Map<String, Value>) -> Result<Headers, InvalidField> {
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
    use super::super::target::AnyTarget;
    use super::*;
    use serde_json::json;

    fn parse(body: Value) -> Result<Registration, Refused> {
        let Value::Object(mut map) = body else {
            panic!("an object")
        };
        for (name, value) in [
            ("httpMethod", "POST"),
            ("uri", "https://example.com/webhook"),
            ("event", r"OCA\OpenRegister\Event\ObjectCreatedEvent"),
        ] {
            map.entry(name).or_insert_with(|| value.into());
        }
        Registration::parse(&Fields::json(map), &AnyTarget)
    }

    fn refused(body: Value) -> String {
        parse(body).unwrap_err().to_string()
    }

    #[test]
    fn what_nextcloud_takes_is_taken() {
        let r = parse(json!({"eventFilter": [], "httpMethod": "post", "authMethod": null})).unwrap();
        assert_eq!((r.http_method.as_str(), r.method), ("post", HttpMethod::Post));
        assert!(r.headers.is_none() && !r.extras.any());
        let r =
            parse(json!({"headers": {"X-Ü": "é", "X-N": 1}, "event": r"\\OCA\OpenRegister\Event\Object*"}))
                .unwrap();
        assert_eq!(r.headers.unwrap().len(), 2);
        assert_eq!(r.event.classes().len(), 6);
        assert_eq!(parse(json!({"headers": []})).unwrap().headers.unwrap().len(), 0);
    }

    #[test]
    fn faults_name_the_field_or_say_what_nextcloud_says() {
        assert_eq!(
            refused(json!({"event": "Foo\\Bar"})),
            "Foo\\Bar is not an event class compatible with webhooks"
        );
        assert_eq!(
            refused(json!({"authMethod": "basic"})),
            "This auth method does not exist"
        );
        assert_eq!(
            refused(json!({"authMethod": "header"})),
            "Header auth method needs an associative array of headers as auth data"
        );
        for (body, start) in [
            (json!({"uri": null}), "uri: is required"),
            (json!({"uri": 5}), "uri: must be a string, not a number"),
            (
                json!({"httpMethod": "BREW"}),
                "httpMethod: must be one of GET, POST",
            ),
            (
                json!({"eventFilter": "abc"}),
                "eventFilter: must be an object, not a string",
            ),
            (json!({"headers": ["X-A: 1"]}), "headers: must be an object"),
            (
                json!({"headers": {"X-A": "1\r\nX-B: 2"}}),
                "headers.X-A: must not contain line breaks",
            ),
            (
                json!({"headers": {"Host": "x"}}),
                "headers.Host: is set by the sender",
            ),
            (json!({"headers": {"": "x"}}), "headers.: is no name"),
            (
                json!({"userIdFilter": "x".repeat(65)}),
                "userIdFilter: must be a user id",
            ),
            (json!({"secret": "abc"}), "secret: must be \"whsec_\""),
            (
                json!({"rateLimit": {"perSecond": 0}}),
                "rateLimit.perSecond: must be a whole number from 1",
            ),
            (
                json!({"retry": {"schedule": [5, -1]}}),
                "retry.schedule[1]: must be a whole number",
            ),
            (json!({"enabled": "yes"}), "enabled: must be true or false"),
            (json!({"format": "csv"}), "format: must be one of documented"),
            (
                json!({"eventFilter": {"a": "x".repeat(70_000)}}),
                "eventFilter: must have at most",
            ),
        ] {
            let message = refused(body.clone());
            assert!(message.starts_with(start), "{body}: {message}");
        }
    }

    #[test]
    fn own_fields_are_read() {
        let e = parse(
            json!({"format": "cloudevents", "secret": "generate", "enabled": false, "ordering": "none",
            "rateLimit": {"perSecond": 5}, "timeoutSeconds": 3, "maxInFlight": 2,
            "retry": {"maxAttempts": 4, "schedule": [1, 2]}}),
        )
        .unwrap()
        .extras;
        assert_eq!(
            (e.format, e.enabled, e.per_second, e.burst),
            (Some(Format::CloudEvents), Some(false), Some(5), None)
        );
        assert_eq!(
            e.schedule,
            Some(vec![Duration::from_secs(1), Duration::from_secs(2)])
        );
        assert!(matches!(e.secret, Some(SecretChoice::Generate)));
    }

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
