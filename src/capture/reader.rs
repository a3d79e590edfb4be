//! Reads the outbox in batches: each batch, what the consumer makes of it, and the new position are one transaction.
//!
//! The difference of two snapshots says what is unread: a change that is visible now and was not visible in the position's
//! snapshot, whatever its LSN. (A cursor "everything above the last LSN" loses the changes of a transaction that began
//! earlier and committed later.) Within a difference, changes come in key order, which per row is commit order: the second
//! writer of a row waits for the first one's commit. A difference larger than a batch is worked through as a window.

use std::error::Error as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::bisection::{BatchBisection, Next, Place};
use super::change::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use super::fault::Fault;
use super::position::{self, Floors, Identity, LoadError, NoSnapshot, Position, Snapshot};
use super::{Gap, QuarantineEntry, adopted, locks, quarantine};
use orw_model::TableName;

/// Bytes of row images in one batch; one change more than that is a batch of its own.
const BATCH_BYTES: i64 = 16 * 1024 * 1024;

/// What becomes of the changes. Called inside the transaction that moves the position: what it writes with `tx` and the
/// position are committed together or not at all.
pub trait Consumer: Send {
    /// Why the changes cannot be taken now; the batch is rolled back and tried again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Takes a batch, in order. Where it panics, or fails by its data's fault ([`Self::fault`]), it is given smaller batches until
    /// the change is found that it cannot take; that one goes to the quarantine table.
    fn consume(
        &mut self,
        tx: &Transaction<'_>,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The transaction of the last batch is committed.
    fn committed(&mut self);

    /// Takes gaps in what was captured, as it takes changes: called in the transaction that marks them as told, and
    /// [`Self::committed`] follows. Where it fails it is called again later, and changes go on meanwhile.
    fn gaps(
        &mut self,
        _tx: &Transaction<'_>,
        _gaps: Vec<Gap>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// So many changes went to the quarantine table before it was given them, and that is committed.
    fn quarantined(&mut self, _changes: u64) {}

    /// Whose fault it is.
    fn fault(error: &Self::Error) -> Fault {
        Fault::of(error)
    }
}

/// Why a batch was not read; nothing of it was kept.
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
    #[error("the changes cannot be turned into deliveries: {0} (this is a bug)")]
    Panic(String),
    /// What the outbox holds cannot be handed over, because of its data.
    #[error("a change cannot be fetched from the outbox: {0}")]
    Unseen(String),
    #[error("another process leads")]
    NotLeader,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing was unread when the read began.
    Empty,
    /// So many changes; everything that was committed when the read began is read.
    Complete(usize),
    /// So many changes, and there are more.
    More(usize),
    /// A batch failed and was rolled back; the next one is smaller.
    Halved,
}

/// What became of the rows of a batch, all of them within its transaction.
struct Worked {
    /// How many are in the quarantine table without the consumer having seen them.
    aside: u64,
    /// Whether the consumer was asked.
    consumed: bool,
}

/// Reads; owns the position. Only the leader has one that is used.
#[derive(Debug)]
pub(crate) struct Reader {
    position: Position,
    identity: Identity,
    floors: Floors,
    batch_size: i64,
    table_prefix: Arc<str>,
    /// Behind a transaction pooler leadership is per transaction: the position is loaded anew each time.
    per_transaction: bool,
    /// Whether `change_adopted` may hold rows; it gets none while somebody reads, so one look at it empty settles it.
    adopted: bool,
    /// Why the last batch could not even be fetched: the next one is looked for without its row images. So is a text that is no
    /// UTF-8, in a database of another encoding.
    unseen: Option<String>,
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
            unseen: None,
        }
    }

    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    /// Reads one batch. A failure that is the data's fault gives [`Progress::Halved`] until the guilty change is found.
    pub(crate) async fn read<C: Consumer>(
        &mut self,
        client: &mut Client,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Progress, ReadError<C::Error>> {
        if self.per_transaction {
            self.reload(client).await?;
        }
        let tx = client.transaction().await?;
        // The tables have no statistics (nobody analyses them): the order of the index is what is wanted, always. A plan that
        // needs a scan all the same then looks so costly that PostgreSQL would compile it, which takes longer.
        // No role's own functions and operators are to be picked up.
        tx.batch_execute(
            "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
             SET LOCAL enable_hashagg = off; SET LOCAL jit = off",
        )
        .await?;
        if self.per_transaction {
            let rows = tx
                .query_typed(
                    "SELECT pg_try_advisory_xact_lock($1)",
                    &[(&locks::LEADER, Type::INT8)],
                )
                .await?;
            if !rows.first().is_some_and(|r| r.get::<_, bool>(0)) {
                return Err(ReadError::NotLeader);
            }
        }
        let limit = bisection.limit(self.batch_size);
        let unseen = self.unseen.take();
        if self.adopted {
            // What a restore brought from another cluster comes before anything of this one, in the order of the clock,
            // which goes on where LSNs and transaction ids start anew.
            let rows = match adopted::fetch(&tx, limit, BATCH_BYTES, unseen.is_some()).await {
                Ok(rows) => rows,
                Err(error) => return self.look_away(tx, error, unseen.is_some()).await,
            };
            if !rows.is_empty() {
                let worked = self.work(&tx, &rows, true, unseen, consumer, bisection).await;
                let worked = match worked {
                    Ok(worked) => worked,
                    Err(error) => return give_up::<C>(tx, error, &rows, true, bisection).await,
                };
                adopted::remove(&tx, &rows).await?;
                tx.commit().await?;
                after(consumer, &worked, bisection, rows.len());
                return Ok(Progress::More(rows.len()));
            }
            self.adopted = false;
        }
        let (new, observed) = now(&tx).await?;
        let (target, floor, behind) = match &self.position.window {
            Some((window, key)) => (window.clone(), key.lsn, Some(*key)),
            None => (new.clone(), self.floors.from(&self.position.snapshot, &new), None),
        };
        let rows = match self
            .fetch(&tx, limit, &target, floor, behind, unseen.is_some())
            .await
        {
            Ok(rows) => rows,
            Err(error) => return self.look_away(tx, error, unseen.is_some()).await,
        };
        let found = rows.first().map_or(0, |r| r.get::<_, i64>("found"));
        let returned = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let complete = found <= limit && returned == found;
        let rows = &rows[..];

        let last = rows.last().map(key_of);
        let next = Position {
            n: self.position.n + 1,
            snapshot: if complete {
                target.clone()
            } else {
                self.position.snapshot.clone()
            },
            window: match last {
                Some(key) if !complete => Some((target.clone(), key)),
                _ => None,
            },
        };
        let was_in_window = self.position.window.is_some();
        if rows.is_empty() && !was_in_window {
            tx.commit().await?;
            self.position.snapshot = new;
            // What was searched for is gone: somebody emptied the outbox.
            bisection.done(usize::MAX);
            return Ok(Progress::Empty);
        }
        let worked = self.work(&tx, rows, false, unseen, consumer, bisection).await;
        let worked = match worked {
            Ok(worked) => worked,
            Err(error) => return give_up::<C>(tx, error, rows, false, bisection).await,
        };
        let own = position::save(&tx, &next, self.identity).await?;
        tx.commit().await?;
        after(consumer, &worked, bisection, rows.len());
        self.floors.mark(own, observed, &next.snapshot);
        self.position = next;
        Ok(if complete {
            Progress::Complete(rows.len())
        } else {
            Progress::More(rows.len())
        })
    }

    /// Gives the rows to the consumer; those that are no changes, and the one that it is known to fail at, go to the
    /// quarantine table.
    async fn work<C: Consumer>(
        &self,
        tx: &Transaction<'_>,
        rows: &[Row],
        adopted: bool,
        unseen: Option<String>,
        consumer: &mut C,
        bisection: &mut BatchBisection,
    ) -> Result<Worked, ReadError<C::Error>> {
        if let [row] = rows {
            let key = key_of(row);
            if let Some(reason) = bisection.must_quarantine(Place { adopted, key }) {
                let kept = quarantine::keep_raw(tx, key, adopted, reason).await?;
                return Ok(Worked {
                    aside: u64::from(kept.is_missing()),
                    consumed: false,
                });
            }
        }
        if let Some(reason) = unseen.filter(|_| !rows.is_empty()) {
            return Err(ReadError::Unseen(reason));
        }
        bisection.begin(rows.len());
        // A consumer that panicked is given smaller batches: it must forget what it was about (see `Consumer`).
        let working = AssertUnwindSafe(async {
            let (changes, aside) = self.decode(tx, rows).await?;
            consumer.consume(tx, changes).await.map_err(ReadError::Consumer)?;
            Ok(aside)
        });
        match working.catch_unwind().await {
            Ok(worked) => worked.map(|aside| Worked {
                aside,
                consumed: true,
            }),
            Err(panic) => Err(ReadError::Panic(crate::error_text::panic(panic.as_ref()))),
        }
    }

    /// A batch that cannot be fetched because of what it holds is looked for again by its keys alone.
    async fn look_away<E: std::error::Error + 'static>(
        &mut self,
        tx: Transaction<'_>,
        error: tokio_postgres::Error,
        again: bool,
    ) -> Result<Progress, ReadError<E>> {
        if again || Fault::of(&error) != Fault::Data {
            return Err(error.into());
        }
        self.unseen = Some(crate::error_text::chain(&error));
        tx.rollback().await?;
        Ok(Progress::Halved)
    }

    /// Behind a pooler another process may have read since.
    async fn reload<E: std::error::Error + 'static>(&mut self, client: &Client) -> Result<(), ReadError<E>> {
        if let Some((stored, _)) = position::load(client).await?
            && stored.n > self.position.n
        {
            self.position = stored;
        }
        Ok(())
    }

    async fn fetch(
        &self,
        tx: &Transaction<'_>,
        limit: i64,
        target: &Snapshot,
        floor: Lsn,
        after: Option<ChangeKey>,
        unseen: bool,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let after = after.unwrap_or(ChangeKey {
            lsn: floor,
            xid: Xid(0),
            ordinal: -1,
        });
        // One row more is looked for than is fetched: to know whether there is more.
        let sql = format!(
            "SELECT lsn, xid::text AS xid, ordinal, op, found AS discovered, {}, pid, at, total AS found FROM ( \
                SELECT w.*, count(*) OVER () AS total, row_number() OVER (ORDER BY lsn, xid, ordinal) AS place, \
                       sum(bytes) OVER (ORDER BY lsn, xid, ordinal) - bytes AS before FROM ( \
                    SELECT c.*, coalesce(octet_length(c.old), 0)::bigint + coalesce(octet_length(c.new), 0) AS bytes \
                    FROM openregister_webhooks.change c \
                    WHERE (lsn, xid, ordinal) > ($1, $2::text::xid8, $3) AND lsn >= $1 \
                      AND NOT pg_visible_in_snapshot(xid, $4::text::pg_snapshot) \
                      AND pg_visible_in_snapshot(xid, $5::text::pg_snapshot) \
                    ORDER BY lsn, xid, ordinal LIMIT $6 + 1) w) b \
             WHERE before < $7 AND place <= $6 ORDER BY lsn, xid, ordinal",
            texts(unseen)
        );
        tx.query_typed(
            &sql,
            &[
                (&PgLsn::from(after.lsn.0), Type::PG_LSN),
                (&after.xid.0.to_string(), Type::TEXT),
                (&after.ordinal, Type::INT4),
                (&self.position.snapshot.as_str(), Type::TEXT),
                (&target.as_str(), Type::TEXT),
                (&limit, Type::INT8),
                (&BATCH_BYTES, Type::INT8),
            ],
        )
        .await
    }

    /// Rows into changes; what is no change goes to the quarantine table, in the same transaction: how many did.
    async fn decode<E: std::error::Error + 'static>(
        &self,
        tx: &Transaction<'_>,
        rows: &[Row],
    ) -> Result<(Vec<Change>, u64), ReadError<E>> {
        let mut changes = Vec::with_capacity(rows.len());
        let mut aside = 0;
        for row in rows {
            match decode(row, &self.table_prefix) {
                Ok(change) => changes.push(change),
                Err(reason) => {
                    let aside_now = QuarantineEntry::of(row, reason).store(tx).await?;
                    aside += u64::from(aside_now.is_missing());
                }
            }
        }
        Ok((changes, aside))
    }
}

