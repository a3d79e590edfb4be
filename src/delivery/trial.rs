//! A test of one webhook: sends an event now, outside the queue, and returns what the receiver answered. And, before there is a webhook, where
//! its requests would go.
//!
//! Guarantees: the request is the one that a delivery would make (address guard, headers, signature, timeouts), with
//! `ORW-Reason: test`; it works whatever the webhook's status, changes nothing of its health, and is not retried.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use hyper::Uri;
use orw_egress::{Client, Destination};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::cause::{Cause, Failure};
use super::dispatcher::attempt::{Verdict, judge};
use super::queue::{AttemptRecord, Claimed, EventRef, Followed, Outcome, Reason, WorkerId};
use super::response_excerpt::ResponseExcerpt;
use super::{request, traced};
use crate::lifecycle::StoredEvent;
use crate::registry::Webhook;
use crate::traces::Traces;

/// The result of a test.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Whether the receiver answered 2xx.
    pub succeeded: bool,
    /// The `webhook-id` that was sent.
    pub event_id: String,
    /// The class that was sent.
    pub class: String,
    pub status: Option<u16>,
    /// Why it failed: `dns`, `connect`, `tls`, `timeout`, `guard`, `status`, …
    pub cause: Option<&'static str>,
    pub error: Option<String>,
    /// Of the answer; secrets are masked.
    pub headers: Option<Value>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    pub duration_ms: u64,
}

/// Where a request to this target would go now. Its name is looked up and judged as for a delivery; nothing is connected to.
///
/// # Errors
/// Why none would be sent.
pub async fn destination(client: &Client, target: &Uri) -> Result<Destination, Failure> {
    client.destination(target).await.map_err(Failure::from)
}

/// Sends `event` to the webhook.
pub async fn send(
    client: &Client,
    webhook: &Arc<Webhook>,
    event: &Arc<StoredEvent>,
    traces: &Traces,
) -> Trial {
    let delivery = Claimed {
        worker: WorkerId::new(),
        id: 0,
        webhook: webhook.id,
        event: EventRef {
            day: NaiveDate::default(),
            seq: 0,
        },
        lane: event.lane().clone(),
        attempt: 0,
        fence: 0,
        reason: Reason::Test,
        awaited: false,
        due: true,
        due_since: Instant::now(),
        overdue: false,
        size: 0,
        followed: Followed::default(),
    };
    let ids = traces.delivery(event.id().as_str(), delivery.id, delivery.fence);
    let at = Utc::now();
    let begun = Instant::now();
    let made = request::render_apart(event, webhook, &delivery, ids.as_ref())
        .await
        .map_err(|error| Failure {
            cause: Cause::Event,
            error: error.to_string(),
        })
        .and_then(|payload| {
            request::build(webhook, &delivery, event, 1, at, payload, ids.as_ref()).map_err(|error| Failure {
                cause: Cause::Request,
                error: error.to_string(),
            })
        });
    let sent = match made {
        Ok(request) => {
            let identity = webhook.client_certificate.as_deref();
            client
                .send(request, identity, webhook.limits.timeout)
                .await
                .map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    let duration = begun.elapsed();
    let mut record = AttemptRecord {
        at,
        duration,
        number: 1,
        status: None,
        cause: None,
        error: None,
        answer: ResponseExcerpt::default(),
        probe: false,
        latency: None,
    };
    let verdict = judge(sent, webhook, &mut record);
    if let Some(ids) = ids {
        let outcome = if verdict == Verdict::Good {
            Outcome::Succeeded
        } else {
            Outcome::GivenUp
        };
        let trace = traced::delivery(ids, &delivery, event);
        traced::record(traces, trace, Duration::ZERO, &record, &outcome);
    }
    Trial {
        succeeded: verdict == Verdict::Good,
        event_id: event.id().as_str().to_owned(),
        class: event.event_type().name(),
        status: record.status,
        cause: record.cause,
        error: record.error,
        headers: record
            .answer
            .headers
            .and_then(|text| serde_json::from_str(&text).ok()),
        response: record.answer.body,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    }
}
