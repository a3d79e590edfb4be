//! Rows of the outbox, as the reader selects them, and the changes in them.

use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::change::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use orw_model::TableName;

/// The places of the columns, in what `unread::fetch` and `adopted::fetch` select. (To find a column by its name takes longer than to
/// read it.)
pub(super) const SNAPSHOT: usize = 0;
const LSN: usize = 1;
const XID: usize = 2;
const ORDINAL: usize = 3;
const OP: usize = 4;
const DISCOVERED: usize = 5;
const TBL: usize = 6;
const OLD: usize = 7;
const NEW: usize = 8;
const FAULT: usize = 9;
const PID: usize = 10;
const AT: usize = 11;
pub(super) const WITHIN: usize = 12;

/// The columns of a change that hold text; `without_texts` they are NULL, so that PostgreSQL can send a row whose text it cannot
/// convert.
pub(super) const fn text_columns(without_texts: bool) -> &'static str {
    if without_texts {
        "NULL::text AS tbl, NULL::text AS old, NULL::text AS new, NULL::text AS fault"
    } else {
        "tbl, old, new, fault"
    }
}

/// The key of a row of the outbox.
pub(super) fn key_of(row: &Row) -> ChangeKey {
    ChangeKey {
        lsn: Lsn(row.get::<_, PgLsn>(LSN).into()),
        // The text of an xid8 is a number.
        xid: Xid(row.get::<_, &str>(XID).parse().unwrap_or(0)),
        ordinal: row.get(ORDINAL),
    }
}

/// Decodes a row of the outbox; `Err` says why it is not a change of a captured table.
pub(super) fn decode(row: &Row, table_prefix: &str) -> Result<Change, String> {
    if let Some(fault) = row.get::<_, Option<String>>(FAULT) {
        return Err(fault);
    }
    let table: &str = row.get(TBL);
    let table = TableName::parse(table, table_prefix)
        .ok_or_else(|| format!("{table} is not a table of OpenRegister with the prefix {table_prefix}"))?;
    let (old, new): (Option<String>, Option<String>) = (row.get(OLD), row.get(NEW));
    let op = match (row.get::<_, i8>(OP).cast_unsigned(), &old, &new) {
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
        origin: if row.get(DISCOVERED) {
            Origin::Discovered
        } else {
            Origin::Live
        },
        old,
        new,
        pid: row.get(PID),
        at: row.get(AT),
    })
}
