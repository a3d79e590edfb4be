//! The dispatcher: takes what is due, sends it within every limit, and records what became of it.
//!
//! Guarantees: one task decides (`scheduler`), so no state is shared. Of one webhook it holds as many leases as requests
//! may be in flight, and as many again ready to be sent, or up to 512 if the receiver is fast (`ahead`). A webhook
//! that hangs, or that has a million rows waiting, takes only its own share from the others. At shutdown what is in flight gets
//! [`Options::drain`] to end; then it is cut off and handed back.
//!
//! `session` and `keeper` say whose leases these are; `requests` makes what `attempt` sends; `recorder` writes outcomes, `health` how receivers are doing.

mod ahead;
pub(in crate::delivery) mod attempt;
mod counts;
mod damaged;
mod grants;
mod health;
mod keeper;
mod minutes;
mod options;
mod recorder;
mod requests;
mod scheduler;
mod session;
mod slot;
mod wake;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

pub use self::options::Options;
use self::session::WorkerSession;
pub(crate) use self::wake::Grant;
pub use self::wake::Wake;
use super::events::Events;
use super::queue;
use super::timed_query::timed_query;
use super::webhooks::Webhooks;
use crate::backoff::Backoff;
use crate::database::Database;
use crate::registry::WebhookId;
use crate::supervise::{Crew, Part, PartFailure, Reported, ending};
use orw_egress::Client;

/// Connections that only take leases and write outcomes.
const QUEUE_POOL: usize = 3;
/// Every statement on the queue has an index for its purpose: a plan that was made while the queue was empty must not be a scan when
/// a million rows wait. So one plan serves for all, made once for each connection: planning takes longer than most of these statements.
/// An outcome that a crash of PostgreSQL loses is only a repeat. Our locks give up before `deadlock_timeout`
/// (1 s), so that a session that drops our schema is not the victim of a deadlock with us.
const QUEUE_SETUP: &str = "SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan; SET synchronous_commit = off; \
     SET statement_timeout = '30s'; SET lock_timeout = '500ms'";

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

    /// The same, woken by `wake`: whoever enqueues need not know which dispatcher is at work.
    #[must_use]
    pub fn woken_by(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }

    /// The same, as a supervised part: a failure inside the dispatcher is reported to it at once.
    #[must_use]
    pub fn part_of(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// What to wake it with.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Delivers until `shutdown`. Then it lets requests in flight end, hands the rest back, and returns. It waits for a database
    /// that cannot be reached. If one of its tasks fails it ends in the same way, and another dispatcher can be run.
    ///
    /// # Errors
    /// The task that failed, after everything has ended.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Reported> {
        let (mut crew, part, stop) = (Crew::default(), self.part.clone(), shutdown.child_token());
        let name = format!("pid {}", std::process::id());
        let session = keeper::start(&mut crew, self.database.clone(), name);
        let work = self.schedule(&mut crew, session.clone(), stop.clone());
        let work = crate::failpoint::guarded("scheduler", work, None);
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let mut failed = None;
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                fault = crew.failure(), if failed.is_none() => {
                    failed = Some(part.report(fault));
                    // What is in hand is finished or handed back as at a shutdown, as far as possible without the task.
                    stop.cancel();
                }
            }
        };
        let fault = match ended {
            Ok(broken) if broken.is_some() || stop.is_cancelled() => {
                session.stop();
                crew.all_ended(ending::GOODBYE).await;
                return failed.or(broken).map_or(Ok(()), Err);
            }
            Ok(_) => PartFailure::ended("scheduler"),
            Err(panic) => PartFailure::panicked("scheduler", panic.as_ref()),
        };
        // The scheduler did not wait for requests in flight. So the worker is not removed: its leases hold for a while, and the
        // outcomes that are known are written under them.
        let reported = part.report(fault);
        crew.ended("settler", ending::OUTCOMES).await;
        Err(failed.unwrap_or(reported))
    }

    /// Starts everything else, and decides what is sent until `stop`.
    fn schedule(
        self,
        crew: &mut Crew,
        session: WorkerSession,
        stop: CancellationToken,
    ) -> impl Future<Output = Option<Reported>> + use<> {
        let queue = self.queue_pool();
        let query_timeout = self.options.query_timeout;
        let (outcomes, written) =
            recorder::start(crew, queue.clone(), query_timeout, self.options.metrics.clone());
        let health = health::start(crew, self.pool.clone(), query_timeout, Arc::clone(&self.webhooks));
        let context = Arc::new(attempt::Context {
            client: self.client,
            pool: self.pool.clone(),
            query_timeout,
            events: Events::start(crew, self.pool.clone(), query_timeout),
            webhooks: Arc::clone(&self.webhooks),
            metrics: self.options.metrics.clone(),
            traces: self.options.traces.clone(),
            feed: self.options.feed.clone(),
            requests: requests::Requests::default(),
        });
        async move {
            let stored = tokio::select! {
                stored = stored_health(&self.pool, query_timeout, self.webhooks.as_ref()) => stored,
                () = stop.cancelled() => return None,
            };
            scheduler::Scheduler::new(
                queue,
                self.webhooks,
                context,
                self.options,
                self.wake,
                session,
                self.part,
                outcomes,
                health,
                stored,
            )
            .run(written, &stop)
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
    query_timeout: Duration,
    webhooks: &dyn Webhooks,
) -> Vec<(WebhookId, queue::StoredHealth)> {
    let mut waits = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let ids: Vec<i64> = webhooks.all().iter().map(|w| w.id.0).collect();
        match timed_query(pool, query_timeout, async |client| {
            queue::health(client, &ids).await
        })
        .await
        {
            Ok(health) => return health,
            Err(error) => {
                tracing::warn!(error = %crate::error_text::chain(&error), "the health of webhooks cannot be read; trying again")
            }
        }
        tokio::time::sleep(waits.next()).await;
    }
}
