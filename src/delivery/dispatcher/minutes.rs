//! Counts outcomes by minute, in the table `openregister_webhooks.minute_count`.
//!
//! Guarantees: at most one write in [`INTERVAL`], whatever the rate, of the rows that have changed, as a whole: so a write can be
//! repeated. A row for all webhooks, and one for each of [`MOST_WEBHOOKS`] webhooks a minute at most. What was not written yet is lost if the
//! process is killed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::database::DatabaseError;
use crate::delivery::figures::{ALL, DELAY_SECONDS};
use crate::delivery::histogram::Histogram;
use crate::delivery::queue::{Outcome, OutcomeRecord};
use crate::delivery::timed_query::timed_query;

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(DELAY_SECONDS);
/// Webhooks that get rows of their own in one minute; the others are in the row for all.
const MOST_WEBHOOKS: usize = 1_000;
/// Rows that wait for a database that is away; the oldest minutes go first.
const KEPT: usize = 20_000;

/// One minute of one webhook, or of all.
#[derive(Debug, Default)]
struct Minute {
    succeeded: i32,
    given_up: i32,
    failed: i32,
    last_success: Option<DateTime<Utc>>,
    latencies: Histogram,
    changed: bool,
}

/// What this process counted in the last minutes.
#[derive(Debug)]
pub(super) struct Minutes {
    writer: Uuid,
    /// By the beginning of the minute, in minutes since 1970, and webhook.
    counted: BTreeMap<(i64, i64), Minute>,
    /// The minute that was counted last, and how many rows it has.
    newest: (i64, usize),
    written: Instant,
    changed: bool,
}

impl Minutes {
    pub(super) fn new() -> Self {
        Self {
            writer: Uuid::now_v7(),
            counted: BTreeMap::new(),
            newest: (i64::MIN, 0),
            written: Instant::now(),
            changed: false,
        }
    }

    /// Counts an outcome that was recorded at `now`.
    pub(super) fn add(&mut self, record: &OutcomeRecord, now: DateTime<Utc>) {
        let failed = record
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.cause.is_some());
        let ended = matches!(record.outcome, Outcome::Succeeded | Outcome::GivenUp);
        if !failed && !ended {
            return;
        }
        let minute = now.timestamp().div_euclid(60);
        if self.newest.0 != minute {
            self.newest = (minute, 0);
        }
        for webhook in [ALL, record.delivery.webhook.0] {
            let one = match self.counted.entry((minute, webhook)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if self.newest.1 > MOST_WEBHOOKS => continue,
                Entry::Vacant(new) => {
                    self.newest.1 += 1;
                    new.insert(Minute::default())
                }
            };
            one.changed = true;
            one.failed = one.failed.saturating_add(i32::from(failed));
            match record.outcome {
                Outcome::Succeeded => {
                    one.succeeded = one.succeeded.saturating_add(1);
                    one.last_success = Some(now);
                }
                Outcome::GivenUp => one.given_up = one.given_up.saturating_add(1),
                _ => {}
            }
            if let Some(latency) = record.attempt.as_ref().and_then(|attempt| attempt.latency) {
                one.latencies.add(latency);
            }
        }
        self.changed = true;
        while self.counted.len() > KEPT {
            self.counted.pop_first();
        }
    }

    /// When the next write is due; `None` if there is nothing to write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.changed.then(|| self.written + INTERVAL)
    }

    /// Writes if a write is due, or `always`.
    pub(super) async fn write(&mut self, pool: &Pool, query_timeout: Duration, always: bool) {
        if !self.changed || (!always && self.written.elapsed() < INTERVAL) {
            return;
        }
        self.written = Instant::now();
        match self.try_write(pool, query_timeout).await {
            Ok(()) => {
                self.changed = false;
                let now = Utc::now().timestamp().div_euclid(60);
                // What is over will not change any more.
                self.counted.retain(|(minute, _), one| {
                    one.changed = false;
                    *minute >= now
                });
            }
            Err(error) => {
                tracing::debug!(error = %crate::error_text::chain(&error), "figures of minutes cannot be written; tried again");
            }
        }
    }

    async fn try_write(&self, pool: &Pool, query_timeout: Duration) -> Result<(), DatabaseError> {
        // Buckets and their counts are texts such as {1,2}: an array of arrays must have one length for all.
        let sql = "INSERT INTO openregister_webhooks.minute_count (webhook, minute, writer, succeeded, given_up, failed, last_success, buckets, counts) \
            SELECT n.webhook, to_timestamp(n.minute * 60), $1, n.succeeded, n.given_up, n.failed, n.last_success, n.buckets::smallint[], n.counts::integer[] \
            FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::integer[], $7::timestamptz[], $8::text[], $9::text[]) \
                AS n (webhook, minute, succeeded, given_up, failed, last_success, buckets, counts) ORDER BY 1, 2 \
            ON CONFLICT (webhook, minute, writer) DO UPDATE SET succeeded = excluded.succeeded, given_up = excluded.given_up, \
                failed = excluded.failed, last_success = excluded.last_success, buckets = excluded.buckets, counts = excluded.counts";
        let changed = || self.counted.iter().filter(|(_, one)| one.changed);
        let webhooks: Vec<i64> = changed().map(|((_, webhook), _)| *webhook).collect();
        let minutes: Vec<i64> = changed().map(|((minute, _), _)| *minute).collect();
        let succeeded: Vec<i32> = changed().map(|(_, one)| one.succeeded).collect();
        let given_up: Vec<i32> = changed().map(|(_, one)| one.given_up).collect();
        let failed: Vec<i32> = changed().map(|(_, one)| one.failed).collect();
        let last: Vec<Option<DateTime<Utc>>> = changed().map(|(_, one)| one.last_success).collect();
        let buckets: Vec<String> = changed()
            .map(|(_, one)| array(one.latencies.buckets().map(|(bucket, _)| i64::from(bucket))))
            .collect();
        let counts: Vec<String> = changed()
            .map(|(_, one)| array(one.latencies.buckets().map(|(_, count)| count)))
            .collect();
        timed_query(pool, query_timeout, async |client| {
            let statement = client.prepare_cached(sql).await?;
            client
                .execute(
                    &statement,
                    &[
                        &self.writer,
                        &webhooks,
                        &minutes,
                        &succeeded,
                        &given_up,
                        &failed,
                        &last,
                        &buckets,
                        &counts,
                    ],
                )
                .await
        })
        .await?;
        Ok(())
    }
}

/// An array as PostgreSQL writes it.
fn array(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("{{{}}}", numbers.join(","))
}
