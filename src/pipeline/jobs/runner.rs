//! Makes the steps of jobs, one step of each job in turn.
//!
//! Guarantees: a job makes no step while its webhook has as many pending deliveries as it may send in [`AHEAD`] seconds, so that its
//! live events wait for little more than that; a job whose webhook was deleted is cancelled, a job whose webhook is disabled waits;
//! a step that fails or panics is tried again, and the job says why it waits.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use futures::FutureExt as _;
use tokio::sync::Mutex;
use tokio_postgres::{GenericClient, Transaction};
use tokio_util::sync::CancellationToken;

use super::job::{Job, JobKind, JobState};
use super::step::{StepContext, StepError};
use super::step_size::StepSize;
use super::{backfill, replay, retry, store};
use crate::backoff::Backoff;
use crate::delivery::{Wake, queue};
use crate::lifecycle::HostConnection;
use crate::pipeline::metrics::Metrics;
use crate::registry::{Registry, Status, Webhook, WebhookId};

/// How many seconds of deliveries a job puts into the queue ahead of time.
const AHEAD: i64 = 2;
/// The least and the most pending deliveries at which a job waits, however slow or fast its webhook is.
const PENDING: (i64, i64) = (100, 5000);
/// The wait before the next round if there is no job: how late a new job is seen.
const IDLE: Duration = Duration::from_millis(500);
/// The wait before the next round if every job waits.
const WAITING: Duration = Duration::from_millis(100);
/// The waits after a round that failed: the first and the longest. The first is also that of a single job.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The longest wait after a failed step of one job, which may have held the lock of the queue until it failed.
const STEP_AGAIN: Duration = Duration::from_secs(5);
/// Settings of a step's transaction; each of its statements has an index.
const SETUP: &str = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'";

/// The settings of jobs.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// `ORW_TABLE_PREFIX`.
    pub table_prefix: Arc<str>,
    /// How long a delivery waits at most for the row that names the user.
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

/// A job whose last step failed.
#[derive(Debug)]
struct Failing {
    until: Instant,
    retry: Backoff,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was made; the next step may follow.
    Made,
    /// There is a reason to wait.
    Waits,
    /// Another process makes it, or the job has ended.
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
        let mut again = Backoff::doubling(AGAIN.0, AGAIN.1);
        let mut failing = HashMap::new();
        while !stop.is_cancelled() {
            let pause = match self.round(&mut failing, &stop).await {
                Ok(pause) => {
                    again.reset();
                    pause
                }
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), "replays, backfills and bulk retries cannot go on; tried again");
                    again.next()
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
        let jobs = store::active(&self.pool.get().await?).await?;
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
            // A panic in one job must not end the others or the process.
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
                    let failed = failing.entry(job).or_insert_with(|| Failing {
                        until: Instant::now(),
                        retry: Backoff::doubling(AGAIN.0, STEP_AGAIN),
                    });
                    failed.until = Instant::now() + failed.retry.next();
                    self.step_size.failed();
                    let reason = crate::error_text::chain(&error);
                    tracing::warn!(job, error = %reason, "a step of a job failed; it is tried again");
                    let client = self.pool.get().await?;
                    let waiting = format!("the last step failed and is tried again: {reason}");
                    store::set_waiting(&**client, job, &waiting).await?;
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
        let Some(mut job) = store::lock_for_step(&*tx, id).await? else {
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

    /// Makes the step. Returns since when it holds the lock of the queue if the size of the next step depends on that.
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
            rows: self.step_size.rows().min(pending_limit(webhook)),
        };
        match job.kind {
            JobKind::Replay => replay::step(&context, tx, webhook, job).await.map(|()| None),
            JobKind::Backfill => backfill::step(&context, tx, webhook, job).await,
            JobKind::Retry => retry::step(&context, tx, webhook, job).await,
        }
    }
}

/// Why a job of this webhook must make no step now.
async fn reason_to_wait<C: GenericClient + Sync>(
    tx: &C,
    webhook: &Webhook,
) -> Result<Option<String>, tokio_postgres::Error> {
    if matches!(webhook.status, Status::Disabled { .. }) {
        return Ok(Some("the webhook is disabled".to_owned()));
    }
    let most = pending_limit(webhook);
    let pending = queue::count(tx, Some(webhook.id), most).await?;
    let paused = if webhook.status == Status::Paused {
        ", and it is paused"
    } else {
        ""
    };
    Ok((pending >= most).then(|| format!("the webhook has {most} deliveries waiting or more{paused}")))
}

/// With so many pending deliveries of a webhook, its job waits.
fn pending_limit(webhook: &Webhook) -> i64 {
    (i64::from(webhook.limits.per_second) * AHEAD).clamp(PENDING.0, PENDING.1)
}
