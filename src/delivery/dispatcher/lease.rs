//! Keeps this process's leases alive, and says when they no longer can be relied on.
//!
//! Guarantees: [`Lease::current`] is a worker that has beaten, or none; it is none before anyone else may take the
//! worker's rows (see `queue::worker`); nothing on the connection that beats is waited for longer. What a worker lost in
//! this way had in hand never becomes its own again: the next worker has another id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::database::{Database, DatabaseError};
use crate::delivery::queue::{self, LEASE, WorkerId};
use crate::supervise::{Crew, ending};

const BEAT: Duration = Duration::from_secs(1);
/// How soon a broken connection is made anew; twice as long after each failure without a worker, up to 2 s.
const FIRST_RECONNECT: Duration = Duration::from_millis(50);
/// A worker whose connection broke counts as dead this long after its last beat; others wait a second longer.
const BROKEN: Duration = Duration::from_secs(2);
/// A worker that cannot beat counts as dead this long after its last beat; others wait three seconds longer.
const SILENT: Duration = Duration::from_secs(LEASE.as_secs() - 3);

/// How long a worker may take to say good-bye.
const GOODBYE: Duration = ending::GOODBYE;

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
    /// When the last beat that got through was sent.
    beaten: Mutex<Option<Instant>>,
    stop: CancellationToken,
}

impl Lease {
    /// The worker to take leases for and to send for; `None` while there is none that others respect. Also a process that was
    /// stopped for a while, and knows nothing of it yet, has none.
    pub(super) fn current(&self) -> Option<WorkerId> {
        let beaten = self.shared.beaten();
        (*self.current.borrow()).filter(|_| beaten.is_some_and(|at| at.elapsed() < SILENT))
    }

    /// Waits for another [`Self::current`]. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether what was leased for this worker is this process's still.
    pub(super) fn holds(&self, worker: WorkerId) -> bool {
        *self.current.borrow() == Some(worker)
    }

    /// Tells the other processes that there is work; soon, and at least once.
    pub(super) fn tell_others(&self) {
        self.shared.tell.notify_one();
    }

    /// Waits until another process says that there is work. Cancel-safe.
    pub(super) async fn told(&self) {
        self.shared.told.notified().await;
    }

    /// Leaves; the leases end.
    pub(super) fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// One whose worker has just beaten; another worker may be sent after it.
    #[cfg(test)]
    pub(super) fn of(worker: WorkerId) -> (Self, watch::Sender<Option<WorkerId>>) {
        let (sender, current) = watch::channel(Some(worker));
        let shared = Arc::new(Shared {
            tell: Notify::new(),
            told: Notify::new(),
            beaten: Mutex::new(Some(Instant::now())),
            stop: CancellationToken::new(),
        });
        (Self { current, shared }, sender)
    }
}

impl Shared {
    fn beaten(&self) -> Option<Instant> {
        *self.beaten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_beaten(&self, at: Option<Instant>) {
        *self.beaten.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Starts beating.
pub(super) fn start(crew: &mut Crew, database: Database, name: String) -> Lease {
    let (sender, current) = watch::channel(None);
    let lease = Lease {
        current,
        shared: Arc::new(Shared {
            tell: Notify::new(),
            told: Notify::new(),
            beaten: Mutex::default(),
            stop: CancellationToken::new(),
        }),
    };
    let keeper = Keeper {
        database,
        name,
        lease: lease.clone(),
        sender,
    };
    crew.spawn("lease", keeper.run());
    lease
}

struct Keeper {
    database: Database,
    name: String,
    lease: Lease,
    sender: watch::Sender<Option<WorkerId>>,
}

/// However it ends: without it there is no worker that others respect.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.lease.shared.set_beaten(None);
        self.sender.send_replace(None);
    }
}

impl Keeper {
    async fn run(mut self) {
        let stop = self.lease.shared.stop.clone();
        let mut waits = Backoff::doubling(FIRST_RECONNECT, Duration::from_secs(2));
        while !stop.is_cancelled() {
            match self.session(&stop).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), "the connection that keeps leases alive broke; connecting again");
                }
            }
            self.expire(BROKEN);
            if self.current().is_some() {
                waits.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(waits.next()) => {}
                () = stop.cancelled() => {}
            }
            self.expire(BROKEN);
        }
    }

    fn current(&self) -> Option<WorkerId> {
        *self.sender.borrow()
    }

    /// Gives the worker up where its last beat is too old.
    fn expire(&self, after: Duration) {
        let beaten = self.lease.shared.beaten();
        if self.current().is_some() && beaten.is_none_or(|at| at.elapsed() >= after) {
            tracing::warn!("leases cannot be kept alive; what is in flight is cut off");
            self.lease.shared.set_beaten(None);
            self.sender.send_replace(None);
        }
    }

    /// What is left of the time for which others respect the worker, where they do so for `hold` after its last beat.
    fn left(&self, hold: Duration) -> Duration {
        match self.lease.shared.beaten() {
            Some(at) if self.current().is_some() => hold.saturating_sub(at.elapsed()),
            // There is nothing to lose.
            _ => SILENT,
        }
    }

    /// Does something on the connection that beats. It beats for nobody meanwhile, so it gets no longer than the leases hold.
    async fn in_time<T>(
        &self,
        hold: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        match tokio::time::timeout(self.left(hold), work).await {
            Ok(done) => Ok(done?),
            Err(_) => {
                self.expire(Duration::ZERO);
                Err(DatabaseError::Away("a heartbeat got no answer".to_owned()))
            }
        }
    }

    /// Beats over one connection until told to stop.
    async fn session(&mut self, stop: &CancellationToken) -> Result<(), DatabaseError> {
        let connect = async {
            let (client, notifications) = self.database.connect().await?;
            client
                .batch_execute(&format!("LISTEN {}", queue::CHANNEL))
                .await?;
            Ok::<_, DatabaseError>((client, notifications))
        };
        // Until the worker has beaten over this connection, others go by the one that is gone.
        let mut hold = BROKEN;
        let time = self.left(hold).max(Duration::from_millis(500));
        let Ok(connected) = tokio::time::timeout(time, connect).await else {
            self.expire(BROKEN);
            return Err(DatabaseError::Away("no connection in time".to_owned()));
        };
        let (client, mut notifications) = connected?;
        let notify = format!("NOTIFY {}", queue::CHANNEL);
        loop {
            self.expire(hold);
            let sent = Instant::now();
            let worker = self.current().unwrap_or_else(WorkerId::new);
            self.in_time(hold, queue::beat(&client, worker, &self.name))
                .await?;
            hold = SILENT;
            self.lease.shared.set_beaten(Some(sent));
            if self.current().is_none() {
                self.sender.send_replace(Some(worker));
            }
            let next_beat = Instant::now() + BEAT;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next_beat) => break,
                    () = self.lease.shared.tell.notified() => self.in_time(hold, client.batch_execute(&notify)).await?,
                    () = stop.cancelled() => {
                        let goodbye = async {
                            if let Some(worker) = self.current() {
                                queue::leave(&client, worker).await?;
                            }
                            // What it owned is free: others need not find out by themselves.
                            client.batch_execute(&notify).await
                        };
                        // Where nobody hears it, the leases end by themselves.
                        if let Ok(said) = tokio::time::timeout(GOODBYE, goodbye).await {
                            said?;
                        }
                        return Ok(());
                    }
                    open = notifications.ring() => match open {
                        true => self.lease.shared.told.notify_one(),
                        false => return Err(DatabaseError::Away("the server closed it".to_owned())),
                    },
                }
            }
        }
    }
}
