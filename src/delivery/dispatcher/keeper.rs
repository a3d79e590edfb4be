//! The task that keeps this process's worker alive, over one connection: it sends heartbeats, notifies peers, and hears their
//! notifications.
//!
//! Guarantees: nothing on this connection is waited for longer than the worker's leases hold; when the task ends, however it ends,
//! there is no worker. [`super::session`] says what that means for the leases.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::session::{BROKEN_LIMIT, SILENT_LIMIT, Shared, WorkerSession};
use crate::backoff::Backoff;
use crate::database::{Database, DatabaseError, Notifications};
use crate::delivery::queue::{self, CHANNEL, Heartbeat, WorkerId};
use crate::supervise::{Crew, ending};

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Before a broken connection is made anew. It stays at the first wait while there is still a worker to keep.
const RECONNECT: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));
/// However little is left of the leases' time, a new connection gets this long.
const MIN_CONNECT: Duration = Duration::from_millis(500);

/// Starts the keeper; the handle has no worker before the first heartbeat.
pub(super) fn start(crew: &mut Crew, database: Database, name: String) -> WorkerSession {
    let (session, shared, current) = WorkerSession::new();
    let keeper = Keeper {
        database,
        name,
        shared,
        current,
    };
    // The name is a value of a metric's label (docs/metrics.md).
    crew.spawn("lease", keeper.run());
    session
}

struct Keeper {
    database: Database,
    name: String,
    shared: Arc<Shared>,
    current: watch::Sender<Option<WorkerId>>,
}

/// However it ends: without the keeper there is no worker that others respect.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.set_last_heartbeat(None);
        self.current.send_replace(None);
    }
}

impl Keeper {
    async fn run(self) {
        let stop = self.shared.stop.clone();
        let mut waits = RECONNECT;
        while !stop.is_cancelled() {
            match self.keep(&stop).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(error = %crate::error_text::chain(&error), "the connection that keeps leases alive broke; connecting again");
                }
            }
            self.give_up_after(BROKEN_LIMIT);
            if self.worker().is_some() {
                waits.reset();
            }
            tokio::select! {
                () = sleep(waits.next()) => {}
                () = stop.cancelled() => {}
            }
            self.give_up_after(BROKEN_LIMIT);
        }
    }

    fn worker(&self) -> Option<WorkerId> {
        *self.current.borrow()
    }

    /// Gives the worker up if its last heartbeat is older than `limit`.
    fn give_up_after(&self, limit: Duration) {
        let last = self.shared.last_heartbeat();
        if self.worker().is_some() && last.is_none_or(|at| at.elapsed() >= limit) {
            tracing::warn!("leases cannot be kept alive; what is in flight is cut off");
            self.shared.set_last_heartbeat(None);
            self.current.send_replace(None);
        }
    }

    /// What is left of the time in which the worker is kept, if it is given up `limit` after its last heartbeat.
    fn left(&self, limit: Duration) -> Duration {
        match self.shared.last_heartbeat() {
            Some(at) if self.worker().is_some() => limit.saturating_sub(at.elapsed()),
            // There is nothing to lose.
            _ => SILENT_LIMIT,
        }
    }

    /// Does something on the connection. Heartbeats stop while this runs, so it is bounded by what is left of the leases.
    async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        match timeout(self.left(limit), work).await {
            Ok(done) => Ok(done?),
            Err(_) => {
                self.give_up_after(Duration::ZERO);
                Err(DatabaseError::Away("a heartbeat got no answer".to_owned()))
            }
        }
    }

    /// Sends heartbeats over one connection until `stop`, and then removes the worker.
    async fn keep(&self, stop: &CancellationToken) -> Result<(), DatabaseError> {
        // Until this connection has sent a heartbeat, others go by the one before it, which is gone.
        let mut limit = BROKEN_LIMIT;
        let (client, mut notifications) = self.connect(limit).await?;
        let mut heartbeat = Heartbeat::new();
        loop {
            self.give_up_after(limit);
            self.heartbeat(&client, &mut heartbeat, limit).await?;
            limit = SILENT_LIMIT;
            let next = Instant::now() + HEARTBEAT_INTERVAL;
            tokio::select! {
                served = self.serve_notifications(&client, &mut notifications, next) => served?,
                () = stop.cancelled() => return self.leave(&client).await,
            }
        }
    }

    async fn connect(&self, limit: Duration) -> Result<(Client, Notifications), DatabaseError> {
        let connect = async {
            let (client, notifications) = self.database.connect().await?;
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
            Ok((client, notifications))
        };
        let Ok(connected) = timeout(self.left(limit).max(MIN_CONNECT), connect).await else {
            self.give_up_after(BROKEN_LIMIT);
            return Err(DatabaseError::Away("no connection in time".to_owned()));
        };
        connected
    }

    /// Sends a heartbeat, for a new worker if there is none.
    async fn heartbeat(
        &self,
        client: &Client,
        heartbeat: &mut Heartbeat,
        limit: Duration,
    ) -> Result<(), DatabaseError> {
        let sent = Instant::now();
        let worker = self.worker().unwrap_or_else(WorkerId::new);
        self.in_time(limit, heartbeat.beat(client, worker, &self.name))
            .await?;
        self.shared.set_last_heartbeat(Some(sent));
        if self.worker().is_none() {
            self.current.send_replace(Some(worker));
        }
        Ok(())
    }

    /// Passes notifications on in both directions until the next heartbeat is due.
    async fn serve_notifications(
        &self,
        client: &Client,
        notifications: &mut Notifications,
        until: Instant,
    ) -> Result<(), DatabaseError> {
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                () = self.shared.notify_peers.notified() => {
                    self.in_time(SILENT_LIMIT, client.batch_execute(&notify())).await?;
                }
                open = notifications.ring() => match open {
                    true => self.shared.peer_notified.notify_one(),
                    false => return Err(DatabaseError::Away("the server closed it".to_owned())),
                },
            }
        }
    }

    /// Removes the worker, and notifies peers that what it owned is free. If nobody hears of it, the leases end by themselves.
    async fn leave(&self, client: &Client) -> Result<(), DatabaseError> {
        let goodbye = async {
            if let Some(worker) = self.worker() {
                queue::leave(client, worker).await?;
            }
            client.batch_execute(&notify()).await
        };
        if let Ok(said) = timeout(ending::GOODBYE, goodbye).await {
            said?;
        }
        Ok(())
    }
}

fn notify() -> String {
    format!("NOTIFY {CHANNEL}")
}
