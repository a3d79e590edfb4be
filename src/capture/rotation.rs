//! Keeps the outbox small: directs writers to the next change table, and empties tables that are read.
//!
//! A table is emptied by TRUNCATE under its exclusive lock, taken with NOWAIT: then no transaction that wrote to it is open, every
//! change in it is committed, and one query tells whether all of them are read. Writers never wait for it: a writer that finds the
//! table locked uses another one. There is another one: the other two are held first, in the mode of a writer, and if one of them is
//! locked by somebody else, nothing is emptied. As long as a table is being emptied, a session that wants to lock the others waits
//! for the first of them, so it cannot take both.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::position::Position;

/// When the current table has grown to this many bytes, writers are directed to the next one.
const TURN_AT_BYTES: i64 = 4 * 1024 * 1024;

/// The change tables as they were looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// The table that writers use.
    slot: i32,
    /// Bytes with TOAST, which holds most of the data; an empty table counts as 0.
    bytes: [i64; 3],
}

/// SQL for the columns of [`Sizes`].
pub(super) fn sizes_sql() -> String {
    let size = |table: u8| {
        let name = format!("'openregister_webhooks.change_{table}'::pg_catalog.regclass");
        format!(
            "CASE WHEN pg_catalog.pg_relation_size({name}) = 0 THEN 0 ELSE pg_catalog.pg_table_size({name}) END AS bytes_{table}"
        )
    };
    format!(
        "openregister_webhooks.slot() AS slot, {}, {}, {}",
        size(0),
        size(1),
        size(2)
    )
}

impl Sizes {
    /// Reads the columns of [`sizes_sql`].
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            slot: row.try_get("slot")?,
            bytes: [
                row.try_get("bytes_0")?,
                row.try_get("bytes_1")?,
                row.try_get("bytes_2")?,
            ],
        })
    }
}

/// Turns to the next table if the current one is large enough (or `always`), and empties tables that are read. Returns how many were
/// emptied.
pub(super) async fn rotate(
    client: &mut Client,
    position: &Position,
    sizes: Sizes,
    always: bool,
) -> Result<usize, tokio_postgres::Error> {
    if position.window.is_some() {
        return Ok(0);
    }
    let Sizes { mut slot, bytes } = sizes;
    let used = bytes[usize::try_from(slot.rem_euclid(3)).unwrap_or(0)];
    if used >= TURN_AT_BYTES || (always && used > 0) {
        slot = match client
            .query_typed("SELECT openregister_webhooks.turn()", &[])
            .await
        {
            Ok(rows) => rows.first().map_or(slot, |r| r.get(0)),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => slot,
            Err(error) => return Err(error),
        };
    }
    let mut emptied = 0;
    for (table, size) in (0_i32..).zip(bytes) {
        if table != slot && size > 0 && empty(client, position, table).await? {
            emptied += 1;
        }
    }
    Ok(emptied)
}

/// Empties one table if no transaction that wrote to it is open and everything in it is read; whether it did.
async fn empty(client: &mut Client, position: &Position, table: i32) -> Result<bool, tokio_postgres::Error> {
    let tx = client.transaction().await?;
    let (second, third) = ((table + 1) % 3, (table + 2) % 3);
    let lock = format!(
        "LOCK TABLE openregister_webhooks.change_{second}, openregister_webhooks.change_{third} IN ROW EXCLUSIVE MODE NOWAIT; \
         LOCK TABLE openregister_webhooks.change_{table} IN ACCESS EXCLUSIVE MODE NOWAIT"
    );
    if let Err(error) = tx.batch_execute(&lock).await {
        return if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            Ok(false)
        } else {
            Err(error)
        };
    }
    let rows = tx
        .query_typed(
            &format!(
                "SELECT EXISTS (SELECT FROM openregister_webhooks.change_{table} \
                 WHERE NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot))"
            ),
            &[(&position.snapshot.as_str(), Type::TEXT)],
        )
        .await?;
    if rows.first().is_none_or(|r| r.get::<_, bool>(0)) {
        return Ok(false);
    }
    tx.batch_execute(&format!(
        "TRUNCATE openregister_webhooks.change_{table}; SELECT openregister_webhooks.form_change_table({table})"
    ))
    .await?;
    tx.commit().await?;
    Ok(true)
}
