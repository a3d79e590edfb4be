//! Makes the request of an attempt, and says in the log which webhooks' events cannot be written.
//!
//! Guarantee: at most one line a minute for each webhook, whatever the rate of failures; the delivery log has every one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::Full;
use hyper::Request;
use tokio::time::Instant;

use crate::delivery::cause::{Cause, Failure};
use crate::delivery::format::RenderError;
use crate::delivery::queue::Claimed;
use crate::delivery::request;
use crate::lifecycle::StoredEvent;
use crate::registry::{Webhook, WebhookId};
use crate::traces::DeliveryIds;

/// How long a webhook is not named again, unless its registration is changed.
const QUIET: Duration = Duration::from_secs(60);
/// How many webhooks are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// What has been said, by webhook: when, and of which revision.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<WebhookId, (i64, Instant)>>);

/// Why there is no request.
#[derive(Debug)]
pub(super) enum NotMade {
    /// The machine or other templates are busy: a later try may succeed.
    Busy,
    /// It cannot be made from this event and this registration.
    Failed(Failure),
}

impl Requests {
    /// The request of an attempt.
    pub(super) async fn prepare(
        &self,
        webhook: &Arc<Webhook>,
        delivery: &Claimed,
        event: &Arc<StoredEvent>,
        ids: Option<&DeliveryIds>,
    ) -> Result<Request<Full<Bytes>>, NotMade> {
        let rendered = request::render_apart(event, webhook, delivery, ids).await;
        let payload = rendered.map_err(|error| {
            if error == RenderError::Late {
                return NotMade::Busy;
            }
            if self.is_news(webhook.id, webhook.revision, Instant::now()) {
                tracing::warn!(
                    webhook = %webhook.id, delivery = delivery.id, event = %event.id(), %error,
                    "an event cannot be written in the webhook's format: change the registration, and what waits is sent"
                );
            }
            NotMade::Failed(Failure {
                cause: Cause::Event,
                error: error.to_string(),
            })
        })?;
        request::build(
            webhook,
            delivery,
            event,
            delivery.attempt + 1,
            Utc::now(),
            payload,
            ids,
        )
        .map_err(|error| {
            NotMade::Failed(Failure {
                cause: Cause::Request,
                error: error.to_string(),
            })
        })
    }

    fn is_news(&self, webhook: WebhookId, revision: i64, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = said.get(&webhook);
        if known.is_some_and(|(of, at)| *of == revision && now < *at + QUIET) {
            return false;
        }
        said.retain(|_, (_, at)| now < *at + QUIET);
        if said.len() < MOST_REMEMBERED {
            said.insert(webhook, (revision, now));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_named_once_a_minute_and_when_it_is_changed() {
        let (requests, now) = (Requests::default(), Instant::now());
        let news = |webhook, revision, seconds| {
            requests.is_news(WebhookId(webhook), revision, now + Duration::from_secs(seconds))
        };
        assert!(news(1, 5, 0) && !news(1, 5, 59));
        assert!(news(2, 5, 59) && news(1, 6, 59));
        assert!(!news(1, 6, 118) && news(1, 6, 119));
    }
}
