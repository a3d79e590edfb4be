//! What came of deliveries in each minute of the last day, as series for charts and as totals.
//!
//! Guarantees: a series has a point for each step, also where nothing happened; it reads one row for each minute and process, whatever
//! happened in it. The figures of the last [`DELAY_SECONDS`] seconds may be missing. Every running process writes its own
//! (`dispatcher::minutes`); rows are kept for a day, and up to two hours longer.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::Serialize;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::histogram::Histogram;
use crate::registry::WebhookId;

/// Stands for all webhooks, in the column `webhook`.
pub(crate) const ALL: i64 = 0;
/// The longest series.
pub const MOST_MINUTES: u16 = 1_440;
/// How late figures may be.
pub const DELAY_SECONDS: u64 = 5;

/// What happened in one step of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When the step begins.
    pub at: DateTime<Utc>,
    #[serde(flatten)]
    pub outcomes: Outcomes,
    /// From the change to the receipt, of the live deliveries that succeeded.
    pub latency_ms: Option<LatencyMs>,
}

/// Counts of what came of deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcomes {
    /// Deliveries that arrived.
    pub succeeded: i64,
    /// Attempts that failed; most are tried again.
    pub failed_attempts: i64,
    /// Deliveries that were given up.
    pub given_up: i64,
}

impl Outcomes {
    pub(crate) fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed_attempts += other.failed_attempts;
        self.given_up += other.given_up;
    }

    /// The share of attempts that succeeded, from 0 to 1; `None` if none was made.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        let attempts = self.succeeded + self.failed_attempts;
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        (attempts > 0).then(|| self.succeeded as f64 / attempts as f64)
    }
}

/// How long deliveries took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyMs {
    pub median: f64,
    pub p99: f64,
    /// How many deliveries this is taken from.
    pub sample: i64,
}

impl LatencyMs {
    fn of(times: &Histogram) -> Option<Self> {
        Some(Self {
            median: times.quantile(0.5)?,
            p99: times.quantile(0.99)?,
            sample: times.count(),
        })
    }
}

/// The `minutes` before `until`, and the minute of `until`, in steps of `step` minutes, oldest first; of one webhook or of all.
/// `minutes` is at most [`MOST_MINUTES`].
///
/// # Errors
/// If the query fails.
pub async fn series<C: GenericClient + Sync>(
    client: &C,
    webhook: Option<WebhookId>,
    until: DateTime<Utc>,
    minutes: u16,
    step: u16,
) -> Result<Vec<Point>, Error> {
    let (points, _) = series_and_whole(client, webhook, until, minutes, step).await?;
    Ok(points)
}

/// The same, and the latency of the whole time.
///
/// # Errors
/// If the query fails.
pub async fn series_and_whole<C: GenericClient + Sync>(
    client: &C,
    webhook: Option<WebhookId>,
    until: DateTime<Utc>,
    minutes: u16,
    step: u16,
) -> Result<(Vec<Point>, Option<LatencyMs>), Error> {
    let step = step.clamp(1, MOST_MINUTES);
    let count = minutes.clamp(1, MOST_MINUTES).div_ceil(step);
    let step = i64::from(step);
    // Steps begin at round times, so that a chart does not change its past.
    let width = TimeDelta::minutes(step);
    let last = until.duration_trunc(width).unwrap_or(until);
    let first = last - width * (i32::from(count) - 1);
    let end = last + width;
    let sql = "SELECT minute, succeeded, failed, given_up, buckets, counts FROM openregister_webhooks.minute_count \
        WHERE webhook = $1 AND minute >= $2 AND minute < $3";
    let rows = client
        .query_typed(
            sql,
            &[
                (&webhook.map_or(ALL, |webhook| webhook.0), Type::INT8),
                (&first, Type::TIMESTAMPTZ),
                (&end, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let mut steps = vec![(Outcomes::default(), Histogram::default()); usize::from(count)];
    for row in &rows {
        let minute: DateTime<Utc> = row.try_get("minute")?;
        let place = (minute - first).num_minutes().div_euclid(step);
        let Some((outcomes, times)) = usize::try_from(place).ok().and_then(|place| steps.get_mut(place))
        else {
            continue;
        };
        outcomes.add(Outcomes {
            succeeded: row.try_get::<_, i32>("succeeded")?.into(),
            failed_attempts: row.try_get::<_, i32>("failed")?.into(),
            given_up: row.try_get::<_, i32>("given_up")?.into(),
        });
        times.merge(&histogram(row)?);
    }
    let mut whole = Histogram::default();
    for (_, times) in &steps {
        whole.merge(times);
    }
    let mut at = first;
    let points = steps
        .into_iter()
        .map(|(outcomes, times)| {
            let point = Point {
                at,
                outcomes,
                latency_ms: LatencyMs::of(&times),
            };
            at += width;
            point
        })
        .collect();
    Ok((points, LatencyMs::of(&whole)))
}

fn histogram(row: &Row) -> Result<Histogram, Error> {
    let (buckets, counts): (Vec<i16>, Vec<i32>) = (row.try_get("buckets")?, row.try_get("counts")?);
    let mut times = Histogram::default();
    for (bucket, count) in buckets.into_iter().zip(counts) {
        times.add_many(bucket, count.into());
    }
    Ok(times)
}
