//! Decides what is taken and sent, and when.
//!
//! Guarantees: webhooks take turns, one request each; nothing waits for a webhook but that webhook's own deliveries.
//! What it holds: leases up to [`MAX_HELD`] unsent, outcomes up to [`MAX_UNSETTLED`] unwritten.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Attempted, Context, Verdict, attempt, untried};
use super::health::Reports;
use super::lease::Lease;
use super::settler::Written;
use super::slot::{Gate, Slot, Wanted};
use super::{Options, Wake};
use crate::db::DbError;
use crate::delivery::queue::{self, Claim, Claimed, Health, Outcome, Settled, Want, WorkerId};
use crate::delivery::{Webhooks, partitions};
use crate::registry::WebhookId;

/// Leases in hand that are not sent yet.
const MAX_HELD: usize = 4096;
/// Outcomes handed over and not written yet.
const MAX_UNSETTLED: usize = 4096;
/// Webhooks a query for what is due.
const MAX_WANTS: usize = 256;
/// The longest pause that a receiver can ask for the whole webhook.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// How soon to look whether the owner of a webhook is still alive.
const FOREIGN: Duration = Duration::from_secs(2);
/// How long outcomes may take to be written at shutdown.
const SETTLE_AT_END: Duration = Duration::from_secs(5);

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Something is due in the queue.
    Look,
    /// The rate allows the next.
    Gate,
}

type Claiming = JoinHandle<Result<Claim, DbError>>;

