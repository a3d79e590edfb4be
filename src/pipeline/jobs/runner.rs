//! Makes the steps of jobs, those of several webhooks in turn.
//!
//! Guarantees: a job makes none while its webhook has as many deliveries waiting as it may send in [`AHEAD`] seconds, so that
//! its live events wait for little more than that; one whose webhook is gone is
//! cancelled, one whose webhook is disabled waits; a step that fails or panics is tried again, and the job says why it waits.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use futures::FutureExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Transaction};
use tokio_util::sync::CancellationToken;

use super::step_size::StepSize;
use super::{Job, JobKind, JobState, backfill, replay, store};
use crate::database::DatabaseError;
use crate::delivery::{Wake, queue};
use crate::lifecycle::{HostConnection, HostError, LookupError};
use crate::pipeline::metrics::Metrics;
use crate::registry::{Registry, RegistryError, Status, Webhook, WebhookId};

/// How many seconds of deliveries a job puts into the queue ahead of time.
const AHEAD: i64 = 2;
/// However slow or fast the webhook may be: deliveries that may wait before its job does.
const PENDING: (i64, i64) = (100, 5000);
/// How soon a new job is seen.
const IDLE: Duration = Duration::from_millis(500);
/// How soon a job that waits is looked at again.
const WAITING: Duration = Duration::from_millis(100);
/// How soon a step that failed is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The longest until the step of one job is tried again that failed: it may have held the lock of the queue until then.
const STEP_AGAIN: Duration = Duration::from_secs(5);
/// Every statement of a step has an index for its purpose.
const SETUP: &str = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'";

/// Why a step was not made; nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Connection(#[from] DatabaseError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("a table of Nextcloud cannot be read")]
    HostConnection(#[from] HostError),
    #[error("the database says no: {0}")]
    Query(#[from] tokio_postgres::Error),
    #[error(
        "the sidecar's role has no SELECT on {0}: run `openregister-webhooks install --runtime-role NAME` as the owner of Nextcloud's tables"
    )]
    NoSelect(String),
    #[error("it panicked: {0}; this is a bug, please report it with the lines of the log")]
    Panicked(String),
    #[error("what the job keeps cannot be read: {0}; cancel it and begin another")]
    Stored(serde_json::Error),
}

impl From<deadpool_postgres::PoolError> for StepError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Connection(error.into())
    }
}

impl StepError {
    /// Reads what the job keeps.
    pub(super) fn stored<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Self> {
        serde_json::from_value(value).map_err(Self::Stored)
    }
}

/// What jobs are made with.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: Arc<str>,
    /// The longest that a delivery waits for the row that names the user.
    pub actor_wait: Duration,
}

/// Makes the steps of jobs; every process has one.
#[derive(Debug)]
pub struct Runner {
    pool: Pool,
    /// For look-ups in Nextcloud's tables.
    host: Mutex<HostConnection>,
    registry: Arc<Registry>,
    metrics: Metrics,
    wake: Wake,
    settings: RunnerSettings,
    step_size: StepSize,
}

/// What a step is made with.
pub(super) struct StepContext<'a> {
    pub(super) host: &'a Mutex<HostConnection>,
    pub(super) metrics: &'a Metrics,
    pub(super) table_prefix: &'a str,
    pub(super) actor_wait: Duration,
    /// How many rows a step reads at most.
    pub(super) rows: i64,
}

/// A job whose last step failed.
#[derive(Debug, Clone, Copy)]
struct Failing {
    until: Instant,
    wait: Duration,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was made; the next one may follow.
    Made,
    /// There is a reason to wait.
    Waits,
    /// Another process makes it, or the job is over.
    NotOurs,
}

impl Runner {
    #[must_use]
    pub fn new(
        pool: Pool,
        host: HostConnection,
        registry: Arc<Registry>,
        metrics: Metrics,
        wake: Wake,
        settings: RunnerSettings,
    ) -> Self {
        Self {
            pool,
            host: Mutex::new(host),
            registry,
            metrics,
            wake,
            settings,
            step_size: StepSize::default(),
        }
    }

