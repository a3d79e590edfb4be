//! The consumer of captured changes: a batch becomes events and deliveries within the reader's transaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;

use super::activity::{self, ActivityRequests};
use super::batch_state::BatchState;
use super::error::PipelineError;
use super::matching::{Match, matches};
use super::metrics::Metrics;
use super::{erase, gaps};
use crate::capture::{Answer, BatchTransaction, Change, Consumer, Fault, Gap, QuarantineEntry};
use crate::database::Write;
use crate::delivery::queue;
use crate::delivery::{EventRef, Grant, NewDelivery, Reason, Wake};
use crate::lifecycle::{self, ActivityLookup, Event, Lane, Lifecycle, Outcome};
use crate::registry::{Ordering, Registry, WebhookId};
use crate::traces::{self, StoredIn, Traces};

/// Names the users of stored events, and makes the deliveries due that waited for that.
static NAME_USERS: LazyLock<String> = LazyLock::new(|| {
    let woken = queue::resolve_user_sql("ARRAY(SELECT n.seq FROM named n)");
    format!(
        "WITH {}, {woken} SELECT DISTINCT webhook FROM woken",
        lifecycle::store::NAME_ACTORS
    )
});

/// Turns batches of changes into deliveries.
#[derive(Debug)]
pub struct Pipeline {
    registry: Arc<Registry>,
    lifecycle: Lifecycle,
    metrics: Metrics,
    wake: Wake,
    traces: Traces,
    activity: ActivityRequests,
    /// How long a delivery waits at most for the row that names the user.
    actor_wait: Duration,
    table_prefix: Arc<str>,
    /// What is to be reported when the batch under way is committed.
    batch: Batch,
}

