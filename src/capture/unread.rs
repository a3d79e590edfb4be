//! The statements of a read: the transaction's settings, the current snapshot, and the unread changes of the outbox.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Row, Transaction};

use super::change::{ChangeKey, Lsn, Xid};
use super::consumer::ReadError;
use super::locks;
use super::position::{NoSnapshot, Snapshot};
use super::row::text_columns;

/// Bytes of row images in one batch; a change that is larger is a batch of its own.
pub(super) const BATCH_BYTES: i64 = 16 * 1024 * 1024;

/// Begins the transaction of a read.
///
/// The tables have no statistics (nobody analyses them), and the order of the index is always the right one. If a plan needs a
/// scan nevertheless, it looks so expensive that PostgreSQL would compile it, which takes longer than running it. The search path
/// keeps functions and operators of other roles out.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let tx = client.transaction().await?;
    tx.batch_execute(
        "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
         SET LOCAL enable_hashagg = off; SET LOCAL jit = off",
    )
    .await?;
    Ok(tx)
}

/// Takes the leader's lock for this transaction; whether it was free.
pub(super) async fn lead(tx: &Transaction<'_>) -> Result<bool, tokio_postgres::Error> {
    let rows = tx
        .query_typed(
            "SELECT pg_try_advisory_xact_lock($1)",
            &[(&locks::LEADER, Type::INT8)],
        )
        .await?;
    Ok(rows.first().is_some_and(|r| r.get(0)))
}

/// The current snapshot and the current insert position of the write-ahead log. To be called first in its transaction, which has no
/// transaction id yet.
pub(super) async fn now<E: std::error::Error + 'static>(
    tx: &Transaction<'_>,
) -> Result<(Snapshot, Lsn), ReadError<E>> {
    let rows = tx
        .query_typed(
            "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()",
            &[],
        )
        .await?;
    let row = rows.first().ok_or_else(NoSnapshot::empty)?;
    Ok((Snapshot::parse(row.get(0))?, Lsn(row.get::<_, PgLsn>(1).into())))
}

/// Which changes are to be read: those visible in `target` and not in `read`.
pub(super) struct Unread<'a> {
    pub(super) read: &'a Snapshot,
    pub(super) target: &'a Snapshot,
    /// No such change has a smaller LSN.
    pub(super) floor: Lsn,
    /// Within a window: only changes after this key.
    pub(super) after: Option<ChangeKey>,
}

/// The first unread changes in key order: at most `limit`, and no more than [`BATCH_BYTES`] allow. The column `found` counts those
/// found, which are up to `limit` + 1, so that a larger count says that there are more.
pub(super) async fn fetch(
    tx: &Transaction<'_>,
    unread: &Unread<'_>,
    limit: i64,
    without_texts: bool,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let after = unread.after.unwrap_or(ChangeKey {
        lsn: unread.floor,
        xid: Xid(0),
        ordinal: -1,
    });
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
        text_columns(without_texts)
    );
    tx.query_typed(
        &sql,
        &[
            (&PgLsn::from(after.lsn.0), Type::PG_LSN),
            (&after.xid.0.to_string(), Type::TEXT),
            (&after.ordinal, Type::INT4),
            (&unread.read.as_str(), Type::TEXT),
            (&unread.target.as_str(), Type::TEXT),
            (&limit, Type::INT8),
            (&BATCH_BYTES, Type::INT8),
        ],
    )
    .await
}
