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
use crate::registry::{Handshake, HandshakeChoice, HandshakeWish, Registration, Webhook};

const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
/// How long a receiver may take to answer, if the registration does not say so.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It answered, and does not allow requests from here.
    #[error("{0}")]
    Refused(String),
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
    let allowed_rate = permission(answer.status.as_u16(), &answer.headers, wish)?;
    Ok(Handshake {
        wish: wish.clone(),
        allowed_rate,
        allowed_at: Utc::now(),
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

/// The rate that an answer allows, in requests per minute; `None` if it sets none.
fn permission(status: u16, headers: &HeaderMap, wish: &HandshakeWish) -> Result<Option<u32>, HandshakeError> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
    };
    let Some(origin) = text(&ALLOWED_ORIGIN) else {
        return Err(HandshakeError::Refused(format!(
            "the receiver answered {status} without WebHook-Allowed-Origin, so it does not allow requests from {}",
            wish.origin
        )));
    };
    if origin != "*" && !origin.eq_ignore_ascii_case(&wish.origin) {
        return Err(HandshakeError::Refused(format!(
            "the receiver allows requests from another origin only, not from {}",
            wish.origin
        )));
    }
    match text(&ALLOWED_RATE).as_deref() {
        // Without a word about it, what was asked for is allowed.
        None => Ok(wish.rate),
        Some("*") => Ok(None),
        Some(rate) => match rate.parse() {
            Ok(rate) if rate > 0 => Ok(Some(rate)),
            _ => Err(HandshakeError::Refused(
                "the receiver's WebHook-Allowed-Rate is neither * nor a number of requests per minute"
                    .to_owned(),
            )),
        },
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
        permission(200, &headers, &wish).map_err(|error| error.to_string())
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
        assert_eq!(of(&[origin], Some(120)), Ok(Some(120)));
        assert_eq!(of(&[origin], None), Ok(None));
        for refused in [
            &[][..],
            &[rate("100")],
            &[("webhook-allowed-origin", "other.example"), rate("100")],
            &[origin, rate("0")],
            &[origin, rate("-1")],
            &[origin, rate("many")],
        ] {
            assert!(of(refused, None).is_err(), "{refused:?}");
        }
    }
}
