//! Counting the queue and its log, for metrics, figures and `doctor`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::transition::WEBHOOKS;
use crate::registry::WebhookId;

/// How many deliveries are unfinished, of one webhook or of all: `most` if there are so many or more.
pub(crate) async fn count<C: GenericClient + Sync>(
    client: &C,
    webhook: Option<WebhookId>,
    most: i64,
) -> Result<i64, Error> {
    let rows = match webhook {
        Some(webhook) => {
            let sql = "SELECT count(*) FROM (SELECT FROM openregister_webhooks.delivery WHERE webhook = $1 LIMIT $2) d";
            let params = [(&webhook.0 as _, Type::INT8), (&most as _, Type::INT8)];
            client.query_typed(sql, &params).await?
        }
        None => {
            let sql = "SELECT count(*) FROM (SELECT FROM openregister_webhooks.delivery LIMIT $1) d";
            client.query_typed(sql, &[(&most, Type::INT8)]).await?
        }
    };
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Unfinished deliveries.
    pub count: i64,
    /// There are more than `count`: no more were counted.
    pub more: bool,
    /// When the oldest of them was put into the queue.
    pub oldest: Option<DateTime<Utc>>,
    /// When the next of them may be attempted: of those that are the first of their lanes. It may be in the past.
    pub next_attempt: Option<DateTime<Utc>>,
}

impl Waiting {
    /// Reads the columns `count`, `oldest` and `next_attempt`.
    fn read(row: &Row, most: i64) -> Result<Self, Error> {
        let count: i64 = row.try_get("count")?;
        Ok(Self {
            count: count.min(most),
            more: count > most,
            oldest: row.try_get("oldest")?,
            next_attempt: row.try_get("next_attempt")?,
        })
    }
}

/// What waits in the whole queue, counted up to `most`.
pub(crate) async fn waiting<C: GenericClient + Sync>(client: &C, most: i64) -> Result<Waiting, Error> {
    // Ids ascend with the time, so the first is the oldest. The first that is due is looked up for each webhook.
    let sql = format!(
        "WITH RECURSIVE {WEBHOOKS} SELECT (SELECT count(*) FROM (SELECT FROM openregister_webhooks.delivery LIMIT $1 + 1) d) AS count, \
            (SELECT d.created_at FROM openregister_webhooks.delivery d ORDER BY d.id LIMIT 1) AS oldest, \
            (SELECT min(n.due_at) FROM queued q CROSS JOIN LATERAL ( \
                SELECT d.due_at FROM openregister_webhooks.delivery d WHERE d.webhook = q.webhook AND d.head ORDER BY d.due_at LIMIT 1 \
            ) n WHERE q.webhook IS NOT NULL) AS next_attempt"
    );
    let rows = client.query_typed(&sql, &[(&most, Type::INT8)]).await?;
    rows.first()
        .map_or_else(|| Ok(Waiting::default()), |row| Waiting::read(row, most))
}

/// What waits for each of these webhooks, counted up to `most`; the oldest is that of those that were counted.
pub(crate) async fn waiting_of<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    most: i64,
) -> Result<Vec<(i64, Waiting)>, Error> {
    let sql = "SELECT w.webhook, c.count, least(c.oldest, n.created_at) AS oldest, n.due_at AS next_attempt \
        FROM unnest($1::bigint[]) AS w (webhook) CROSS JOIN LATERAL ( \
            SELECT count(*) AS count, min(d.created_at) AS oldest FROM ( \
                SELECT d.created_at FROM openregister_webhooks.delivery d WHERE d.webhook = w.webhook \
                ORDER BY d.webhook, d.lane, d.id + 0 LIMIT $2 + 1) d \
        ) c LEFT JOIN LATERAL ( \
            SELECT d.due_at, d.created_at FROM openregister_webhooks.delivery d WHERE d.webhook = w.webhook AND d.head \
            ORDER BY d.due_at LIMIT 1 \
        ) n ON true";
    let rows = client
        .query_typed(sql, &[(&webhooks, Type::INT8_ARRAY), (&most, Type::INT8)])
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("webhook")?, Waiting::read(row, most)?)))
        .collect()
}

