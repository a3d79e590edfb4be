//! Counts the outcomes of each webhook's deliveries, in the table `openregister_webhooks.webhook_count`; `minutes` beside it counts
//! them by minute.
//!
//! Guarantees: at most one write a second, whatever the rate; one row for each webhook, day and outcome. What was not written yet
//! is lost if the process is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use deadpool_postgres::Pool;
use tokio::time::Instant;

use super::minutes::Minutes;
use crate::database::DatabaseError;
use crate::delivery::queue::{Outcome, OutcomeRecord};
use crate::delivery::timed_query::timed_query;

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was counted since the last write: by webhook and outcome, how many, and the sum of their milliseconds.
#[derive(Debug)]
pub(super) struct Counts {
    counted: BTreeMap<(i64, &'static str), (i64, i64)>,
    written: Instant,
    minutes: Minutes,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            counted: BTreeMap::new(),
            written: Instant::now(),
            minutes: Minutes::new(),
        }
    }

    /// Counts an outcome that was recorded.
    pub(super) fn add(&mut self, record: &OutcomeRecord) {
        self.minutes.add(record, Utc::now());
        let webhook = record.delivery.webhook.0;
        let took = record.attempt.as_ref().map_or(0, |attempt| {
            i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX)
        });
        let mut count = |name| {
            let (count, total) = self.counted.entry((webhook, name)).or_default();
            *count += 1;
            *total = total.saturating_add(took);
        };
        match record.outcome {
            Outcome::Succeeded => count("succeeded"),
            Outcome::GivenUp => count("given_up"),
            Outcome::Dropped
            | Outcome::Retry(_)
            | Outcome::Probed
            | Outcome::Released
            | Outcome::PutOff(_) => {}
        }
        if let Some(cause) = record.attempt.as_ref().and_then(|attempt| attempt.cause) {
            count(cause);
        }
    }

    /// When the next write is due; `None` if there is nothing to write.
    pub(super) fn due(&self) -> Option<Instant> {
        let counts = (!self.counted.is_empty()).then(|| self.written + INTERVAL);
        counts.into_iter().chain(self.minutes.due()).min()
    }

    /// Writes if a write is due, or `always`.
    pub(super) async fn write(&mut self, pool: &Pool, query_timeout: Duration, always: bool) {
        self.minutes.write(pool, query_timeout, always).await;
        if self.counted.is_empty() || (!always && self.written.elapsed() < INTERVAL) {
            return;
        }
        self.written = Instant::now();
        match self.try_write(pool, query_timeout).await {
            Ok(()) => self.counted.clear(),
            Err(error) => {
                tracing::debug!(error = %crate::error_text::chain(&error), "counts cannot be written; tried again");
            }
        }
    }

    async fn try_write(&self, pool: &Pool, query_timeout: Duration) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO openregister_webhooks.webhook_count AS c (webhook, day, outcome, count, total_ms) \
            SELECT n.webhook, (clock_timestamp() AT TIME ZONE 'UTC')::date, n.outcome, n.count, n.total_ms \
            FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS n (webhook, outcome, count, total_ms) ORDER BY 1, 3 \
            ON CONFLICT (webhook, day, outcome) DO UPDATE SET count = c.count + excluded.count, total_ms = c.total_ms + excluded.total_ms";
        let webhooks: Vec<i64> = self.counted.keys().map(|(webhook, _)| *webhook).collect();
        let outcomes: Vec<&str> = self.counted.keys().map(|(_, outcome)| *outcome).collect();
        let counts: Vec<i64> = self.counted.values().map(|(count, _)| *count).collect();
        let totals: Vec<i64> = self.counted.values().map(|(_, total)| *total).collect();
        timed_query(pool, query_timeout, async |client| {
            let statement = client.prepare_cached(sql).await?;
            client
                .execute(&statement, &[&webhooks, &outcomes, &counts, &totals])
                .await
        })
        .await?;
        Ok(())
    }
}
