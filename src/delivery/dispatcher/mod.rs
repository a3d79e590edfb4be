//! The dispatcher: takes what is due, sends it within every limit, writes down what became of it.
//!
//! Guarantees: one task decides (`scheduler`), so no state is shared; what it holds is bounded by the limits in flight
//! and twice that; a webhook that hangs or has a million rows waiting takes from the others nothing but its own share.
//! At shutdown what is in flight gets [`Options::drain`] to end; then it is cut off and handed back.

pub(in crate::delivery) mod attempt;
mod counts;
mod damaged;
mod health;
mod lease;
mod scheduler;
mod settler;
mod slot;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ask::ask;
use super::events::Events;
use super::{Metrics, Webhooks, queue};
use crate::backoff::Backoff;
use crate::database::Database;
use crate::registry::WebhookId;
use crate::supervise::{Crew, Part, PartFailure, Reported, ending};
use orw_egress::Client;

/// Connections that only take leases and write outcomes.
const QUEUE_POOL: usize = 3;
/// Every statement about the queue has an index for its purpose. A plan that was made while the queue was empty must not
/// be a scan when a million rows wait; and an outcome that a crash of PostgreSQL loses is but a repeat. Who drops our schema
/// meanwhile must not be the victim of a deadlock with us (`deadlock_timeout` is 1 s).
const QUEUE_SETUP: &str = "SET enable_seqscan = off; SET jit = off; SET synchronous_commit = off; \
     SET statement_timeout = '30s'; SET lock_timeout = '500ms'";

/// How the dispatcher works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests in flight over all webhooks.
    pub max_in_flight: u32,
    /// Bytes of events in flight over all webhooks; one webhook gets at most a quarter, but always one event.
    pub max_bytes: u64,
    /// How often everything is looked at, whether or not somebody woke the dispatcher.
    pub poll: Duration,
    /// How long a shutdown waits for what is in flight.
    pub drain: Duration,
    /// How often leases that nobody knows of are looked for; at once after an answer was lost.
    pub reconcile: Duration,
    /// How long an answer of the database is waited for; then it counts as lost, and its connection is given up.
    pub patience: Duration,
    /// Whether a database session is ours alone. Through a transaction pooler it is not, and nothing is set in it that the
    /// next one to use it would find.
    pub own_sessions: bool,
    pub metrics: Metrics,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_in_flight: 512,
            max_bytes: 64 << 20,
            poll: Duration::from_secs(5),
            drain: ending::REQUESTS,
            reconcile: Duration::from_secs(5),
            // The server itself ends a statement after 30 s.
            patience: Duration::from_secs(35),
            own_sessions: true,
            metrics: Metrics::default(),
        }
    }
}

/// Tells the dispatcher that there is work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Woken>);

#[derive(Debug, Default)]
struct Woken {
    webhooks: Mutex<BTreeSet<WebhookId>>,
    notify: Notify,
}

impl Wake {
    /// There are new deliveries for these webhooks, or a webhook was changed, enabled or resumed. Call it after the
    /// commit; it never waits.
    pub fn wake(&self, webhooks: impl IntoIterator<Item = WebhookId>) {
        self.0
            .webhooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(webhooks);
        self.0.notify.notify_one();
    }

