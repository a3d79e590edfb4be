//! The dispatcher: takes what is due, sends it within every limit, writes down what became of it.
//!
//! Guarantees: one task decides (`scheduler`), so no state is shared; what it holds is bounded by the limits in flight
//! and twice that; a webhook that hangs or has a million rows waiting takes from the others nothing but its own share.
//! At shutdown what is in flight gets [`Options::drain`] to end; then it is cut off and handed back.

pub(in crate::delivery) mod attempt;
mod counts;
mod health;
mod lease;
mod scheduler;
mod settler;
mod slot;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::events::Events;
use super::{Metrics, Webhooks, queue};
use crate::db::{Database, DbError};
use crate::registry::WebhookId;

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
            drain: Duration::from_secs(10),
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
        }
    }

    /// The same, woken by `wake`: so that who enqueues need not know which dispatcher is at work.
    #[must_use]
    pub fn woken_by(self, wake: Wake) -> Self {
        Self { wake, ..self }
    }

    /// What to wake it with.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Delivers until `shutdown`; then lets what is in flight end, hands the rest back, and returns. A database that
    /// cannot be reached is waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        let name = format!("pid {}", std::process::id());
        let queue = match self.database.pool_with(
            QUEUE_POOL,
            if self.options.own_sessions {
                QUEUE_SETUP
            } else {
                ""
            },
        ) {
            Ok(queue) => queue,
            Err(error) => {
                tracing::error!(error = %crate::text::chain(&error), "the queue is read over the common connections");
                self.pool.clone()
            }
        };
        let (lease, lease_task) = lease::start(self.database.clone(), name);
        let (settler, settled) = settler::start(queue.clone(), self.options.metrics.clone());
        let (health, health_task) = health::start(self.pool.clone(), Arc::clone(&self.webhooks));
        let stored = tokio::select! {
            stored = stored_health(&self.pool, self.webhooks.as_ref()) => stored,
            () = shutdown.cancelled() => {
                lease.stop();
                return;
            }
        };
        let context = Arc::new(attempt::Context {
            client: self.client,
            events: Events::start(self.pool.clone()),
            webhooks: Arc::clone(&self.webhooks),
            metrics: self.options.metrics.clone(),
        });
        scheduler::Scheduler::new(
            queue,
            self.webhooks,
            context,
            self.options,
            self.wake,
            lease.clone(),
            settler,
            health,
            stored,
        )
        .run(settled, &shutdown)
        .await;
        lease.stop();
        let _ = lease_task.await;
        let _ = health_task.await;
    }
}

/// The stored health of every webhook; waits for the database.
async fn stored_health(pool: &Pool, webhooks: &dyn Webhooks) -> Vec<(WebhookId, queue::Health)> {
    let mut wait = Duration::from_millis(100);
    loop {
        let ids: Vec<i64> = webhooks.all().iter().map(|w| w.id.0).collect();
        let load = async {
            let client = pool.get().await?;
            Ok::<_, DbError>(queue::health(&client, &ids).await?)
        };
        match load.await {
            Ok(health) => return health,
            Err(error) => {
                tracing::warn!(error = %crate::text::chain(&error), "the health of webhooks cannot be read; trying again")
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}
