//! Changes that could not be read: kept raw, counted, and out of the pipeline's way.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Row, Transaction};

use super::change::{Change, ChangeKey, Op, Origin};

/// The longest reason that is kept, in bytes.
const REASON: usize = 2000;

/// Puts the change with this key aside as it is, within the database: it may be one that cannot even be read here. In the
/// transaction that moves the position past it.
pub(super) async fn keep_raw(
    tx: &Transaction<'_>,
    key: ChangeKey,
    adopted: bool,
    reason: &str,
) -> Result<(), tokio_postgres::Error> {
    let table = if adopted { "change_adopted" } else { "change" };
    let reason = presentable(reason);
    let rows = tx
        .query_typed(
            &format!(
                "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
                 SELECT lsn, xid, ordinal, tbl, op, found, old, new, pid, at, $4 FROM openregister_webhooks.{table} \
                 WHERE (lsn, xid, ordinal) = ($1, $2::text::xid8, $3) LIMIT 1 RETURNING tbl, id"
            ),
            &[
                (&PgLsn::from(key.lsn.0), Type::PG_LSN),
                (&key.xid.0.to_string(), Type::TEXT),
                (&key.ordinal, Type::INT4),
                (&reason, Type::TEXT),
            ],
        )
        .await?;
    let (table, id) = rows.first().map_or_else(Default::default, |row| {
        (row.get::<_, String>(0), row.get::<_, i64>(1))
    });
    tracing::error!(%table, id, %reason, "a change makes the pipeline fail each time: quarantined, the rest goes on");
    Ok(())
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

    /// Stores it, in the transaction that moves the position past it.
    ///
    /// # Errors
    /// Where the insert fails.
    pub async fn store(&self, tx: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        tracing::error!(table = %self.table, at = %self.at, reason = %self.reason, "a change cannot be read: quarantined");
        tx.query_typed(
            "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
             VALUES ($1, $2::text::xid8, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
        .await
        .map(drop)
    }
}
