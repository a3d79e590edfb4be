//! Changes that could not be read: kept raw, counted, and out of the pipeline's way.
//!
//! Guarantees: nothing of an object that was erased since the change was made is kept (see `pipeline::erase`). Whoever writes
//! here holds the table's lock for writers from before it looks at `erased`; whoever erases waits for those.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Row, Transaction};

use super::change::{Change, ChangeKey, Op, Origin};

/// The longest reason that is kept, in bytes.
const REASON: usize = 2000;
/// Before anything is looked up that decides whether to insert.
const LOCK: &str = "LOCK TABLE openregister_webhooks.quarantine IN ROW EXCLUSIVE MODE";

/// The uuid of the object that a row image is of, as SQL: NULL where none is found, empty where the table holds no objects.
/// Only the text is looked at, since the image may be one that no JSON can be read of, and only a million characters at the end
/// where the column is: the first in the tables of objects, behind the large one in the audit table.
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

/// Whether a change is of an object that was erased since, as SQL.
fn is_erased(table: &str, old: &str, new: &str, at: &str) -> String {
    format!(
        r"EXISTS (SELECT FROM unnest(ARRAY[{old}, {new}]) AS i (image), openregister_webhooks.erased e
            WHERE e.object = sha256(convert_to('object:' || regexp_replace({uuid}, '\\(.)', '\1', 'g'), 'UTF8')) AND {at} <= e.at)",
        uuid = uuid_in(table, "i.image")
    )
}

/// Puts the change with this key aside as it is, within the database: it may be one that cannot even be read here. In the
/// transaction that moves the position past it. False where it is of an erased object, and dropped.
pub(super) async fn keep_raw(
    tx: &Transaction<'_>,
    key: ChangeKey,
    adopted: bool,
    reason: &str,
) -> Result<bool, tokio_postgres::Error> {
    let table = if adopted { "change_adopted" } else { "change" };
    let reason = presentable(reason);
    tx.batch_execute(LOCK).await?;
    let rows = tx
        .query_typed(
            &format!(
                "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
                 SELECT lsn, xid, ordinal, tbl, op, found, old, new, pid, at, $4 FROM openregister_webhooks.{table} c \
                 WHERE (lsn, xid, ordinal) = ($1, $2::text::xid8, $3) AND NOT {} LIMIT 1 RETURNING tbl, id",
                is_erased("c.tbl", "c.old", "c.new", "c.at")
            ),
            &[
                (&PgLsn::from(key.lsn.0), Type::PG_LSN),
                (&key.xid.0.to_string(), Type::TEXT),
                (&key.ordinal, Type::INT4),
                (&reason, Type::TEXT),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        tracing::warn!("a change that makes the pipeline fail is of an erased object: dropped");
        return Ok(false);
    };
    let (table, id): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
    tracing::error!(%table, id, %reason, "a change makes the pipeline fail each time: quarantined, the rest goes on");
    Ok(true)
}

/// A reason as a text of PostgreSQL, of bounded length.
fn presentable(reason: &str) -> String {
    let mut end = reason.len().min(REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].replace('\0', "\u{fffd}")
}

/// A change for the quarantine table.
#[derive(Debug)]
pub struct Undecoded {
    lsn: PgLsn,
    xid: String,
    ordinal: i32,
    table: String,
    op: i8,
    discovered: bool,
    old: Option<String>,
    new: Option<String>,
    pid: i32,
    at: chrono::DateTime<chrono::Utc>,
    reason: String,
}

impl Undecoded {
    /// A row of the outbox as the reader selects it.
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

    /// A change whose images lifecycle could not make sense of.
    #[must_use]
    pub fn of_change(change: Change, table_prefix: &str, reason: String) -> Self {
        let op = match change.op {
            Op::Insert => b'I',
            Op::Update => b'U',
            Op::Unchanged => b'N',
            Op::Delete => b'D',
        };
        Self {
            lsn: PgLsn::from(change.key.lsn.0),
            xid: change.key.xid.0.to_string(),
            ordinal: change.key.ordinal,
            table: format!("{table_prefix}{}", change.table.name()),
            op: op.cast_signed(),
            discovered: change.origin == Origin::Discovered,
            old: change.old,
            new: change.new,
            pid: change.pid,
            at: change.at,
            reason,
        }
    }

    /// Stores it, in the transaction that moves the position past it; false where it is of an erased object, and dropped.
    ///
    /// # Errors
    /// Where the insert fails.
    pub async fn store(&self, tx: &Transaction<'_>) -> Result<bool, tokio_postgres::Error> {
        tx.batch_execute(LOCK).await?;
        let sql = format!(
            "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
             SELECT $1, $2::text::xid8, $3, $4, $5, $6, $7, $8, $9, $10, $11 WHERE NOT {} RETURNING id",
            is_erased("$4", "$7", "$8", "$10")
        );
        let rows = tx
            .query_typed(
                &sql,
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
                    (&presentable(&self.reason), Type::TEXT),
                ],
            )
            .await?;
        let Some(row) = rows.first() else {
            tracing::warn!(table = %self.table, at = %self.at, "a change that cannot be read is of an erased object: dropped");
            return Ok(false);
        };
        tracing::error!(table = %self.table, id = row.try_get::<_, i64>(0)?, at = %self.at, reason = %self.reason, "a change cannot be read: quarantined");
        Ok(true)
    }
}
