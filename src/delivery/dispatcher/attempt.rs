//! One attempt, from the leased row to its outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use deadpool_postgres::Pool;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use orw_egress::{Answer, Client};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::damaged;
use super::requests::{NotMade, Requests};
use crate::delivery::cause::{Cause, Failure};
use crate::delivery::events::{self, EventError, Events};
use crate::delivery::feed::{Feed, Watched};
use crate::delivery::format::RenderError;
use crate::delivery::metrics::Metrics;
use crate::delivery::queue::{AttemptRecord, Claimed, Outcome, OutcomeRecord, Reason};
use crate::delivery::response_excerpt::{ResponseExcerpt, cut};
use crate::delivery::webhooks::Webhooks;
use crate::delivery::{retry_schedule, traced};
use crate::lifecycle::StoredEvent;
use crate::registry::{RetryPolicy, Webhook};
use crate::traces::Traces;

/// How long a delivery waits at least if its event could not be read for a reason that is not in the event.
const PUT_OFF: Duration = Duration::from_secs(2);

/// What an attempt needs.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) pool: Pool,
    pub(super) query_timeout: Duration,
    pub(super) events: Events,
    pub(super) webhooks: Arc<dyn Webhooks>,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
    pub(super) feed: Feed,
    pub(super) requests: Requests,
}

/// What the scheduler learns of an attempt.
pub(super) struct Attempted {
    pub(super) record: OutcomeRecord,
    pub(super) verdict: Verdict,
    /// The revision of the registration that the request was made for: the verdict is about no other.
    pub(super) revision: i64,
}

impl Attempted {
    /// The registration was changed meanwhile: the verdict no longer counts. If the attempt failed, it is tried again at once, like
    /// everything else that waits at the change.
    pub(super) fn disregard_verdict(&mut self) {
        self.verdict = Verdict::NotAsked;
        if let Outcome::Retry(wait) = &mut self.record.outcome {
            *wait = Duration::ZERO;
        }
    }
}

/// What the attempt tells about the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum Verdict {
    Good,
    /// The attempt failed, for this reason in a few words; the receiver may ask for a pause.
    Bad {
        why: String,
        pause: Option<Duration>,
        /// The outgoing proxy failed, so the receiver was not asked: no reason to disable the webhook.
        blameless: bool,
    },
    /// The receiver answered 410: the webhook is to be disabled.
    Gone,
    /// Nothing was sent to the receiver.
    NotAsked,
}

