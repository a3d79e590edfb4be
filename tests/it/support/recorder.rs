//! Capture alone, with a consumer that records what it is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::support::wait::PATIENCE;
use openregister_webhooks::capture::{
    self, BatchTransaction, CaptureSettings, CaptureStatus, Change, Consumer,
};
use openregister_webhooks::capture::{DoorbellMode, OutboxLimits};
use openregister_webhooks::database::Database;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The consumer: what it is given counts only once its transaction is committed.
struct Recorder {
    pending: Vec<Change>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Change>>,
    /// Batches that are still to be refused, every second one.
    refuse: AtomicUsize,
    batches: AtomicUsize,
}

/// The recorder takes no batch now.
#[derive(Debug, thiserror::Error)]
#[error("the test refuses this batch")]
struct Refused;

impl Consumer for Recorder {
    type Error = Refused;

    async fn consume(&mut self, _tx: &BatchTransaction<'_>, changes: Vec<Change>) -> Result<(), Refused> {
        let batch = self.shared.batches.fetch_add(1, Ordering::Relaxed);
        let refuse = self.shared.refuse.load(Ordering::Relaxed);
        if refuse > 0 && batch % 2 == 1 {
            self.shared.refuse.store(refuse - 1, Ordering::Relaxed);
            return Err(Refused);
        }
        self.pending = changes;
        Ok(())
    }

    fn committed(&mut self) {
        lock(&self.shared.seen).append(&mut self.pending);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How capture is to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) doorbell: DoorbellMode,
    pub(crate) batch_size: u32,
    /// So many batches are refused once.
    pub(crate) refuse: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            doorbell: DoorbellMode::Notify,
            batch_size: 1000,
            refuse: 0,
        }
    }
}

/// Capture at work.
pub(crate) struct Capture {
    shared: Arc<Shared>,
    status: watch::Receiver<CaptureStatus>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Capture {
    pub(crate) fn start(url: &str, plan: Plan) -> Self {
        let database = Database::new(&url.into(), orw_egress::client_config(None).unwrap()).unwrap();
        let shared = Arc::new(Shared::default());
        shared.refuse.store(plan.refuse, Ordering::Relaxed);
        let recorder = Recorder {
            pending: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let settings = CaptureSettings {
            doorbell: plan.doorbell,
            poll_interval: Duration::from_millis(50),
            discovery_interval: Duration::from_millis(500),
            batch_size: plan.batch_size,
            table_prefix: "oc_".into(),
            outbox: OutboxLimits::default(),
        };
        let (sender, status) = watch::channel(CaptureStatus::Away("starting".to_owned()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(capture::run(
            database,
            settings,
            recorder,
            sender,
            capture::LossNotices::default(),
            stop.clone(),
        ));
        Self {
            shared,
            status,
            task,
            stop: stop.drop_guard(),
        }
    }

    /// Everything seen so far.
    pub(crate) fn seen(&self) -> Vec<Change> {
        lock(&self.shared.seen).clone()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Waits until what was seen satisfies `enough`, and gives it.
    pub(crate) async fn until(&self, enough: impl Fn(&[Change]) -> bool) -> Vec<Change> {
        let began = Instant::now();
        loop {
            let done = enough(&lock(&self.shared.seen));
            if done {
                return self.seen();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "not enough after {PATIENCE:?}: {} changes, status {:?}",
                self.count(),
                *self.status.borrow()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn status(&mut self, wanted: impl FnMut(&CaptureStatus) -> bool) -> CaptureStatus {
        let changed = tokio::time::timeout(PATIENCE, self.status.wait_for(wanted)).await;
        changed.expect("the status does not come").unwrap().clone()
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) -> Vec<Change> {
        let stop = self.stop.disarm();
        stop.cancel();
        self.task.await.unwrap();
        std::mem::take(&mut *lock(&self.shared.seen))
    }
}
