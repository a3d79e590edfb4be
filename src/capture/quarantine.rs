//! The quarantine: changes and events that could not be processed, stored unchanged and out of the pipeline's way.
//!
//! Guarantees: only [`QuarantineEntry::store`] and [`keep_raw`] add rows. Each records a gap, so that consumers hear of it (see `gaps`),
//! and keeps the table within [`MAX_ROWS`] and [`MAX_BYTES`]; an entry beyond that is discarded, and the gap says so. Nothing of an
//! object is kept that was erased after the change was made (see `pipeline::erase`). A writer takes the table's lock for writers before
//! it looks at `erased`, and `erase` waits for such writers.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use tokio_postgres::types::{PgLsn, ToSql, Type};
use tokio_postgres::{Error, GenericClient, Row, Transaction};

use super::change::{Change, ChangeKey, Op, Origin};
use super::transaction::BatchTransaction;

/// The most rows in the quarantine.
const MAX_ROWS: i64 = 10_000;
/// The most bytes of row images and reasons, uncompressed. The oldest rows stay: they show how the trouble began, and a flood of new
/// ones cannot push them out.
const MAX_BYTES: i64 = 256 << 20;

/// The longest reason that is kept, in bytes.
const REASON: usize = 2000;
/// To be run before the look-ups that decide whether to insert.
const LOCK: &str = "LOCK TABLE openregister_webhooks.quarantine IN ROW EXCLUSIVE MODE";
/// How often to try to record a gap: another process may take the same microsecond as its id.
const IDS: u32 = 5;

/// How many entries this process discarded because the quarantine was full.
static DISCARDED: AtomicU64 = AtomicU64::new(0);

/// How many changes this process discarded because the quarantine was full.
pub(crate) fn discarded() -> u64 {
    DISCARDED.load(Ordering::Relaxed)
}

/// What became of an entry for the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineOutcome {
    /// It is in the quarantine, in the row with this id.
    Kept(i64),
    /// The quarantine is full: only its gap is recorded.
    Discarded,
    /// It is of an object that was erased since: neither the entry nor a gap is recorded.
    Erased,
}

impl QuarantineOutcome {
    /// Whether consumers miss a change because of it.
    #[must_use]
    pub const fn is_missing(self) -> bool {
        !matches!(self, Self::Erased)
    }
}

