//! What a caller asks to register, valid in every field before anything is stored.
//!
//! Required fields and types are checked first, then `authMethod`, `event` and `authData` in Nextcloud's order and with
//! its messages, then what Nextcloud lets pass and a delivery would fail on.

use hyper::Uri;
use serde_json::Value;

use super::advice;
use super::certificate::{self, CertificateChoice};
use super::error::Refused;
use super::event_pattern::{self, EventPattern};
use super::extras::Extras;
use super::fields::{Fields, InvalidField, invalid};
use super::handshake::{HandshakeChoice, HandshakeWish};
use super::headers::{Headers, can_be_sent, read_headers};
use super::jwt;
use super::target::{self, TargetPolicy};
use super::token_needed;
use super::webhook::{AuthMethod, HttpMethod, Webhook};
use orw_egress::ClientCertificate;
use orw_filter::Filter;
use orw_model::EventClass;

const LONGEST_USER: usize = 64;
const LONGEST_EVENT: usize = 255;

/// Paths into Nextcloud's own events. A filter that was written for those is answered with a plain "OK", as Nextcloud
/// does, although it matches no event of OpenRegister's; the log says so.
const NEXTCLOUDS_OWN: &str = "event.node";

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
    /// `tokenNeeded` of Nextcloud 33 and later.
    pub token_needed: Value,
    /// Whether the request named that field.
    pub names_token_needed: bool,
    pub extras: Extras,
    /// What the caller should know; not an error.
    pub warnings: Vec<String>,
}

impl Registration {
    /// What the receiver has to be asked before this is saved, if `stored` is the webhook that it changes: what the request
    /// says, or what was said before if the target is another one now.
    #[must_use]
    pub fn wish(&self, stored: Option<&Webhook>) -> Option<HandshakeWish> {
        match &self.extras.handshake {
            Some(HandshakeChoice::Ask(wish)) => Some(wish.clone()),
            Some(HandshakeChoice::Made(_) | HandshakeChoice::Remove) => None,
            None => {
                let webhook = stored?;
                let made = webhook.handshake.as_ref()?;
                let enables = self.extras.enabled == Some(true) && !webhook.collects();
                let asks = webhook.target != self.target || (enables && made.is_due(chrono::Utc::now()));
                asks.then(|| made.wish.clone())
            }
        }
    }

    /// The client certificate that requests will have.
    #[must_use]
    pub fn certificate<'a>(&'a self, stored: Option<&'a Webhook>) -> Option<&'a ClientCertificate> {
        match &self.extras.client_certificate {
            Some(CertificateChoice::Given(certificate)) => Some(&**certificate),
            Some(CertificateChoice::Remove) => None,
            Some(CertificateChoice::Keep) | None => stored?.client_certificate.as_deref(),
        }
    }

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
            .ok_or_else(|| match event_pattern::why_not(class) {
                Some(reason) => Refused::Field(invalid("event", reason)),
                None => Refused::Event(class.chars().take(LONGEST_EVENT).collect()),
            })?;
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
        let auth_data = match (auth_method, auth_data) {
            (AuthMethod::Jwt, map) => Some(jwt::read("authData", &map.unwrap_or_default())?),
            (_, map) => map.map(|map| read_headers("authData", &map)).transpose()?,
        };
        let token_needed = token_needed::read(fields)?;
        let extras = Extras::parse(fields)?;
        let shows_user = extras.show_user();
        let asks_for_user = asks_for_user || !user_id_filter.is_empty();
        warnings.extend(advice::about_user(&event, asks_for_user, shows_user));
        if let Some(CertificateChoice::Given(certificate)) = &extras.client_certificate {
            certificate::check(certificate, &target, &mut warnings)?;
        }
        let credentials = auth_data.as_ref().filter(|_| auth_method == AuthMethod::Header);
        for (name, _) in headers.iter().chain(credentials).flatten() {
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
            token_needed,
            names_token_needed: fields.get("tokenNeeded").is_some(),
            extras,
            warnings,
        })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::format::Format;

    use serde_json::json;

    use super::super::extras::SecretChoice;
    use super::super::target::AnyTarget;
    use super::*;

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
            (
                json!({"event": r"OCA\OpenRegister\Event\ObjectsMergedEvent"}),
                r"event: a webhook cannot get OCA\OpenRegister\Event\ObjectsMergedEvent. No captured row says",
            ),
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
                json!({"dataMode": "none"}),
                "dataMode: must be one of full, reference",
            ),
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
}
