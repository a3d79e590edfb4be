//! Writes outcomes down, many at a time.
//!
//! Guarantees: while one batch is written the next gathers; an outcome is kept until the database has it; how many
//! wait is bounded by the scheduler, which stops sending. Beside them it writes what it counted, once a second.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;

use super::counts::Counts;
use crate::backoff::Backoff;
use crate::database::DatabaseError;
use crate::delivery::Metrics;
use crate::delivery::ask::ask;
use crate::delivery::queue::{self, Lease, Settled};
use crate::registry::WebhookId;
use crate::supervise::Crew;

/// Outcomes a transaction.
const BATCH: usize = 512;

/// What the scheduler learns of a batch.
#[derive(Debug)]
pub(super) struct Written {
    /// Leases whose outcomes are written, or given up because the lease had been lost.
    pub(super) done: Vec<Lease>,
    /// Webhooks that have something in the queue that they had not: a new head of a lane, or a row put back.
    pub(super) look: BTreeSet<WebhookId>,
}

/// Starts writing; ends when the sender is dropped and everything is written.
pub(super) fn start(
    crew: &mut Crew,
    pool: Pool,
    patience: Duration,
    metrics: Metrics,
) -> (mpsc::UnboundedSender<Settled>, mpsc::UnboundedReceiver<Written>) {
    // Unbounded in type only: the scheduler counts what it has handed over and not heard of.
    let (sender, mut outcomes) = mpsc::unbounded_channel::<Settled>();
    let (report, reports) = mpsc::unbounded_channel();
    crew.spawn("settler", async move {
        let mut batch = Vec::with_capacity(BATCH);
        let mut waits = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));
        let mut counts = Counts::new();
        loop {
            if batch.is_empty() {
                let due = counts.due();
                tokio::select! {
                    biased;
                    received = outcomes.recv_many(&mut batch, BATCH) => if received == 0 {
                        counts.write(&pool, patience, true).await;
                        return;
                    },
                    () = until(due) => {
                        counts.write(&pool, patience, true).await;
                        continue;
                    }
                }
            }
            while batch.len() < BATCH
                && let Ok(more) = outcomes.try_recv()
            {
                batch.push(more);
            }
            match write(&pool, patience, batch.clone()).await {
                Ok(result) => {
                    waits.reset();
                    if result.lost > 0 {
                        metrics.leases_lost.inc_by(result.lost as u64);
                        tracing::warn!(
                            count = result.lost,
                            "outcomes came after their leases had been lost, and are not kept; those deliveries are repeated, unless they were cancelled"
                        );
                    }
                    let again: BTreeSet<Lease> = result.again.iter().map(Settled::lease).collect();
                    batch
                        .iter()
                        .filter(|s| !again.contains(&s.lease()))
                        .for_each(|s| counts.add(s));
                    counts.write(&pool, patience, false).await;
                    let done = batch.iter().map(Settled::lease).filter(|lease| !again.contains(lease));
                    let done = done.collect();
                    let back = batch.iter().filter(|s| !s.outcome.is_final());
                    let look = back.map(|s| s.delivery.webhook);
                    let look = look.chain(result.promoted.into_iter().map(WebhookId)).collect();
                    let stuck = batch.len() == result.again.len();
                    batch = result.again;
                    let written = Written { done, look };
                    if report.send(written).is_err() && batch.is_empty() {
                        continue;
                    }
                    if stuck {
                        // Rows are held by a transaction that enqueues; it ends within milliseconds.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), count = batch.len(), "outcomes cannot be written; trying again");
                    tokio::time::sleep(waits.next()).await;
                }
            }
        }
    });
    (sender, reports)
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn write(
    pool: &Pool,
    patience: Duration,
    batch: Vec<Settled>,
) -> Result<queue::SettledBatch, DatabaseError> {
    ask(pool, patience, async |client| queue::settle(client, batch).await).await
}
