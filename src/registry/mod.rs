//! Registry: the registered webhooks, their filters compiled, their secrets encrypted at rest.
//!
//! Guarantees: a [`Webhook`] in memory is valid in every field; a change made by any process is seen by every process
//! within a second; secrets are in clear in memory only and in no `Debug`, error or log. Every change is one
//! transaction with its row in the audit table, and changes have one order, the registry's revision. A database that is restored
//! under a running process counts as it is: what is in memory follows it, also back.

mod advice;
mod certificate;
mod change;
mod fields;
mod ordering;
mod reading;
mod registration;
mod secret;
mod settle;
mod snapshot;
mod store;
mod target;
mod vault;
pub(crate) mod view;
mod webhook;

use crate::random::NoRandom;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomically};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::Utc;
use deadpool_postgres::Pool;
use secrecy::SecretString;
use tokio_postgres::{GenericClient, Transaction};
use tokio_util::sync::CancellationToken;

pub use certificate::CertificateChoice;
pub use change::{AuditEntry, Changed};
pub use fields::Fields;
pub use registration::{
    AuthMethod, Extras, MASK, Refused, Registration, SecretChoice, can_be_sent, looks_secret,
};
pub use snapshot::Snapshot;
pub use target::{AnyTarget, TargetPolicy};
pub use vault::{Vault, VaultError};
pub use webhook::{
    Auth, EventPattern, Format, HttpMethod, InvalidField, Limits, Ordering, RetryPolicy, Status, Webhook,
    WebhookId,
};

pub(crate) use ordering::ordering_of;
pub(crate) use registration::parse_secret;

use reading::{Readings, STAMP, Stamp, replaces};

/// How often a process looks whether another one changed something.
const POLL: Duration = Duration::from_millis(500);

/// How long stored secrets are left in the form that older versions read while a process of such a version lives; then it keeps
/// what it knows, and can change nothing.
const FOR_OLDER: Duration = Duration::from_secs(600);

/// How often it is looked whether one lives.
const LOOK_FOR_OLDER: Duration = Duration::from_secs(5);

/// Why registrations could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("Webhook {0} does not exist")]
    NotFound(WebhookId),
    /// It no longer is what was to be changed.
    #[error("webhook {0} was changed meanwhile: look at it again")]
    Changed(WebhookId),
    #[error("webhook {id} is stored but cannot be read: {reason}")]
    Unreadable { id: WebhookId, reason: String },
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the registrations cannot be read or written: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("the registrations cannot be read or written, no connection: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
}

impl From<NoRandom> for RegistryError {
    fn from(error: NoRandom) -> Self {
        Self::Vault(error.into())
    }
}

/// Who asks for a change: what the audit table keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub user: String,
    /// The external app that acts, as AppAPI names it.
    pub app_id: Option<String>,
    /// The client's address; `None` for the command line and for the sidecar itself.
    pub client: Option<String>,
}

impl Caller {
    /// The sidecar itself, when it disables a webhook.
    #[must_use]
    pub fn system() -> Self {
        Self {
            user: "openregister-webhooks".to_owned(),
            app_id: None,
            client: None,
        }
    }
}

/// What a webhook gets where its registration says nothing of its own.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub limits: Limits,
    pub retry: RetryPolicy,
}

impl Defaults {
    /// A schedule of its own says by its length how many attempts there are, unless that is said too.
    fn retry(&self, max_attempts: Option<u32>, schedule: Option<Vec<Duration>>) -> RetryPolicy {
        let attempts = schedule
            .as_ref()
            .map(|delays| u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1));
        RetryPolicy {
            max_attempts: max_attempts
                .or(attempts)
                .unwrap_or(self.retry.max_attempts)
                .max(1),
            schedule: schedule.unwrap_or_else(|| self.retry.schedule.clone()),
        }
    }
}

/// The registrations: read from memory, changed in the database.
#[derive(Debug)]
pub struct Registry {
    pool: Pool,
    vault: Vault,
    defaults: Defaults,
    readings: Readings,
    snapshot: ArcSwap<Snapshot>,
    /// The secrets are known to be bound to origins.
    bound: AtomicBool,
}