/// The columns of a change that hold text; without what they hold where it is `unseen`.
pub(super) const fn texts(unseen: bool) -> &'static str {
    if unseen {
        "NULL::text AS tbl, NULL::text AS old, NULL::text AS new, NULL::text AS fault"
    } else {
        "tbl, old, new, fault"
    }
}

/// Tells everybody that a batch is committed.
fn after<C: Consumer>(consumer: &mut C, worked: &Worked, bisection: &mut BatchBisection, rows: usize) {
    if worked.consumed {
        consumer.committed();
    }
    if worked.aside > 0 {
        consumer.quarantined(worked.aside);
    }
    bisection.done(rows);
}

/// Rolls a batch back that failed: an error where it must be waited for, else the next batch is smaller.
async fn give_up<C: Consumer>(
    tx: Transaction<'_>,
    error: ReadError<C::Error>,
    rows: &[Row],
    adopted: bool,
    bisection: &mut BatchBisection,
) -> Result<Progress, ReadError<C::Error>> {
    let fault = match &error {
        ReadError::Consumer(error) => C::fault(error),
        ReadError::Panic(_) | ReadError::Unseen(_) => Fault::Data,
        other => other.source().map_or(Fault::Elsewhere, Fault::of),
    };
    let Some(first) = rows.first().map(key_of) else {
        return Err(error);
    };
    let reason = crate::error_text::chain(&error);
    let place = Place { adopted, key: first };
    if bisection.failed(fault, rows.len(), place, &reason) == Next::Wait {
        return Err(error);
    }
    tracing::warn!(changes = rows.len(), at = ?first.lsn, error = %reason, "a batch failed: looking for the change that it fails at");
    tx.rollback().await?;
    Ok(Progress::Halved)
}

