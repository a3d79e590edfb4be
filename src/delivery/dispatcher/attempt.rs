//! One attempt, from the leased row to its outcome.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use deadpool_postgres::Pool;
use hyper::StatusCode;
use orw_egress::{Answer, Client};
use tokio::time::Instant;

use super::damaged;
use crate::delivery::cause::{Cause, Failure};
use crate::delivery::events::{EventError, Events};
use crate::delivery::kept::{Kept, cut};
use crate::delivery::queue::{AttemptRecord, Claimed, Outcome, Reason, Settled};
use crate::delivery::{Metrics, Webhooks, request, retry_schedule};
use crate::lifecycle::StoredEvent;
use crate::registry::{RetryPolicy, Webhook};

/// How long a delivery waits at least whose event could not be read, by no fault of the event.
const PUT_OFF: Duration = Duration::from_secs(2);

/// What an attempt needs.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) pool: Pool,
    pub(super) patience: Duration,
    pub(super) events: Events,
    pub(super) webhooks: Arc<dyn Webhooks>,
    pub(super) metrics: Metrics,
}

/// What the scheduler learns of an attempt.
pub(super) struct Attempted {
    pub(super) settled: Settled,
    pub(super) verdict: Verdict,
    /// The registration's revision that the request was made for: the verdict is about no other.
    pub(super) revision: i64,
}

impl Attempted {
    /// The registration was changed since: what the former receiver said counts no more, and if it failed, it is tried again at
    /// once, as everything that waits since the change.
    pub(super) fn is_outdated(&mut self) {
        self.verdict = Verdict::Silent;
        if let Outcome::Retry(wait) = &mut self.settled.outcome {
            *wait = Duration::ZERO;
        }
    }
}

/// What the attempt tells of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::delivery) enum Verdict {
    Good,
    /// It failed, with this in a few words; the receiver may ask for a pause.
    Bad {
        why: String,
        pause: Option<Duration>,
        /// The receiver was not even asked: the outgoing proxy failed, which is no reason to disable anything.
        blameless: bool,
    },
    /// The receiver wants no more: disable.
    Gone,
    /// Nothing was asked of it.
    Silent,
}