    /// Makes steps until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut again = AGAIN.0;
        let mut failing = HashMap::new();
        while !stop.is_cancelled() {
            let pause = match self.round(&mut failing, &stop).await {
                Ok(pause) => {
                    again = AGAIN.0;
                    pause
                }
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), "replays and backfills cannot go on; tried again");
                    again = (again * 2).min(AGAIN.1);
                    again
                }
            };
            tokio::select! { () = tokio::time::sleep(pause) => {} () = stop.cancelled() => {} }
        }
    }

    /// One step of every job; how long to wait before the next round.
    async fn round(
        &self,
        failing: &mut HashMap<i64, Failing>,
        stop: &CancellationToken,
    ) -> Result<Duration, StepError> {
        let jobs = store::active(&**self.pool.get().await?).await?;
        let mut pause = if jobs.is_empty() { IDLE } else { WAITING };
        failing.retain(|job, _| jobs.contains(job));
        for job in jobs {
            if stop.is_cancelled() {
                break;
            }
            if failing
                .get(&job)
                .is_some_and(|failing| failing.until > Instant::now())
            {
                continue;
            }
            // One job's panic is no reason for the others, or for the process, to end.
            let step = AssertUnwindSafe(self.step(job)).catch_unwind().await;
            let step = step
                .unwrap_or_else(|panic| Err(StepError::Panicked(crate::error_text::panic(panic.as_ref()))));
            if step.is_ok() {
                failing.remove(&job);
            }
            match step {
                Ok(Step::Made) => pause = Duration::ZERO,
                Ok(Step::Waits | Step::NotOurs) => {}
                Err(error) => {
                    let last = failing.get(&job).map_or(Duration::ZERO, |failing| failing.wait);
                    let wait = (last * 2).clamp(AGAIN.0, STEP_AGAIN);
                    let until = Instant::now() + wait;
                    failing.insert(job, Failing { until, wait });
                    self.step_size.failed();
                    let reason = crate::error_text::chain(&error);
                    tracing::warn!(job, error = %reason, "a step of a job failed; it is tried again");
                    self.note(job, &format!("the last step failed and is tried again: {reason}"))
                        .await?;
                }
            }
        }
        Ok(pause)
    }

    async fn step(&self, id: i64) -> Result<Step, StepError> {
        crate::failpoint::hit("step");
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        tx.batch_execute(SETUP).await?;
        let Some(mut job) = store::take(&*tx, id).await? else {
            return Ok(Step::NotOurs);
        };
        let snapshot = self.registry.refresh_in(&tx).await?;
        let webhook = snapshot.get(WebhookId(job.webhook));
        let before = (job.waiting.take(), job.enqueued);
        let mut locked = None;
        let is_broken = snapshot.unreadable().iter().any(|(id, _)| id.0 == job.webhook);
        match webhook {
            Some(webhook) => match reason_to_wait(&*tx, webhook).await? {
                Some(reason) => job.waiting = Some(reason),
                None => locked = self.advance(&tx, webhook, &mut job).await?,
            },
            None if is_broken => job.waiting = Some("the registration cannot be read".to_owned()),
            None => {
                job.state = JobState::Cancelled;
                job.note = Some("the webhook was deleted".to_owned());
            }
        }
        let waits = job.waiting.is_some();
        if !waits || job.waiting != before.0 {
            store::save(&*tx, &job).await?;
        }
        tx.commit().await?;
        drop(client);
        let rest = locked.map_or(Duration::ZERO, |since| self.step_size.held(since.elapsed()));
        if job.enqueued > before.1 {
            self.wake.wake([WebhookId(job.webhook)]);
        }
        if job.state.is_over() {
            tracing::info!(job = job.id, kind = job.kind.name(), webhook = job.webhook, state = %job.state,
                seen = job.seen, enqueued = job.enqueued, "a job has ended");
        }
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        Ok(if waits { Step::Waits } else { Step::Made })
    }

    /// Since when the lock of the queue is held, where the next step should be smaller for it.
    async fn advance(
        &self,
        tx: &Transaction<'_>,
        webhook: &Webhook,
        job: &mut Job,
    ) -> Result<Option<Instant>, StepError> {
        let context = StepContext {
            host: &self.host,
            metrics: &self.metrics,
            table_prefix: &self.settings.table_prefix,
            actor_wait: self.settings.actor_wait,
            rows: self.step_size.rows().min(may_wait(webhook)),
        };
        match job.kind {
            JobKind::Replay => replay::step(&context, tx, webhook, job).await.map(|()| None),
            JobKind::Backfill => backfill::step(&context, tx, webhook, job).await,
        }
    }

    /// Says with the job why it waits.
    async fn note(&self, job: i64, reason: &str) -> Result<(), StepError> {
        let sql =
            "UPDATE openregister_webhooks.job SET waiting = $2 WHERE id = $1 AND waiting IS DISTINCT FROM $2";
        let client = self.pool.get().await?;
        client
            .execute_typed(sql, &[(&job, Type::INT8), (&reason, Type::TEXT)])
            .await?;
        Ok(())
    }
}

/// Why a job of this webhook should make no step now.
async fn reason_to_wait<C: GenericClient + Sync>(
    tx: &C,
    webhook: &Webhook,
) -> Result<Option<String>, tokio_postgres::Error> {
    if matches!(webhook.status, Status::Disabled { .. }) {
        return Ok(Some("the webhook is disabled".to_owned()));
    }
    let most = may_wait(webhook);
    let pending = queue::count(tx, Some(webhook.id), most).await?;
    let paused = if webhook.status == Status::Paused {
        ", and it is paused"
    } else {
        ""
    };
    Ok((pending >= most).then(|| format!("the webhook has {most} deliveries waiting or more{paused}")))
}

/// Deliveries of a webhook that may wait before its job does.
fn may_wait(webhook: &Webhook) -> i64 {
    (i64::from(webhook.limits.per_second) * AHEAD).clamp(PENDING.0, PENDING.1)
}
