//! One term: the wait for the leadership, and what is done with it. The reading loop is in `reading`.
//!
//! Guarantees: one process reads at a time (a session-level advisory lock on the connection that writes; behind a transaction
//! pooler a lock for each transaction); another process takes over within seconds after it dies.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::bisection::BatchBisection;
use super::consumer::{Consumer, ReadError};
use super::doorbell::Doorbell;
use super::loss_notices::LossNotices;
use super::position::{self, Identity};
use super::reader::Reader;
use super::settings::{CaptureSettings, DoorbellMode};
use super::status::CaptureStatus;
use super::{discovery, install, locks, losses, outbox, unread};
use crate::database::{Database, DatabaseError, Session};

/// The longest time that a sleeping reader goes without looking at the outbox.
pub const SAFETY_POLL: Duration = Duration::from_secs(5);
/// How often a standby tries to become the leader.
const STANDBY_POLL: Duration = Duration::from_millis(500);
/// How often a held leader looks whether somebody ran `adopt`.
const HELD_POLL: Duration = Duration::from_secs(1);
/// No statement of the leader takes longer unless something is wrong.
pub(super) const STUCK: Duration = Duration::from_secs(120);

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
        "the schema openregister_webhooks is not in this database, or is of an older version: run `openregister-webhooks install`"
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

/// The result of comparing the stored position with the database.
#[derive(Debug, PartialEq, Eq)]
enum Cluster {
    /// The position belongs to this database; there is none at the first start.
    Same(Option<position::Position>, Identity),
    /// The process ends before anybody decided what to do about another one.
    Shutdown,
}

/// The time that one connection spends as leader, or waiting to become it.
pub(super) struct Term<'a> {
    pub(super) database: &'a Database,
    pub(super) settings: &'a CaptureSettings,
    pub(super) status: &'a watch::Sender<CaptureStatus>,
    pub(super) notices: &'a LossNotices,
    pub(super) shutdown: &'a CancellationToken,
}

impl Term<'_> {
    /// Waits for the leadership and leads, until `shutdown`. An error ends the term.
    pub(super) async fn serve<C: Consumer>(
        &self,
        consumer: &mut C,
        bisection: &mut BatchBisection,
        bell: &mut Doorbell,
    ) -> Result<(), Stop<C::Error>> {
        let (client, _notifications) = self.database.connect().await?;
        let direct = self.settings.doorbell == DoorbellMode::Notify;
        if direct {
            limit_session(&client).await?;
        }
        if !install::is_current(&client).await? {
            return Err(Stop::NotInstalled);
        }
        // A standby delivers, too, so it must also recognise a restored copy.
        if self.same_cluster(&client).await? == Cluster::Shutdown {
            return Ok(());
        }
        if let Some((what, remedy)) = install::foreign_objects(&client, &self.settings.table_prefix).await? {
            tracing::error!(%remedy, "{what}; what is in it runs with this program's rights");
        }
        if direct && !self.become_leader(&client, bell).await? {
            return Ok(());
        }
        let Cluster::Same(stored, identity) = self.same_cluster(&client).await? else {
            return Ok(());
        };
        outbox::set_limit(&client, &self.settings.outbox).await?;
        if direct {
            client.batch_execute(unread::SESSION).await?;
        }
        let mut session = Session::new(client, direct);
        let mut reader = Reader::new(
            stored,
            identity,
            self.settings.batch_size,
            self.settings.table_prefix.clone(),
            !direct,
        );
        consumer.interrupted();
        tracing::info!(position = reader.position().n, "leading: reading the outbox");
        self.set(CaptureStatus::Leading);
        let end = self.shutdown.child_token();
        let interval = self.settings.discovery_interval;
        let discovering = discovery::run(self.database.clone(), interval, end.clone());
        let reading = async {
            let ended = self
                .read(&mut session, &mut reader, consumer, bisection, bell)
                .await;
            // Discovery ends at its next wait; each of its statements has a timeout.
            end.cancel();
            ended
        };
        // In one task, so that neither runs without the other.
        tokio::join!(reading, discovering).0
    }

    /// Tries to take the leader's lock until it has it; `false` at shutdown. Only without a transaction pooler.
    async fn become_leader<E: std::error::Error + 'static>(
        &self,
        client: &Client,
        bell: &mut Doorbell,
    ) -> Result<bool, Stop<E>> {
        // Keeps functions and operators of other roles out; everything of ours is named with its schema.
        client
            .batch_execute("SET search_path = pg_catalog, pg_temp")
            .await?;
        let mut named = None;
        loop {
            let got = client
                .query_typed("SELECT pg_try_advisory_lock($1)", &[(&locks::LEADER, Type::INT8)])
                .await?;
            if got.first().is_some_and(|r| r.get::<_, bool>(0)) {
                return Ok(true);
            }
            self.set(CaptureStatus::Standby);
            bell.close();
            losses::store_notices(client, self.notices).await?;
            let holders = locks::holders(client, locks::LEADER).await?;
            let stranger = holders.into_iter().find(|holder| !holder.ours);
            if let Some(stranger) = &stranger
                && named.as_ref() != Some(stranger)
            {
                tracing::error!(pid = stranger.pid, role = %stranger.role, "{stranger} holds the leader's lock and is no sidecar: nothing is read while it does; end that session (as a superuser: SELECT pg_terminate_backend({}))", stranger.pid);
            }
            named = stranger;
            if self.pause(STANDBY_POLL).await {
                return Ok(false);
            }
        }
    }

    /// Compares the stored position with the database, and waits as long as the position belongs to another cluster.
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

    pub(super) fn set(&self, status: CaptureStatus) {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }

    /// Waits; returns true at shutdown.
    pub(super) async fn pause(&self, time: Duration) -> bool {
        tokio::select! { () = sleep(time) => false, () = self.shutdown.cancelled() => true }
    }
}

/// Limits what the leader's session may wait for.
///
/// Whoever drops our schema locks our tables one after another, in another order than a batch: after its `deadlock_timeout` (1 s)
/// PostgreSQL would cancel one of the two. The short `lock_timeout` makes it us who give way, long before that. If this process
/// vanishes without closing the connection, the server ends the session after 20 s, and with it its locks.
async fn limit_session(client: &Client) -> Result<(), tokio_postgres::Error> {
    client
        .batch_execute(
            "SET statement_timeout = '60s'; SET lock_timeout = '200ms'; SET idle_in_transaction_session_timeout = '60s'; \
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2",
        )
        .await
}
