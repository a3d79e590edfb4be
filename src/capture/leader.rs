//! One term: the wait for the leadership, and the reading loop.
//!
//! Guarantees: one process reads at a time (session advisory lock on the very connection that writes; behind a transaction
//! pooler a lock per transaction); another takes over within seconds of its death; while nothing is written the loop
//! sleeps, and a commit wakes it. Without the doorbell (the LISTEN connection is away) the loop polls; with it, a slow
//! poll every [`SAFETY_POLL`] bounds the delay should a ring ever be lost.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::bisection::BatchBisection;
use super::loss_notices::LossNotices;
use super::position::{self, Identity};
use super::reader::{Consumer, Progress, ReadError, Reader};
use super::run::{CaptureStatus, SAFETY_POLL};
use super::settings::{CaptureSettings, DoorbellMode};
use super::{discovery, doorbell, gaps, install, locks, losses, outbox, rotation};

use crate::database::{Database, DatabaseError};

/// How often a standby asks for the leadership.
const STANDBY_POLL: Duration = Duration::from_millis(500);
/// How often a held leader looks whether somebody adopted.
const HELD_POLL: Duration = Duration::from_secs(1);
/// Between two looks at the sizes of the change tables.
const ROTATION_CHECK: Duration = Duration::from_secs(1);
/// The oldest that a read change gets before its table is emptied, whatever its size.
const ROTATION_ALWAYS: Duration = Duration::from_secs(60);
/// Between two looks at what notifications say was missed: every role of the database can send them.
const NOTE: Duration = Duration::from_secs(10);
/// Between two tries of a batch that cannot be worked on now, at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// No statement of the leader takes longer unless something is wrong.
const STUCK: Duration = Duration::from_secs(120);

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop<E: std::error::Error + 'static> {
    #[error(transparent)]
    Connect(#[from] DatabaseError),
    #[error(transparent)]
    Read(#[from] ReadError<E>),
    #[error("the database did not answer within {} s", STUCK.as_secs())]
    Stuck,
    #[error(
        "the schema openregister_webhooks is not in this database, or of an older version: run `openregister-webhooks install`"
    )]
    NotInstalled,
}

impl<E: std::error::Error + 'static> From<tokio_postgres::Error> for Stop<E> {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Read(ReadError::Query(error))
    }
}

impl<E: std::error::Error + 'static> From<position::LoadError> for Stop<E> {
    fn from(error: position::LoadError) -> Self {
        Self::Read(ReadError::Position(error))
    }
}

/// What became of the question whose the stored position is.
#[derive(Debug, PartialEq, Eq)]
enum Cluster {
    /// This cluster's, and where it stands.
    Same(Option<position::Position>, Identity),
    /// The process ends before anybody decided.
    Shutdown,
}

/// One connection's time as (candidate for) leader.
pub(super) struct Term<'a> {
    pub(super) database: &'a Database,
    pub(super) settings: &'a CaptureSettings,
    pub(super) status: &'a watch::Sender<CaptureStatus>,
    pub(super) notices: &'a LossNotices,
    pub(super) shutdown: &'a CancellationToken,
}

