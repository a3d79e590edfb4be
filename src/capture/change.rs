//! A captured change, as the trigger left it in `openregister_webhooks.change_*`.

use std::fmt;

use chrono::{DateTime, Utc};

use orw_model::TableName;

/// A position in PostgreSQL's write-ahead log, as `pg_current_wal_insert_lsn()` returns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A full 64-bit transaction id, as `pg_current_xact_id()` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Xid(pub u64);

/// Orders and identifies a change. Changes of different rows by different sessions may share an LSN (measured: 3 to 9 %), so the LSN
/// alone is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeKey {
    pub lsn: Lsn,
    pub xid: Xid,
    /// The place among changes with the same LSN and transaction id; 0 unless discovery captured several rows in one statement.
    pub ordinal: i32,
}

/// What the statement did to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    /// An UPDATE that did not change the row; captured for objects only, with the row in `new`. OpenRegister 0.2.13 locks and
    /// unlocks in this way.
    Unchanged,
    Delete,
}

/// Who put the change into the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The trigger, at the write.
    Live,
    /// Discovery, which found the row in a table that had appeared without a trigger; `op` is `Insert`.
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
    /// The process id of the backend that wrote it: the audit row of the same request has the same.
    pub pid: i32,
    /// When the trigger ran, by the database server's clock.
    pub at: DateTime<Utc>,
}
