//! Reads the outbox in batches. A batch, what the consumer makes of it, and the new position are one transaction.
//!
//! The difference of two snapshots says what is unread: a change that is visible now and was not visible in the position's
//! snapshot, whatever its LSN. (A cursor "everything above the last LSN" loses the changes of a transaction that began
//! earlier and committed later.) Within a difference, changes come in key order, which per row is commit order: the second
//! writer of a row waits for the first one's commit. A difference that is larger than a batch is read as a window, batch by batch.

use std::sync::Arc;

use tokio_postgres::Client;

use super::adopted;
use super::batch::{Batch, Processor};
use super::bisection::BatchBisection;
use super::consumer::{Consumer, ReadError};
use super::fault::Fault;
use super::position::{self, Floors, Identity, Position, Snapshot};
use super::row::key_of;
use super::transaction::BatchTransaction;
use super::unread::{self, BATCH_BYTES, Found, Unread};
use crate::database::Session;

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
        session: &Session,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Progress, ReadError<C::Error>> {
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
        if self.adopted {
            if let Some(progress) = self.read_adopted(session, &fetching, &mut processor).await? {
                return Ok(progress);
            }
            self.adopted = false;
        }
        self.read_outbox(session, &fetching, &mut processor).await
    }

    /// Begins a transaction. Behind a transaction pooler it takes the leadership for itself.
    async fn begin<'s, E: std::error::Error + 'static>(
        &self,
        session: &'s Session,
    ) -> Result<BatchTransaction<'s>, ReadError<E>> {
        if !self.per_transaction {
            return Ok(BatchTransaction::begin(session, unread::OWN));
        }
        let tx = BatchTransaction::begin(session, unread::POOLED);
        tx.begun().await?;
        if unread::lead(&tx).await? {
            Ok(tx)
        } else {
            Err(ReadError::NotLeader)
        }
    }

    /// Reads what `adopt --deliver` set aside: it comes before every change of this cluster, in the order of the clock, because LSNs
    /// and transaction ids start again in another cluster. `None` if nothing is left.
    async fn read_adopted<C: Consumer>(
        &mut self,
        session: &Session,
        fetching: &Fetching,
        processor: &mut Processor<'_, C>,
    ) -> Result<Option<Progress>, ReadError<C::Error>> {
        let tx = self.begin(session).await?;
        let unfetchable = fetching.unfetchable.as_deref();
        let rows = match adopted::fetch(&tx, fetching.limit, BATCH_BYTES, unfetchable.is_some()).await {
            Ok(rows) => rows,
            Err(error) => {
                tx.rollback().await?;
                return self.cannot_fetch(error.into(), unfetchable.is_some()).map(Some);
            }
        };
        if rows.is_empty() {
            tx.rollback().await?;
            return Ok(None);
        }
        let batch = Batch { rows, adopted: true };
        let processed = match processor.process(&tx, &batch, unfetchable).await {
            Ok(processed) => processed,
            Err(error) => {
                processor.failed(Some(tx), error, &batch).await?;
                return Ok(Some(Progress::Halved));
            }
        };
        adopted::remove(&tx, &batch.rows).await?;
        if let Err(error) = tx.commit().await {
            processor.not_committed(error, &batch).await?;
            return Ok(Some(Progress::Halved));
        }
        processor.committed(&processed, batch.rows.len());
        Ok(Some(Progress::More(batch.rows.len())))
    }

    /// Reads the next unread changes and moves the position past them.
    async fn read_outbox<C: Consumer>(
        &mut self,
        session: &Session,
        fetching: &Fetching,
        processor: &mut Processor<'_, C>,
    ) -> Result<Progress, ReadError<C::Error>> {
        // Only the leader reads, and a session of its own is the leader between its transactions, too: then the changes are read
        // before the transaction begins, and if there are none, there is no transaction.
        let mut leading = None;
        if self.per_transaction {
            if self.reload(session.client()).await? {
                processor.consumer.interrupted();
            }
            leading = Some(self.begin(session).await?);
        }
        let unfetchable = fetching.unfetchable.as_deref();
        let found = match self.fetch(session, fetching).await {
            Ok(found) => found,
            Err(error) => {
                if let Some(tx) = leading {
                    tx.rollback().await?;
                }
                return self.cannot_fetch(error, unfetchable.is_some());
            }
        };
        if found.rows.is_empty() && self.position.window.is_none() {
            if let Some(tx) = leading {
                tx.rollback().await?;
            }
            self.position.snapshot = found.now;
            // The change that the bisection looks for is gone: somebody emptied the outbox.
            processor.bisection.done(usize::MAX);
            return Ok(Progress::Empty);
        }
        let tx = match leading {
            Some(tx) => tx,
            None => self.begin(session).await?,
        };
        let (observed, complete) = (found.observed, found.complete);
        let batch = Batch {
            rows: found.rows,
            adopted: false,
        };
        let next = self.position_after(&batch, found.now, complete);
        let processed = match processor.process(&tx, &batch, unfetchable).await {
            Ok(processed) => processed,
            Err(error) => {
                processor.failed(Some(tx), error, &batch).await?;
                return Ok(Progress::Halved);
            }
        };
        position::make_room(&tx, &next).await?;
        let saved = tx.leave(position::save(&next, self.identity));
        if let Err(error) = tx.commit().await {
            processor.not_committed(error, &batch).await?;
            return Ok(Progress::Halved);
        }
        processor.committed(&processed, batch.rows.len());
        self.floors
            .mark(position::own_id(saved.rows()), observed, &next.snapshot);
        self.position = next;
        Ok(if complete {
            Progress::Complete(batch.rows.len())
        } else {
            Progress::More(batch.rows.len())
        })
    }

    /// Fetches the next unread changes.
    async fn fetch<E: std::error::Error + 'static>(
        &self,
        session: &Session,
        fetching: &Fetching,
    ) -> Result<Found, ReadError<E>> {
        let floor;
        let unread = match &self.position.window {
            Some((window, key)) => Unread::Window {
                read: &self.position.snapshot,
                window,
                after: *key,
            },
            None => {
                floor = self.floors.after(&self.position.snapshot);
                Unread::Now {
                    read: &self.position.snapshot,
                    floor: &floor,
                }
            }
        };
        unread::fetch(session, &unread, fetching.limit, fetching.unfetchable.is_some()).await
    }

    /// The position after a batch that was read when the snapshot was `now`; `complete`: no such change is left.
    fn position_after(&self, batch: &Batch, now: Snapshot, complete: bool) -> Position {
        let target = match &self.position.window {
            Some((window, _)) => window.clone(),
            None => now,
        };
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
    fn cannot_fetch<E: std::error::Error + 'static>(
        &mut self,
        error: ReadError<E>,
        without_texts: bool,
    ) -> Result<Progress, ReadError<E>> {
        match error {
            ReadError::Query(error) if !without_texts && Fault::of(&error) == Fault::Data => {
                self.unfetchable = Some(crate::error_text::chain(&error));
                Ok(Progress::Halved)
            }
            other => Err(other),
        }
    }

    /// Loads the position: behind a pooler another process may have read since. Whether one has.
    async fn reload<E: std::error::Error + 'static>(
        &mut self,
        client: &Client,
    ) -> Result<bool, ReadError<E>> {
        if let Some((stored, _)) = position::load(client).await?
            && stored.n > self.position.n
        {
            self.position = stored;
            return Ok(true);
        }
        Ok(false)
    }
}
