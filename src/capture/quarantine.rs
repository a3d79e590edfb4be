//! Changes that could not be read: kept raw, counted, and out of the pipeline's way.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Row, Transaction};

use super::change::{Change, Op, Origin};

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
                (&self.reason, Type::TEXT),
            ],
        )
        .await
        .map(drop)
    }
}