/// The snapshot now, and the insert position; the first statement of its transaction, which has no id yet.
async fn now<E: std::error::Error + 'static>(tx: &Transaction<'_>) -> Result<(Snapshot, Lsn), ReadError<E>> {
    let rows = tx
        .query_typed(
            "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()",
            &[],
        )
        .await?;
    let row = rows.first().ok_or_else(NoSnapshot::empty)?;
    Ok((Snapshot::parse(row.get(0))?, Lsn(row.get::<_, PgLsn>(1).into())))
}

fn key_of(row: &Row) -> ChangeKey {
    ChangeKey {
        lsn: Lsn(row.get::<_, PgLsn>("lsn").into()),
        // The text of an xid8 is a number.
        xid: Xid(row.get::<_, &str>("xid").parse().unwrap_or(0)),
        ordinal: row.get("ordinal"),
    }
}

/// One row of `openregister_webhooks.change`; `Err` says why it is no change of a table that is captured.
pub(super) fn decode(row: &Row, table_prefix: &str) -> Result<Change, String> {
    if let Some(fault) = row.get::<_, Option<String>>("fault") {
        return Err(fault);
    }
    let table: &str = row.get("tbl");
    let table = TableName::parse(table, table_prefix)
        .ok_or_else(|| format!("{table} is no table of OpenRegister with the prefix {table_prefix}"))?;
    let (old, new): (Option<String>, Option<String>) = (row.get("old"), row.get("new"));
    let op = match (row.get::<_, i8>("op").cast_unsigned(), &old, &new) {
        (b'I', None, Some(_)) => Op::Insert,
        (b'U', Some(_), Some(_)) => Op::Update,
        (b'N', None, Some(_)) => Op::Unchanged,
        (b'D', Some(_), None) => Op::Delete,
        (op, ..) => return Err(format!("the images do not fit the operation {}", char::from(op))),
    };
    Ok(Change {
        key: key_of(row),
        table,
        op,
        origin: if row.get("discovered") {
            Origin::Discovered
        } else {
            Origin::Live
        },
        old,
        new,
        pid: row.get("pid"),
        at: row.get("at"),
    })
}
