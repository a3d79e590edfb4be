//! Looking at a webhook, or at all: registrations that were changed or deleted, and leases that no longer belong to this process.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::super::slot::Slot;
use super::state::{Looking, Scheduler};
use crate::database::DatabaseError;
use crate::delivery::queue;
use crate::delivery::timed_query::timed_query;
use crate::registry::WebhookId;
use crate::supervise::PartFailure;

/// How soon a look that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Scheduler {
    /// There are new deliveries for this webhook.
    pub(super) fn woken(&mut self, id: WebhookId) {
        self.look(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.woken = true;
        }
    }

    /// Something may be due for this webhook.
    pub(super) fn look(&mut self, id: WebhookId) {
        let Some(webhook) = self.webhooks.get(id) else {
            self.stray = true;
            return;
        };
        let now = Instant::now();
        let stored = &self.stored;
        let slot = self.slots.entry(id).or_insert_with(|| {
            let stored = stored.get(&id).filter(|h| h.revision == webhook.revision);
            let failures = stored.map_or(0, |h| h.failures);
            Slot::new(Arc::clone(&webhook), failures, now)
        });
        let changed = slot.differs(&webhook);
        if changed {
            slot.update(webhook, now);
        }
        slot.dirty = true;
        self.dirty.insert(id);
        let fresh = changed && slot.delivers();
        if fresh {
            // Somebody enabled it, or gave it another receiver or secret: what was learned before no longer counts. The stored health
            // is that of another revision.
            slot.breaker.hurry(now);
            slot.hold_until = None;
        }
        // Nothing is offered until the queue was asked for what waits already.
        self.offer(id);
        if fresh {
            self.all_due(id);
        }
    }

    /// Takes the registrations as they are now, and asks for which webhooks something is in the queue. What this costs depends on
    /// these and not on how many are registered.
    pub(super) fn look_everywhere(&mut self) {
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        for (id, slot) in &self.slots {
            match self.webhooks.get(*id) {
                Some(webhook) if slot.differs(&webhook) => changed.push(*id),
                Some(_) => {}
                None => gone.push(*id),
            }
        }
        for id in changed {
            self.look(id);
        }
        if std::mem::take(&mut self.stray) || !gone.is_empty() {
            self.clean();
        }
        for id in gone {
            self.release_ready(id);
            if self.slots.get(&id).is_some_and(|s| s.in_flight == 0) {
                self.slots.remove(&id);
                self.dirty.remove(&id);
                self.offer(id);
            }
        }
        self.look_again = true;
        self.start_looking();
    }

    /// Starts a query for the webhooks that have something in the queue, if it is to be asked and none is under way.
    fn start_looking(&mut self) {
        if self.looking.is_some() || !std::mem::take(&mut self.look_again) {
            return;
        }
        let (pool, query_timeout) = (self.pool.clone(), self.options.query_timeout);
        self.looking = Some(tokio::spawn(async move {
            timed_query(&pool, query_timeout, async |client| queue::queued(client).await).await
        }));
    }

    /// Looks at the webhooks that have something in the queue.
    pub(super) fn looked(&mut self, result: Result<Result<Vec<WebhookId>, DatabaseError>, JoinError>) {
        match result {
            Ok(Ok(queued)) => {
                for id in queued {
                    self.look(id);
                }
                // What is queued for a webhook that is not registered: it was deleted.
                if std::mem::take(&mut self.stray) {
                    self.clean();
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "the queue cannot be looked at; trying again");
                self.poll_again = Some(Instant::now() + RETRY);
            }
            Err(error) => self.broken = Some(self.part.report(PartFailure::of("look", error))),
        }
        self.start_looking();
    }

    /// Cancels what waits for webhooks that were deleted.
    pub(super) fn clean(&self) {
        let (pool, query_timeout) = (self.pool.clone(), self.options.query_timeout);
        tokio::spawn(async move {
            let clean = async {
                let mut total = 0;
                // A limited number at a time, each with its own time limit.
                while let Some(count) = timed_query(&pool, query_timeout, async |client| {
                    queue::clean_some(&mut ***client, None).await
                })
                .await?
                {
                    total += count;
                }
                Ok::<_, DatabaseError>(total)
            };
            match clean.await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "deliveries of deleted webhooks cancelled"),
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), "deliveries of deleted webhooks could not be cancelled; tried again within the hour");
                }
            }
        });
    }

    /// This process has another worker, or none.
    pub(super) fn worker_changed(&mut self) {
        self.cut_off();
        for slot in self.slots.values_mut() {
            slot.owned = false;
        }
        self.wake.grants().withdraw();
        if self.session.current().is_some() {
            self.look_everywhere();
        }
    }

    /// Cuts off and forgets what a worker had in hand that was given up, also if there is another worker by now: other processes may
    /// take it.
    pub(super) fn cut_off(&mut self) {
        if self
            .running
            .values()
            .any(|delivery| !self.session.holds(delivery.worker))
        {
            self.tasks.abort_all();
        }
        for slot in self.slots.values_mut() {
            slot.ready.retain(|ready| {
                let holds = self.session.holds(ready.delivery.worker);
                if !holds {
                    self.held -= 1;
                    self.held_bytes -= ready.bytes();
                }
                holds
            });
        }
    }
}

/// Waits for the look under way; without one, for ever. Cancel-safe.
pub(super) async fn looked(
    looking: &mut Option<Looking>,
) -> Result<Result<Vec<WebhookId>, DatabaseError>, JoinError> {
    let Some(task) = looking else {
        return std::future::pending().await;
    };
    let result = task.await;
    *looking = None;
    result
}