/// SQL for the uuid of the object of a row image: NULL if none is found, empty if the table holds no objects. It searches the text,
/// because the image may not be valid JSON, and only a million characters at the end that holds the column: the beginning in the
/// tables of objects, the end in the audit table, where it follows the large column.
pub(crate) fn uuid_in(table: &str, image: &str) -> String {
    let value = r#"":"((?:[^"\\]|\\.)*)"'"#;
    format!(
        r#"CASE WHEN {table} LIKE '%openregister\_audit\_trails'
                THEN substring(right({image}, 1000000) FROM '"object_uuid{value})
            WHEN {table} LIKE '%openregister\_objects' THEN substring(left({image}, 1000000) FROM '"uuid{value})
            WHEN {table} LIKE '%openregister\_table\_%' THEN substring(left({image}, 1000000) FROM '"_uuid{value})
            ELSE '' END"#
    )
}

/// SQL for whether a change is of an object that was erased since. A database with the encoding SQL_ASCII may hold bytes that are not
/// text.
fn is_erased(table: &str, old: &str, new: &str, at: &str) -> String {
    format!(
        r"EXISTS (SELECT FROM unnest(ARRAY[{old}, {new}]) AS i (image), openregister_webhooks.erased e
            WHERE e.object = sha256(convert_to('object:' || regexp_replace({uuid}, '\\(.)', '\1', 'g'),
                CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)) AND {at} <= e.at)",
        uuid = uuid_in(table, "i.image")
    )
}

/// Copies the change with this key into the quarantine within the database, because it may not even be possible to fetch it. To be
/// called in the transaction that moves the position past it.
pub(super) async fn keep_raw(
    tx: &BatchTransaction<'_>,
    key: ChangeKey,
    adopted: bool,
    reason: &str,
) -> Result<QuarantineOutcome, Error> {
    let table = if adopted { "change_adopted" } else { "change" };
    let source = format!(
        "SELECT lsn, xid, ordinal, tbl, op, found, old, new, pid, at, $4::text AS reason FROM openregister_webhooks.{table} c \
         WHERE (lsn, xid, ordinal) = ($1, $2::text::xid8, $3) LIMIT 1"
    );
    let reason = presentable(reason);
    put(
        &**tx,
        &source,
        &[
            (&PgLsn::from(key.lsn.0), Type::PG_LSN),
            (&key.xid.0.to_string(), Type::TEXT),
            (&key.ordinal, Type::INT4),
            (&reason, Type::TEXT),
        ],
        &reason,
    )
    .await
}

/// Whether an entry about a stored event exists already; its reason begins with `name`. Keeps other writers out until the end of the
/// transaction, because an entry of a transaction that is still open would be missed. Capture writes here, too, and would wait
/// behind this transaction, so the wait for the lock is short.
pub(crate) async fn holds_event(tx: &Transaction<'_>, name: &str) -> Result<bool, Error> {
    tx.batch_execute(
        "SET LOCAL lock_timeout = '2s'; LOCK TABLE openregister_webhooks.quarantine IN SHARE ROW EXCLUSIVE MODE",
    )
    .await?;
    let found = tx
        .query_typed(
            "SELECT 1 FROM openregister_webhooks.quarantine WHERE lsn = '0/0' AND reason LIKE $1 || ' %' LIMIT 1",
            &[(&name, Type::TEXT)],
        )
        .await?;
    Ok(!found.is_empty())
}

/// Adds the row that the query `source` returns, and records the gap. To be called in a transaction.
async fn put(
    tx: &impl GenericClient,
    source: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    reason: &str,
) -> Result<QuarantineOutcome, Error> {
    tx.batch_execute(LOCK).await?;
    let size =
        "coalesce(octet_length(old), 0)::bigint + coalesce(octet_length(new), 0) + octet_length(reason)";
    let sql = format!(
        "WITH given AS MATERIALIZED ({source}), \
              verdict AS MATERIALIZED (SELECT g.tbl, g.at, {erased} AS erased, \
                  (SELECT count(*) < {MAX_ROWS} AND coalesce(sum({size}), 0) + (SELECT {size} FROM given) <= {MAX_BYTES} \
                   FROM openregister_webhooks.quarantine) AS room FROM given g), \
              kept AS (INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
                  SELECT g.lsn, g.xid, g.ordinal, g.tbl, g.op, g.found, g.old, g.new, g.pid, g.at, g.reason FROM given g, verdict v \
                  WHERE v.room AND NOT v.erased RETURNING id) \
         SELECT v.tbl, v.at, v.erased, (SELECT id FROM kept) AS id FROM verdict v",
        erased = is_erased("g.tbl", "g.old", "g.new", "g.at")
    );
    let rows = tx.query_typed(&sql, parameters).await?;
    let Some(row) = rows.first() else {
        // `erase` has removed it from the outbox meanwhile.
        return Ok(QuarantineOutcome::Erased);
    };
    let (table, at): (&str, DateTime<Utc>) = (row.try_get("tbl")?, row.try_get("at")?);
    if row.try_get("erased")? {
        tracing::warn!(%table, %at, "a change that cannot be processed is of an erased object: dropped");
        return Ok(QuarantineOutcome::Erased);
    }
    let aside = row
        .try_get::<_, Option<i64>>("id")?
        .map_or(QuarantineOutcome::Discarded, QuarantineOutcome::Kept);
    match aside {
        QuarantineOutcome::Kept(id) => {
            tracing::error!(%table, id, %at, %reason, "a change cannot be processed: quarantined, the rest goes on");
        }
        _ => {
            DISCARDED.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%table, %at, %reason, "a change cannot be processed, and the quarantine is full: discarded; empty it (see `doctor`)");
        }
    }
    record_gap(tx, table, at, aside == QuarantineOutcome::Discarded).await?;
    Ok(aside)
}