/// Makes one attempt; `event` is the event's row, if it was read with the lease.
pub(super) async fn attempt(
    context: Arc<Context>,
    webhook: Arc<Webhook>,
    delivery: Claimed,
    event: Option<Row>,
) -> Attempted {
    let event = match event {
        Some(row) => events::read(&row).map(Arc::new),
        None => context.events.get(delivery.event).await,
    };
    let event = match event {
        Ok(event) => event,
        Err(error @ EventError::Database(_)) => {
            tracing::warn!(delivery = delivery.id, %error, "delivery put off");
            return untried(delivery, None, Outcome::PutOff(PUT_OFF));
        }
        Err(EventError::Damaged(why)) => return unreadable(&context, &webhook, delivery, why).await,
        // The event will never be there again.
        Err(error) => return impossible(delivery, &error),
    };
    let about = (event.id().as_str().to_owned(), event.event_type().to_string());
    if delivery.awaited
        && let StoredEvent::Event(event) = &*event
        && !context.webhooks.wants(&webhook, event)
    {
        return untried(delivery, Some(about), Outcome::Dropped);
    }
    let at = Utc::now();
    let begun = Instant::now();
    let waited = begun.saturating_duration_since(delivery.due_since);
    if delivery.due {
        context.metrics.waited(waited);
    }
    let trace = context
        .traces
        .delivery(&about.0, delivery.id, delivery.fence)
        .map(|ids| traced::delivery(ids, &delivery, &event));
    let ids = trace.as_ref().map(|trace| trace.ids);
    let request = context
        .requests
        .prepare(&webhook, &delivery, &event, ids.as_ref())
        .await;
    let request = match request {
        Ok(request) => Ok(request),
        Err(NotMade::Failed(failure)) => Err(failure),
        // Other webhooks' templates use up no attempt of this one.
        Err(NotMade::Busy) => {
            tracing::warn!(delivery = delivery.id, error = %RenderError::Late, "delivery put off");
            return untried(delivery, Some(about), Outcome::PutOff(PUT_OFF));
        }
    };
    let made_at = match (&*event, delivery.reason) {
        (StoredEvent::Event(event), Reason::Live) => Some(event.at),
        _ => None,
    };
    // Its states take more memory than the request, and the receiver may take its time.
    drop(event);
    let sent = send(&context.client, &webhook, request).await;
    let duration = begun.elapsed();
    let mut record = AttemptRecord {
        at,
        duration,
        number: delivery.attempt + 1,
        status: None,
        cause: None,
        error: None,
        answer: ResponseExcerpt::default(),
        probe: !delivery.due,
        latency: None,
    };
    let verdict = judge(sent, &webhook, &mut record);
    context.metrics.attempt(record.cause, duration);
    if let (Verdict::Good, Some(made_at)) = (&verdict, made_at) {
        let latency = (Utc::now() - made_at).to_std().unwrap_or_default();
        context.metrics.arrived(latency);
        record.latency = Some(latency);
    }
    let outcome = match &verdict {
        Verdict::Good => {
            // A success uses up its attempt, whether or not it was due.
            record.probe = false;
            Outcome::Succeeded
        }
        Verdict::NotAsked => {
            // So does an event that has no body: as a probe it would be chosen again and again.
            record.probe = false;
            after_failure(&webhook, &delivery, &verdict)
        }
        _ => after_failure(&webhook, &delivery, &verdict),
    };
    if let Some(trace) = trace {
        traced::record(&context.traces, trace, waited, &record, &outcome);
    }
    context
        .feed
        .tell(|| watched(&delivery, &about, &record, &outcome));
    Attempted {
        record: OutcomeRecord {
            delivery,
            outcome,
            attempt: Some(record),
            event: Some(about),
        },
        verdict,
        revision: webhook.revision,
    }
}

