//! Records outcomes in the database, many at a time.
//!
//! Guarantees: while one batch is written the next one gathers; an outcome is kept until the database has it; how many
//! wait is bounded by the scheduler, which stops sending. An outcome that others wait for (the next of its lane, or whoever looks at a
//! delivery that was not sent) is written at once, also if the next of its lane comes later ([`Outcomes::hurry`]). Others wait for
//! further outcomes, [`COMPANY`] at most. The recorder also writes what it counted, once a second.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use super::counts::Counts;
use crate::backoff::Backoff;
use crate::database::DatabaseError;
use crate::delivery::metrics::Metrics;
use crate::delivery::queue::{self, LeaseKey, OutcomeRecord};
use crate::delivery::timed_query::timed_query;
use crate::registry::WebhookId;
use crate::supervise::Crew;

/// Outcomes a transaction.
const BATCH: usize = 512;
/// After a failure, at first and at most.
const WAITS: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));
/// Between two attempts while another transaction holds every row of the batch: one that enqueues, which ends within milliseconds.
const LOCKED: Duration = Duration::from_millis(2);
/// From the begin of one write to the next, unless somebody waits for it: a write costs the same for one outcome as for ten. After a
/// SIGKILL what was delivered in this time is delivered again.
const COMPANY: Duration = Duration::from_millis(100);
/// So many outcomes are written without waiting for more: claims have to pass over the rows of outcomes that are not written.
const ENOUGH: usize = 64;

/// Where outcomes are handed over to be written; the recorder ends when this is dropped.
#[derive(Debug)]
pub(super) struct Outcomes {
    sender: mpsc::UnboundedSender<OutcomeRecord>,
    hurry: Arc<Notify>,
}

/// The recorder's end of [`Outcomes`].
pub(super) struct Handed {
    outcomes: mpsc::UnboundedReceiver<OutcomeRecord>,
    hurry: Arc<Notify>,
}

impl Outcomes {
    pub(super) fn channel() -> (Self, Handed) {
        // Unbounded in type only: the scheduler counts what it has handed over and not heard of.
        let (sender, outcomes) = mpsc::unbounded_channel();
        let hurry = Arc::new(Notify::new());
        let handed = Handed {
            outcomes,
            hurry: Arc::clone(&hurry),
        };
        (Self { sender, hurry }, handed)
    }

    pub(super) fn hand_over(&self, outcome: OutcomeRecord) {
        // The recorder lives as long as this.
        let _ = self.sender.send(outcome);
    }

    /// Somebody waits for an outcome that was handed over already: what is there is written at once.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }
}

/// What the scheduler learns of a batch.
#[derive(Debug)]
pub(super) struct Written {
    /// Leases whose outcomes are written, or given up because the lease had been lost.
    pub(super) done: Vec<LeaseKey>,
    /// Webhooks that have something new in the queue: a new head of a lane, or a row that was given back.
    pub(super) look: BTreeSet<WebhookId>,
}

/// Starts recording; ends when the sender is dropped and everything is written.
pub(super) fn start(
    crew: &mut Crew,
    pool: Pool,
    query_timeout: Duration,
    metrics: Metrics,
) -> (Outcomes, mpsc::UnboundedReceiver<Written>) {
    let (sender, handed) = Outcomes::channel();
    let (report, reports) = mpsc::unbounded_channel();
    let recorder = Recorder {
        pool,
        query_timeout,
        metrics,
        handed,
        report,
        batch: Vec::with_capacity(BATCH),
        counts: Counts::new(),
        waits: WAITS,
        wrote: Instant::now(),
    };
    // The name is a value of a metric's label (docs/metrics.md).
    crew.spawn("settler", recorder.run());
    (sender, reports)
}

struct Recorder {
    pool: Pool,
    query_timeout: Duration,
    metrics: Metrics,
    handed: Handed,
    report: mpsc::UnboundedSender<Written>,
    /// What is to be written next; what was passed over by the last write is first in it.
    batch: Vec<OutcomeRecord>,
    counts: Counts,
    waits: Backoff,
    /// When the last write began.
    wrote: Instant,
}

impl Recorder {
    async fn run(mut self) {
        while self.gather().await {
            let size = self.batch.len();
            self.wrote = Instant::now();
            let batch = &self.batch;
            let recorded = timed_query(&self.pool, self.query_timeout, async |client| {
                queue::record_outcomes(client, batch).await
            });
            match recorded.await {
                Ok(recorded) => {
                    self.waits.reset();
                    self.recorded(recorded).await;
                    if self.batch.len() == size {
                        tokio::time::sleep(LOCKED).await;
                    }
                }
                Err(error) => self.failed(&error).await,
            }
        }
        self.counts.write(&self.pool, self.query_timeout, true).await;
    }

    /// Waits until there is something to write, and takes what else is there; `false` if no more will come.
    async fn gather(&mut self) -> bool {
        while self.batch.is_empty() {
            tokio::select! {
                biased;
                received = self.handed.outcomes.recv_many(&mut self.batch, BATCH) => if received == 0 {
                    return false;
                },
                () = until(self.counts.due()) => self.counts.write(&self.pool, self.query_timeout, false).await,
            }
        }
        let company = self.wrote + COMPANY;
        let mut waited_for = self.batch.iter().any(is_waited_for);
        while self.batch.len() < BATCH {
            let more = match self.handed.outcomes.try_recv() {
                Ok(more) => more,
                Err(_) if waited_for || self.batch.len() >= ENOUGH => break,
                Err(_) => tokio::select! {
                    more = self.handed.outcomes.recv() => match more {
                        Some(more) => more,
                        None => break,
                    },
                    // The mark was set before: one that was set after this outcome was looked at is not overlooked.
                    () = self.handed.hurry.notified() => break,
                    () = sleep_until(company) => break,
                },
            };
            waited_for |= is_waited_for(&more);
            self.batch.push(more);
        }
        true
    }

    /// Counts and reports what was written; what was passed over stays in the batch.
    async fn recorded(&mut self, recorded: queue::Recorded) {
        if recorded.lost > 0 {
            self.metrics.leases_lost.inc_by(recorded.lost as u64);
            tracing::warn!(
                count = recorded.lost,
                "outcomes came after their leases had been lost, and are not kept; those deliveries are repeated, unless they were cancelled"
            );
        }
        let mut written = Written {
            done: Vec::with_capacity(self.batch.len()),
            look: recorded.promoted.into_iter().map(WebhookId).collect(),
        };
        let kept = |one: &&OutcomeRecord| !recorded.passed_over.contains(&one.lease());
        self.metrics.webhooks.count(self.batch.iter().filter(kept));
        self.batch.retain(|one| {
            if !one.outcome.is_final() {
                written.look.insert(one.delivery.webhook);
            }
            let passed_over = recorded.passed_over.contains(&one.lease());
            if !passed_over {
                self.counts.add(one);
                written.done.push(one.lease());
            }
            passed_over
        });
        // After a failure of the scheduler nobody listens, and what is known is written nevertheless.
        let _ = self.report.send(written);
        // What was counted waits for the deliveries, not they for it.
        self.counts.write(&self.pool, self.query_timeout, false).await;
    }

    async fn failed(&mut self, error: &DatabaseError) {
        tracing::warn!(error = %crate::error_text::chain(error), count = self.batch.len(), "outcomes cannot be written; trying again");
        tokio::time::sleep(self.waits.next()).await;
    }
}

/// Whether somebody waits until this is written.
fn is_waited_for(one: &OutcomeRecord) -> bool {
    one.delivery.followed.get() || !one.outcome.is_final()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
