//! Works on the rows of one batch within its transaction: decodes them, calls the consumer, and quarantines what cannot be worked
//! on.

use std::error::Error as _;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio_postgres::Row;

use super::bisection::{BatchBisection, Next, Place};
use super::change::Change;
use super::consumer::{Consumer, ReadError};
use super::fault::Fault;
use super::quarantine::{self, QuarantineEntry};
use super::row::{decode, key_of};
use super::transaction::{BatchTransaction, CommitError};

/// The rows of a batch.
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Whether they are from `change_adopted`.
    pub(super) adopted: bool,
}

/// What became of the rows of a batch, if its transaction is committed.
pub(super) struct Processed {
    /// How many are in the quarantine table without the consumer having seen them.
    quarantined: u64,
    /// Whether the consumer was called.
    consumed: bool,
}

/// What batches are worked on with.
pub(super) struct Processor<'a, C> {
    pub(super) consumer: &'a mut C,
    pub(super) bisection: &'a mut BatchBisection,
    pub(super) table_prefix: &'a str,
}

impl<C: Consumer> Processor<'_, C> {
    /// Passes the rows to the consumer. Rows that are not changes go to the quarantine table, and so does the one change that the
    /// consumer is known to fail at. `unfetchable` says why the rows were fetched without their texts.
    pub(super) async fn process(
        &mut self,
        tx: &BatchTransaction<'_>,
        batch: &Batch,
        unfetchable: Option<&str>,
    ) -> Result<Processed, ReadError<C::Error>> {
        let rows = &batch.rows[..];
        if let [row] = rows {
            let (key, adopted) = (key_of(row), batch.adopted);
            if let Some(reason) = self.bisection.must_quarantine(Place { adopted, key }) {
                let kept = quarantine::keep_raw(tx, key, adopted, reason).await?;
                return Ok(Processed {
                    quarantined: u64::from(kept.is_missing()),
                    consumed: false,
                });
            }
        }
        if let Some(reason) = unfetchable.filter(|_| !rows.is_empty()) {
            return Err(ReadError::Unfetchable(reason.to_owned()));
        }
        self.bisection.begin(rows.len());
        // A consumer that panicked is called again with a smaller batch: it must forget the batch at which it panicked.
        let (consumer, table_prefix) = (&mut *self.consumer, self.table_prefix);
        let work = AssertUnwindSafe(async {
            let (changes, quarantined) = decode_all(tx, rows, table_prefix).await?;
            consumer.consume(tx, changes).await.map_err(ReadError::Consumer)?;
            Ok(quarantined)
        });
        match work.catch_unwind().await {
            Ok(worked) => worked.map(|quarantined| Processed {
                quarantined,
                consumed: true,
            }),
            Err(panic) => Err(ReadError::Panic(crate::error_text::panic(panic.as_ref()))),
        }
    }

    /// To be called when the transaction of a batch is committed.
    pub(super) fn committed(&mut self, processed: &Processed, rows: usize) {
        if processed.consumed {
            self.consumer.committed();
        }
        if processed.quarantined > 0 {
            self.consumer.quarantined(processed.quarantined);
        }
        self.bisection.done(rows);
    }

    /// After the end of a batch failed, as [`Self::failed`].
    pub(super) async fn not_committed(
        &mut self,
        error: CommitError,
        batch: &Batch,
    ) -> Result<(), ReadError<C::Error>> {
        match error {
            CommitError::NotCommitted(error) => self.failed(None, ReadError::Store(error), batch).await,
            CommitError::Unknown(error) => Err(error.into()),
        }
    }

    /// After a batch failed: rolls it back, if that has not happened already, so that a smaller one can be read, or returns the error if the same batch must be tried
    /// again later.
    pub(super) async fn failed(
        &mut self,
        tx: Option<BatchTransaction<'_>>,
        error: ReadError<C::Error>,
        batch: &Batch,
    ) -> Result<(), ReadError<C::Error>> {
        let fault = match &error {
            ReadError::Consumer(error) => C::fault(error),
            ReadError::Panic(_) | ReadError::Unfetchable(_) => Fault::Data,
            other => other.source().map_or(Fault::Elsewhere, Fault::of),
        };
        let Some(first) = batch.rows.first().map(key_of) else {
            return Err(error);
        };
        let (changes, reason) = (batch.rows.len(), crate::error_text::chain(&error));
        let place = Place {
            adopted: batch.adopted,
            key: first,
        };
        if self.bisection.failed(fault, changes, place, &reason) == Next::Wait {
            return Err(error);
        }
        tracing::warn!(changes, at = ?first.lsn, error = %reason, "a batch failed: looking for the change that causes it");
        if let Some(tx) = tx {
            tx.rollback().await?;
        }
        Ok(())
    }
}

/// Decodes the rows. Those that are not changes go to the quarantine table, in the same transaction; the number says how many.
async fn decode_all<E: std::error::Error + 'static>(
    tx: &BatchTransaction<'_>,
    rows: &[Row],
    table_prefix: &str,
) -> Result<(Vec<Change>, u64), ReadError<E>> {
    let mut changes = Vec::with_capacity(rows.len());
    let mut quarantined = 0;
    for row in rows {
        match decode(row, table_prefix) {
            Ok(change) => changes.push(change),
            Err(reason) => {
                let outcome = QuarantineEntry::of(row, reason).store(&**tx).await?;
                quarantined += u64::from(outcome.is_missing());
            }
        }
    }
    Ok((changes, quarantined))
}
