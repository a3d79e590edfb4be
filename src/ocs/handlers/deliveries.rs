//! Routes about deliveries: the log, retries, tests and statistics.
//!
//! Guarantee: a page holds at most 500 entries and costs the same however long the log is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::context::{Call, Context, DeliveryContext};
use super::error::{Answer, HandlerError};
use super::jobs::not_started;
use super::parameters::{PathId, cursor, delivery_filter, type_of};
use crate::catalogue;
use crate::delivery::queue::{self, listing};
use crate::delivery::{statistics, trial};
use crate::lifecycle::EventType;
use crate::ocs::reply::Reply;
use crate::pipeline::jobs;
use crate::registry::{Ordering, Webhook};
use crate::template::Template;

/// How long one request may put deliveries back into the queue; the next request goes on where it stopped.
const RETRY_TIME: Duration = Duration::from_secs(20);

pub(crate) async fn list(deliveries: &DeliveryContext, query: listing::Query) -> Answer {
    let client = deliveries.pool.get().await?;
    let page = listing::list(&**client, &query).await?;
    Ok(Reply::data(
        json!({"deliveries": page.entries, "cursor": page.next.map(cursor)}),
    ))
}

/// One delivery with its attempts.
pub(crate) async fn show(deliveries: &DeliveryContext, id: PathId<'_>) -> Answer {
    let client = deliveries.pool.get().await?;
    match listing::show(&**client, id.number).await? {
        Some((entry, attempts)) => {
            let failed = queue::RETRIED.contains(&entry.state.as_str());
            let retryable = failed && queue::is_retryable(&**client, id.number).await?;
            Ok(Reply::data(
                json!({"delivery": entry, "attempts": attempts, "retryable": retryable}),
            ))
        }
        None => Err(id.missing("Delivery")),
    }
}

/// Puts one delivery back into the queue.
pub(crate) async fn retry(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let id = call.id();
    let found = {
        let client = deliveries.pool.get().await?;
        listing::show(&**client, id.number).await?
    };
    let Some((entry, _)) = found else {
        return Err(id.missing("Delivery"));
    };
    match context.find_webhook(entry.webhook).await? {
        Some(webhook) => put_back(deliveries, &webhook, Some(id.number), call).await,
        None => Err(HandlerError::new(
            409,
            format!("Webhook {} does not exist any more", entry.webhook),
        )),
    }
}

/// Puts everything back that was given up of one webhook.
pub(crate) async fn retry_webhook(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let webhook = context.webhook(call.id()).await?;
    put_back(deliveries, &webhook, None, call).await
}

/// Counts what a filter shows and can be put back, or starts jobs that put it back.
pub(crate) async fn retry_matching(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let filter = delivery_filter(&call.fields)?;
    let dry_run = call.fields.boolean("dryRun")?.unwrap_or_default();
    let mut client = deliveries.pool.get().await?;
    if dry_run {
        let counted = jobs::count_retry(&mut client, &filter)
            .await
            .map_err(not_started)?;
        return Ok(Reply::data(json!(counted)));
    }
    let registrations = context.registry.refresh().await?;
    let started = jobs::start_retry(&mut client, &registrations, &filter, &call.caller())
        .await
        .map_err(not_started)?;
    if started.jobs.is_empty() && started.skipped.is_empty() {
        return Err(HandlerError::new(
            409,
            "There is nothing to retry: no delivery matches that was given up, whose event is kept and that was not put back already",
        ));
    }
    Ok(Reply::data(json!(started)))
}

async fn put_back(
    deliveries: &DeliveryContext,
    webhook: &Webhook,
    delivery: Option<i64>,
    call: &Call,
) -> Answer {
    let ordered = webhook.ordering == Ordering::Object;
    let mut client = deliveries.pool.get().await?;
    let by = call.caller();
    let done = queue::retry(&mut client, webhook.id, delivery, ordered, RETRY_TIME, &by).await?;
    if delivery.is_some() && done.count == 0 {
        return Err(HandlerError::new(
            409,
            "There is nothing to retry: the delivery succeeded, still waits or was put back already, or its event is no longer kept",
        ));
    }
    Ok(Reply::data(
        json!({"webhook": webhook.id.0, "retried": done.count, "more": done.last.is_some()}),
    ))
}

/// Sends a test event, and answers what the receiver said.
pub(crate) async fn test(context: &Context, deliveries: &DeliveryContext, call: &Call) -> Answer {
    let webhook = context.webhook(call.id()).await?;
    let class = match type_of(&call.fields)? {
        Some(class) => class,
        None => match webhook.event.classes().first() {
            Some(class) => EventType::Class(*class),
            None => {
                return Err(HandlerError::new(
                    409,
                    "The webhook is not registered for any event",
                ));
            }
        },
    };
    let template = call.fields.text("template")?.map(Template::parse).transpose();
    let template = template.map_err(|error| HandlerError::field("template", error.to_string()))?;
    let webhook = match template {
        // Tried before it is saved.
        Some(template) => Arc::new(webhook.with_template(template)),
        None => webhook,
    };
    let event = Arc::new(catalogue::test_event(class)?);
    let result = trial::send(&deliveries.client, &webhook, &event, &deliveries.traces).await;
    Ok(Reply::data(json!(result)))
}

/// The statistics of every webhook.
pub(crate) async fn statistics(context: &Context, deliveries: &DeliveryContext) -> Answer {
    let snapshot = context.registry.refresh().await?;
    let all: Vec<i64> = snapshot.all().iter().map(|webhook| webhook.id.0).collect();
    let client = deliveries.pool.get().await?;
    Ok(Reply::data(json!(statistics::of(&**client, &all).await?)))
}

/// The statistics of one webhook.
pub(crate) async fn webhook_statistics(
    context: &Context,
    deliveries: &DeliveryContext,
    id: PathId<'_>,
) -> Answer {
    let webhook = context.webhook(id).await?;
    let client = deliveries.pool.get().await?;
    let one = statistics::of(&**client, &[webhook.id.0]).await?;
    Ok(Reply::data(json!(one.first())))
}
