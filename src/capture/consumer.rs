//! What the reader calls with the changes, and why a batch fails.

use std::future::Future;

use tokio_postgres::Transaction;

use super::change::Change;
use super::fault::Fault;
use super::gap::Gap;
use super::position::{LoadError, NoSnapshot};
use super::transaction::BatchTransaction;

/// Takes the captured changes. It is called within the transaction that moves the reader's position: what it writes with `tx` and
/// the position are committed together or not at all.
pub trait Consumer: Send {
    /// Why the changes cannot be taken now; the batch is then rolled back and tried again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Another process may have read since the last call: what is remembered of earlier changes no longer tells what came before.
    fn interrupted(&mut self) {}

    /// Takes a batch, in order. If it panics or fails because of the data ([`Self::fault`]), it gets smaller batches until the change
    /// is found that it cannot take; that change goes to the quarantine table. What it leaves for the end counts as its work, too.
    fn consume(
        &mut self,
        tx: &BatchTransaction<'_>,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The transaction of the last call of [`Self::consume`] or [`Self::gaps`] is committed.
    fn committed(&mut self);

    /// Takes gaps in what was captured. It is called within the transaction that marks them as announced, and
    /// [`Self::committed`] follows. If it fails, it is called again later; reading goes on meanwhile.
    fn gaps(
        &mut self,
        _tx: &Transaction<'_>,
        _gaps: Vec<Gap>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// So many changes went to the quarantine table without a call of [`Self::consume`], and that is committed.
    fn quarantined(&mut self, _changes: u64) {}

    /// What caused the error.
    fn fault(error: &Self::Error) -> Fault {
        Fault::of(error)
    }
}

/// Why a batch was not read. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: std::error::Error + 'static> {
    #[error("the outbox cannot be read: {0}")]
    Query(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Snapshot(#[from] NoSnapshot),
    #[error(transparent)]
    Position(#[from] LoadError),
    #[error("the changes cannot be turned into deliveries: {0}")]
    Consumer(#[source] E),
    /// What the consumer left for the end of the transaction, or the new position, could not be stored.
    #[error("what came of the changes cannot be stored: {0}")]
    Store(#[source] tokio_postgres::Error),
    #[error("the changes cannot be turned into deliveries: {0} (this is a bug)")]
    Panic(String),
    /// PostgreSQL cannot send a change because of its data, such as a text that is not UTF-8.
    #[error("a change cannot be fetched from the outbox: {0}")]
    Unfetchable(String),
    #[error("another process leads")]
    NotLeader,
}