impl Term<'_> {
    /// Waits for the leadership and leads, until `shutdown`; an error ends the term.
    pub(super) async fn serve<C: Consumer>(
        &self,
        consumer: &mut C,
        bisection: &mut BatchBisection,
        bell: &mut doorbell::Doorbell,
    ) -> Result<(), Stop<C::Error>> {
        let (mut client, _notifications) = self.database.connect().await?;
        let direct = self.settings.doorbell == DoorbellMode::Notify;
        if direct {
            // Whoever drops our schema takes our tables one after another, as a batch does in another order: PostgreSQL would
            // cancel one of the two after its deadlock_timeout (1 s). Long before that it is us who give way.
            // Should this process vanish without a word, the server ends its session, and with it its locks, in 20 s.
            client
                .batch_execute(
                    "SET statement_timeout = '60s'; SET lock_timeout = '200ms'; SET idle_in_transaction_session_timeout = '60s'; \
                     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2",
                )
                .await?;
        }
        if !install::is_current(&client).await? {
            return Err(Stop::NotInstalled);
        }
        // Also a standby delivers: it must know a restored copy for what it is.
        if self.same_cluster(&client).await? == Cluster::Shutdown {
            return Ok(());
        }
        if let Some((what, remedy)) = install::foreign_objects(&client, &self.settings.table_prefix).await? {
            tracing::error!(%remedy, "{what}; what is in it runs with this program's rights");
        }
        if direct {
            // No role's own functions and operators are to be picked up; everything of ours is named with its schema.
            client
                .batch_execute("SET search_path = pg_catalog, pg_temp")
                .await?;
            let mut named = None;
            loop {
                let got = client
                    .query_typed("SELECT pg_try_advisory_lock($1)", &[(&locks::LEADER, Type::INT8)])
                    .await?;
                if got.first().is_some_and(|r| r.get::<_, bool>(0)) {
                    break;
                }
                self.set(CaptureStatus::Standby);
                bell.close();
                losses::note(&client, self.notices).await?;
                let holders = locks::holders(&client, locks::LEADER).await?;
                let stranger = holders.into_iter().find(|holder| !holder.ours);
                if let Some(stranger) = &stranger
                    && named.as_ref() != Some(stranger)
                {
                    tracing::error!(pid = stranger.pid, role = %stranger.role, "{stranger} holds the leader's lock and is no sidecar: nothing is read while it does; end that session (as a superuser: SELECT pg_terminate_backend({}))", stranger.pid);
                }
                named = stranger;
                if self.pause(STANDBY_POLL).await {
                    return Ok(());
                }
            }
        }
        let Cluster::Same(stored, identity) = self.same_cluster(&client).await? else {
            return Ok(());
        };
        outbox::set_limit(&client, &self.settings.outbox).await?;
        let mut reader = Reader::new(
            stored,
            identity,
            self.settings.batch_size,
            self.settings.table_prefix.clone(),
            !direct,
        );
        tracing::info!(position = reader.position().n, "leading: reading the outbox");
        self.set(CaptureStatus::Leading);
        let end = self.shutdown.child_token();
        let interval = self.settings.discovery_interval;
        let discovering = discovery::run(self.database.clone(), interval, end.clone());
        let reading = async {
            let ended = self
                .read(&mut client, &mut reader, consumer, bisection, bell)
                .await;
            // Discovery ends at its next wait; every statement of it has a timeout.
            end.cancel();
            ended
        };
        // In one task: neither goes on without the other.
        tokio::join!(reading, discovering).0
    }

    /// Waits while the stored position belongs to another cluster.
    async fn same_cluster<E: std::error::Error + 'static>(
        &self,
        client: &Client,
    ) -> Result<Cluster, Stop<E>> {
        let mut said = false;
        loop {
            let (current, xmax) = position::current_identity(client).await?;
            let stored = position::load(client).await?;
            let foreign = stored
                .as_ref()
                .filter(|(position, identity)| position.is_foreign(*identity, current, xmax))
                .map(|(_, identity)| *identity);
            let Some(stored_identity) = foreign else {
                return Ok(Cluster::Same(stored.map(|(position, _)| position), current));
            };
            if !said {
                tracing::error!(
                    "this database was restored from another cluster: changes are captured, but nothing is delivered until \
                     `openregister-webhooks adopt --deliver` (or `--discard`)"
                );
                said = true;
            }
            self.set(CaptureStatus::Held {
                stored: stored_identity,
                current,
            });
            if self.pause(HELD_POLL).await {
                return Ok(Cluster::Shutdown);
            }
        }
    }

    async fn read<C: Consumer>(
        &self,
        client: &mut Client,
        reader: &mut Reader,
        consumer: &mut C,
        bisection: &mut BatchBisection,
        bell: &mut doorbell::Doorbell,
    ) -> Result<(), Stop<C::Error>> {
        let mut checked = Instant::now();
        let mut emptied = Instant::now();
        let mut noted: Option<Instant> = None;
        let mut idle = Duration::from_millis(1);
        while !self.shutdown.is_cancelled() {
            let progress = self.one(client, reader, consumer, bisection).await?;
            if checked.elapsed() >= ROTATION_CHECK {
                checked = Instant::now();
                let always = emptied.elapsed() >= ROTATION_ALWAYS;
                if always {
                    emptied = Instant::now();
                }
                let rotated = rotation::rotate(client, reader.position(), always);
                timeout(STUCK, rotated).await.map_err(|_| Stop::Stuck)??;
                losses::gather(client).await?;
                losses::close(client).await?;
                if noted.is_none_or(|at| at.elapsed() >= NOTE) {
                    let stored = losses::note(client, self.notices).await?;
                    noted = stored.then(Instant::now).or(noted);
                }
                self.tell(client, consumer).await?;
            }
            if progress != Progress::Empty {
                idle = Duration::from_millis(1);
                continue;
            }
            if self.settings.doorbell == DoorbellMode::Poll {
                idle = (idle * 2).min(self.settings.poll_interval);
                self.pause(idle).await;
                continue;
            }
            if !bell.ready().await {
                idle = (idle * 2).min(Duration::from_millis(100));
                self.pause(idle).await;
                continue;
            }
            if !bell.close_gate(client).await? {
                // A writer that found the reader awake is still at work: its commit will not ring.
                idle = (idle * 2).min(Duration::from_millis(20));
                self.pause(idle).await;
                continue;
            }
            // Whoever committed before the gate closed is visible now; whoever comes later rings.
            if self.one(client, reader, consumer, bisection).await? == Progress::Empty {
                tokio::select! {
                    () = bell.ring() => {}
                    () = sleep(SAFETY_POLL) => bell.check().await,
                    () = self.shutdown.cancelled() => {}
                }
            }
            bell.open_gate(client).await?;
            idle = Duration::from_millis(1);
        }
        Ok(())
    }

    /// Tells of gaps; what cannot be told now is told later, and keeps nothing from being read.
    async fn tell<C: Consumer>(&self, client: &mut Client, consumer: &mut C) -> Result<(), Stop<C::Error>> {
        let told = gaps::tell(client, consumer, &self.settings.table_prefix);
        if let Err(error) = timeout(STUCK, told).await.map_err(|_| Stop::Stuck)? {
            if client.is_closed() {
                return Err(error.into());
            }
            tracing::warn!(error = %crate::error_text::chain(&error), "consumers cannot be told of a gap now; it is tried again");
        }
        Ok(())
    }

    async fn one<C: Consumer>(
        &self,
        client: &mut Client,
        reader: &mut Reader,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Progress, Stop<C::Error>> {
        let mut pause = FIRST_RETRY;
        loop {
            let read = timeout(STUCK, reader.read(client, consumer, bisection)).await;
            let error = match read {
                Ok(Err(error @ (ReadError::Consumer(_) | ReadError::Panic(_)))) => error,
                Ok(Ok(progress)) => {
                    self.set(CaptureStatus::Leading);
                    return Ok(progress);
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    bisection.stuck();
                    return Err(Stop::Stuck);
                }
            };
            // A new connection would not help as long as this one is well.
            if client.is_closed() || self.shutdown.is_cancelled() {
                return Err(error.into());
            }
            let reason = crate::error_text::chain(&error);
            tracing::warn!(error = %reason, "a batch cannot be worked on now and is tried again");
            self.set(CaptureStatus::Away(reason));
            self.pause(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    fn set(&self, status: CaptureStatus) {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }

    /// Waits; true at shutdown.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! { () = sleep(time) => false, () = self.shutdown.cancelled() => true }
    }
}
