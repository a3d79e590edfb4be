//! Looking at a webhook, or at all: registrations that were changed or deleted, and leases that no longer belong to this process.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::slot::Slot;
use super::state::Scheduler;
use crate::database::DatabaseError;
use crate::delivery::queue;
use crate::delivery::timed_query::timed_query;
use crate::registry::WebhookId;

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
        if changed && slot.delivers() {
            // Somebody enabled it, or gave it another receiver or secret: what was learned before no longer counts. The stored health
            // is that of another revision.
            slot.breaker.hurry(now);
            slot.hold_until = None;
            self.all_due(id);
        }
    }

    /// Takes the registrations as they are now, and looks at each.
    pub(super) fn look_everywhere(&mut self) {
        let all: BTreeSet<WebhookId> = self.webhooks.all().iter().map(|w| w.id).collect();
        for id in &all {
            self.look(*id);
        }
        let gone: Vec<WebhookId> = self
            .slots
            .keys()
            .filter(|id| !all.contains(id))
            .copied()
            .collect();
        // A webhook that was registered and deleted between two looks is known by its slot, or by what was put into the queue for it.
        let stray = std::mem::take(&mut self.stray);
        if stray || !gone.is_empty() || !self.known.is_subset(&all) {
            self.clean();
        }
        self.known = all;
        for id in gone {
            self.release_ready(id);
            if self.slots.get(&id).is_some_and(|s| s.in_flight == 0) {
                self.slots.remove(&id);
                self.dirty.remove(&id);
            }
        }
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
            let before = slot.ready.len();
            slot.ready.retain(|delivery| self.session.holds(delivery.worker));
            self.held -= before - slot.ready.len();
        }
    }
}
