//! The figures of each webhook: what waits, what became of finished deliveries, and how long they took.
//!
//! Guarantees: what waits is counted as it is now. Totals are those of [`DAYS`] days and may lack the last second of a process
//! that was killed. Latencies are of the successes among the last [`SAMPLE`] deliveries of the log. The cost does not grow with the
//! log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::queue;
pub use super::queue::Latency;

/// Days that totals reach back.
pub const DAYS: i32 = 30;
/// Deliveries of the log that latencies are taken from.
pub const SAMPLE: i64 = 1000;

/// One webhook's figures.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    pub webhook: i64,
    /// Unfinished deliveries, whatever they wait for.
    pub pending: i64,
    /// Those of them that failed before.
    pub retrying: i64,
    /// Those of them that a process has in hand.
    pub leased: i64,
    /// When the oldest unfinished one was put into the queue.
    pub oldest_pending: Option<DateTime<Utc>>,
    /// Deliveries that arrived within the last days.
    pub succeeded: i64,
    /// Deliveries that were given up within the last days.
    pub given_up: i64,
    /// Attempts that failed within the last days, by cause.
    pub failed_attempts: BTreeMap<String, i64>,
    /// Failures since the last success.
    pub failures_in_a_row: i32,
    /// The newest among the last deliveries of the log; if there is none, the one that ended the last failures.
    pub last_success: Option<DateTime<Utc>>,
    pub last_failure: Option<DateTime<Utc>>,
    pub last_cause: Option<String>,
    /// The mean of the attempts that succeeded within the last days.
    pub mean_attempt_ms: Option<i64>,
    /// From the queue to the success, of the last successes.
    pub latency_ms: Option<Latency>,
}

/// The figures of these webhooks, in this order.
///
/// # Errors
/// If a query fails.
pub async fn of<C: GenericClient + Sync>(client: &C, webhooks: &[i64]) -> Result<Vec<Statistics>, Error> {
    let mut all: BTreeMap<i64, Statistics> = webhooks
        .iter()
        .map(|webhook| {
            let empty = Statistics {
                webhook: *webhook,
                ..Statistics::default()
            };
            (*webhook, empty)
        })
        .collect();
    waiting(client, webhooks, &mut all).await?;
    health(client, webhooks, &mut all).await?;
    counts(client, webhooks, &mut all).await?;
    latencies(client, webhooks, &mut all).await?;
    Ok(webhooks
        .iter()
        .filter_map(|webhook| all.remove(webhook))
        .collect())
}

async fn waiting<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    all: &mut BTreeMap<i64, Statistics>,
) -> Result<(), Error> {
    for group in queue::unfinished(client, webhooks).await? {
        if let Some(one) = all.get_mut(&group.webhook) {
            one.pending = group.count;
            one.retrying = group.retrying;
            one.leased = group.leased;
            one.oldest_pending = group.oldest;
        }
    }
    Ok(())
}

async fn health<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    all: &mut BTreeMap<i64, Statistics>,
) -> Result<(), Error> {
    let sql = "SELECT webhook, failures, last_success, last_failure, last_cause FROM openregister_webhooks.webhook_health \
        WHERE webhook = ANY ($1)";
    for row in client.query_typed(sql, &[(&webhooks, Type::INT8_ARRAY)]).await? {
        if let Some(one) = all.get_mut(&row.try_get(0)?) {
            one.failures_in_a_row = row.try_get(1)?;
            one.last_success = row.try_get(2)?;
            one.last_failure = row.try_get(3)?;
            one.last_cause = row.try_get(4)?;
        }
    }
    Ok(())
}

async fn counts<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    all: &mut BTreeMap<i64, Statistics>,
) -> Result<(), Error> {
    let sql = "SELECT webhook, outcome, sum(count)::int8, sum(total_ms)::int8 FROM openregister_webhooks.webhook_count \
        WHERE webhook = ANY ($1) AND day > (clock_timestamp() AT TIME ZONE 'UTC')::date - $2::integer GROUP BY webhook, outcome";
    let rows = client
        .query_typed(sql, &[(&webhooks, Type::INT8_ARRAY), (&DAYS, Type::INT4)])
        .await?;
    for row in rows {
        let Some(one) = all.get_mut(&row.try_get(0)?) else {
            continue;
        };
        let (count, total): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        match row.try_get(1)? {
            "succeeded" => {
                one.succeeded = count;
                one.mean_attempt_ms = total.checked_div(count);
            }
            "given_up" => one.given_up = count,
            cause => {
                one.failed_attempts.insert(cause.to_owned(), count);
            }
        }
    }
    Ok(())
}

async fn latencies<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    all: &mut BTreeMap<i64, Statistics>,
) -> Result<(), Error> {
    for (webhook, latency, last_success) in queue::latencies(client, webhooks, SAMPLE).await? {
        if let Some(one) = all.get_mut(&webhook) {
            one.latency_ms = Some(latency);
            // The stored health is updated at changes only, and a little later: it counts if the log has no success.
            one.last_success = last_success;
        }
    }
    Ok(())
}
