//! This process as a worker: which worker it is now, and whether its leases can be relied on.
//!
//! Guarantees: [`WorkerSession::current`] is a worker whose last heartbeat is recent, or `None`. It is `None` before anyone else may
//! take the worker's rows (see `queue::worker`). What a worker had in hand when it was given up never belongs to this process
//! again: the next worker has another id.
//!
//! # If the database fails over or cannot be reached
//! 1. No heartbeat gets through. The worker is given up 2 s after its last heartbeat if the connection broke ([`BROKEN_LIMIT`]), or
//!    12 s after it if nothing answers ([`SILENT_LIMIT`]). The scheduler then cuts off the requests in flight and forgets what it has
//!    in hand ([`WorkerSession::changed`], `Scheduler::cut_off`).
//! 2. Other processes may take the rows 3 s or 15 s after the last heartbeat that the database has (`queue::worker`): always later
//!    than that. So a repeat begins only after the first request has ended. One exception: if the server closed the connection and this
//!    process cannot learn of it, both may send (`docs/delivery-states.md`, "Several processes").
//! 3. When a database answers again, the keeper sends heartbeats for a new worker ([`super::keeper`]). The scheduler compares the
//!    stored leases with what it has in hand, and gives back those of dead workers (`scheduler::reconcile`, `queue::reconcile`).
//! 4. An outcome that comes late counts only if its fence is still the row's; if not, the delivery is repeated.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::delivery::queue::{LEASE, WorkerId};

/// A worker whose connection broke is given up this long after its last heartbeat; others wait a second longer.
pub(super) const BROKEN_LIMIT: Duration = Duration::from_secs(2);
/// A worker that gets no answer is given up this long after its last heartbeat; others wait three seconds longer.
pub(super) const SILENT_LIMIT: Duration = Duration::from_secs(LEASE.as_secs() - 3);

/// A handle to the worker; cheap to clone.
#[derive(Clone)]
pub(super) struct WorkerSession {
    current: watch::Receiver<Option<WorkerId>>,
    shared: Arc<Shared>,
}

/// What the handles and the keeper share.
pub(super) struct Shared {
    /// Peers are to be notified.
    pub(super) notify_peers: Notify,
    /// A peer has notified us.
    pub(super) peer_notified: Notify,
    /// When the last heartbeat was sent that got through.
    last_heartbeat: Mutex<Option<Instant>>,
    pub(super) stop: CancellationToken,
}

impl WorkerSession {
    /// A session without a worker yet, what its keeper shares with it, and where the keeper says who the worker is.
    pub(super) fn new() -> (Self, Arc<Shared>, watch::Sender<Option<WorkerId>>) {
        let (sender, current) = watch::channel(None);
        let shared = Arc::new(Shared {
            notify_peers: Notify::new(),
            peer_notified: Notify::new(),
            last_heartbeat: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let session = Self {
            current,
            shared: Arc::clone(&shared),
        };
        (session, shared, sender)
    }

    /// The worker to take leases for and to send for; `None` while others need not respect any. A process that was stopped for a
    /// while has none either, even before it notices.
    pub(super) fn current(&self) -> Option<WorkerId> {
        let last = self.shared.last_heartbeat();
        (*self.current.borrow()).filter(|_| last.is_some_and(|at| at.elapsed() < SILENT_LIMIT))
    }

    /// Waits for another [`Self::current`]. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether what was leased for this worker still belongs to this process.
    pub(super) fn holds(&self, worker: WorkerId) -> bool {
        *self.current.borrow() == Some(worker)
    }

    /// Notifies the other processes that there is work; soon, and at least once.
    pub(super) fn notify_peers(&self) {
        self.shared.notify_peers.notify_one();
    }

    /// Waits until another process says that there is work. Cancel-safe.
    pub(super) async fn peer_notified(&self) {
        self.shared.peer_notified.notified().await;
    }

    /// Removes the worker; its leases end.
    pub(super) fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// A session whose worker has just sent a heartbeat; another worker may be sent after it.
    #[cfg(test)]
    pub(super) fn of(worker: WorkerId) -> (Self, watch::Sender<Option<WorkerId>>) {
        let (session, shared, sender) = Self::new();
        shared.set_last_heartbeat(Some(Instant::now()));
        sender.send_replace(Some(worker));
        (session, sender)
    }
}

impl Shared {
    pub(super) fn last_heartbeat(&self) -> Option<Instant> {
        *self.last_heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_last_heartbeat(&self, at: Option<Instant>) {
        *self.last_heartbeat.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}
