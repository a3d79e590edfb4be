//! How each webhook's receiver is doing: the table `openregister_webhooks.webhook_health`.

use std::time::Duration;

use deadpool_postgres::Client;
use tokio_postgres::Error;

use crate::registry::WebhookId;

/// What is stored of a webhook's receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StoredHealth {
    /// The registration's revision that this is about. If the registration has another by now, this says nothing about it.
    pub(crate) revision: i64,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How long ago the first failure after the last success was.
    pub(crate) failing_for: Option<Duration>,
}

/// Reads the stored health of these webhooks. A webhook of which nothing is stored is not in the answer: it is healthy.
pub(crate) async fn health(
    client: &Client,
    webhooks: &[i64],
) -> Result<Vec<(WebhookId, StoredHealth)>, Error> {
    let sql = "SELECT webhook, failures, extract(epoch FROM clock_timestamp() - failing_since)::float8, revision \
        FROM openregister_webhooks.webhook_health WHERE webhook = ANY ($1)";
    client
        .query(sql, &[&webhooks])
        .await?
        .iter()
        .map(|row| {
            let failing_for: Option<f64> = row.try_get(2)?;
            let health = StoredHealth {
                revision: row.try_get(3)?,
                failures: u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or_default(),
                failing_for: failing_for.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()),
            };
            Ok((WebhookId(row.try_get(0)?), health))
        })
        .collect()
}

/// Begins the time anew for which the receiver of this revision of a webhook has been failing: it counts from the next failure.
pub(crate) async fn forgive(client: &Client, webhook: WebhookId, revision: i64) -> Result<(), Error> {
    let sql = "UPDATE openregister_webhooks.webhook_health SET failing_since = NULL \
        WHERE webhook = $1 AND revision = $2 AND failing_since IS NOT NULL";
    client.execute(sql, &[&webhook.0, &revision]).await.map(|_| ())
}

/// What there is to store about a receiver since the last write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HealthReport {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// The cause of the last failure since the last write.
    pub(crate) cause: Option<String>,
    /// Whether something has succeeded since the last write, before or after the failures.
    pub(crate) succeeded: bool,
}

impl HealthReport {
    /// Joins this report and a later one.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            failures: later.failures,
            cause: later.cause.or(self.cause),
            succeeded: later.succeeded || self.succeeded,
        }
    }
}

/// Stores a report about the receiver of this revision of a webhook, and says for how long the receiver has been failing. Nothing is
/// stored if the registration was changed or deleted meanwhile: its row is locked, so this waits for a change that is under way.
pub(crate) async fn record_health(
    client: &Client,
    webhook: WebhookId,
    revision: i64,
    report: &HealthReport,
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
    let failures = i32::try_from(report.failures).unwrap_or(i32::MAX);
    let row = client
        .query_opt(
            sql,
            &[&webhook.0, &failures, &report.cause, &report.succeeded, &revision],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let seconds: Option<f64> = row.try_get(0)?;
    Ok(seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()))
}

/// A webhook whose receiver fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FailingReceiver {
    pub(crate) webhook: i64,
    /// In a row.
    pub(crate) failures: i64,
    /// How long ago the first of them was.
    pub(crate) seconds: f64,
}

/// The enabled webhooks whose last attempt failed, as they are registered now.
pub(crate) async fn failing<C: tokio_postgres::GenericClient + Sync>(
    client: &C,
) -> Result<Vec<FailingReceiver>, Error> {
    let sql = "SELECT h.webhook, h.failures::bigint, \
            greatest(0, extract(epoch FROM clock_timestamp() - coalesce(h.failing_since, h.last_failure, clock_timestamp())))::float8 \
        FROM openregister_webhooks.webhook_health h \
        JOIN openregister_webhooks.webhook w ON w.id = h.webhook AND w.revision = h.revision \
        WHERE h.failures > 0 AND w.status = 'enabled'";
    let rows = client.query_typed(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(FailingReceiver {
                webhook: row.try_get(0)?,
                failures: row.try_get(1)?,
                seconds: row.try_get(2)?,
            })
        })
        .collect()
}
