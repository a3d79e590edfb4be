//! What is kept no longer is removed, from every table that only ever grows otherwise (`docs/storage.md`).
//!
//! Guarantees: small transactions, which wait 200 ms for a lock at most; safe beside other processes, of which one at a time is
//! at work; what is still needed stays (see `clean` in `sql/functions.sql`, which alone decides). Events and the log go by
//! partition: see `delivery::partitions`.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;

/// Between two times.
const EVERY: Duration = Duration::from_secs(3600);
/// After one that failed: usually a table was locked for a moment.
const AGAIN: Duration = Duration::from_secs(60);
/// Rows of each table that are removed in one transaction.
const BATCH: i32 = 1000;
/// Transactions at a time, at most; the rest is left for the next time.
const BATCHES: u32 = 10_000;

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Finished jobs, gaps that were told, the quarantine.
    pub log: u32,
    /// Who changed what.
    pub audit: u32,
}

impl Retention {
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let days = |time: Duration| u32::try_from(time.as_secs().div_ceil(86_400)).unwrap_or(u32::MAX);
        Self {
            log: days(settings.log_retention),
            audit: days(settings.audit_retention),
        }
    }
}

/// Removes what is kept no longer, now and every hour, until `shutdown`.
pub(crate) async fn run(pool: Pool, retention: Retention, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        let mut pause = EVERY;
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
                Ok(rows) => tracing::debug!(rows, "what is kept no longer was removed"),
                Err(error) => {
                    pause = AGAIN;
                    tracing::warn!(%error, "what is kept no longer could not be removed; tried again in a minute");
                }
            },
            () = shutdown.cancelled() => {}
        }
        tokio::select! { () = tokio::time::sleep(pause) => {} () = shutdown.cancelled() => {} }
    }
}

/// Removes it now: how many rows.
///
/// # Errors
/// If a statement fails; what was removed before stays so.
pub async fn clean<C: GenericClient + Sync>(client: &C, retention: Retention) -> Result<u64, Error> {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX).min(100_000);
    let mut total = 0;
    for _ in 0..BATCHES {
        let rows = client
            .query_typed(
                "SELECT openregister_webhooks.clean($1, $2, $3)",
                &[
                    (&days(retention.log), Type::INT4),
                    (&days(retention.audit), Type::INT4),
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