/// Records that consumers miss a change: in the table's gap that is not announced yet, else in a new one. Never waits for a
/// transaction that announces gaps.
async fn record_gap(
    tx: &impl GenericClient,
    table: &str,
    at: DateTime<Utc>,
    discarded: bool,
) -> Result<(), Error> {
    const SAID: &str = "format('%s changes cannot be worked on and are in quarantine instead (openregister_webhooks.quarantine)%s', n, \
        CASE WHEN gone > 0 THEN format('; it is full, so %s of them are not kept', gone) ELSE '' END)";
    let gone = i64::from(discarded);
    let extend = format!(
        "UPDATE openregister_webhooks.gap g SET since = least(g.since, $2), until = greatest(g.until, $2), changes = s.n, discarded = s.gone, \
                reason = {SAID} \
         FROM (SELECT id, changes + 1 AS n, discarded + $3 AS gone FROM openregister_webhooks.gap \
               WHERE told_at IS NULL AND cause = 'quarantine' AND tbl = $1 ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED) s \
         WHERE g.id = s.id"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&table, Type::TEXT),
        (&at, Type::TIMESTAMPTZ),
        (&gone, Type::INT8),
    ];
    if tx.execute_typed(&extend, &parameters).await? > 0 {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO openregister_webhooks.gap (tbl, cause, since, until, changes, discarded, reason, remedy) \
         SELECT $1, 'quarantine', $2, $2, n, gone, {SAID}, \
             CASE WHEN $1 LIKE '%audit\\_trails' THEN 'none: who did what, and locks of OpenRegister 0.2.13, are not known for that time' \
                  ELSE 'openregister-webhooks backfill --table ' || $1 END \
         FROM (SELECT 1::bigint AS n, $3 AS gone) s ON CONFLICT (id) DO NOTHING"
    );
    for _ in 0..IDS {
        if tx.execute_typed(&insert, &parameters).await? > 0 {
            return Ok(());
        }
    }
    tracing::error!(%table, "the gap of a quarantined change could not be recorded: every id was taken");
    Ok(())
}

/// A reason as text that PostgreSQL accepts, of bounded length.
fn presentable(reason: &str) -> String {
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].replace('\0', "\u{fffd}")
}

/// An operation as the tables store it.
const fn letter(op: Op) -> i8 {
    let letter = match op {
        Op::Insert => b'I',
        Op::Update => b'U',
        Op::Unchanged => b'N',
        Op::Delete => b'D',
    };
    letter.cast_signed()
}

/// An entry for the quarantine table.
#[derive(Debug)]
pub struct QuarantineEntry {
    lsn: PgLsn,
    xid: String,
    ordinal: i32,
    table: String,
    op: i8,
    discovered: bool,
    old: Option<String>,
    new: Option<String>,
    pid: i32,
    at: DateTime<Utc>,
    reason: String,
}

impl QuarantineEntry {
    /// Of a row of the outbox, as the reader selects it.
    pub(super) fn of(row: &Row, reason: String) -> Self {
        Self {
            lsn: row.get("lsn"),
            xid: row.get("xid"),
            ordinal: row.get("ordinal"),
            table: row.get("tbl"),
            op: row.get("op"),
            discovered: row.get("discovered"),
            old: row.get("old"),
            new: row.get("new"),
            pid: row.get("pid"),
            at: row.get("at"),
            reason,
        }
    }

    /// Of a change whose row images `lifecycle` cannot read.
    #[must_use]
    pub fn of_change(change: Change, table_prefix: &str, reason: String) -> Self {
        Self {
            lsn: PgLsn::from(change.key.lsn.0),
            xid: change.key.xid.0.to_string(),
            ordinal: change.key.ordinal,
            table: format!("{table_prefix}{}", change.table.name()),
            op: letter(change.op),
            discovered: change.origin == Origin::Discovered,
            old: change.old,
            new: change.new,
            pid: change.pid,
            at: change.at,
            reason,
        }
    }

    /// Of a stored event that cannot be read any more: `table` (with prefix) is the table that was changed, `at` the time of the change.
    #[must_use]
    pub fn of_event(table: String, op: Op, at: DateTime<Utc>, pid: i32, reason: String) -> Self {
        Self {
            lsn: PgLsn::from(0),
            xid: "0".to_owned(),
            ordinal: 0,
            table,
            op: letter(op),
            discovered: false,
            old: None,
            new: None,
            pid,
            at,
            reason,
        }
    }

    /// Adds the entry and records the gap. To be called in the transaction that moves the position past the change.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn store(&self, tx: &impl GenericClient) -> Result<QuarantineOutcome, Error> {
        let reason = presentable(&self.reason);
        put(
            tx,
            "SELECT $1::pg_lsn AS lsn, $2::text::xid8 AS xid, $3::integer AS ordinal, $4::text AS tbl, $5::\"char\" AS op, $6::boolean AS found, \
                    $7::text AS old, $8::text AS new, $9::integer AS pid, $10::timestamptz AS at, $11::text AS reason",
            &[
                (&self.lsn, Type::PG_LSN),
                (&self.xid, Type::TEXT),
                (&self.ordinal, Type::INT4),
                (&self.table, Type::TEXT),
                (&self.op, Type::CHAR),
                (&self.discovered, Type::BOOL),
                (&self.old, Type::TEXT),
                (&self.new, Type::TEXT),
                (&self.pid, Type::INT4),
                (&self.at, Type::TIMESTAMPTZ),
                (&reason, Type::TEXT),
            ],
            &reason,
        )
        .await
    }
}