/// How many processes deliver.
pub(crate) async fn living_workers<C: GenericClient + Sync>(client: &C) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM openregister_webhooks.worker WHERE alive_until > clock_timestamp()";
    let rows = client.query_typed(sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}

/// The unfinished deliveries of one webhook in one state.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) webhook: i64,
    pub(crate) state: String,
    pub(crate) count: i64,
    /// How long the oldest of them has been in the queue.
    pub(crate) oldest_seconds: f64,
}

/// Every unfinished delivery, counted by webhook and state; reads the whole queue once.
pub(crate) async fn groups<C: GenericClient + Sync>(client: &C) -> Result<Vec<Group>, Error> {
    let sql = "SELECT webhook, state, count(*), greatest(0, extract(epoch FROM clock_timestamp() - min(created_at)))::float8 \
        FROM openregister_webhooks.delivery GROUP BY webhook, state";
    let rows = client.query_typed(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Group {
                webhook: row.try_get(0)?,
                state: row.try_get(1)?,
                count: row.try_get(2)?,
                oldest_seconds: row.try_get(3)?,
            })
        })
        .collect()
}

/// The unfinished deliveries of one webhook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unfinished {
    pub(crate) webhook: i64,
    pub(crate) count: i64,
    pub(crate) retrying: i64,
    pub(crate) leased: i64,
    /// When the oldest of them was put into the queue.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

/// The unfinished deliveries of each of these webhooks; a webhook without any is not in the answer.
pub(crate) async fn unfinished<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
) -> Result<Vec<Unfinished>, Error> {
    let sql = "SELECT webhook, count(*), count(*) FILTER (WHERE state = 'retrying'), count(*) FILTER (WHERE state = 'leased'), \
        min(created_at) FROM openregister_webhooks.delivery WHERE webhook = ANY ($1) GROUP BY webhook";
    let rows = client.query_typed(sql, &[(&webhooks, Type::INT8_ARRAY)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Unfinished {
                webhook: row.try_get(0)?,
                count: row.try_get(1)?,
                retrying: row.try_get(2)?,
                leased: row.try_get(3)?,
                oldest: row.try_get(4)?,
            })
        })
        .collect()
}

/// How long deliveries took from the queue to their success, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    pub median: i64,
    pub p99: i64,
    /// How many successes this is taken from.
    pub sample: i64,
}

/// The successes among the last `newest` entries of each webhook's log: how long they took, and when the last one was. A webhook
/// without any is not in the answer.
pub(crate) async fn latencies<C: GenericClient + Sync>(
    client: &C,
    webhooks: &[i64],
    newest: i64,
) -> Result<Vec<(i64, Latency, Option<DateTime<Utc>>)>, Error> {
    let sql = "SELECT w.webhook, percentile_disc(0.5) WITHIN GROUP (ORDER BY l.ms), percentile_disc(0.99) WITHIN GROUP (ORDER BY l.ms), \
            count(*), max(l.at) \
        FROM unnest($1::bigint[]) AS w (webhook) CROSS JOIN LATERAL ( \
            SELECT (extract(epoch FROM s.finished_at - s.created_at) * 1000)::int8 AS ms, s.finished_at AS at FROM ( \
                SELECT state, finished_at, created_at FROM openregister_webhooks.delivery_log \
                WHERE webhook = w.webhook ORDER BY id DESC LIMIT $2) s \
            WHERE s.state = 'succeeded') l GROUP BY w.webhook";
    let params = [(&webhooks as _, Type::INT8_ARRAY), (&newest as _, Type::INT8)];
    let rows = client.query_typed(sql, &params).await?;
    rows.iter()
        .map(|row| {
            let latency = Latency {
                median: row.try_get(1)?,
                p99: row.try_get(2)?,
                sample: row.try_get(3)?,
            };
            Ok((row.try_get(0)?, latency, row.try_get(4)?))
        })
        .collect()
}
