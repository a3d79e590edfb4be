//! Removes rows whose retention has ended, from every table that would otherwise only grow (`docs/storage.md`).
//!
//! Guarantees: transactions are small and wait for a lock 200 ms at most. Several processes may run this; one at a time works. What
//! is still needed stays: `clean` in `sql/functions.sql` alone decides that. Events and the delivery log are dropped by partition
//! instead, see `delivery::partitions`.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};
use tokio_util::sync::CancellationToken;

/// The pause between two runs.
const INTERVAL: Duration = Duration::from_secs(3600);
/// The pause after a run that failed: usually a table was locked for a moment.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// The most rows of each table that one transaction removes.
const BATCH: i32 = 1000;
/// The most transactions in one run; the next run continues.
const MAX_BATCHES: u32 = 10_000;

/// How long rows are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Finished jobs, gaps that consumers were notified of, and the quarantine.
    pub log_days: u32,
    /// The audit: who changed which registration.
    pub audit_days: u32,
}

/// Removes rows whose retention has ended, at once and then every hour, until `shutdown` is cancelled.
pub(crate) async fn run(pool: Pool, retention: Retention, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let mut pause = INTERVAL;
        let cleaned = async {
            let client = pool
                .get()
                .await
                .map_err(|error| crate::error_text::chain(&error))?;
            clean(&**client, retention)
                .await
                .map_err(|error| crate::error_text::chain(&error))
        };
        tokio::select! {
            cleaned = cleaned => match cleaned {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(rows, "rows whose retention has ended were removed"),
                Err(error) => {
                    pause = RETRY_PAUSE;
                    tracing::warn!(%error, "rows whose retention has ended could not be removed; the next try is in a minute");
                }
            },
            () = shutdown.cancelled() => {}
        }
        tokio::select! { () = tokio::time::sleep(pause) => {} () = shutdown.cancelled() => {} }
    }
}

/// Removes rows whose retention has ended, and returns their number.
///
/// # Errors
/// If a statement fails; rows that were removed before stay removed.
pub async fn clean<C: GenericClient + Sync>(client: &C, retention: Retention) -> Result<u64, Error> {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX).min(100_000);
    let mut total = 0;
    for _ in 0..MAX_BATCHES {
        let rows = client
            .query_typed(
                "SELECT openregister_webhooks.clean($1, $2, $3)",
                &[
                    (&days(retention.log_days), Type::INT4),
                    (&days(retention.audit_days), Type::INT4),
                    (&BATCH, Type::INT4),
                ],
            )
            .await?;
        let removed: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if removed <= 0 {
            break;
        }
        total += removed.unsigned_abs();
    }
    Ok(total)
}
