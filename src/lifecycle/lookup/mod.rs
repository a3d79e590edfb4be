//! The classifier with its look-ups: in the outbox and the stored events within the batch's transaction, and in Nextcloud's tables
//! on another connection ([`HostConnection`]), so that no batch holds a lock that an upgrade of Nextcloud would wait for.
//!
//! A table or column that does not exist counts as empty. If something cannot be looked up now, the batch is tried again, because
//! filters would be evaluated wrongly without it. The exception is whether an inserted object has a row in another magic table (it was
//! migrated): if a table cannot be searched for that, the object counts as created.

mod references;
mod requests;
mod statements;
mod stores;
mod users;

use std::time::{Duration, Instant};

use tokio_postgres::GenericClient;

use super::classify::{Classifier, Decoded};
use super::facts::{Facts, LockAnswer, Needs};
use super::host_connection::{HostConnection, HostError};
use super::local_time;
use super::locks;
use super::outcome::Outcome;
use super::settings::LifecycleSettings;
use super::store;
use crate::capture::{Change, ChangeKey};
use references::before_batch;
use requests::{lock_events, lock_image};
pub use statements::LookupError;
use stores::{homes, homes_since, object_tables, stores};
pub(crate) use users::look_up_users;

/// The shortest time between two warnings that the search of all magic tables failed.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Turns changes into events, looking up what they need.
#[derive(Debug)]
pub struct Lifecycle {
    prefix: String,
    classifier: Classifier,
    host: HostConnection,
    /// When it was last logged that the search of all magic tables failed.
    complained: Option<Instant>,
    /// Whether a batch was processed and [`Self::committed`] not called since: the memory may be ahead of the database.
    uncommitted: bool,
}

impl Lifecycle {
    #[must_use]
    pub fn new(settings: LifecycleSettings, host: HostConnection) -> Self {
        Self {
            prefix: settings.table_prefix.clone(),
            classifier: Classifier::new(settings),
            host,
            complained: None,
            uncommitted: false,
        }
    }

    /// Processes the next changes, which come in the order of the stream; the events are in the same order. Call [`Self::committed`]
    /// when the transaction is committed. Without that call the memory is dropped before the next batch, so that the same changes give
    /// the same events again.
    ///
    /// # Errors
    /// If a look-up fails.
    pub async fn process(
        &mut self,
        tx: &impl GenericClient,
        changes: Vec<Change>,
    ) -> Result<Outcome, LookupError> {
        if std::mem::replace(&mut self.uncommitted, true) {
            self.classifier.forget();
        }
        let mut decoded = Vec::with_capacity(changes.len());
        let mut undecodable = Vec::new();
        for change in changes {
            // Between two changes of one table there is often a row of the audit.
            let like = decoded.iter().rev().take(2).find_map(Decoded::row);
            match Decoded::read_beside(change, like) {
                Ok(change) => decoded.push(change),
                Err(reason) => undecodable.push(*reason),
            }
        }
        let needs = self.classifier.needs(&decoded);
        let last = decoded.last().map(|decoded| decoded.change.key);
        let (facts, failure) = look_up(tx, &mut self.host, &self.prefix, &needs, last).await?;
        if let Some(error) = failure
            && self.complained.is_none_or(|at| at.elapsed() > COMPLAINTS)
        {
            self.complained = Some(Instant::now());
            tracing::warn!(error = %crate::error_text::chain(&error), "not every table could be searched for objects that were migrated: such an object now counts as created");
        }
        let mut outcome = self.classifier.classify(decoded, needs, &facts);
        outcome.undecodable = undecodable;
        Ok(outcome)
    }

    /// The transaction of the last batch is committed.
    pub fn committed(&mut self) {
        self.uncommitted = false;
    }

    /// Drops the memory of earlier batches, as a restart does.
    pub fn forget(&mut self) {
        self.classifier.forget();
    }
}

/// Looks up what a batch needs, in a handful of statements whatever its size. The error beside the facts says why not every table could
/// be searched for migrated objects.
pub(super) async fn look_up(
    tx: &impl GenericClient,
    host: &mut HostConnection,
    prefix: &str,
    needs: &Needs,
    last: Option<ChangeKey>,
) -> Result<(Facts, Option<HostError>), LookupError> {
    let mut facts = Facts::default();
    if needs.is_empty() {
        return Ok((facts, None));
    }
    if !needs.registers.is_empty() {
        facts.registers = before_batch(host, prefix, "openregister_registers", &needs.registers).await?;
    }
    if !needs.schemas.is_empty() {
        facts.schemas = before_batch(host, prefix, "openregister_schemas", &needs.schemas).await?;
    }
    if !needs.users.is_empty() {
        facts.users = look_up_users(host, prefix, &needs.users).await?;
    }
    if !needs.local_times.is_empty() {
        let found = local_time::to_utc(tx, &needs.local_times).await;
        facts.utc = found.map_err(|source| LookupError::Query {
            what: "the time zone",
            source,
        })?;
    }
    if !needs.held.is_empty() {
        let found = locks::look_up(tx, &needs.held).await;
        facts.held = found.map_err(|source| LookupError::Query {
            what: "the locks that were announced",
            source,
        })?;
    }
    if !needs.earlier.is_empty() {
        let found = store::earlier_states(tx, &needs.earlier).await;
        facts.earlier = found.map_err(|source| LookupError::Query {
            what: "earlier states of objects",
            source,
        })?;
    }
    for need in &needs.locks {
        let found = LockAnswer {
            events: lock_events(tx, need).await?,
            image: lock_image(tx, prefix, need).await?,
        };
        facts.locks.insert(need.clone(), found);
    }
    if needs.homes.is_empty()
        && needs.in_blob.is_empty()
        && needs.rows_exist.is_empty()
        && needs.rows.is_empty()
    {
        return Ok((facts, None));
    }
    let tables = object_tables(host, prefix, needs).await?;
    stores(host, prefix, needs, &tables, last, &mut facts).await?;
    let failure = homes(host, prefix, needs, &tables, &mut facts).await;
    if !facts.homes.is_empty() {
        homes_since(tx, prefix, &mut facts).await?;
    }
    Ok((facts, failure))
}
