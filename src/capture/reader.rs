//! Reads the outbox in batches. A batch, what the consumer makes of it, and the new position are one transaction.
//!
//! The difference of two snapshots says what is unread: a change that is visible now and was not visible in the position's
//! snapshot, whatever its LSN. (A cursor "everything above the last LSN" loses the changes of a transaction that began
//! earlier and committed later.) Within a difference, changes come in key order, which per row is commit order: the second
//! writer of a row waits for the first one's commit. A difference that is larger than a batch is read as a window, batch by batch.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio_postgres::{Client, Transaction};

use super::adopted;
use super::batch::{Batch, Processor};
use super::bisection::BatchBisection;
use super::consumer::{Consumer, ReadError};
use super::fault::Fault;
use super::position::{self, Floors, Identity, Position, Snapshot};
use super::row::key_of;
use super::unread::{self, BATCH_BYTES, Unread};

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing was unread when the read began.
    Empty,
    /// So many changes were read; nothing that was committed when the read began is left.
    Complete(usize),
    /// So many changes were read, and there are more.
    More(usize),
    /// A batch failed and was rolled back; the next one is smaller.
    Halved,
}

/// Reads the outbox and keeps the position. Only the leader's reader is used.
#[derive(Debug)]
pub(crate) struct Reader {
    position: Position,
    identity: Identity,
    floors: Floors,
    batch_size: i64,
    table_prefix: Arc<str>,
    /// Behind a transaction pooler the leader is elected for each transaction, so the position is loaded for each read.
    per_transaction: bool,
    /// Whether `change_adopted` may hold rows. It gets none while a reader runs, so it is not looked at again once it was empty.
    adopted: bool,
    /// Why PostgreSQL could not send the last batch: the next read fetches the same changes without their texts. The cause may be
    /// a text that is not UTF-8, in a database of another encoding.
    unfetchable: Option<String>,
}

/// How a read fetches.
struct Fetching {
    limit: i64,
    /// Fetch without texts, for this reason.
    unfetchable: Option<String>,
}

