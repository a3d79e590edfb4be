//! Measures outbox, queue, receivers and capture in the database, for the metrics, and warns when the outbox nears its limits.
//!
//! Guarantees: every process measures, because the leader itself may be what does not work. Measuring takes at most a fiftieth of one
//! connection's time, however large the queue is. The metrics say when the last measurement was.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::Utc;
use deadpool_postgres::Pool;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::capture::OutboxLimits;
use crate::capture::condition::{self, ConditionMetrics};
use crate::capture::outbox::{self, Level, Outbox, OutboxMetrics};
use crate::delivery::depth::{self, DepthMetrics};
use crate::delivery::failing::{self, FailingMetrics};

/// The pause before a warning is repeated.
const REMINDER: Duration = Duration::from_secs(3600);
/// The longest that a measurement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measuring {
    /// The shortest pause between two measurements.
    pub(crate) interval: Duration,
    pub(crate) limits: OutboxLimits,
}

/// The latest measurement, as metrics; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    outbox: OutboxMetrics,
    condition: ConditionMetrics,
    depth: DepthMetrics,
    failing: FailingMetrics,
    /// When it was, in seconds since 1970.
    at: Gauge<f64, AtomicU64>,
}

impl Measured {
    /// Puts them into a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.outbox.register(registry);
        self.condition.register(registry);
        self.depth.register(registry);
        self.failing.register(registry);
        registry.register_with_unit(
            "measured_timestamp",
            "When this process last measured what it shows of the database, in seconds since 1970; 0: not yet",
            Unit::Seconds,
            self.at.clone(),
        );
    }
}

/// Measures until `shutdown` is cancelled.
pub(crate) async fn run(pool: Pool, measuring: Measuring, measured: Measured, shutdown: CancellationToken) {
    let limits = measuring.limits;
    let mut reported = (Level::Fine, Instant::now());
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        tokio::select! {
            outbox = timeout(PATIENCE, measure(&pool, &limits, &measured)) => match outbox {
                Ok(Ok(outbox)) => {
                    let level = outbox.level(&limits);
                    if level != reported.0 || (level > Level::Fine && reported.1.elapsed() >= REMINDER) {
                        report(level, &outbox, &limits);
                        reported = (level, Instant::now());
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "outbox and queue could not be measured"),
                Err(_) => tracing::warn!("outbox and queue could not be measured within {} s", PATIENCE.as_secs()),
            },
            () = shutdown.cancelled() => return,
        }
        let pause = measuring.interval.max(began.elapsed() * 50);
        tokio::select! { () = sleep(pause) => {} () = shutdown.cancelled() => {} }
    }
}

async fn measure(pool: &Pool, limits: &OutboxLimits, measured: &Measured) -> Result<Outbox, String> {
    let client = pool
        .get()
        .await
        .map_err(|error| crate::error_text::chain(&error))?;
    let outbox = outbox::measure(&client).await;
    let outbox = outbox.map_err(|error| crate::error_text::chain(&error))?;
    measured.outbox.show(&outbox, limits);
    let chain = |error: tokio_postgres::Error| crate::error_text::chain(&error);
    measured
        .condition
        .show(condition::measure(&client).await.map_err(chain)?);
    measured
        .depth
        .show(depth::measure(&**client).await.map_err(chain)?);
    measured
        .failing
        .show(failing::measure(&**client).await.map_err(chain)?);
    let now = Utc::now().timestamp_micros();
    #[allow(
        clippy::cast_precision_loss,
        reason = "microseconds since 1970 are below 2^53 until 2255"
    )]
    measured.at.set(now as f64 / 1e6);
    Ok(outbox)
}

fn report(level: Level, outbox: &Outbox, limits: &OutboxLimits) {
    let (bytes, limit) = (outbox.bytes, limits.max_bytes);
    let oldest_seconds = outbox.oldest_unread.unwrap_or_default().as_secs();
    match (level, outbox.stopped) {
        (_, true) => tracing::error!(
            bytes,
            limit,
            oldest_seconds,
            "the outbox is or was full: changes are not captured until it has been read and emptied; a gap is recorded then"
        ),
        (Level::Critical, _) => {
            tracing::error!(bytes, limit, oldest_seconds, policy = ?limits.policy, "the outbox is near its limit: it is not read or not emptied fast enough; `openregister-webhooks doctor` says why")
        }
        (Level::Warning, _) => {
            tracing::warn!(bytes, limit, oldest_seconds, policy = ?limits.policy, "the outbox grows: it is not read or not emptied fast enough; `openregister-webhooks doctor` says why")
        }
        (Level::Fine, _) => tracing::info!(bytes, limit, "the outbox is well within its limits again"),
    }
}
