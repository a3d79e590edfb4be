//! Decides what is taken and sent, and when.
//!
//! Guarantees: webhooks take turns, one request each; nothing waits for a webhook but that webhook's own deliveries.
//! What it holds: leases up to [`claims::MAX_HELD`] unsent, outcomes up to [`MAX_UNSETTLED`] unwritten.
//!
//! One task owns it all, so nothing here is locked: [`Scheduler::run`] is its loop, and each file beside this one holds
//! what the loop does about one thing.

mod claims;
mod drain;
mod outcomes;
mod reconcile;
mod timers;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::claims::{Claiming, claimed};
use self::reconcile::{Reconciling, reconciled};
use self::timers::{Timer, sleep_until};
use super::attempt::{Attempted, Context};
use super::health::Reports;
use super::lease::Lease;
use super::settler::Written;
use super::slot::Slot;
use super::{Options, Wake};
use crate::database::DatabaseError;
use crate::delivery::ask::ask;
use crate::delivery::queue::{self, Claimed, Health, Settled, Want};
use crate::delivery::{Webhooks, partitions};
use crate::registry::WebhookId;
use crate::supervise::{Part, Reported};

/// Between two looks at everything because of what another process says: every role of the database can say it.
const TOLD: Duration = Duration::from_millis(50);
/// Outcomes handed over and not written yet.
const MAX_UNSETTLED: usize = 4096;

/// Another process says that there is work; not before `from`. Cancel-safe.
async fn told(lease: &Lease, from: Instant) {
    tokio::time::sleep_until(from).await;
    lease.told().await;
}

pub(super) struct Scheduler {
    pool: Pool,
    webhooks: Arc<dyn Webhooks>,
    context: Arc<Context>,
    options: Options,
    wake: Wake,
    lease: Lease,
    part: Part,
    /// A task of the scheduler's failed: it ends.
    broken: Option<Reported>,
    settler: mpsc::UnboundedSender<Settled>,
    health: Reports,
    stored: HashMap<WebhookId, Health>,
    slots: HashMap<WebhookId, Slot>,
    /// The webhooks there were when everything was last looked at.
    known: BTreeSet<WebhookId>,
    /// Something was put into the queue for a webhook that is not known: it may be gone.
    stray: bool,
    /// Webhooks with something ready, in turn; each at most once.
    turns: VecDeque<WebhookId>,
    /// Webhooks that may have more in the queue.
    dirty: BTreeSet<WebhookId>,
    timers: BTreeSet<(Instant, WebhookId, Timer)>,
    tasks: JoinSet<Attempted>,
    running: HashMap<Id, Claimed>,
    bytes: u64,
    held: usize,
    claiming: Option<(Claiming, Vec<Want>)>,
    /// The webhook after which the next query for what is due begins.
    asked_last: WebhookId,
    /// The number of the next claim; while one is under way, it has the number before.
    next_claim: i64,
    /// The leases whose outcomes are handed over and not written yet.
    unsettled: HashSet<queue::Lease>,
    reconciling: Option<Reconciling>,
    /// When to look for leases that nobody knows of.
    reconcile_at: Instant,
    /// The number of the next claim when that was done last.
    reconciled_below: i64,
}

impl Scheduler {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once; a struct would only repeat the names"
    )]
    pub(super) fn new(
        pool: Pool,
        webhooks: Arc<dyn Webhooks>,
        context: Arc<Context>,
        options: Options,
        wake: Wake,
        lease: Lease,
        part: Part,
        settler: mpsc::UnboundedSender<Settled>,
        health: Reports,
        stored: Vec<(WebhookId, Health)>,
    ) -> Self {
        Self {
            pool,
            webhooks,
            context,
            options,
            wake,
            lease,
            part,
            broken: None,
            settler,
            health,
            stored: stored.into_iter().collect(),
            slots: HashMap::new(),
            known: BTreeSet::new(),
            stray: false,
            turns: VecDeque::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            bytes: 0,
            held: 0,
            claiming: None,
            asked_last: WebhookId(i64::MIN),
            next_claim: 1,
            unsettled: HashSet::new(),
            reconciling: None,
            reconcile_at: Instant::now(),
            reconciled_below: 1,
        }
    }

    /// Decides until `shutdown`, or until a task of its own fails.
    pub(super) async fn run(
        mut self,
        mut written: mpsc::UnboundedReceiver<Written>,
        shutdown: &CancellationToken,
    ) -> Option<Reported> {
        let wake = self.wake.clone();
        let mut changes = self.lease.clone();
        let lease = self.lease.clone();
        let mut poll = tokio::time::interval(self.options.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_told = Instant::now();
        while self.broken.is_none() {
            self.send_ready();
            self.start_claim();
            self.start_reconciling();
            let in_flight = i64::try_from(self.tasks.len()).unwrap_or(i64::MAX);
            self.options.metrics.in_flight.set(in_flight);
            let timer = self.timers.first().map(|(at, ..)| *at);
            tokio::select! {
                () = shutdown.cancelled() => break,
                woken = wake.woken() => woken.into_iter().for_each(|id| self.woken(id)),
                () = told(&lease, next_told) => {
                    next_told = Instant::now() + TOLD;
                    self.look_everywhere();
                }
                Some(done) = self.tasks.join_next_with_id() => self.ended(done),
                Some(report) = written.recv() => self.written(report),
                result = claimed(&mut self.claiming) => self.claimed(result),
                result = reconciled(&mut self.reconciling, self.reconcile_at) => self.reconciled(result),
                () = sleep_until(timer) => self.fire(),
                _ = poll.tick() => self.look_everywhere(),
                () = changes.changed() => self.lease_changed(),
            }
        }
        let broken = self.broken.take();
        self.drain(written, changes).await;
        broken
    }

    /// There is something new for this webhook.
    fn woken(&mut self, id: WebhookId) {
        self.look(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.woken = true;
        }
    }

    /// There may be something due for this webhook.
    fn look(&mut self, id: WebhookId) {
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
            // Somebody enabled it, or told it another receiver or secret: what was learned before counts no more. Its stored health
            // is that of another revision.
            slot.breaker.hurry(now);
            slot.hold_until = None;
            self.all_due(id);
        }
    }

    /// Takes the registrations as they are now, and looks for each.
    fn look_everywhere(&mut self) {
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
        // One that came and went between two looks is known by its slot, or by what was put into the queue for it.
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

    /// Cancels what waits for webhooks that are gone.
    fn clean(&self) {
        let (pool, patience) = (self.pool.clone(), self.options.patience);
        tokio::spawn(async move {
            let clean = async {
                let mut total = 0;
                // So many at a time: each time has its limit.
                while let Some(count) = ask(&pool, patience, async |client| {
                    partitions::clean_some(&***client, None).await
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

    /// There is another worker, or none.
    fn lease_changed(&mut self) {
        self.cut_off();
        if self.lease.current().is_some() {
            self.look_everywhere();
        }
    }

    /// Stops and forgets what a worker had in hand that is none any more, also if there is another one by now: others may
    /// take it.
    fn cut_off(&mut self) {
        if self
            .running
            .values()
            .any(|delivery| !self.lease.holds(delivery.worker))
        {
            self.tasks.abort_all();
        }
        for slot in self.slots.values_mut() {
            let before = slot.ready.len();
            slot.ready.retain(|delivery| self.lease.holds(delivery.worker));
            self.held -= before - slot.ready.len();
        }
    }
}

#[cfg(test)]
mod tests;
