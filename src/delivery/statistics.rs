//! How each webhook is doing: what waits, what came of what is over, and how long it took.
//!
//! Guarantees: what waits is counted as it is now; totals are those of [`DAYS`] days and may lack the last second of a process
//! that was killed; latencies are of the last [`SAMPLE`] successes. The cost does not grow with the log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

/// Days that totals reach back.
pub const DAYS: i32 = 30;
/// Successes that latencies are taken of.
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
    /// The newest of the last deliveries in the log; else the one after which the last failures ended.
    pub last_success: Option<DateTime<Utc>>,
    pub last_failure: Option<DateTime<Utc>>,
    pub last_cause: Option<String>,
    /// The mean of the attempts that succeeded within the last days.
    pub mean_attempt_ms: Option<i64>,
    /// From the queue to the success, of the last successes.
    pub latency_ms: Option<Latency>,
}

/// How long deliveries took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    pub median: i64,
    pub p99: i64,
    pub sample: i64,
}

/// The figures of these webhooks, in this order.
///
/// # Errors
/// Where PostgreSQL says so.
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
    let sql = "SELECT webhook, count(*), count(*) FILTER (WHERE state = 'retrying'), count(*) FILTER (WHERE state = 'leased'), \
        min(created_at) FROM openregister_webhooks.delivery WHERE webhook = ANY ($1) GROUP BY webhook";
    for row in client.query_typed(sql, &[(&webhooks, Type::INT8_ARRAY)]).await? {
        if let Some(one) = all.get_mut(&row.try_get(0)?) {
            one.pending = row.try_get(1)?;
            one.retrying = row.try_get(2)?;
            one.leased = row.try_get(3)?;
            one.oldest_pending = row.try_get(4)?;
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
    let sql = "SELECT w.webhook, percentile_disc(0.5) WITHIN GROUP (ORDER BY l.ms), percentile_disc(0.99) WITHIN GROUP (ORDER BY l.ms), \
            count(*), max(l.at) \
        FROM unnest($1::bigint[]) AS w (webhook) CROSS JOIN LATERAL ( \
            SELECT (extract(epoch FROM s.finished_at - s.created_at) * 1000)::int8 AS ms, s.finished_at AS at FROM ( \
                SELECT state, finished_at, created_at FROM openregister_webhooks.delivery_log \
                WHERE webhook = w.webhook ORDER BY id DESC LIMIT $2) s \
            WHERE s.state = 'succeeded') l GROUP BY w.webhook";
    let rows = client
        .query_typed(sql, &[(&webhooks, Type::INT8_ARRAY), (&SAMPLE, Type::INT8)])
        .await?;
    for row in rows {
        if let Some(one) = all.get_mut(&row.try_get(0)?) {
            one.latency_ms = Some(Latency {
                median: row.try_get(1)?,
                p99: row.try_get(2)?,
                sample: row.try_get(3)?,
            });
            // Health is stored where it changes only, and a little later: it is for where the log has no success.
            one.last_success = row.try_get(4)?;
        }
    }
    Ok(())
}
