//! Keeps this process's leases alive, and says when they no longer can be relied on.
//!
//! Guarantees: [`Lease::current`] is a worker that has beaten, or none; it is none before anyone else may take the
//! worker's rows (see `queue::worker`). After a doubt a new worker is made, so that rows whose lease this process does not
//! know of (the answer to a claim was lost) become free when the old worker stops beating.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Database, DbError};
use crate::delivery::queue::{self, LEASE, WorkerId};

const BEAT: Duration = Duration::from_secs(1);
/// A worker whose connection broke counts as dead this long after its last beat; others wait a second longer.
const BROKEN: Duration = Duration::from_secs(2);
/// A worker that cannot beat counts as dead this long after its last beat; others wait three seconds longer.
const SILENT: Duration = Duration::from_secs(LEASE.as_secs() - 3);

/// A handle to the worker; cheap to clone.
#[derive(Clone)]
pub(super) struct Lease {
    current: watch::Receiver<Option<WorkerId>>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Others are to be told, and: others told us.
    tell: Notify,
    told: Notify,
    /// Workers before the current one that still have rows in this process's hands.
    older: Mutex<Vec<WorkerId>>,
    renew: Notify,
    stop: CancellationToken,
}

impl Lease {
    /// The worker to take leases for; `None` while there is none that others respect.
    pub(super) fn current(&self) -> Option<WorkerId> {
        *self.current.borrow()
    }

    /// Waits for another [`Self::current`]. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// This process's workers before the current one.
    pub(super) fn former(&self) -> Vec<WorkerId> {
        self.older().clone()
    }

    /// Tells the other processes that there is work; soon, and at least once.
    pub(super) fn tell_others(&self) {
        self.shared.tell.notify_one();
    }

    /// Waits until another process says that there is work. Cancel-safe.
    pub(super) async fn told(&self) {
        self.shared.told.notified().await;
    }

    /// The answer to a claim was lost: go on as another worker.
    pub(super) fn renew(&self) {
        self.shared.renew.notify_one();
    }

    /// The worker has no row in hand any more.
    pub(super) fn done(&self, worker: WorkerId) {
        self.older().retain(|w| *w != worker);
    }

    /// Leaves; the leases end.
    pub(super) fn stop(&self) {
        self.shared.stop.cancel();
    }

    fn older(&self) -> std::sync::MutexGuard<'_, Vec<WorkerId>> {
        self.shared.older.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts beating.
pub(super) fn start(database: Database, name: String) -> (Lease, JoinHandle<()>) {
    let (sender, current) = watch::channel(None);
    let lease = Lease {
        current,
        shared: Arc::new(Shared {
            tell: Notify::new(),
            told: Notify::new(),
            older: Mutex::new(vec![]),
            renew: Notify::new(),
            stop: CancellationToken::new(),
        }),
    };
    let keeper = Keeper {
        database,
        name,
        lease: lease.clone(),
        sender,
        beaten: None,
    };
    (lease, tokio::spawn(keeper.run()))
}

struct Keeper {
    database: Database,
    name: String,
    lease: Lease,
    sender: watch::Sender<Option<WorkerId>>,
    /// When the last beat that got through was sent.
    beaten: Option<Instant>,
}

impl Keeper {
    async fn run(mut self) {
        let stop = self.lease.shared.stop.clone();
        let mut wait = Duration::from_millis(50);
        while !stop.is_cancelled() {
            match self.session(&stop).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(error = %crate::text::chain(&error), "the connection that keeps leases alive broke; connecting again");
                }
            }
            self.expire(BROKEN);
            if self.current().is_none() {
                wait = (wait * 2).min(Duration::from_secs(2));
            } else {
                wait = Duration::from_millis(50);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
            self.expire(BROKEN);
        }
        self.sender.send_replace(None);
    }

    fn current(&self) -> Option<WorkerId> {
        *self.sender.borrow()
    }

    /// Gives the worker up where its last beat is too old.
    fn expire(&mut self, after: Duration) {
        if self.current().is_some() && self.beaten.is_none_or(|at| at.elapsed() >= after) {
            tracing::warn!("leases cannot be kept alive; what is in flight is cut off");
            self.lease.older().clear();
            self.sender.send_replace(None);
        }
    }

    /// Beats over one connection until told to stop.
    async fn session(&mut self, stop: &CancellationToken) -> Result<(), DbError> {
        let left = |this: &Self| {
            let after = if this.current().is_some() { BROKEN } else { LEASE };
            this.beaten.map_or(LEASE, |at| after.saturating_sub(at.elapsed()))
        };
        let connect = tokio::time::timeout(
            left(self).max(Duration::from_millis(500)),
            self.database.connect(),
        );
        let Ok(connected) = connect.await else {
            self.expire(BROKEN);
            return Err(DbError::Away("no connection in time".to_owned()));
        };
        let (client, mut notifications) = connected?;
        client
            .batch_execute(&format!("LISTEN {}", queue::CHANNEL))
            .await?;
        let notify = format!("NOTIFY {}", queue::CHANNEL);
        loop {
            let sent = Instant::now();
            let worker = self.current().unwrap_or_else(WorkerId::new);
            let mut beating = self.lease.older().clone();
            beating.push(worker);
            for id in beating {
                let silence = self
                    .beaten
                    .map_or(SILENT, |at| SILENT.saturating_sub(at.elapsed()));
                match tokio::time::timeout(silence, queue::beat(&client, id, &self.name)).await {
                    Ok(done) => done?,
                    Err(_) => {
                        self.expire(Duration::ZERO);
                        return Err(DbError::Away("a heartbeat got no answer".to_owned()));
                    }
                }
            }
            self.beaten = Some(sent);
            if self.current().is_none() {
                self.sender.send_replace(Some(worker));
            }
            let next_beat = Instant::now() + BEAT;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next_beat) => break,
                    () = self.lease.shared.renew.notified() => {
                        let next = WorkerId::new();
                        queue::beat(&client, next, &self.name).await?;
                        self.lease.older().extend(self.current());
                        self.sender.send_replace(Some(next));
                        break;
                    }
                    () = self.lease.shared.tell.notified() => client.batch_execute(&notify).await?,
                    () = stop.cancelled() => {
                        for worker in self.current().into_iter().chain(self.lease.former()) {
                            queue::leave(&client, worker).await?;
                        }
                        // What it owned is free: others need not find out by themselves.
                        client.batch_execute(&notify).await?;
                        return Ok(());
                    }
                    open = notifications.ring() => match open {
                        true => self.lease.shared.told.notify_one(),
                        false => return Err(DbError::Away("the server closed it".to_owned())),
                    },
                }
            }
        }
    }
}