    /// Waits until there is work, and says for which webhooks. Cancel-safe.
    async fn woken(&self) -> BTreeSet<WebhookId> {
        self.0.notify.notified().await;
        std::mem::take(&mut *self.0.webhooks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Delivers.
pub struct Dispatcher {
    database: Database,
    pool: Pool,
    webhooks: Arc<dyn Webhooks>,
    client: Client,
    options: Options,
    wake: Wake,
    part: Part,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A dispatcher; `pool` needs two connections to spare, and four more are made of `database`.
    #[must_use]
    pub fn new(
        database: Database,
        pool: Pool,
        webhooks: Arc<dyn Webhooks>,
        client: Client,
        options: Options,
    ) -> Self {
        Self {
            database,
            pool,
            webhooks,
            client,
            options,
            wake: Wake::default(),
            part: Part::alone("delivery"),
        }
    }

    /// The same, woken by `wake`: so that who enqueues need not know which dispatcher is at work.
    #[must_use]
    pub fn woken_by(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }

    /// The same, as a part that is supervised: it is told what fails of the dispatcher, at once.
    #[must_use]
    pub fn part_of(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// What to wake it with.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Delivers until `shutdown`; then lets what is in flight end, hands the rest back, and returns. A database that
    /// cannot be reached is waited for. It ends in the same way where one of its tasks fails; then it can be made and run anew.
    ///
    /// # Errors
    /// What failed, once it has ended.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Reported> {
        let (mut crew, part, stop) = (Crew::default(), self.part.clone(), shutdown.child_token());
        let name = format!("pid {}", std::process::id());
        let lease = lease::start(&mut crew, self.database.clone(), name);
        let work = self.schedule(&mut crew, lease.clone(), stop.clone());
        let work = crate::failpoint::guarded("scheduler", work, None);
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let mut failed = None;
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                fault = crew.failure(), if failed.is_none() => {
                    failed = Some(part.report(fault));
                    // What is in hand is finished or handed back as at a shutdown, as far as that goes without the task.
                    stop.cancel();
                }
            }
        };
        let fault = match ended {
            Ok(broken) if broken.is_some() || stop.is_cancelled() => {
                lease.stop();
                crew.all_ended(ending::GOODBYE).await;
                return failed.or(broken).map_or(Ok(()), Err);
            }
            Ok(_) => PartFailure::ended("scheduler"),
            Err(panic) => PartFailure::panicked("scheduler", panic.as_ref()),
        };
        // It did not wait for the end of what was in flight. So nobody says good-bye, the leases hold for a while, and what is known
        // of deliveries is written under them.
        let reported = part.report(fault);
        crew.ended("settler", ending::OUTCOMES).await;
        Err(failed.unwrap_or(reported))
    }

    /// Starts everything else, and decides what is sent until `stop`.
    fn schedule(
        self,
        crew: &mut Crew,
        lease: lease::Lease,
        stop: CancellationToken,
    ) -> impl Future<Output = Option<Reported>> + use<> {
        let queue = self.queue_pool();
        let patience = self.options.patience;
        let (settler, settled) = settler::start(crew, queue.clone(), patience, self.options.metrics.clone());
        let health = health::start(crew, self.pool.clone(), patience, Arc::clone(&self.webhooks));
        let context = Arc::new(attempt::Context {
            client: self.client,
            pool: self.pool.clone(),
            patience,
            events: Events::start(crew, self.pool.clone(), patience),
            webhooks: Arc::clone(&self.webhooks),
            metrics: self.options.metrics.clone(),
        });
        async move {
            let stored = tokio::select! {
                stored = stored_health(&self.pool, patience, self.webhooks.as_ref()) => stored,
                () = stop.cancelled() => return None,
            };
            scheduler::Scheduler::new(
                queue,
                self.webhooks,
                context,
                self.options,
                self.wake,
                lease,
                self.part,
                settler,
                health,
                stored,
            )
            .run(settled, &stop)
            .await
        }
    }

    /// Connections that only take leases and write outcomes.
    fn queue_pool(&self) -> Pool {
        let setup = if self.options.own_sessions {
            QUEUE_SETUP
        } else {
            ""
        };
        self.database.pool_with(QUEUE_POOL, setup).unwrap_or_else(|error| {
            tracing::error!(error = %crate::error_text::chain(&error), "the queue is read over the common connections");
            self.pool.clone()
        })
    }
}

/// The stored health of every webhook; waits for the database.
async fn stored_health(
    pool: &Pool,
    patience: Duration,
    webhooks: &dyn Webhooks,
) -> Vec<(WebhookId, queue::Health)> {
    let mut waits = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let ids: Vec<i64> = webhooks.all().iter().map(|w| w.id.0).collect();
        match ask(pool, patience, async |client| queue::health(client, &ids).await).await {
            Ok(health) => return health,
            Err(error) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "the health of webhooks cannot be read; trying again")
            }
        }
        tokio::time::sleep(waits.next()).await;
    }
}
