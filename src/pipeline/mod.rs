//! The pipeline: changes → events → registrations × filters → deliveries, in the reader's transaction.
//!
//! Guarantees: events, deliveries and the reader's position are committed together or not at all; an event is stored once
//! and matched against the registrations as they are in that transaction; what cannot be read is put aside and
//! never stops the rest. Data flows one way: nothing here knows of the faces.

mod activity;
mod actors;
mod adopt;
mod document;
pub mod erase;
mod gaps;
pub mod jobs;
mod matching;
mod metrics;
mod webhooks;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_postgres::Transaction;

use crate::capture::{Change, Consumer, Fault, Gap, QuarantineEntry};
use crate::delivery::queue::{self, resolve_user};
use crate::delivery::{EventRef, NewDelivery, Reason, Wake, enqueue};
use crate::lifecycle::{self, ActivityLookup, Event, Lifecycle, LookupError};
use crate::registry::{Ordering, Registry, RegistryError, Snapshot, WebhookId};

pub use activity::{ActivityFinder, ActivityRequests};
pub use adopt::adopt;
#[cfg(test)]
pub(crate) use document::Documented;
pub use matching::{Match, matches};
pub use metrics::Metrics;
pub use webhooks::RegistryWebhooks;

/// Why a batch could not be turned into deliveries; it is tried again as a whole.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("the registrations cannot be read: {0}")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Lifecycle(#[from] LookupError),
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
}

/// Turns batches of changes into deliveries.
#[derive(Debug)]
pub struct Pipeline {
    registry: Arc<Registry>,
    lifecycle: Lifecycle,
    metrics: Metrics,
    wake: Wake,
    activity: ActivityRequests,
    /// The longest that a delivery waits for the row that names the user.
    actor_wait: Duration,
    table_prefix: Arc<str>,
    /// What the batch under way will have to say once it is committed.
    batch: Batch,
}

#[derive(Debug, Default)]
struct Batch {
    /// Whether lifecycle was asked.
    classified: bool,
    webhooks: BTreeSet<WebhookId>,
    changes: u64,
    quarantined: u64,
    enqueued: u64,
    gaps: u64,
    events: Vec<Event>,
    asked: Vec<activity::ActivityRequest>,
}

impl Pipeline {
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        lifecycle: Lifecycle,
        metrics: Metrics,
        wake: Wake,
        activity: ActivityRequests,
        actor_wait: Duration,
        table_prefix: Arc<str>,
    ) -> Self {
        Self {
            registry,
            lifecycle,
            metrics,
            wake,
            activity,
            actor_wait,
            table_prefix,
            batch: Batch::default(),
        }
    }

    /// The deliveries that these events give rise to.
    fn deliveries(
        &self,
        snapshot: &Snapshot,
        replaying: &[WebhookId],
        events: &[Event],
        stored: &[EventRef],
    ) -> Vec<NewDelivery> {
        let mut deliveries = Vec::new();
        for (event, stored) in events.iter().zip(stored) {
            let wanting = matches(event, snapshot, &self.metrics);
            // A replay comes to this event by itself, after what came before it.
            for (webhook, wanted) in wanting.into_iter().filter(|(w, _)| !replaying.contains(&w.id)) {
                deliveries.push(NewDelivery {
                    webhook: webhook.id,
                    event: *stored,
                    lane: event.lane.clone(),
                    ordered: webhook.ordering == Ordering::Object,
                    await_user: (wanted == Match::AwaitUser).then_some(self.actor_wait),
                    reason: Reason::Live,
                });
            }
        }
        deliveries
    }
}

impl Consumer for Pipeline {
    type Error = PipelineError;

    async fn consume(&mut self, tx: &Transaction<'_>, changes: Vec<Change>) -> Result<(), PipelineError> {
        self.batch = Batch {
            changes: changes.len() as u64,
            ..Batch::default()
        };
        if changes.is_empty() {
            return Ok(());
        }
        let snapshot = self.registry.refresh_in(tx).await?;
        self.batch.classified = true;
        let mut processed = self.lifecycle.process(tx, changes).await?;
        for undecodable in std::mem::take(&mut processed.undecodable) {
            let reason = undecodable.reason;
            let kept = QuarantineEntry::of_change(undecodable.change, &self.table_prefix, reason)
                .store(tx)
                .await?;
            self.batch.quarantined += u64::from(kept.is_missing());
        }
        let mut stored: Vec<EventRef> = Vec::new();
        let mut deliveries = Vec::new();
        if !processed.events.is_empty() {
            // From here on nobody else enqueues or begins a replay: what is stored is seen by each replay in order.
            let day = queue::lock(tx).await?;
            let replaying = jobs::replaying(tx).await?;
            erase::drop_erased(tx, &mut processed).await?;
            stored = lifecycle::store::insert(tx, day, &processed.events)
                .await?
                .into_iter()
                .map(|(day, seq)| EventRef { day, seq })
                .collect();
            deliveries = self.deliveries(&snapshot, &replaying, &processed.events, &stored);
        }
        // A lock is announced by an event, so what was erased is not remembered by it: that was dropped above.
        lifecycle::locks::store(tx, &processed.locks).await?;
        enqueue(tx, &deliveries).await?;
        self.batch.webhooks = deliveries.iter().map(|d| d.webhook).collect();
        self.batch.enqueued = deliveries.len() as u64;
        self.batch.asked = asked(processed.activities, &stored, &deliveries);
        if !processed.actors.is_empty() {
            let known = actors::resolve(tx, &processed.actors).await?;
            self.batch.webhooks.extend(resolve_user(tx, &known).await?);
        }
        self.batch.events = processed.events;
        Ok(())
    }

    async fn gaps(&mut self, tx: &Transaction<'_>, gaps: Vec<Gap>) -> Result<(), PipelineError> {
        gaps::tell(self, tx, &gaps).await
    }

    fn committed(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.classified {
            self.lifecycle.committed();
        }
        self.metrics.changes.inc_by(batch.changes);
        self.metrics.quarantined.inc_by(batch.quarantined);
        self.metrics.enqueued.inc_by(batch.enqueued);
        self.metrics.gaps.inc_by(batch.gaps);
        let now = Utc::now();
        for event in &batch.events {
            self.metrics.event(event.class);
            self.metrics
                .lag
                .observe((now - event.at).to_std().unwrap_or_default().as_secs_f64());
        }
        if !batch.webhooks.is_empty() {
            self.wake.wake(batch.webhooks);
        }
        self.activity.ask(batch.asked);
    }

    fn quarantined(&mut self, changes: u64) {
        self.metrics.changes.inc_by(changes);
        self.metrics.quarantined.inc_by(changes);
    }

    fn fault(error: &PipelineError) -> Fault {
        match error {
            // No change has a part in what is registered.
            PipelineError::Registry(_) => Fault::Elsewhere,
            PipelineError::Lifecycle(error) => error.fault(),
            PipelineError::Query(error) => Fault::of(error),
        }
    }
}

/// What is asked about the events of a batch: nothing, where no delivery waits for the answer.
fn asked(
    activities: Vec<ActivityLookup>,
    stored: &[EventRef],
    deliveries: &[NewDelivery],
) -> Vec<activity::ActivityRequest> {
    let waiting: HashSet<i64> = deliveries
        .iter()
        .filter(|delivery| delivery.await_user.is_some())
        .map(|delivery| delivery.event.seq)
        .collect();
    activities
        .into_iter()
        .filter_map(|change| {
            let event = *stored.get(change.event)?;
            Some(activity::ActivityRequest {
                event,
                needed: waiting.contains(&event.seq),
                change,
            })
        })
        .collect()
}
