//! What acts on the queue from outside the dispatcher: cancel, retry by hand, the user becoming known; and the health
//! of receivers.

use std::time::Duration;

use deadpool_postgres::Client;
use tokio_postgres::{Error, GenericClient};

use super::EventRef;
use crate::registry::WebhookId;

/// Cancels everything that waits for a webhook, in the caller's transaction; it goes to the log as cancelled. What is
/// in flight ends, but its outcome finds no row.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn cancel_webhook<C: GenericClient + Sync>(
    client: &C,
    webhook: WebhookId,
    cause: &str,
) -> Result<u64, Error> {
    let sql = "WITH gone AS (DELETE FROM openregister_webhooks.delivery WHERE webhook = $1 RETURNING *) \
        INSERT INTO openregister_webhooks.delivery_log \
        (day, id, webhook, event_day, event_seq, lane, state, reason, attempt, cause, created_at) \
        SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, id, webhook, event_day, event_seq, lane, 'cancelled', reason, \
        attempt, $2, created_at FROM gone";
    client.execute(sql, &[&webhook.0, &cause]).await
}

/// The row that names the user of these events has come: the deliveries that waited for it are due. Wake the
/// dispatcher for the webhooks that this returns, after the commit.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn resolve_user<C: GenericClient + Sync>(
    tx: &C,
    events: &[EventRef],
) -> Result<Vec<WebhookId>, Error> {
    let seqs: Vec<i64> = events.iter().map(|e| e.seq).collect();
    // A row that is leased already runs with what was known; `awaiting` stays, so that its filter is looked at again.
    let sql = "WITH woken AS (UPDATE openregister_webhooks.delivery SET due_at = least(due_at, clock_timestamp()) \
        WHERE awaiting AND lease_owner IS NULL AND event_seq = ANY ($1) RETURNING webhook) \
        SELECT DISTINCT webhook FROM woken";
    let rows = client_query(tx, sql, &seqs).await?;
    rows.iter().map(|row| row.try_get(0).map(WebhookId)).collect()
}

async fn client_query<C: GenericClient + Sync>(
    tx: &C,
    sql: &str,
    seqs: &[i64],
) -> Result<Vec<tokio_postgres::Row>, Error> {
    tx.query_typed(sql, &[(&seqs, tokio_postgres::types::Type::INT8_ARRAY)])
        .await
}

/// Tells every process, once the transaction is committed, that there is something in the queue. For processes without a
/// dispatcher of their own; others use [`crate::delivery::Wake`].
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn wake_all<C: GenericClient + Sync>(tx: &C) -> Result<(), Error> {
    tx.batch_execute(&format!("NOTIFY {}", super::CHANNEL)).await
}

/// The receiver is back: everything that waits for its next attempt is due.
pub(crate) async fn due_now(client: &Client, webhook: WebhookId) -> Result<u64, Error> {
    let sql = "UPDATE openregister_webhooks.delivery SET due_at = clock_timestamp() \
        WHERE webhook = $1 AND head AND NOT awaiting AND lease_owner IS NULL AND due_at > clock_timestamp()";
    client.execute(sql, &[&webhook.0]).await
}

/// How a webhook's receiver is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Of the registration that this is about: where it has another by now, this says nothing.
    pub(crate) revision: i64,
    /// In a row.
    pub(crate) failures: u32,
    /// Since the first failure after the last success.
    pub(crate) failing_for: Option<Duration>,
}

/// The stored health; healthy where nothing is stored.
pub(crate) async fn health(client: &Client, webhooks: &[i64]) -> Result<Vec<(WebhookId, Health)>, Error> {
    let sql = "SELECT webhook, failures, extract(epoch FROM clock_timestamp() - failing_since)::float8, revision \
        FROM openregister_webhooks.webhook_health WHERE webhook = ANY ($1)";
    client
        .query(sql, &[&webhooks])
        .await?
        .iter()
        .map(|row| {
            let failing_for: Option<f64> = row.try_get(2)?;
            let health = Health {
                revision: row.try_get(3)?,
                failures: u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or_default(),
                failing_for: failing_for.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()),
            };
            Ok((WebhookId(row.try_get(0)?), health))
        })
        .collect()
}

/// The time since which the receiver of this revision of a webhook has been failing begins anew with its next failure.
pub(crate) async fn forgive(client: &Client, webhook: WebhookId, revision: i64) -> Result<(), Error> {
    let sql = "UPDATE openregister_webhooks.webhook_health SET failing_since = NULL \
        WHERE webhook = $1 AND revision = $2 AND failing_since IS NOT NULL";
    client.execute(sql, &[&webhook.0, &revision]).await.map(|_| ())
}

/// How a receiver is doing, as of the last report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Doing {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Of the last failure since the last write.
    pub(crate) cause: Option<String>,
    /// Something has succeeded since the last write, before or after the failures.
    pub(crate) succeeded: bool,
}

impl Doing {
    /// This, and what came after it.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            failures: later.failures,
            cause: later.cause.or(self.cause),
            succeeded: later.succeeded || self.succeeded,
        }
    }
}

/// Stores how the receiver of this revision of a webhook is doing; how long it has been failing. Nothing is stored where the
/// registration was changed or deleted meanwhile: its row is locked, so a change that is under way is waited for.
pub(crate) async fn record_health(
    client: &Client,
    webhook: WebhookId,
    revision: i64,
    doing: &Doing,
) -> Result<Option<Duration>, Error> {
    let sql = "WITH registered AS MATERIALIZED ( \
            SELECT w.id FROM openregister_webhooks.webhook w WHERE w.id = $1 AND w.revision = $5 FOR SHARE) \
        INSERT INTO openregister_webhooks.webhook_health AS h \
        (webhook, revision, failures, failing_since, last_success, last_failure, last_cause) \
        SELECT r.id, $5, $2::integer, CASE WHEN $2::integer > 0 THEN t END, CASE WHEN $4::boolean THEN t END, \
        CASE WHEN $3::text IS NOT NULL THEN t END, $3::text FROM registered r, clock_timestamp() AS t \
        ON CONFLICT (webhook) DO UPDATE SET revision = excluded.revision, failures = excluded.failures, \
        failing_since = CASE WHEN excluded.failures > 0 THEN CASE WHEN $4::boolean OR h.revision <> excluded.revision \
            THEN excluded.failing_since ELSE coalesce(h.failing_since, excluded.failing_since) END END, \
        last_success = coalesce(excluded.last_success, h.last_success), \
        last_failure = coalesce(excluded.last_failure, h.last_failure), \
        last_cause = coalesce(excluded.last_cause, h.last_cause) \
        RETURNING extract(epoch FROM clock_timestamp() - h.failing_since)::float8";
    let failures = i32::try_from(doing.failures).unwrap_or(i32::MAX);
    let row = client
        .query_opt(
            sql,
            &[&webhook.0, &failures, &doing.cause, &doing.succeeded, &revision],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let seconds: Option<f64> = row.try_get(0)?;
    Ok(seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()))
}