impl Registry {
    /// Checks the key against what is stored and loads the registrations.
    ///
    /// # Errors
    /// [`VaultError`] where the key is missing, none, or another than the stored secrets need; [`RegistryError::Database`].
    pub async fn open(
        pool: Pool,
        master_key: Option<&SecretString>,
        defaults: Defaults,
    ) -> Result<Arc<Self>, RegistryError> {
        let vault = Vault::new(master_key)?;
        let mut client = pool.get().await?;
        check_key(&mut client, &vault).await?;
        let bound = bind_to_origins(&mut client, &vault, Duration::ZERO).await?;
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
        self.refresh_with(&**client).await
    }

    /// The registrations as of now, read in a transaction, which must be READ COMMITTED: what it sees committed, it sees
    /// registered.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn refresh_in(&self, tx: &Transaction<'_>) -> Result<Arc<Snapshot>, RegistryError> {
        self.refresh_with(tx).await
    }

    async fn refresh_with<C: GenericClient>(&self, client: &C) -> Result<Arc<Snapshot>, RegistryError> {
        let seen = self.snapshot();
        let row = client
            .query_one(
                &format!("SELECT {STAMP} FROM openregister_webhooks.registry r"),
                &[],
            )
            .await?;
        let stored = Stamp::of(&row);
        if *seen.stamp() == stored && seen.next_expiry().is_none_or(|end| end > now()) {
            return Ok(seen);
        }
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

    async fn bind(&self, waited: Duration) -> Result<(), RegistryError> {
        let mut client = self.pool.get().await?;
        if bind_to_origins(&mut client, &self.vault, waited).await? {
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

/// Binds the stored secrets to the origins of their webhooks, once for a database, unless an older process lives that could not
/// read them then and was not waited for long enough; whether they are bound. In one transaction, in the order of all changes.
async fn bind_to_origins(
    client: &mut tokio_postgres::Client,
    vault: &Vault,
    waited: Duration,
) -> Result<bool, RegistryError> {
    if store::form(client).await? == store::Form::Origin {
        return Ok(true);
    }
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '20s'")
        .await?;
    store::next_revision(&tx).await?;
    // Another process may have done it meanwhile.
    if store::form(&tx).await? == store::Form::Origin {
        return Ok(true);
    }
    let older = store::older_lives(&tx).await?;
    if !may_bind(older, waited) {
        return Ok(false);
    }
    if older {
        tracing::warn!(
            "a process of an older version still runs: it keeps the registrations as it last read them, and can change none; end it"
        );
    }
    let count = store::seal_to_origin(&tx, vault).await?;
    tx.commit().await?;
    tracing::info!(
        webhooks = count,
        "stored secrets are bound to the origins of their webhooks"
    );
    Ok(true)
}

const fn may_bind(older_lives: bool, waited: Duration) -> bool {
    !older_lives || waited.as_secs() >= FOR_OLDER.as_secs()
}

/// Compares the keys with the stored check values: every key that is in use must be known. The key that encrypts leaves a
/// check value of its own.
async fn check_key(client: &mut tokio_postgres::Client, vault: &Vault) -> Result<(), RegistryError> {
    let tx = client.transaction().await?;
    // Two processes that start with different keys for the first time must not both be right.
    tx.batch_execute(
        "SET LOCAL lock_timeout = '10s'; LOCK TABLE openregister_webhooks.master_key IN SHARE ROW EXCLUSIVE MODE",
    )
    .await?;
    let rows = tx
        .query(
            "SELECT key_id, check_value FROM openregister_webhooks.master_key ORDER BY since",
            &[],
        )
        .await?;
    let unknown: Vec<&str> = rows
        .iter()
        .filter(|row| !vault.checks(row.get("check_value")))
        .map(|row| row.get("key_id"))
        .collect();
    if !unknown.is_empty() {
        let (given, stored) = (vault.key_ids().join(", "), unknown.join(", "));
        return Err(VaultError::WrongKey { given, stored }.into());
    }
    tx.execute(
        "INSERT INTO openregister_webhooks.master_key (key_id, check_value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[&vault.key_id(), &vault.check_value()?],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_processes_are_waited_for_and_not_for_ever() {
        assert!(may_bind(false, Duration::ZERO));
        assert!(!may_bind(true, FOR_OLDER - Duration::from_secs(1)));
        assert!(may_bind(true, FOR_OLDER));
    }
}
