//! Decides what is leased and sent, and when.
//!
//! Guarantees: webhooks take turns, one request each; only a webhook's own deliveries wait for it. At most [`state::MAX_HELD`]
//! leases are held unsent, and at most [`state::MAX_UNRECORDED`] outcomes unwritten.
//!
//! One task owns the whole state, so nothing here is locked. [`Scheduler::run`] is its loop; each file beside this one holds what the
//! loop does about one subject.

mod claims;
mod drain;
mod lanes;
mod look;
mod outcomes;
mod reconcile;
mod state;
mod timers;
mod turns;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::claims::claimed;
use self::look::looked;
use self::reconcile::reconciled;
pub(super) use self::state::Scheduler;
use self::timers::sleep_until;
use super::recorder::Written;
use super::session::WorkerSession;
use crate::supervise::Reported;

/// Between two looks at everything because a peer has sent a notification: every role of the database can send one.
const PEER_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until a peer says that there is work, and at least until `from`. Cancel-safe.
async fn peer_notified(session: &WorkerSession, from: Instant) {
    tokio::time::sleep_until(from).await;
    session.peer_notified().await;
}

impl Scheduler {
    /// Decides until `shutdown`, or until one of its tasks fails.
    pub(super) async fn run(
        mut self,
        mut written: mpsc::UnboundedReceiver<Written>,
        shutdown: &CancellationToken,
    ) -> Option<Reported> {
        let wake = self.wake.clone();
        let mut changes = self.session.clone();
        let session = self.session.clone();
        let mut poll = tokio::time::interval(self.options.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_look = Instant::now();
        while self.broken.is_none() {
            self.send_ready();
            self.start_claim();
            self.start_reconciling();
            let in_flight = i64::try_from(self.tasks.len()).unwrap_or(i64::MAX);
            self.options.metrics.in_flight.set(in_flight);
            let timer = self.timers.first().map(|(at, ..)| *at);
            tokio::select! {
                () = shutdown.cancelled() => break,
                woken = wake.woken() => {
                    // First, so that a lease knows of what was put in behind it right afterwards.
                    self.take_leased();
                    self.put_behind(woken.lanes);
                    woken.webhooks.into_iter().for_each(|id| self.woken(id));
                }
                () = peer_notified(&session, next_look) => {
                    next_look = Instant::now() + PEER_INTERVAL;
                    // It does not say for which lanes.
                    self.outcomes.hurry();
                    self.look_everywhere();
                }
                Some(done) = self.tasks.join_next_with_id() => self.ended(done),
                Some(report) = written.recv() => self.written(report),
                result = claimed(&mut self.claiming) => self.claimed(result),
                result = reconciled(&mut self.reconciling, self.reconcile_at) => self.reconciled(result),
                result = looked(&mut self.looking) => self.looked(result),
                () = sleep_until(self.poll_again) => {
                    self.poll_again = None;
                    self.look_everywhere();
                }
                () = sleep_until(timer) => self.fire(),
                _ = poll.tick() => self.look_everywhere(),
                () = changes.changed() => self.worker_changed(),
            }
        }
        let broken = self.broken.take();
        self.drain(written, changes).await;
        broken
    }
}

#[cfg(test)]
mod tests;
