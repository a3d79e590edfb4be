//! Compares the leases in the database with those in hand; see `queue::reconcile`.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::Scheduler;
use crate::database::DatabaseError;
use crate::delivery::ask::ask;
use crate::delivery::queue::{self, Reconciled};
use crate::supervise::PartFailure;

/// After so many claims it is done early: the table of claims stays small.
const CLAIMS: i64 = 1024;
/// How soon after a failure it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) type Reconciling = JoinHandle<Result<Reconciled, DatabaseError>>;

impl Scheduler {
    /// Looks for leases that nobody knows of, where it is time for that.
    pub(super) fn start_reconciling(&mut self) {
        let now = Instant::now();
        let due = self.reconcile_at <= now || self.next_claim - self.reconciled_below >= CLAIMS;
        if self.reconciling.is_some() || !due {
            return;
        }
        self.reconcile_at = now + self.options.reconcile;
        // Without a worker there is nothing in hand.
        let Some(worker) = self.lease.current() else {
            return;
        };
        // The answer to the claim under way may still come: its leases are none that nobody knows of.
        let below = self.next_claim - i64::from(self.claiming.is_some());
        self.reconciled_below = self.next_claim;
        let held = self.in_hand();
        let pool = self.pool.clone();
        let patience = self.options.patience;
        self.reconciling = Some(tokio::spawn(async move {
            crate::failpoint::hit("reconcile");
            ask(&pool, patience, async |client| {
                queue::reconcile(client, worker, below, &held).await
            })
            .await
        }));
    }

    /// Every lease that this process knows of: what waits to be sent, what is being sent, and what is sent and not written down.
    fn in_hand(&self) -> Vec<queue::Lease> {
        let ready = self.slots.values().flat_map(|slot| &slot.ready);
        let known = ready.chain(self.running.values());
        let known = known.map(|delivery| (delivery.id, delivery.fence));
        known.chain(self.unsettled.iter().copied()).collect()
    }

    /// What became of the look; where there is none, it is time for one.
    pub(super) fn reconciled(
        &mut self,
        result: Option<Result<Result<Reconciled, DatabaseError>, JoinError>>,
    ) {
        let done = match result {
            Some(Ok(Ok(done))) => done,
            Some(Ok(Err(error))) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "leases cannot be compared with the database; trying again");
                self.reconcile_at = Instant::now() + AGAIN;
                return;
            }
            Some(Err(error)) => {
                self.broken = Some(self.part.report(PartFailure::of("reconcile", error)));
                return;
            }
            None => return,
        };
        let metrics = &self.options.metrics;
        metrics
            .leases_unknown
            .set(i64::try_from(done.unknown).unwrap_or(i64::MAX));
        metrics.leases_recovered.inc_by(done.unknown + done.dead);
        if done.unknown > 0 {
            tracing::info!(
                count = done.unknown,
                "leases given back that a lost answer left behind"
            );
        }
        for id in done.webhooks {
            self.woken(id);
        }
    }
}

/// Waits for the look under way, or until `at` where there is none. Cancel-safe.
pub(super) async fn reconciled(
    reconciling: &mut Option<Reconciling>,
    at: Instant,
) -> Option<Result<Result<Reconciled, DatabaseError>, JoinError>> {
    let Some(task) = reconciling else {
        tokio::time::sleep_until(at).await;
        return None;
    };
    let result = task.await;
    *reconciling = None;
    Some(result)
}
