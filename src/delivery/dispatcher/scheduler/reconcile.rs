//! Compares the leases in the database with those in hand; see `queue::reconcile`.

use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::state::{Reconciling, Scheduler};
use crate::database::DatabaseError;
use crate::delivery::queue::{self, Claimed, LeaseKey, Reconciled};
use crate::delivery::timed_query::timed_query;
use crate::supervise::PartFailure;

/// After so many claims the comparison is made early, so that the table of claims stays small.
const CLAIMS: i64 = 1024;
/// How soon a failed comparison is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Scheduler {
    /// Starts a comparison if one is due.
    pub(super) fn start_reconciling(&mut self) {
        let now = Instant::now();
        let due = self.reconcile_at <= now || self.wake.grants().next() - self.reconciled_below >= CLAIMS;
        if self.reconciling.is_some() || !due {
            return;
        }
        self.reconcile_at = now + self.options.reconcile;
        // Without a worker there is nothing in hand.
        let Some(worker) = self.session.current() else {
            return;
        };
        self.take_leased();
        // The answer to the claim under way may still come, and so may what was leased by whoever enqueued: their leases are not looked
        // at.
        let (next, grants) = {
            let grants = self.wake.grants();
            (grants.next(), grants.below())
        };
        let below = self
            .claiming
            .as_ref()
            .map_or(grants, |claim| claim.number.min(grants));
        self.reconciled_below = next;
        let held = self.in_hand();
        let pool = self.pool.clone();
        let query_timeout = self.options.query_timeout;
        self.reconciling = Some(tokio::spawn(async move {
            crate::failpoint::hit("reconcile");
            timed_query(&pool, query_timeout, async |client| {
                queue::reconcile(client, worker, below, &held).await
            })
            .await
        }));
    }

    /// Every lease that this process knows of: waiting to be sent, in flight, or sent and not written down.
    fn in_hand(&self) -> Vec<LeaseKey> {
        let ready = self.slots.values().flat_map(|slot| &slot.ready);
        let ready = ready.map(|ready| &ready.delivery);
        let known = ready.chain(self.running.values());
        let known = known.map(Claimed::lease);
        known.chain(self.unrecorded.iter().copied()).collect()
    }

    /// Takes the result of a comparison; `None` says only that the next one is due.
    pub(super) fn reconciled(
        &mut self,
        result: Option<Result<Result<Reconciled, DatabaseError>, JoinError>>,
    ) {
        let done = match result {
            Some(Ok(Ok(done))) => done,
            Some(Ok(Err(error))) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "leases cannot be compared with the database; trying again");
                self.reconcile_at = Instant::now() + RETRY;
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

/// Waits for the comparison under way; if there is none, until `at`. Cancel-safe.
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
