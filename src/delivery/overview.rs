//! Whether deliveries arrive: what waits, since when, what comes next, and what came of the last day; of all webhooks and of each.
//!
//! Guarantees: two statements, whose cost depends on the number of webhooks and not on the backlog: what waits is counted up to
//! [`COUNTED`] for each webhook, and everything else is one look at an index.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::figures::{ALL, Outcomes};
use super::queue;
pub use super::queue::Waiting;

/// So many waiting deliveries of a webhook are counted.
pub const COUNTED: i64 = 10_000;
/// So many are counted of all webhooks together.
pub const COUNTED_IN_ALL: i64 = 100_000;

/// How deliveries do.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub waiting: Waiting,
    /// What came of deliveries in the last 24 hours.
    #[serde(flatten)]
    pub outcomes: Outcomes,
    /// Within the last 24 hours; of a webhook also an earlier one, if its failures are known to have ended then.
    pub last_success: Option<DateTime<Utc>>,
}

impl Overview {
    /// The share of the attempts of the last 24 hours that succeeded, from 0 to 1; `None` if none was made.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        self.outcomes.success_rate()
    }
}

/// All webhooks together.
///
/// # Errors
/// If a query fails.
pub async fn overall<C: GenericClient + Sync>(client: &C) -> Result<Overview, Error> {
    let mut overview = Overview {
        waiting: queue::waiting(client, COUNTED_IN_ALL).await?,
        ..Overview::default()
    };
    if let Some(row) = last_day(client, &[ALL]).await?.first() {
        read(row, &mut overview)?;
    }
    Ok(overview)
}

/// Each of these webhooks, in this order.
///
/// # Errors
/// If a query fails.
pub async fn of<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
) -> Result<Vec<(i64, Overview)>, Error> {
    let mut all: BTreeMap<i64, Overview> = BTreeMap::new();
    for (webhook, waiting) in queue::waiting_of(client, webhooks, COUNTED).await? {
        all.entry(webhook).or_default().waiting = waiting;
    }
    for row in last_day(client, webhooks).await? {
        read(&row, all.entry(row.try_get("webhook")?).or_default())?;
    }
    Ok(webhooks
        .iter()
        .map(|webhook| (*webhook, all.remove(webhook).unwrap_or_default()))
        .collect())
}

/// What came of the deliveries of the last 24 hours.
async fn last_day<C: GenericClient + Sync>(client: &C, webhooks: &[i64]) -> Result<Vec<Row>, Error> {
    let sql = "SELECT w.webhook, coalesce(m.succeeded, 0)::int8 AS succeeded, coalesce(m.failed, 0)::int8 AS failed, \
            coalesce(m.given_up, 0)::int8 AS given_up, greatest(m.last_success, h.last_success) AS last_success \
        FROM unnest($1::bigint[]) AS w (webhook) \
        LEFT JOIN LATERAL ( \
            SELECT sum(c.succeeded) AS succeeded, sum(c.failed) AS failed, sum(c.given_up) AS given_up, max(c.last_success) AS last_success \
            FROM openregister_webhooks.minute_count c WHERE c.webhook = w.webhook AND c.minute > clock_timestamp() - interval '24 hours' \
        ) m ON true \
        LEFT JOIN openregister_webhooks.webhook_health h ON h.webhook = w.webhook";
    client.query_typed(sql, &[(&webhooks, Type::INT8_ARRAY)]).await
}

fn read(row: &Row, overview: &mut Overview) -> Result<(), Error> {
    overview.outcomes = Outcomes {
        succeeded: row.try_get("succeeded")?,
        failed_attempts: row.try_get("failed")?,
        given_up: row.try_get("given_up")?,
    };
    overview.last_success = row.try_get("last_success")?;
    Ok(())
}
