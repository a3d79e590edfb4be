//! The changes that `adopt --deliver` moved to `change_adopted`: read in batches, each deleted in the transaction that consumes it.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::row::text_columns;
use super::transaction::BatchTransaction;

/// The first rows, with the columns of `unread::fetch` in their places, and `place`: at most `count`, and no more than `bytes` of row images allow,
/// but at least one.
pub(super) async fn fetch(
    tx: &BatchTransaction<'_>,
    count: i64,
    bytes: i64,
    without_texts: bool,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT place::text AS place, lsn, xid::text AS xid, ordinal, op, found AS discovered, {}, pid, at FROM ( \
            SELECT w.*, sum(bytes) OVER (ORDER BY at, lsn, xid, ordinal, place) - bytes AS before FROM ( \
                SELECT c.ctid AS place, c.*, coalesce(octet_length(c.old), 0)::bigint + coalesce(octet_length(c.new), 0) AS bytes \
                FROM openregister_webhooks.change_adopted c ORDER BY at, lsn, xid, ordinal LIMIT $1) w) b \
         WHERE before < $2 ORDER BY at, b.lsn, b.xid, ordinal, b.place",
        text_columns(without_texts)
    );
    tx.query_typed(&sql, &[(&count, Type::INT8), (&bytes, Type::INT8)])
        .await
}

/// Deletes exactly these rows, by their places (`ctid`), which do not change while the transaction that read them is open.
pub(super) async fn remove(tx: &BatchTransaction<'_>, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    let places: Vec<String> = rows.iter().map(|row| row.get("place")).collect();
    tx.query_typed(
        "DELETE FROM openregister_webhooks.change_adopted WHERE ctid = ANY ($1::text[]::tid[])",
        &[(&places, Type::TEXT_ARRAY)],
    )
    .await
    .map(drop)
}
