//! The request of one attempt.
//!
//! Guarantees: the signature covers the bytes that are sent. The registration's headers can override neither what is signed nor the
//! headers that HTTP itself depends on. No error shows a header's value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::format::RenderError;
use super::queue::Claimed;
use super::sign::{LEGACY_HEADER, legacy_signature, signatures};
use crate::lifecycle::StoredEvent;
use crate::registry::{Auth, Format, HttpMethod, Webhook};
use crate::traces::DeliveryIds;

pub(super) const AGENT: &str = concat!("openregister-webhooks/", env!("CARGO_PKG_VERSION"));

/// Who sends, as a receiver that was asked first knows it: on the request that asks, and on every delivery.
pub(super) const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");

/// Headers that a registration cannot set: they are ours, or belong to the connection.
const RESERVED: [&str; 16] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "orw-event-time",
    "orw-sequence",
    "orw-attempt",
    "orw-reason",
    "orw-actor-source",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// A rendered payload.
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) content_type: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Renders the payload of a delivery; `ids` if there are traces.
pub(crate) fn render(
    event: &StoredEvent,
    webhook: &Webhook,
    delivery: &Claimed,
    ids: Option<&DeliveryIds>,
) -> Result<Payload, RenderError> {
    let mut rendered = super::format::render(event, webhook, delivery.event.seq)?;
    if let Some(ids) = ids {
        super::traced::name_trace(&mut rendered, &ids.delivery_parent());
    }
    Ok(Payload {
        body: trimmed(rendered.body),
        content_type: rendered.content_type,
        headers: rendered.headers,
    })
}

/// The body without the room that it was written into. A body stays in memory until the receiver has answered, so what it does not use
/// would be kept for every request in flight; the allocator takes back no part of a block that is half used.
fn trimmed(body: Vec<u8>) -> Bytes {
    if body.capacity() - body.len() > body.len() / 8 {
        Bytes::copy_from_slice(&body)
    } else {
        Bytes::from(body)
    }
}

/// How many templates are rendered at once; each takes one core for up to a second or two.
const TEMPLATES_AT_ONCE: usize = 2;
/// How long a template may wait for its turn and take.
const TEMPLATE_TIME: Duration = Duration::from_secs(15);
static TEMPLATES: Semaphore = Semaphore::const_new(TEMPLATES_AT_ONCE);

/// The same, for what others wait beside: a template is rendered on a thread of its own, not on one that serves requests.
pub(crate) async fn render_apart(
    event: &Arc<StoredEvent>,
    webhook: &Arc<Webhook>,
    delivery: &Claimed,
    ids: Option<&DeliveryIds>,
) -> Result<Payload, RenderError> {
    if webhook.format != Format::Template {
        return render(event, webhook, delivery, ids);
    }
    let (event, webhook) = (Arc::clone(event), Arc::clone(webhook));
    let (delivery, ids) = (delivery.clone(), ids.copied());
    let rendering = async {
        let turn = TEMPLATES.acquire().await.map_err(|_| RenderError::Late)?;
        let work = tokio::task::spawn_blocking(move || {
            // It keeps its turn even if nobody waits for it any more.
            let _turn = turn;
            render(&event, &webhook, &delivery, ids.as_ref())
        });
        match work.await {
            Ok(rendered) => rendered,
            // A bug is not hidden: whoever waits treats it as a panic of its own.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The program ends.
            Err(_) => Err(RenderError::Late),
        }
    };
    tokio::time::timeout(TEMPLATE_TIME, rendering)
        .await
        .unwrap_or(Err(RenderError::Late))
}

/// Why a request cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the webhook's header {0:?} is not one that HTTP can carry")]
    Header(String),
    #[error(transparent)]
    Secret(#[from] super::BadSecret),
}

/// Makes the request of attempt number `attempt`.
pub(crate) fn build(
    webhook: &Webhook,
    delivery: &Claimed,
    event: &StoredEvent,
    attempt: u32,
    now: DateTime<Utc>,
    payload: Payload,
    ids: Option<&DeliveryIds>,
) -> Result<Request<Full<Bytes>>, RequestError> {
    // Enough for all of ours, so that it never grows.
    let mut headers = HeaderMap::with_capacity(24);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(payload.content_type));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in webhook.headers.iter().flatten() {
        set(&mut headers, name, value)?;
    }
    match &webhook.auth {
        Auth::None => {}
        Auth::Header(pairs) => {
            for (name, value) in pairs {
                set(&mut headers, name, value)?;
            }
        }
        Auth::Jwt(credentials) => set(
            &mut headers,
            AUTHORIZATION.as_str(),
            &super::jwt::bearer(credentials, now),
        )?,
    }
    for (name, value) in &payload.headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(made) = &webhook.handshake
        && let Ok(origin) = HeaderValue::from_str(&made.wish.origin)
    {
        headers.insert(REQUEST_ORIGIN, origin);
    }
    let id = event.id().as_str();
    let timestamp = now.timestamp();
    let mut own = |name: &'static str, value: HeaderValue| {
        headers.insert(HeaderName::from_static(name), value);
    };
    own("webhook-id", text("webhook-id", id.to_owned())?);
    own("webhook-timestamp", timestamp.into());
    let signature = signatures(&webhook.secrets, id, timestamp, &payload.body)?;
    if !signature.is_empty() {
        own("webhook-signature", text("webhook-signature", signature)?);
    }
    if let (true, Some(newest)) = (webhook.legacy_signature, webhook.secrets.first()) {
        let signature = legacy_signature(newest, &payload.body)?;
        own(LEGACY_HEADER, text(LEGACY_HEADER, signature)?);
    }
    let at = event.at().to_rfc3339_opts(SecondsFormat::Micros, true);
    own("orw-event-time", text("orw-event-time", at)?);
    own("orw-sequence", delivery.event.seq.into());
    own("orw-attempt", attempt.into());
    own("orw-reason", HeaderValue::from_static(delivery.reason.name()));
    own(
        "orw-actor-source",
        HeaderValue::from_static(event.actor_source().name()),
    );
    if let Some(ids) = ids {
        let parent = ids.attempt_parent().to_string();
        own("traceparent", text("traceparent", parent)?);
        // It would belong to another trace.
        headers.remove("tracestate");
    }

    let mut request = Request::new(Full::new(payload.body));
    *request.method_mut() = match webhook.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    };
    *request.uri_mut() = webhook.target.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

/// A value of one of our headers.
fn text(name: &str, value: String) -> Result<HeaderValue, RequestError> {
    HeaderValue::try_from(value).map_err(|_| RequestError::Header(name.to_owned()))
}

/// Sets a header of the registration, unless it is reserved.
fn set(headers: &mut HeaderMap, name: &str, value: &SecretString) -> Result<(), RequestError> {
    let bad = || RequestError::Header(name.to_owned());
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    if RESERVED.contains(&parsed.as_str()) {
        return Ok(());
    }
    let mut value = HeaderValue::from_bytes(value.expose_secret().as_bytes()).map_err(|_| bad())?;
    value.set_sensitive(true);
    headers.insert(parsed, value);
    Ok(())
}
