//! Starting a bulk retry: counts first, then makes a job for each webhook that has something to put back.

use serde::Serialize;
use tokio_postgres::Client;

use super::job::{Job, JobKind};
use super::progress::{RetryPlace, StoredRetry, to_json};
use super::start::StartError;
use super::store;
use crate::delivery::queue::{self, DeliveryFilter, Field, RETRIED, RetryCount};
use crate::registry::{Caller, Snapshot, WebhookId};

/// So many jobs one request may make: running sidecars work on no more at once.
const MOST_JOBS: usize = 1_000;

/// What a request for a bulk retry made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RetryStarted {
    /// One for each webhook that may have something to put back.
    pub jobs: Vec<Job>,
    /// Webhooks that may have something to put back, and get no job now.
    pub skipped: Vec<Skipped>,
}

/// A webhook that gets no job now.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    pub webhook: i64,
    /// Why, in words.
    pub reason: String,
}

/// How many deliveries a bulk retry would put back.
///
/// # Errors
/// [`StartError::Refused`] if the filter names states that cannot be put back.
pub async fn count_retry(client: &mut Client, filter: &DeliveryFilter) -> Result<RetryCount, StartError> {
    let filter = retryable(filter)?;
    Ok(queue::count_retryable(client, &filter).await?)
}

/// Starts putting back everything that the filter shows and that can be put back. A filter that names no state means what was given
/// up; what was cancelled goes back only if the filter says so.
///
/// # Errors
/// [`StartError`]; then no job was started. If the filter names one webhook, that is an error for which it would be skipped.
pub async fn start_retry(
    client: &mut Client,
    registrations: &Snapshot,
    filter: &DeliveryFilter,
    by: &Caller,
) -> Result<RetryStarted, StartError> {
    let filter = retryable(filter)?;
    let webhooks = candidates(client, registrations, &filter).await?;
    if webhooks.len() > MOST_JOBS {
        return Err(StartError::Refused(format!(
            "webhook: {} webhooks may have something to put back, and {MOST_JOBS} jobs may be started at once: name one",
            webhooks.len()
        )));
    }
    let tx = client.transaction().await?;
    let bounds = queue::bounds(&tx).await?;
    let mut started = RetryStarted::default();
    for (webhook, expected) in webhooks {
        let Some(registered) = registrations.get(webhook) else {
            continue;
        };
        let refused = if registered.collects() {
            let stored = StoredRetry::new(&filter.clone().for_webhook(webhook), bounds);
            let (request, place) = (to_json(&stored), to_json(&RetryPlace::default()));
            let made = store::insert(
                &tx,
                JobKind::Retry,
                webhook,
                (&request, &place),
                expected,
                None,
                by,
            )
            .await?;
            match made {
                Some(job) => {
                    started.jobs.push(job);
                    continue;
                }
                None => StartError::AtWork {
                    webhook,
                    job: store::active_of(&tx, webhook).await?.unwrap_or_default(),
                },
            }
        } else {
            StartError::Disabled(webhook)
        };
        if filter.webhook().is_some() {
            return Err(refused);
        }
        started.skipped.push(Skipped {
            webhook: webhook.0,
            reason: refused.to_string(),
        });
    }
    tx.commit().await?;
    Ok(started)
}

/// The webhooks that get a job, each with the number of its deliveries if that is known.
async fn candidates(
    client: &mut Client,
    registrations: &Snapshot,
    filter: &DeliveryFilter,
) -> Result<Vec<(WebhookId, Option<i64>)>, StartError> {
    if let Some(webhook) = filter.webhook()
        && registrations.get(webhook).is_none()
    {
        return Err(StartError::Refused(format!("webhook: {webhook} does not exist")));
    }
    let counted = queue::count_retryable(client, filter).await?;
    if counted.exact {
        let of_each = counted.webhooks.iter();
        return Ok(of_each
            .map(|one| (WebhookId(one.webhook), Some(one.count)))
            .collect());
    }
    let all = match filter.webhook() {
        Some(webhook) => vec![webhook],
        None => queue::webhooks_of_failures(client, filter.states()).await?,
    };
    Ok(all
        .into_iter()
        .filter(|webhook| registrations.get(*webhook).is_some())
        .map(|webhook| (webhook, None))
        .collect())
}

/// The filter, with the states that are meant.
fn retryable(filter: &DeliveryFilter) -> Result<DeliveryFilter, StartError> {
    if filter.states().is_empty() {
        return Ok(filter.clone().in_states(&RETRIED[..1]));
    }
    if let Some(state) = filter.states().iter().find(|state| !RETRIED.contains(state)) {
        return Err(StartError::Refused(format!(
            "{}: only what is in the state {} can be put back, not what is {state}",
            Field::State.name(),
            RETRIED.join(" or ")
        )));
    }
    Ok(filter.clone())
}