pub(super) struct Scheduler {
    pool: Pool,
    webhooks: Arc<dyn Webhooks>,
    context: Arc<Context>,
    options: Options,
    wake: Wake,
    lease: Lease,
    settler: mpsc::UnboundedSender<Settled>,
    health: Reports,
    stored: HashMap<WebhookId, Health>,
    slots: HashMap<WebhookId, Slot>,
    /// The webhooks there were when everything was last looked at.
    known: BTreeSet<WebhookId>,
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
    unsettled: usize,
    /// Rows in hand, by the worker that holds their lease.
    in_hand: BTreeMap<WorkerId, usize>,
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
            settler,
            health,
            stored: stored.into_iter().collect(),
            slots: HashMap::new(),
            known: BTreeSet::new(),
            turns: VecDeque::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            bytes: 0,
            held: 0,
            claiming: None,
            asked_last: WebhookId(i64::MIN),
            unsettled: 0,
            in_hand: BTreeMap::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut written: mpsc::UnboundedReceiver<Written>,
        shutdown: &CancellationToken,
    ) {
        let wake = self.wake.clone();
        let mut changes = self.lease.clone();
        let lease = self.lease.clone();
        let mut poll = tokio::time::interval(self.options.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.send_ready();
            self.start_claim();
            let in_flight = i64::try_from(self.tasks.len()).unwrap_or(i64::MAX);
            self.options.metrics.in_flight.set(in_flight);
            let timer = self.timers.first().map(|(at, ..)| *at);
            tokio::select! {
                () = shutdown.cancelled() => break,
                woken = wake.woken() => woken.into_iter().for_each(|id| self.woken(id)),
                () = lease.told() => self.look_everywhere(),
                Some(done) = self.tasks.join_next_with_id() => self.ended(done),
                Some(report) = written.recv() => self.written(report),
                result = claimed(&mut self.claiming) => self.claimed(result),
                () = sleep_until(timer) => self.fire(),
                _ = poll.tick() => self.look_everywhere(),
                () = changes.changed() => self.lease_changed(),
            }
        }
        self.drain(written).await;
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
            return;
        };
        let now = Instant::now();
        let stored = &self.stored;
        let slot = self.slots.entry(id).or_insert_with(|| {
            let failures = stored.get(&id).map_or(0, |h| h.failures);
            Slot::new(Arc::clone(&webhook), failures, now)
        });
        if slot.webhook.revision != webhook.revision || slot.webhook.status != webhook.status {
            slot.update(webhook);
        }
        slot.dirty = true;
        self.dirty.insert(id);
    }

    /// Takes the registrations as they are now, and looks for each.
    fn look_everywhere(&mut self) {
        let all: BTreeSet<WebhookId> = self.webhooks.all().iter().map(|w| w.id).collect();
        for id in &all {
            self.look(*id);
        }
        if self.known.difference(&all).next().is_some() {
            self.clean();
        }
        self.known.clone_from(&all);
        let gone: Vec<WebhookId> = self
            .slots
            .keys()
            .filter(|id| !all.contains(id))
            .copied()
            .collect();
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
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let clean = async {
                let client = pool.get().await?;
                Ok::<_, DbError>(partitions::clean(&**client, None).await?)
            };
            match clean.await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "deliveries of deleted webhooks cancelled"),
                Err(error) => {
                    tracing::warn!(%error, "deliveries of deleted webhooks could not be cancelled; tried again within the hour");
                }
            }
        });
    }

    /// Sends whatever may be sent, one webhook after the other.
    fn send_ready(&mut self) {
        let now = Instant::now();
        let mut idle = 0;
        while idle < self.turns.len() {
            if self.tasks.len() >= self.options.max_in_flight as usize
                || self.unsettled >= MAX_UNSETTLED
                || self.lease.current().is_none()
            {
                return;
            }
            let Some(id) = self.turns.pop_front() else {
                return;
            };
            let turn = self.send_one(id, now);
            match turn {
                Turn::Sent => idle = 0,
                Turn::Waits => idle += 1,
                Turn::Over => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.in_turn = false;
                    }
                    continue;
                }
            }
            self.turns.push_back(id);
        }
    }

    /// The webhook takes its turn again, if it has something ready.
    fn take_turns(&mut self, id: WebhookId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && !slot.in_turn
            && !slot.ready.is_empty()
        {
            slot.in_turn = true;
            self.turns.push_back(id);
        }
    }

    fn send_one(&mut self, id: WebhookId, now: Instant) -> Turn {
        let Some(webhook) = self.webhooks.get(id) else {
            self.release_ready(id);
            return Turn::Over;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return Turn::Over;
        };
        if slot.webhook.revision != webhook.revision || slot.webhook.status != webhook.status {
            slot.update(webhook);
        }
        if !slot.delivers() {
            self.release_ready(id);
            return Turn::Over;
        }
        let Some(size) = slot.ready.front().map(|d| d.size) else {
            return Turn::Over;
        };
        // One is always allowed, whatever its size.
        let own = slot.bytes > 0 && slot.bytes + size > self.options.max_bytes / 4;
        let all = self.bytes > 0 && self.bytes + size > self.options.max_bytes;
        if own || all {
            return Turn::Waits;
        }
        match slot.gate(now) {
            Gate::Open => {}
            Gate::At(at) => {
                self.set_timer(id, Timer::Gate, at);
                return Turn::Over;
            }
            // Comes back when something ends.
            Gate::Full => return Turn::Over,
        }
        let Some(delivery) = slot.ready.pop_front() else {
            return Turn::Over;
        };
        slot.in_flight += 1;
        slot.bytes += size;
        self.bytes += size;
        self.held -= 1;
        let webhook = Arc::clone(&slot.webhook);
        let task = self
            .tasks
            .spawn(attempt(Arc::clone(&self.context), webhook, delivery.clone()));
        self.running.insert(task.id(), delivery);
        Turn::Sent
    }

    /// Asks for what is due, unless that is being asked already.
    fn start_claim(&mut self) {
        let Some(worker) = self.lease.current() else {
            return;
        };
        if self.claiming.is_some()
            || self.dirty.is_empty()
            || self.held >= MAX_HELD
            || self.unsettled >= MAX_UNSETTLED
        {
            return;
        }
        let now = Instant::now();
        let mut wants = vec![];
        let mut later = vec![];
        let after = self.asked_last;
        let turn = self
            .dirty
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        for id in turn.chain(self.dirty.range(..=after)) {
            let Some(slot) = self.slots.get(id) else {
                continue;
            };
            let (most, early) = match slot.want(now) {
                Wanted::Nothing => continue,
                Wanted::Later(at) => {
                    later.push((*id, at));
                    continue;
                }
                Wanted::Due(most) => (most, false),
                Wanted::Probe => (1, true),
            };
            wants.push(Want {
                webhook: *id,
                most,
                early,
            });
            if wants.len() == MAX_WANTS {
                break;
            }
        }
        for (id, at) in later {
            self.dirty.remove(&id);
            self.set_timer(id, Timer::Look, at);
        }
        let Some(last) = wants.last() else {
            return;
        };
        self.asked_last = last.webhook;
        for want in &wants {
            self.dirty.remove(&want.webhook);
            if let Some(slot) = self.slots.get_mut(&want.webhook) {
                slot.dirty = false;
            }
        }
        let pool = self.pool.clone();
        let asked = wants.clone();
        let former = self.lease.former();
        let claiming = tokio::spawn(async move {
            let client = pool.get().await?;
            Ok(queue::claim(&client, worker, &former, &asked).await?)
        });
        self.claiming = Some((claiming, wants));
    }

    /// What the query for what is due brought.
    fn claimed(&mut self, (result, wants): (Result<Result<Claim, DbError>, JoinError>, Vec<Want>)) {
        let claim = match result {
            Ok(Ok(claim)) => claim,
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::text::chain(&error), "what is due cannot be taken; trying again");
                self.claim_failed(&wants);
                return;
            }
            Err(error) => {
                tracing::error!(error = %crate::text::chain(&error), "taking what is due failed");
                self.claim_failed(&wants);
                return;
            }
        };
        let now = Instant::now();
        let mut got: HashMap<WebhookId, u32> = HashMap::new();
        for delivery in claim.claimed {
            *got.entry(delivery.webhook).or_default() += 1;
            *self.in_hand.entry(delivery.worker).or_default() += 1;
            self.held += 1;
            let id = delivery.webhook;
            match self.slots.get_mut(&id) {
                Some(slot) if Some(delivery.worker) == self.lease.current() => {
                    slot.ready.push_back(delivery);
                    self.take_turns(id);
                }
                _ => self.hand_back(delivery),
            }
        }
        for id in &claim.foreign {
            self.set_timer(*id, Timer::Look, now + FOREIGN);
            if let Some(slot) = self.slots.get_mut(id)
                && std::mem::take(&mut slot.woken)
            {
                self.lease.tell_others();
            }
        }
        for want in wants {
            if claim.foreign.contains(&want.webhook) {
                continue;
            }
            if let Some(slot) = self.slots.get_mut(&want.webhook) {
                slot.woken = false;
            }
            if got.get(&want.webhook).copied().unwrap_or_default() >= want.most {
                self.look(want.webhook);
            } else if let Some(wait) = claim.next_due.get(&want.webhook) {
                // A millisecond later it surely is.
                self.set_timer(want.webhook, Timer::Look, now + *wait + Duration::from_millis(1));
            }
        }
    }

    fn claim_failed(&mut self, wants: &[Want]) {
        // Rows may be leased to this worker that nobody knows of; they become free when it ends.
        self.lease.renew();
        let at = Instant::now() + Duration::from_millis(500);
        for want in wants {
            self.set_timer(want.webhook, Timer::Look, at);
        }
    }

    /// An attempt ended.
    fn ended(&mut self, done: Result<(Id, Attempted), JoinError>) {
        let (task, attempted, panicked) = match done {
            Ok((task, attempted)) => (task, Some(attempted), false),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(error = %crate::text::chain(&error), "an attempt failed inside");
                }
                (error.id(), None, error.is_panic())
            }
        };
        let Some(delivery) = self.running.remove(&task) else {
            return;
        };
        let id = delivery.webhook;
        self.bytes = self.bytes.saturating_sub(delivery.size);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            slot.bytes = slot.bytes.saturating_sub(delivery.size);
        }
        match attempted {
            Some(attempted) => {
                self.learn(id, delivery.id, &attempted.verdict);
                self.settle(attempted.settled);
            }
            None if panicked => self.settle(attempt::broken(delivery)),
            // Cut off: handed back, unless it is no longer ours to hand back.
            None if self.lease.current() == Some(delivery.worker) => {
                self.settle(untried(delivery, None, Outcome::Released).settled);
            }
            None => {}
        }
        self.take_turns(id);
    }

    /// What an attempt tells of the receiver.
    fn learn(&mut self, id: WebhookId, seed: i64, verdict: &Verdict) {
        let now = Instant::now();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match verdict {
            Verdict::Silent => {}
            Verdict::Good => {
                let failing = slot.breaker.failures() > 0;
                let reopened = slot.breaker.succeeded();
                if failing {
                    self.health.report(id, 0, None);
                }
                if reopened {
                    tracing::info!(webhook = %id, "the receiver is back; everything that waits is due");
                    self.receiver_is_back(id);
                }
            }
            Verdict::Gone => {
                slot.breaker.failed(seed, now);
                self.health
                    .report(id, slot.breaker.failures(), Some("status 410".to_owned()));
                let webhooks = Arc::clone(&self.webhooks);
                tokio::spawn(async move {
                    let reason = "the receiver answered 410 Gone".to_owned();
                    webhooks.disable(id, reason).await;
                });
                self.release_ready(id);
            }
            Verdict::Bad { why, pause } => {
                if let Some(pause) = pause {
                    slot.hold_until = Some(now + (*pause).min(MAX_PAUSE));
                }
                let opened = slot.breaker.failed(seed, now);
                self.health.report(id, slot.breaker.failures(), Some(why.clone()));
                if opened {
                    tracing::warn!(webhook = %id, cause = %why, "the receiver keeps failing; it is probed until it is back");
                    self.release_ready(id);
                }
                self.look(id);
            }
        }
    }

    /// Makes everything that waits for another attempt due.
    fn receiver_is_back(&mut self, id: WebhookId) {
        let pool = self.pool.clone();
        let wake = self.wake.clone();
        tokio::spawn(async move {
            let due = async {
                let client = pool.get().await?;
                Ok::<_, DbError>(queue::due_now(&client, id).await?)
            };
            if let Err(error) = due.await {
                // Then they wait for the time they were given.
                tracing::warn!(webhook = %id, error = %crate::text::chain(&error), "waiting deliveries could not be made due");
            }
            wake.wake([id]);
        });
    }

    fn settle(&mut self, settled: Settled) {
        match settled.outcome {
            Outcome::Succeeded => self.options.metrics.left("succeeded"),
            Outcome::GivenUp => self.options.metrics.left("given_up"),
            _ => {}
        }
        self.unsettled += 1;
        // The settler lives as long as this sender.
        let _ = self.settler.send(settled);
    }

    /// Outcomes were written.
    fn written(&mut self, report: Written) {
        for (worker, count) in report.done {
            self.unsettled = self.unsettled.saturating_sub(count);
            if let Some(left) = self.in_hand.get_mut(&worker) {
                *left = left.saturating_sub(count);
                if *left == 0 && self.lease.current() != Some(worker) {
                    self.in_hand.remove(&worker);
                    self.lease.done(worker);
                }
            }
        }
        for id in report.look {
            self.look(id);
        }
    }

    /// Hands back what is leased for a webhook and not sent.
    fn release_ready(&mut self, id: WebhookId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            for delivery in std::mem::take(&mut slot.ready) {
                self.hand_back(delivery);
            }
        }
    }

    fn hand_back(&mut self, delivery: Claimed) {
        self.held -= 1;
        self.settle(untried(delivery, None, Outcome::Released).settled);
    }

    /// There is another worker, or none.
    fn lease_changed(&mut self) {
        if self.lease.current().is_some() {
            self.look_everywhere();
            return;
        }
        // Others may take what is in hand: stop, and forget it.
        self.tasks.abort_all();
        for slot in self.slots.values_mut() {
            self.held -= slot.ready.len();
            slot.ready.clear();
        }
        self.in_hand.clear();
    }

    fn set_timer(&mut self, id: WebhookId, timer: Timer, at: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let set = match timer {
            Timer::Look => &mut slot.look_at,
            Timer::Gate => &mut slot.gate_at,
        };
        match *set {
            Some(earlier) if earlier <= at => return,
            Some(later) => drop(self.timers.remove(&(later, id, timer))),
            None => {}
        }
        *set = Some(at);
        self.timers.insert((at, id, timer));
    }

    /// Does what the timers say that have come.
    fn fire(&mut self) {
        let now = Instant::now();
        while let Some(&(at, id, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            match timer {
                Timer::Look => {
                    slot.look_at = None;
                    self.look(id);
                }
                Timer::Gate => {
                    slot.gate_at = None;
                    self.take_turns(id);
                }
            }
        }
    }

    /// Lets what is in flight end, hands the rest back, and waits until that is written; each for a bounded time.
    async fn drain(mut self, mut written: mpsc::UnboundedReceiver<Written>) {
        let ids: Vec<WebhookId> = self.slots.keys().copied().collect();
        for id in ids {
            self.release_ready(id);
        }
        let deadline = Instant::now() + self.options.drain;
        while !(self.tasks.is_empty() && self.claiming.is_none()) {
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => self.ended(done),
                Some(report) = written.recv() => self.written(report),
                result = claimed(&mut self.claiming) => self.claimed(result),
                () = tokio::time::sleep_until(deadline) => {
                    self.tasks.abort_all();
                    while let Some(done) = self.tasks.join_next_with_id().await {
                        self.ended(done);
                    }
                    break;
                }
            }
            let ids: Vec<WebhookId> = self.turns.drain(..).collect();
            ids.into_iter().for_each(|id| self.release_ready(id));
        }
        let deadline = Instant::now() + SETTLE_AT_END;
        while self.unsettled > 0 {
            match tokio::time::timeout_at(deadline, written.recv()).await {
                Ok(Some(report)) => self.written(report),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        count = self.unsettled,
                        "outcomes could not be written before the end; those deliveries are repeated"
                    );
                    break;
                }
            }
        }
    }
}

/// How a webhook's turn went.
enum Turn {
    Sent,
    /// For room that another webhook's end may give.
    Waits,
    /// Until something of its own changes.
    Over,
}

/// Waits for the claim under way, if there is one. Cancel-safe.
async fn claimed(
    claiming: &mut Option<(Claiming, Vec<Want>)>,
) -> (Result<Result<Claim, DbError>, JoinError>, Vec<Want>) {
    let Some((task, _)) = claiming else {
        return std::future::pending().await;
    };
    let result = task.await;
    let wants = claiming.take().map(|(_, wants)| wants).unwrap_or_default();
    (result, wants)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
