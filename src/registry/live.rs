//! The registrations as every part holds them: read from memory, changed in the database.

use std::sync::atomic::{AtomicBool, Ordering as Atomically};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::Utc;
use deadpool_postgres::Pool;
use secrecy::SecretString;
use tokio_postgres::{GenericClient, Row, Transaction};
use tokio_util::sync::CancellationToken;

use super::defaults::Defaults;
use super::error::RegistryError;
use super::handshake::Handshake;
use super::reading::{Readings, STAMP, Stamp, replaces};
use super::snapshot::Snapshot;
use super::vault::Vault;
use super::webhook::WebhookId;
use super::{sealing, store};

/// How often a process looks whether another one changed something.
const POLL: Duration = Duration::from_millis(500);

/// What is stored now, by its stamp.
static STORED: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {STAMP} FROM openregister_webhooks.registry r"));

/// How often it is looked whether one lives.
const LOOK_FOR_OLDER: Duration = Duration::from_secs(5);

/// The registrations: read from memory, changed in the database.
#[derive(Debug)]
pub struct Registry {
    pub(super) pool: Pool,
    pub(super) vault: Vault,
    pub(super) defaults: Defaults,
    readings: Readings,
    snapshot: ArcSwap<Snapshot>,
    /// The secrets are known to be bound to origins.
    bound: AtomicBool,
}

impl Registry {
    /// Checks the key against what is stored and loads the registrations.
    ///
    /// # Errors
    /// [`VaultError`](super::VaultError) where the key is missing, none, or another than the stored secrets need; [`RegistryError::Database`].
    pub async fn open(
        pool: Pool,
        master_key: Option<&SecretString>,
        defaults: Defaults,
    ) -> Result<Arc<Self>, RegistryError> {
        let vault = Vault::new(master_key)?;
        let mut client = pool.get().await?;
        sealing::check_key(&mut client, &vault).await?;
        let bound = sealing::bind_to_origins(&mut client, &vault, Duration::ZERO).await?;
        let readings = Readings::default();
        let snapshot = store::load(&**client, &vault, &defaults, now(), None, &readings).await?;
        report_unreadable(&snapshot);
        drop(client);
        Ok(Arc::new(Self {
            pool,
            vault,
            defaults,
            readings,
            snapshot: ArcSwap::from_pointee(snapshot),
            bound: AtomicBool::new(bound),
        }))
    }

    /// The registrations as last seen: at most half a second old where another process changed them.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The registrations as they are now.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>, RegistryError> {
        let client = self.pool.get().await?;
        // Every process asks twice a second, so it is planned once in each connection.
        let stored = client.prepare_cached(&STORED).await?;
        let row = client.query_one(&stored, &[]).await?;
        self.refresh_from(&**client, &row).await
    }

    /// The registrations as of now, read in a transaction, which must be READ COMMITTED: what it sees committed, it sees
    /// registered.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn refresh_in(&self, tx: &Transaction<'_>) -> Result<Arc<Snapshot>, RegistryError> {
        self.refresh_with(tx).await
    }

    /// The registrations in memory, if they are those of this row, in which [`STAMP`] was selected; else they are to be read again
    /// ([`Self::refresh_with`]).
    #[must_use]
    pub(crate) fn if_current(&self, row: &Row) -> Option<Arc<Snapshot>> {
        let seen = self.snapshot();
        let current = *seen.stamp() == Stamp::of(row) && seen.next_expiry().is_none_or(|end| end > now());
        current.then_some(seen)
    }

    /// The registrations as of now, read by this connection, which must be in a transaction that is READ COMMITTED, or in none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn refresh_with<C: GenericClient>(
        &self,
        client: &C,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let row = client.query_one(STORED.as_str(), &[]).await?;
        self.refresh_from(client, &row).await
    }

    /// The registrations as of now; the stamp in `row` was read by this connection just before.
    async fn refresh_from<C: GenericClient>(
        &self,
        client: &C,
        row: &Row,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        if let Some(current) = self.if_current(row) {
            return Ok(current);
        }
        let (seen, stored) = (self.snapshot(), Stamp::of(row));
        // What another history had registered is no stand-in for what cannot be read.
        let before = seen.stamp().is_akin(&stored).then_some(&*seen);
        let load = store::load(client, &self.vault, &self.defaults, now(), before, &self.readings);
        let fresh = Arc::new(load.await?);
        report_unreadable(&fresh);
        if !fresh.stamp().is_akin(seen.stamp()) {
            self.bound.store(false, Atomically::Relaxed);
            tracing::warn!(
                revision = fresh.revision(),
                before = seen.revision(),
                "the registrations are those of another database, or were restored: as they are there now they are in force"
            );
        }
        // Another task may have put there meanwhile what was read later.
        self.snapshot.rcu(|current| {
            if replaces(fresh.read_at(), current.read_at()) {
                Arc::clone(&fresh)
            } else {
                Arc::clone(current)
            }
        });
        Ok(fresh)
    }

    /// Puts what is stored of a handshake into the registrations in memory, if they are of the same revision.
    pub(crate) fn show_handshake(&self, id: WebhookId, revision: i64, made: &Handshake) {
        self.snapshot
            .rcu(|current| match current.with_handshake(id, revision, made) {
                Some(newer) => Arc::new(newer),
                None => Arc::clone(current),
            });
    }

    async fn bind(&self, waited: Duration) -> Result<(), RegistryError> {
        let mut client = self.pool.get().await?;
        if sealing::bind_to_origins(&mut client, &self.vault, waited).await? {
            self.bound.store(true, Atomically::Relaxed);
        }
        Ok(())
    }

    /// Looks for changes by other processes, and for signing secrets whose time is over, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut failing = false;
        let (began, mut looked) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            if !self.bound.load(Atomically::Relaxed) && looked.elapsed() >= LOOK_FOR_OLDER {
                looked = Instant::now();
                if let Err(error) = self.bind(began.elapsed()).await {
                    tracing::warn!(error = %crate::error_text::chain(&error), "stored secrets cannot be bound to the origins of their webhooks yet");
                }
            }
            match self.refresh().await {
                Ok(_) if failing => {
                    failing = false;
                    tracing::info!("registrations can be read again");
                }
                Ok(_) => {}
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(error = %crate::error_text::chain(&error), "registrations cannot be read; those last seen stay in force");
                }
                Err(_) => {}
            }
        }
    }
}

fn now() -> i64 {
    Utc::now().timestamp()
}

fn report_unreadable(snapshot: &Snapshot) {
    for (id, reason) in snapshot.unreadable() {
        tracing::error!(webhook = %id, %reason, "registration cannot be read; as it was last read it stays in force while this process runs, else remove it and register it again");
    }
}
