//! The scheduler's state.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use deadpool_postgres::Pool;
use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::Instant;

use super::super::attempt::{Attempted, Context};
use super::super::health::Reports;
use super::super::options::Options;
use super::super::recorder::Outcomes;
use super::super::session::WorkerSession;
use super::super::slot::Slot;
use super::super::wake::Wake;
use super::lanes::Lanes;
use crate::database::DatabaseError;
use crate::delivery::queue::{Claim, ClaimRequest, Claimed, EventsToo, LeaseKey, Reconciled, StoredHealth};
use crate::delivery::webhooks::Webhooks;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;
use crate::supervise::{Part, Reported};

/// Most leases in hand that are not sent yet.
pub(super) const MAX_HELD: usize = 4096;
/// Most outcomes that are handed over and not written yet.
pub(super) const MAX_UNRECORDED: usize = 4096;

/// A query for what is due that is under way.
pub(super) struct Claiming {
    pub(super) task: JoinHandle<Result<Claim, DatabaseError>>,
    pub(super) wants: Vec<ClaimRequest>,
    pub(super) events: EventsToo,
    pub(super) number: i64,
}
/// A query for the webhooks that have something in the queue.
pub(super) type Looking = JoinHandle<Result<Vec<WebhookId>, DatabaseError>>;
/// A comparison of leases that is under way.
pub(super) type Reconciling = JoinHandle<Result<Reconciled, DatabaseError>>;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Something is due in the queue.
    Look,
    /// The rate limit lets the next request through.
    Gate,
}

/// Everything that the scheduler knows.
pub(in crate::delivery::dispatcher) struct Scheduler {
    pub(super) pool: Pool,
    pub(super) webhooks: Arc<dyn Webhooks>,
    pub(super) context: Arc<Context>,
    pub(super) options: Options,
    pub(super) wake: Wake,
    pub(super) session: WorkerSession,
    pub(super) part: Part,
    /// A task of the scheduler failed: the scheduler ends.
    pub(super) broken: Option<Reported>,
    pub(super) outcomes: Outcomes,
    pub(super) health: Reports,
    pub(super) stored: HashMap<WebhookId, StoredHealth>,
    pub(super) slots: HashMap<WebhookId, Slot>,
    /// The query for the webhooks that have something in the queue, if it is under way; whether to ask once more; and when, after a
    /// failure.
    pub(super) looking: Option<Looking>,
    pub(super) look_again: bool,
    pub(super) poll_again: Option<Instant>,
    /// Something was put into the queue for a webhook that is not registered: it may have been deleted.
    pub(super) stray: bool,
    /// Webhooks with something ready, in turn; each at most once.
    pub(super) turns: VecDeque<WebhookId>,
    /// Webhooks that may have more in the queue.
    pub(super) dirty: BTreeSet<WebhookId>,
    pub(super) timers: BTreeSet<(Instant, WebhookId, Timer)>,
    pub(super) tasks: JoinSet<Attempted>,
    pub(super) running: HashMap<Id, Claimed>,
    /// Bytes of the events in flight, but for `beside`.
    pub(super) bytes: u64,
    /// A large delivery that is in flight although the bytes in flight leave no room for it.
    pub(super) beside: Option<i64>,
    pub(super) held: usize,
    /// Bytes of the events among them that were read with their leases.
    pub(super) held_bytes: u64,
    /// Until then events are not read with leases: the database could not read one of them.
    pub(super) events_apart: Option<Instant>,
    pub(super) claiming: Option<Claiming>,
    /// The webhook after which the next query for what is due begins.
    pub(super) asked_last: WebhookId,
    /// The leases whose outcomes are handed over and not written yet.
    pub(super) unrecorded: HashSet<LeaseKey>,
    /// The lanes of what is in hand or unrecorded.
    pub(super) lanes: Lanes,
    /// Lanes that got a delivery while a query for what is due is under way, `MOST_LANES` at most.
    pub(super) put_meanwhile: Vec<(WebhookId, Lane)>,
    pub(super) reconciling: Option<Reconciling>,
    /// When to look for leases that nobody knows of.
    pub(super) reconcile_at: Instant,
    /// The number of the next claim or grant at the last comparison.
    pub(super) reconciled_below: i64,
}

impl Scheduler {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once; a struct would only repeat the names"
    )]
    pub(in crate::delivery::dispatcher) fn new(
        pool: Pool,
        webhooks: Arc<dyn Webhooks>,
        context: Arc<Context>,
        options: Options,
        wake: Wake,
        session: WorkerSession,
        part: Part,
        outcomes: Outcomes,
        health: Reports,
        stored: Vec<(WebhookId, StoredHealth)>,
    ) -> Self {
        wake.grants().restart();
        let reconciled_below = wake.grants().next();
        Self {
            pool,
            webhooks,
            context,
            options,
            wake,
            session,
            part,
            broken: None,
            outcomes,
            health,
            stored: stored.into_iter().collect(),
            slots: HashMap::new(),
            looking: None,
            look_again: false,
            poll_again: None,
            stray: false,
            turns: VecDeque::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            bytes: 0,
            beside: None,
            held: 0,
            held_bytes: 0,
            events_apart: None,
            claiming: None,
            asked_last: WebhookId(i64::MIN),
            unrecorded: HashSet::new(),
            lanes: Lanes::default(),
            put_meanwhile: Vec::new(),
            reconciling: None,
            reconcile_at: Instant::now(),
            reconciled_below,
        }
    }
}
