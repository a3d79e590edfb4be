//! Waking the dispatcher from other parts of this process, and handing over what they leased for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::grants::{Ended, Grants};
use crate::delivery::queue::{Claim, LeaseAtOnce, NewDelivery};
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// Wakes the dispatcher when there is work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Woken>);

#[derive(Debug, Default)]
struct Woken {
    work: Mutex<Work>,
    notify: Notify,
    grants: Mutex<Grants>,
}

/// Where there is work.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) webhooks: BTreeSet<WebhookId>,
    /// Lanes that got a delivery, [`MOST_LANES`] at most. Outcomes in lanes beyond that may wait for the next write.
    pub(super) lanes: Vec<(WebhookId, Lane)>,
}

/// Most lanes that are remembered until the scheduler takes them.
pub(super) const MOST_LANES: usize = 4096;

impl Wake {
    /// Says that there are new deliveries for these webhooks, or that a webhook was changed, enabled or resumed. Call it after the
    /// commit; it never waits.
    pub fn wake(&self, webhooks: impl IntoIterator<Item = WebhookId>) {
        self.work().webhooks.extend(webhooks);
        self.0.notify.notify_one();
    }

    /// Says that these lanes got a delivery that was not leased; to be called before [`Self::wake`].
    pub(crate) fn put_behind(&self, lanes: Vec<(WebhookId, Lane)>) {
        let mut work = self.work();
        let room = MOST_LANES.saturating_sub(work.lanes.len());
        work.lanes.extend(lanes.into_iter().take(room));
    }

    /// Waits until there is work, and says where. Cancel-safe.
    pub(super) async fn woken(&self) -> Work {
        self.0.notify.notified().await;
        std::mem::take(&mut *self.work())
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of these deliveries are to be leased for the dispatcher of this process in the transaction that enqueues them; `None` if
    /// it is none.
    #[must_use]
    pub(crate) fn grant(&self, deliveries: &[NewDelivery]) -> Option<Grant> {
        let webhooks = deliveries.iter().map(|delivery| delivery.webhook);
        let (worker, number, granted) = self.grants().take(webhooks, Instant::now())?;
        Some(Grant {
            wake: self.clone(),
            lease: LeaseAtOnce {
                worker,
                number,
                granted,
            },
            ended: false,
        })
    }

    /// What may be leased, and what was. Held for a moment only.
    pub(super) fn grants(&self) -> MutexGuard<'_, Grants> {
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases that were handed over.
    pub(super) fn leased(&self) -> Ended {
        self.grants().close(Instant::now())
    }
}

/// The right to lease deliveries while they are enqueued. It ends when its leases are handed over; if it is dropped before, the
/// dispatcher looks whether there are any.
#[derive(Debug)]
pub(crate) struct Grant {
    wake: Wake,
    lease: LeaseAtOnce,
    ended: bool,
}

impl Grant {
    /// For [`crate::delivery::queue::enqueue_and_lease`].
    pub(crate) const fn lease(&self) -> &LeaseAtOnce {
        &self.lease
    }

    /// Hands over the answer of the statement that leased, after the commit. Returns webhook and lane of each lease. `None`: nobody knows
    /// what was leased, and the dispatcher looks.
    pub(crate) fn hand_over(mut self, rows: Option<Vec<Row>>) -> Vec<(WebhookId, Lane)> {
        self.ended = true;
        let claim = rows.map(|rows| Claim::read(rows, self.lease.worker)).transpose();
        let taken = claim.map(|claim| claim.map(|claim| claim.claimed)).inspect_err(|error| {
            tracing::error!(error = %crate::error_text::chain(error), "what was leased cannot be read; the leases are given back");
        });
        let taken = taken.ok().flatten();
        let leased = taken
            .iter()
            .flatten()
            .map(|taken| (taken.delivery.webhook, taken.delivery.lane.clone()))
            .collect();
        self.wake.grants().end(self.lease.number, taken);
        self.wake.0.notify.notify_one();
        leased
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if !self.ended {
            self.wake.grants().end(self.lease.number, None);
            self.wake.0.notify.notify_one();
        }
    }
}
