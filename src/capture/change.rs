//! A captured change, as the trigger left it in `openregister_webhooks.change_*`.

use std::fmt;

use chrono::{DateTime, Utc};

use orw_model::TableName;

/// A position in PostgreSQL's write-ahead log, as `pg_current_wal_insert_lsn()` gives it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A full 64-bit transaction id, as `pg_current_xact_id()` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Xid(pub u64);

/// What orders and identifies a change. Two changes of different rows may share an LSN across sessions (measured:
/// 3 to 9 %), so the LSN alone is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey {
    pub lsn: Lsn,
    pub xid: Xid,
    /// Place within one (lsn, xid); 0 but for rows that discovery captured in one statement.
    pub ordinal: i32,
}

/// What the statement did to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    /// An UPDATE that left the row as it was; captured for objects only, with the row in `new`. OpenRegister 0.2.13
    /// locks and unlocks that way.
    Unchanged,
    Delete,
}

/// How the change came into the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The trigger saw the write itself.
    Live,
    /// Discovery found the row in a table that had appeared without a trigger; `op` is `Insert`.
    Discovered,
}

/// One captured change of one row.
#[derive(Debug, Clone)]
pub struct Change {
    pub key: ChangeKey,
    pub table: TableName,
    pub op: Op,
    pub origin: Origin,
    /// The row before, as `row_to_json` text; `None` for an insert and for [`Op::Unchanged`].
    pub old: Option<String>,
    /// The row after, as `row_to_json` text; `None` for a delete.
    pub new: Option<String>,
    /// The backend that wrote it: the audit row of the same request carries the same.
    pub pid: i32,
    /// When the trigger ran, by the database server's clock.
    pub at: DateTime<Utc>,
}