/// Makes one attempt.
pub(super) async fn attempt(context: Arc<Context>, webhook: Arc<Webhook>, delivery: Claimed) -> Attempted {
    let event = match context.events.get(delivery.event).await {
        Ok(event) => event,
        Err(error @ EventError::Database(_)) => {
            tracing::warn!(delivery = delivery.id, %error, "delivery put off");
            return untried(delivery, None, Outcome::PutOff(PUT_OFF));
        }
        Err(EventError::Damaged(why)) => return unreadable(&context, &webhook, delivery, why).await,
        // It will never be there again.
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
    let sent = send(&context.client, &webhook, &delivery, &event).await;
    let duration = begun.elapsed();
    let mut record = AttemptRecord {
        at,
        duration,
        number: delivery.attempt + 1,
        status: None,
        cause: None,
        error: None,
        answer: Kept::default(),
        probe: !delivery.due,
    };
    let verdict = judge(sent, &webhook, &mut record);
    context.metrics.attempt(record.cause, duration);
    if let (Verdict::Good, Reason::Live, StoredEvent::Event(event)) = (&verdict, delivery.reason, &*event) {
        context.metrics.arrived(event.at);
    }
    let outcome = match &verdict {
        Verdict::Good => {
            // A success uses up its attempt, in turn or not.
            record.probe = false;
            Outcome::Succeeded
        }
        _ => after_failure(&webhook, &delivery, &verdict),
    };
    Attempted {
        settled: Settled {
            delivery,
            outcome,
            attempt: Some(record),
            event: Some(about),
        },
        verdict,
        revision: webhook.revision,
    }
}

/// What becomes of a delivery whose attempt failed.
fn after_failure(webhook: &Webhook, delivery: &Claimed, verdict: &Verdict) -> Outcome {
    if delivery.overdue {
        return Outcome::GivenUp;
    }
    if !delivery.due {
        return Outcome::Probed;
    }
    let pause = match verdict {
        Verdict::Bad { pause, .. } => *pause,
        _ => None,
    };
    match retry_schedule::delay(&webhook.retry, delivery.id, delivery.attempt + 1, pause) {
        Some(wait) => Outcome::Retry(wait),
        // The webhook is disabled with it: kept for the day it is enabled again.
        None if *verdict == Verdict::Gone => Outcome::Retry(Duration::ZERO),
        None => Outcome::GivenUp,
    }
}

async fn send(
    client: &Client,
    webhook: &Webhook,
    delivery: &Claimed,
    event: &StoredEvent,
) -> Result<Answer, Failure> {
    let payload = request::render(event, webhook);
    let request = request::build(
        webhook,
        delivery,
        event,
        delivery.attempt + 1,
        Utc::now(),
        payload,
    )
    .map_err(|error| Failure {
        cause: Cause::Request,
        error: error.to_string(),
    })?;
    client
        .send(
            request,
            webhook.client_certificate.as_deref(),
            webhook.limits.timeout,
        )
        .await
        .map_err(Failure::from)
}

/// Reads an answer, and fills the record in.
pub(in crate::delivery) fn judge(
    sent: Result<Answer, Failure>,
    webhook: &Webhook,
    record: &mut AttemptRecord,
) -> Verdict {
    match sent {
        Ok(answer) => {
            record.status = Some(answer.status.as_u16());
            record.answer = Kept::of(&answer, webhook);
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
        settled: Settled {
            delivery,
            outcome,
            attempt: None,
            event,
        },
        verdict: Verdict::Silent,
        revision: 0,
    }
}

/// An attempt that failed inside, before anyone knows what the receiver saw.
pub(super) fn broken(delivery: Claimed) -> Settled {
    let record = AttemptRecord {
        at: Utc::now(),
        duration: Duration::ZERO,
        number: delivery.attempt + 1,
        status: None,
        cause: Some(Cause::Internal.name()),
        error: Some("the attempt failed inside; the log has more".to_owned()),
        answer: Kept::default(),
        probe: false,
    };
    let policy = RetryPolicy::default();
    let wait = retry_schedule::delay(&policy, delivery.id, delivery.attempt + 1, None);
    let outcome = match wait {
        Some(wait) if !delivery.overdue => Outcome::Retry(wait),
        _ => Outcome::GivenUp,
    };
    Settled {
        delivery,
        outcome,
        attempt: Some(record),
        event: None,
    }
}

/// A delivery whose event the database cannot read now: an attempt like any other, tried again as the webhook's policy says; in
/// the end it is given up, and the event goes to the quarantine.
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
    match damaged::put_aside(&context.pool, context.patience, &delivery, &error).await {
        Ok(()) => without_answer(delivery, &error, Outcome::GivenUp),
        Err(fault) => {
            tracing::warn!(delivery = delivery.id, error = %crate::error_text::chain(&fault), "an event that cannot be read could not be put aside; trying again");
            untried(delivery, None, Outcome::PutOff(PUT_OFF))
        }
    }
}

/// A delivery that can never be made.
fn impossible(delivery: Claimed, error: &EventError) -> Attempted {
    without_answer(delivery, error, Outcome::GivenUp)
}

/// An attempt that ended before anybody was asked.
fn without_answer(delivery: Claimed, error: &EventError, outcome: Outcome) -> Attempted {
    let record = AttemptRecord {
        at: Utc::now(),
        duration: Duration::ZERO,
        number: delivery.attempt + 1,
        status: None,
        cause: Some(Cause::Event.name()),
        error: Some(cut(error.to_string())),
        answer: Kept::default(),
        probe: false,
    };
    Attempted {
        settled: Settled {
            delivery,
            outcome,
            attempt: Some(record),
            event: None,
        },
        verdict: Verdict::Silent,
        revision: 0,
    }
}
