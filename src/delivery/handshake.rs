//! Asks a receiver whether it wants requests: the validation of the CloudEvents "HTTP 1.1 Web Hooks for Event Delivery" 1.0.
//!
//! Guarantees: only headers count as consent, never a status; the request carries no credentials and no event; a rate that the
//! receiver sets bounds what is sent to it.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use orw_egress::{Client, ClientCertificate};

use super::request::{AGENT, REQUEST_ORIGIN};
use crate::registry::{
    Caller, Changed, Handshake, HandshakeChoice, HandshakeWish, Registration, Registry, RegistryError,
    Status, Webhook, WebhookId,
};

const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
/// How long a receiver may take to answer: at a registration that names no timeout of its own, and at most whenever it is asked again.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It answered, and does not allow requests from here.
    #[error("{0}")]
    Refused(String),
    /// It answered without a permission, and in a way that says nothing about what it allows: it is out of order, overloaded or moved.
    #[error("{0}")]
    Unclear(String),
    /// There was no answer, which says nothing about what it allows.
    #[error("the receiver could not be asked whether it wants requests: {0}")]
    Silent(String),
}

/// Asks the receiver at `target`.
///
/// # Errors
/// If it does not allow it, or does not answer.
pub async fn ask(
    client: &Client,
    target: &Uri,
    certificate: Option<&ClientCertificate>,
    wish: &HandshakeWish,
    timeout: Duration,
) -> Result<Handshake, HandshakeError> {
    let request = request(target, wish).map_err(|error| HandshakeError::Silent(error.to_string()))?;
    let answer = client
        .send(request, certificate, timeout)
        .await
        .map_err(|error| HandshakeError::Silent(crate::error_text::chain(&error)))?;
    let status = answer.status.as_u16();
    let allowed_rate = permission(status, &answer.headers, wish).map_err(|reason| match status {
        200..=299 | 403 | 405 | 410 => HandshakeError::Refused(reason),
        _ => HandshakeError::Unclear(reason),
    })?;
    Ok(Handshake {
        wish: wish.clone(),
        allowed_rate,
        allowed_at: Utc::now(),
        refusal: None,
    })
}

/// Asks the receiver if `registration` wants that, before it is saved; `stored` is the webhook that it changes. The answer goes into the
/// registration.
///
/// # Errors
/// If the receiver does not allow it, or does not answer: then nothing may be saved.
pub async fn before_saving(
    client: &Client,
    registration: &mut Registration,
    stored: Option<&Webhook>,
) -> Result<(), HandshakeError> {
    if let Some(wish) = registration.wish(stored) {
        let certificate = registration.certificate(stored);
        let stored = stored.map(|webhook| webhook.limits.timeout);
        let timeout = registration.extras.timeout.or(stored).unwrap_or(TIMEOUT);
        let made = ask(client, &registration.target, certificate, &wish, timeout).await?;
        registration.extras.handshake = Some(HandshakeChoice::Made(made));
    }
    Ok(())
}

/// Enables or resumes a webhook, after its receiver was asked if that is due.
///
/// # Errors
/// [`EnableError`]; then nothing is changed.
pub async fn enable(
    client: &Client,
    registry: &Registry,
    by: &Caller,
    id: WebhookId,
) -> Result<Changed, EnableError> {
    let snapshot = registry.refresh().await?;
    let made = match snapshot.get(id) {
        Some(webhook) if webhook.status != Status::Enabled => before_enabling(client, webhook)
            .await?
            .map(|made| (webhook.revision, made)),
        _ => None,
    };
    Ok(registry.enable(by, id, made).await?)
}

/// Why a webhook was not enabled.
#[derive(Debug, thiserror::Error)]
pub enum EnableError {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

fn request(target: &Uri, wish: &HandshakeWish) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(Method::OPTIONS)
        .uri(target.clone())
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .header(REQUEST_ORIGIN, &wish.origin);
    if let Some(rate) = wish.rate {
        request = request.header(REQUEST_RATE, rate);
    }
    request.body(Full::new(Bytes::new()))
}

/// Asks the receiver of a webhook that is to be enabled, if its permission is older than a day or was refused since. The answer is what
/// to store; `None` if what is stored counts: it is new, or the receiver does not say anything about it.
///
/// # Errors
/// If the receiver refuses, or had withdrawn its permission and does not give it anew: then the webhook must not be enabled.
pub async fn before_enabling(
    client: &Client,
    webhook: &Webhook,
) -> Result<Option<Handshake>, HandshakeError> {
    let Some(stored) = webhook.handshake.as_ref().filter(|made| made.is_due(Utc::now())) else {
        return Ok(None);
    };
    let certificate = webhook.client_certificate.as_deref();
    let timeout = webhook.limits.timeout.min(TIMEOUT);
    match ask(client, &webhook.target, certificate, &stored.wish, timeout).await {
        Ok(made) => Ok(Some(made)),
        Err(HandshakeError::Unclear(_) | HandshakeError::Silent(_)) if stored.refusal.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rate that an answer allows, in requests per minute; `None` if it sets none. The error says why there is no permission.
fn permission(status: u16, headers: &HeaderMap, wish: &HandshakeWish) -> Result<Option<u32>, String> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
    };
    let Some(origin) = text(&ALLOWED_ORIGIN) else {
        return Err(format!(
            "the receiver answered {status} without WebHook-Allowed-Origin, so it does not allow requests from {}",
            wish.origin
        ));
    };
    if origin != "*" && !origin.eq_ignore_ascii_case(&wish.origin) {
        return Err(format!(
            "the receiver allows requests from another origin only, not from {}",
            wish.origin
        ));
    }
    match text(&ALLOWED_RATE).as_deref() {
        // Without a word about it, what was asked for is allowed.
        None => Ok(wish.rate),
        Some("*") => Ok(None),
        Some(rate) if rate.bytes().any(|b| b != b'0') && rate.bytes().all(|b| b.is_ascii_digit()) => {
            // More than fits is no bound.
            Ok(rate.parse().ok())
        }
        Some(_) => Err(
            "the receiver's WebHook-Allowed-Rate is neither * nor a number of requests per minute".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)], rate: Option<u32>) -> Result<Option<u32>, String> {
        let headers = pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let wish = HandshakeWish {
            origin: "events.example".to_owned(),
            rate,
        };
        permission(200, &headers, &wish)
    }

    #[test]
    fn only_headers_are_consent() {
        let origin = ("webhook-allowed-origin", "Events.example");
        let rate = |rate| ("webhook-allowed-rate", rate);
        assert_eq!(of(&[origin, rate("100")], None), Ok(Some(100)));
        assert_eq!(
            of(&[("webhook-allowed-origin", "*"), rate("*")], Some(5)),
            Ok(None)
        );
        assert_eq!(of(&[origin, rate("99999999999")], Some(5)), Ok(None));
        assert_eq!(of(&[origin], Some(120)), Ok(Some(120)));
        assert_eq!(of(&[origin], None), Ok(None));
        for refused in [
            &[][..],
            &[rate("100")],
            &[("webhook-allowed-origin", "other.example"), rate("100")],
            &[origin, rate("0")],
            &[origin, rate("-1")],
            &[origin, rate("+5")],
            &[origin, rate("00")],
            &[origin, rate("")],
            &[origin, rate("many")],
        ] {
            assert!(of(refused, None).is_err(), "{refused:?}");
        }
    }
}