#[derive(Debug, Default)]
struct Batch {
    /// When its changes had been read.
    began: Option<DateTime<Utc>>,
    /// The first event that it stored.
    first: Option<EventRef>,
    /// Whether lifecycle was called.
    classified: bool,
    /// How many deliveries were enqueued for each webhook.
    webhooks: BTreeMap<WebhookId, u64>,
    /// The lanes that they were put into.
    lanes: Vec<(WebhookId, Lane)>,
    /// Some of them are leased at once, for the dispatcher of this process.
    leased: Option<(Grant, Answer)>,
    changes: u64,
    quarantined: u64,
    enqueued: u64,
    gaps: u64,
    events: Vec<Event>,
    activities: Vec<activity::ActivityRequest>,
    /// The webhooks with deliveries that waited for a user who is known now.
    woken: Option<Answer>,
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
            traces: Traces::default(),
            activity,
            actor_wait,
            table_prefix,
            batch: Batch::default(),
        }
    }

    /// The same, with a span for each batch that stores events.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Records the batch that is committed now.
    fn record_span(&self, batch: &Batch, now: DateTime<Utc>) {
        if let Some(stored) = batch.first
            && self.traces.are_on()
        {
            self.traces.batch(traces::Batch {
                stored: StoredIn {
                    day: stored.day,
                    seq: stored.seq,
                },
                began: batch.began.unwrap_or(now),
                ended: now,
                changes: batch.changes,
                events: batch.events.len() as u64,
                deliveries: batch.enqueued,
            });
        }
    }

    /// Stores the events and enqueues their deliveries. It leaves both for the end of the transaction.
    async fn enqueue(
        &mut self,
        tx: &BatchTransaction<'_>,
        processed: &mut Outcome,
    ) -> Result<(), PipelineError> {
        // From here on nobody else enqueues or starts a replay, so each replay sees the stored events in order.
        let state = BatchState::read(tx, &self.registry, processed.events.len()).await?;
        if state.erased {
            erase::drop_erased(tx, processed).await?;
        }
        let seqs = processed.events.iter().zip(&state.seqs);
        let stored: Vec<Option<EventRef>> = seqs
            .map(|(event, seq)| {
                let (day, seq) = (state.day, *seq);
                state.stores(event.class).then_some(EventRef { day, seq })
            })
            .collect();
        let deliveries = self.deliveries(&state, &processed.events, &stored);
        let rows = stored.iter().zip(&processed.events);
        let rows = rows.filter_map(|(stored, event)| Some((stored.as_ref()?.seq, event)));
        if rows.clone().next().is_some() {
            tx.leave(lifecycle::store::insert_at(state.day, rows));
        }
        if !deliveries.is_empty() {
            match self.wake.grant(&deliveries) {
                Some(grant) => {
                    let leased = tx.leave(queue::enqueue_and_lease(&deliveries, grant.lease()));
                    self.batch.leased = Some((grant, leased));
                }
                None => drop(tx.leave(queue::enqueue_locked(&deliveries))),
            }
        }
        self.batch.first = stored.iter().flatten().next().copied();
        for delivery in &deliveries {
            *self.batch.webhooks.entry(delivery.webhook).or_default() += 1;
        }
        self.batch.enqueued = deliveries.len() as u64;
        let activities = std::mem::take(&mut processed.activities);
        self.batch.activities = activity_requests(activities, &stored, &deliveries);
        let ordered = deliveries.into_iter().filter(|delivery| delivery.ordered);
        self.batch.lanes = ordered
            .map(|delivery| (delivery.webhook, delivery.lane))
            .collect();
        Ok(())
    }

    /// The deliveries of these events to the webhooks that want them.
    fn deliveries(
        &self,
        state: &BatchState,
        events: &[Event],
        stored: &[Option<EventRef>],
    ) -> Vec<NewDelivery> {
        let mut deliveries = Vec::new();
        for (event, stored) in events.iter().zip(stored) {
            // Nobody is registered for an event that is not stored.
            let Some(stored) = stored else { continue };
            let wanting = matches(event, &state.registrations, &self.metrics);
            // A replay delivers this event itself, after the events before it.
            let wanting = wanting.into_iter();
            for (webhook, wanted) in wanting.filter(|(w, _)| !state.replaying.contains(&w.id)) {
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

    fn interrupted(&mut self) {
        // It may hold a grant, and nobody knows whether its leases were committed.
        self.batch = Batch::default();
        self.lifecycle.forget();
    }

    async fn consume(
        &mut self,
        tx: &BatchTransaction<'_>,
        changes: Vec<Change>,
    ) -> Result<(), PipelineError> {
        self.batch = Batch {
            began: Some(Utc::now()),
            changes: changes.len() as u64,
            ..Batch::default()
        };
        if changes.is_empty() {
            return Ok(());
        }
        self.batch.classified = true;
        let mut processed = self.lifecycle.process(&**tx, changes).await?;
        for undecodable in std::mem::take(&mut processed.undecodable) {
            let reason = undecodable.reason;
            let kept = QuarantineEntry::of_change(undecodable.change, &self.table_prefix, reason)
                .store(&**tx)
                .await?;
            self.batch.quarantined += u64::from(kept.is_missing());
        }
        if !processed.events.is_empty() {
            self.enqueue(tx, &mut processed).await?;
        }
        // After `drop_erased`: the locks of erased objects were dropped with their events.
        for write in lifecycle::locks::writes(&processed.locks) {
            tx.leave(write);
        }
        if !processed.actors.is_empty() {
            lifecycle::store::name_transitions(&**tx, &processed.actors).await?;
            let named = Write::new(&NAME_USERS);
            let named = tx.leave(lifecycle::store::with_actors(named, &processed.actors));
            self.batch.woken = Some(named);
        }
        self.batch.events = processed.events;
        Ok(())
    }

    async fn gaps(&mut self, tx: &Transaction<'_>, gaps: Vec<Gap>) -> Result<(), PipelineError> {
        self.batch = Batch::default();
        let snapshot = self.registry.refresh_in(tx).await?;
        let deliveries = gaps::enqueue_notices(tx, &snapshot, &gaps).await?;
        self.batch.gaps = gaps.len() as u64;
        self.batch.enqueued = deliveries.len() as u64;
        let webhooks = deliveries.iter().map(|delivery| (delivery.webhook, 1));
        self.batch.webhooks = webhooks.collect();
        Ok(())
    }

    fn committed(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        // At once, so that what is leased is sent while the rest of this is done.
        let mut webhooks = std::mem::take(&mut batch.webhooks);
        if let Some((grant, leased)) = batch.leased.take() {
            let leased = grant.hand_over(leased.into_rows());
            for (webhook, _) in &leased {
                webhooks.entry(*webhook).and_modify(|left| *left -= 1);
            }
            webhooks.retain(|_, left| *left > 0);
            let leased: HashSet<_> = leased.into_iter().collect();
            batch.lanes.retain(|lane| !leased.contains(lane));
        }
        self.wake.put_behind(std::mem::take(&mut batch.lanes));
        if let Some(woken) = &batch.woken {
            let woken = woken.rows().iter().map(|row| (WebhookId(row.get(0)), 1));
            webhooks.extend(woken);
        }
        if !webhooks.is_empty() {
            self.wake.wake(webhooks.into_keys());
        }
        if batch.classified {
            self.lifecycle.committed();
        }
        self.metrics.changes.inc_by(batch.changes);
        self.metrics.quarantined.inc_by(batch.quarantined);
        self.metrics.enqueued.inc_by(batch.enqueued);
        self.metrics.gaps.inc_by(batch.gaps);
        let now = Utc::now();
        let began = batch.began.unwrap_or(now);
        let seconds =
            |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).to_std().unwrap_or_default().as_secs_f64();
        for event in &batch.events {
            self.metrics.event(event.class);
            self.metrics.wait.observe(seconds(event.at, began));
            self.metrics.lifecycle.observe(seconds(began, now));
            self.metrics.lag.observe(seconds(event.at, now));
        }
        self.record_span(&batch, now);
        self.activity.request(batch.activities);
    }

    fn quarantined(&mut self, changes: u64) {
        self.metrics.changes.inc_by(changes);
        self.metrics.quarantined.inc_by(changes);
    }

    fn fault(error: &PipelineError) -> Fault {
        error.fault()
    }
}

/// What the activity app is asked about the events of a batch, and for which of them a delivery waits.
fn activity_requests(
    activities: Vec<ActivityLookup>,
    stored: &[Option<EventRef>],
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
            let event = (*stored.get(change.event)?)?;
            Some(activity::ActivityRequest {
                event,
                needed: waiting.contains(&event.seq),
                change,
            })
        })
        .collect()
}