impl Reader {
    pub(crate) fn new(
        position: Option<Position>,
        identity: Identity,
        batch_size: u32,
        table_prefix: Arc<str>,
        per_transaction: bool,
    ) -> Self {
        let position = position.unwrap_or(Position {
            n: 0,
            snapshot: Snapshot::beginning(),
            window: None,
        });
        Self {
            position,
            identity,
            floors: Floors::default(),
            batch_size: i64::from(batch_size.max(1)),
            table_prefix,
            per_transaction,
            adopted: true,
            unfetchable: None,
        }
    }

    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    /// Reads one batch. A failure that the data causes gives [`Progress::Halved`] until the change that causes it is found.
    pub(crate) async fn read<C: Consumer>(
        &mut self,
        client: &mut Client,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Progress, ReadError<C::Error>> {
        if self.per_transaction {
            self.reload(client).await?;
        }
        let tx = unread::begin(client).await?;
        if self.per_transaction && !unread::lead(&tx).await? {
            return Err(ReadError::NotLeader);
        }
        let fetching = Fetching {
            limit: bisection.limit(self.batch_size),
            unfetchable: self.unfetchable.take(),
        };
        let table_prefix = Arc::clone(&self.table_prefix);
        let mut processor = Processor {
            consumer,
            bisection,
            table_prefix: &table_prefix,
        };
        if !self.adopted {
            return self.read_outbox(tx, &fetching, &mut processor).await;
        }
        match self.read_adopted(tx, &fetching, &mut processor).await? {
            ControlFlow::Break(progress) => Ok(progress),
            ControlFlow::Continue(tx) => {
                self.adopted = false;
                self.read_outbox(tx, &fetching, &mut processor).await
            }
        }
    }

    /// Reads what `adopt --deliver` set aside: it comes before every change of this cluster, in the order of the clock, because LSNs
    /// and transaction ids start again in another cluster. Gives the transaction back if nothing is left.
    async fn read_adopted<'t, C: Consumer>(
        &mut self,
        tx: Transaction<'t>,
        fetching: &Fetching,
        processor: &mut Processor<'_, C>,
    ) -> Result<ControlFlow<Progress, Transaction<'t>>, ReadError<C::Error>> {
        let unfetchable = fetching.unfetchable.as_deref();
        let rows = match adopted::fetch(&tx, fetching.limit, BATCH_BYTES, unfetchable.is_some()).await {
            Ok(rows) => rows,
            Err(error) => {
                return self
                    .cannot_fetch(tx, error, unfetchable.is_some())
                    .await
                    .map(ControlFlow::Break);
            }
        };
        if rows.is_empty() {
            return Ok(ControlFlow::Continue(tx));
        }
        let batch = Batch { rows, adopted: true };
        let processed = match processor.process(&tx, &batch, unfetchable).await {
            Ok(processed) => processed,
            Err(error) => {
                processor.failed(tx, error, &batch).await?;
                return Ok(ControlFlow::Break(Progress::Halved));
            }
        };
        adopted::remove(&tx, &batch.rows).await?;
        tx.commit().await?;
        processor.committed(&processed, batch.rows.len());
        Ok(ControlFlow::Break(Progress::More(batch.rows.len())))
    }

    /// Reads the next unread changes and moves the position past them.
    async fn read_outbox<C: Consumer>(
        &mut self,
        tx: Transaction<'_>,
        fetching: &Fetching,
        processor: &mut Processor<'_, C>,
    ) -> Result<Progress, ReadError<C::Error>> {
        let unfetchable = fetching.unfetchable.as_deref();
        let (new, observed) = unread::now(&tx).await?;
        let (target, floor, after) = match &self.position.window {
            Some((window, key)) => (window.clone(), key.lsn, Some(*key)),
            None => (new.clone(), self.floors.from(&self.position.snapshot, &new), None),
        };
        let unread = Unread {
            read: &self.position.snapshot,
            target: &target,
            floor,
            after,
        };
        let rows = match unread::fetch(&tx, &unread, fetching.limit, unfetchable.is_some()).await {
            Ok(rows) => rows,
            Err(error) => return self.cannot_fetch(tx, error, unfetchable.is_some()).await,
        };
        let found = rows.first().map_or(0, |r| r.get::<_, i64>("found"));
        let complete = found <= fetching.limit && i64::try_from(rows.len()).unwrap_or(i64::MAX) == found;
        if rows.is_empty() && self.position.window.is_none() {
            tx.commit().await?;
            self.position.snapshot = new;
            // The change that the bisection looks for is gone: somebody emptied the outbox.
            processor.bisection.done(usize::MAX);
            return Ok(Progress::Empty);
        }
        let batch = Batch { rows, adopted: false };
        let next = self.position_after(&batch, target, complete);
        let processed = match processor.process(&tx, &batch, unfetchable).await {
            Ok(processed) => processed,
            Err(error) => {
                processor.failed(tx, error, &batch).await?;
                return Ok(Progress::Halved);
            }
        };
        let own = position::save(&tx, &next, self.identity).await?;
        tx.commit().await?;
        processor.committed(&processed, batch.rows.len());
        self.floors.mark(own, observed, &next.snapshot);
        self.position = next;
        Ok(if complete {
            Progress::Complete(batch.rows.len())
        } else {
            Progress::More(batch.rows.len())
        })
    }

    /// The position after a batch of the changes visible in `target`; `complete`: no such change is left.
    fn position_after(&self, batch: &Batch, target: Snapshot, complete: bool) -> Position {
        let last = batch.rows.last().map(key_of);
        let (snapshot, window) = if complete {
            (target, None)
        } else {
            (self.position.snapshot.clone(), last.map(|key| (target, key)))
        };
        Position {
            n: self.position.n + 1,
            snapshot,
            window,
        }
    }

    /// After PostgreSQL could not send a batch: if the data is the cause, the next read fetches it without texts.
    async fn cannot_fetch<E: std::error::Error + 'static>(
        &mut self,
        tx: Transaction<'_>,
        error: tokio_postgres::Error,
        without_texts: bool,
    ) -> Result<Progress, ReadError<E>> {
        if without_texts || Fault::of(&error) != Fault::Data {
            return Err(error.into());
        }
        self.unfetchable = Some(crate::error_text::chain(&error));
        tx.rollback().await?;
        Ok(Progress::Halved)
    }

    /// Loads the position: behind a pooler another process may have read since.
    async fn reload<E: std::error::Error + 'static>(&mut self, client: &Client) -> Result<(), ReadError<E>> {
        if let Some((stored, _)) = position::load(client).await?
            && stored.n > self.position.n
        {
            self.position = stored;
        }
        Ok(())
    }
}