/// The attempt, as those see it who watch.
fn watched(
    delivery: &Claimed,
    (event_id, class): &(String, String),
    record: &AttemptRecord,
    outcome: &Outcome,
) -> Watched {
    Watched {
        delivery: delivery.id,
        webhook: delivery.webhook.0,
        event_id: event_id.clone(),
        class: class.clone(),
        lane: delivery.lane.as_str().to_owned(),
        reason: delivery.reason.name(),
        state: match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::GivenUp | Outcome::Dropped => "given_up",
            Outcome::Retry(_) | Outcome::Probed | Outcome::Released | Outcome::PutOff(_) => "retrying",
        },
        attempt: record.number,
        status: record.status,
        cause: record.cause,
        at: record.at,
        duration_ms: u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What becomes of a delivery whose attempt failed.
fn after_failure(webhook: &Webhook, delivery: &Claimed, verdict: &Verdict) -> Outcome {
    if delivery.overdue {
        return Outcome::GivenUp;
    }
    if !delivery.due && *verdict != Verdict::NotAsked {
        return Outcome::Probed;
    }
    let pause = match verdict {
        Verdict::Bad { pause, .. } => *pause,
        _ => None,
    };
    match retry_schedule::delay(&webhook.retry, delivery.id, delivery.attempt + 1, pause) {
        Some(wait) => Outcome::Retry(wait),
        // The webhook is disabled now: the delivery is kept until it is enabled again.
        None if *verdict == Verdict::Gone => Outcome::Retry(Duration::ZERO),
        None => Outcome::GivenUp,
    }
}

async fn send(
    client: &Client,
    webhook: &Webhook,
    request: Result<Request<Full<Bytes>>, Failure>,
) -> Result<Answer, Failure> {
    let request = request?;
    client
        .send(
            request,
            webhook.client_certificate.as_deref(),
            webhook.limits.timeout,
        )
        .await
        .map_err(Failure::from)
}

/// Judges an answer, and fills in the record.
pub(in crate::delivery) fn judge(
    sent: Result<Answer, Failure>,
    webhook: &Webhook,
    record: &mut AttemptRecord,
) -> Verdict {
    match sent {
        Ok(answer) => {
            record.status = Some(answer.status.as_u16());
            record.answer = ResponseExcerpt::of(&answer, webhook);
            record.error = answer.incomplete.map(|why| crate::error_text::chain(&why));
            if answer.status.is_success() {
                return Verdict::Good;
            }
            record.cause = Some(Cause::Status.name());
            if answer.status == StatusCode::GONE {
                return Verdict::Gone;
            }
            Verdict::Bad {
                why: format!("status {}", answer.status.as_u16()),
                pause: answer.retry_after,
                blameless: false,
            }
        }
        Err(failure) => {
            record.cause = Some(failure.cause.name());
            let why = format!("{}: {}", failure.cause.name(), failure.error);
            record.error = Some(cut(failure.error));
            if failure.cause == Cause::Event {
                // The receiver was not asked, and can do nothing about it.
                return Verdict::NotAsked;
            }
            Verdict::Bad {
                why: cut(why),
                pause: None,
                blameless: failure.cause == Cause::NoAnswer(orw_egress::Cause::Proxy),
            }
        }
    }
}

/// An outcome without an attempt.
pub(super) fn untried(delivery: Claimed, event: Option<(String, String)>, outcome: Outcome) -> Attempted {
    Attempted {
        record: OutcomeRecord {
            delivery,
            outcome,
            attempt: None,
            event,
        },
        verdict: Verdict::NotAsked,
        revision: 0,
    }
}

/// The outcome of an attempt that panicked: nobody knows what the receiver saw.
pub(super) fn broken(delivery: Claimed) -> OutcomeRecord {
    let record = AttemptRecord {
        at: Utc::now(),
        duration: Duration::ZERO,
        number: delivery.attempt + 1,
        status: None,
        cause: Some(Cause::Internal.name()),
        error: Some("the attempt failed inside; the log has more".to_owned()),
        answer: ResponseExcerpt::default(),
        probe: false,
        latency: None,
    };
    let policy = RetryPolicy::default();
    let wait = retry_schedule::delay(&policy, delivery.id, delivery.attempt + 1, None);
    let outcome = match wait {
        Some(wait) if !delivery.overdue => Outcome::Retry(wait),
        _ => Outcome::GivenUp,
    };
    OutcomeRecord {
        delivery,
        outcome,
        attempt: Some(record),
        event: None,
    }
}

/// The outcome for a delivery whose event the database cannot read. It is an attempt like any other and is tried again as the webhook's
/// policy says; in the end it is given up, and the event goes to the quarantine.
async fn unreadable(context: &Context, webhook: &Webhook, delivery: Claimed, why: String) -> Attempted {
    context.metrics.unreadable.inc();
    let error = EventError::Damaged(why);
    let next = retry_schedule::delay(&webhook.retry, delivery.id, delivery.attempt + 1, None);
    if let Some(wait) = next.filter(|_| !delivery.overdue) {
        tracing::error!(
            webhook = %webhook.id, delivery = delivery.id, day = %delivery.event.day, seq = delivery.event.seq, %error,
            "an event cannot be read: its delivery is tried again, and holds up its own lane alone; have the database's files checked"
        );
        return without_answer(delivery, &error, Outcome::Retry(wait));
    }
    match damaged::put_aside(&context.pool, context.query_timeout, &delivery, &error).await {
        Ok(()) => without_answer(delivery, &error, Outcome::GivenUp),
        Err(fault) => {
            tracing::warn!(delivery = delivery.id, error = %crate::error_text::chain(&fault), "an event that cannot be read could not be put aside; trying again");
            untried(delivery, None, Outcome::PutOff(PUT_OFF))
        }
    }
}

/// The outcome for a delivery that can never be made.
fn impossible(delivery: Claimed, error: &EventError) -> Attempted {
    without_answer(delivery, error, Outcome::GivenUp)
}

/// The outcome of an attempt that ended before a request was sent.
fn without_answer(delivery: Claimed, error: &EventError, outcome: Outcome) -> Attempted {
    let record = AttemptRecord {
        at: Utc::now(),
        duration: Duration::ZERO,
        number: delivery.attempt + 1,
        status: None,
        cause: Some(Cause::Event.name()),
        error: Some(cut(error.to_string())),
        answer: ResponseExcerpt::default(),
        probe: false,
        latency: None,
    };
    Attempted {
        record: OutcomeRecord {
            delivery,
            outcome,
            attempt: Some(record),
            event: None,
        },
        verdict: Verdict::NotAsked,
        revision: 0,
    }
}
