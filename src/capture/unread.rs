//! The statements of a read: the transaction's settings, the current snapshot, and the unread changes of the outbox.

use std::sync::LazyLock;

use tokio_postgres::Row;
use tokio_postgres::types::{PgLsn, Type};

use super::change::{ChangeKey, Lsn};
use super::consumer::ReadError;
use super::locks;
use super::position::{EarlierFloor, NoSnapshot, Snapshot};
use super::row::{SNAPSHOT, WITHIN, key_of, text_columns};
use super::transaction::BatchTransaction;
use crate::database::Session;

/// Bytes of row images in one batch; a change that is larger is a batch of its own. Each is in memory about ten times for a moment (as
/// it was read, as a row, as an event, on its way to the database), so this decides how much memory the process takes at most. 500 changes
/// of usual size (1 kB an image) have about so many.
pub(super) const BATCH_BYTES: i64 = 1024 * 1024;

/// Settings of the statements of a read, for a session of our own.
///
/// The tables have no statistics (nobody analyses them), and the order of the index is always the right one. If a plan needs a
/// scan nevertheless, it looks so expensive that PostgreSQL would compile it, which takes longer than running it. The search path
/// keeps functions and operators of other roles out. No plan depends on a parameter, so each statement is planned once.
pub(super) const SESSION: &str = "SET search_path = pg_catalog, pg_temp; SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET enable_hashagg = off; SET jit = off; SET plan_cache_mode = force_generic_plan";

/// Begins a transaction with the same settings, for a session that others use, too.
pub(super) const POOLED: &str = "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashagg = off; SET LOCAL jit = off";

/// Begins a transaction in a session with [`SESSION`].
pub(super) const OWN: &str = "BEGIN";

/// Takes the leader's lock for this transaction; whether it was free.
pub(super) async fn lead(tx: &BatchTransaction<'_>) -> Result<bool, tokio_postgres::Error> {
    let rows = tx
        .query_typed(
            "SELECT pg_try_advisory_xact_lock($1)",
            &[(&locks::LEADER, Type::INT8)],
        )
        .await?;
    Ok(rows.first().is_some_and(|r| r.get(0)))
}

/// Which changes are to be read.
pub(super) enum Unread<'a> {
    /// Those visible now and not in `read`; none of them lies below the floor.
    Now {
        read: &'a Snapshot,
        floor: &'a EarlierFloor,
    },
    /// Those visible in `window` and not in `read`, after this key.
    Window {
        read: &'a Snapshot,
        window: &'a Snapshot,
        after: ChangeKey,
    },
}

/// What a read found.
pub(super) struct Found {
    /// The snapshot in which it was read, and an insert position of the write-ahead log that was seen after it was taken.
    pub(super) now: Snapshot,
    pub(super) observed: Lsn,
    /// In key order.
    pub(super) rows: Vec<Row>,
    /// Whether nothing else was to be read.
    pub(super) complete: bool,
}

/// Reads the first unread changes in key order: at most `limit`, and no more than [`BATCH_BYTES`] allow. It is one statement, and so
/// one snapshot. The transaction must not have an id yet.
pub(super) async fn fetch<E: std::error::Error + 'static>(
    session: &Session,
    unread: &Unread<'_>,
    limit: i64,
    without_texts: bool,
) -> Result<Found, ReadError<E>> {
    let sql = match (unread, without_texts) {
        (Unread::Now { .. }, false) => &*NOW,
        (Unread::Now { .. }, true) => &*NOW_WITHOUT_TEXTS,
        (Unread::Window { .. }, false) => &*WINDOW,
        (Unread::Window { .. }, true) => &*WINDOW_WITHOUT_TEXTS,
    };
    let mut rows = match unread {
        Unread::Now { read, floor } => {
            let (xids, lsns) = floor.ended_lower();
            session
                .query(
                    sql,
                    &[
                        (&read.as_str(), Type::TEXT),
                        (&limit, Type::INT8),
                        (&BATCH_BYTES, Type::INT8),
                        (&PgLsn::from(floor.usual().0), Type::PG_LSN),
                        (&xids, Type::TEXT_ARRAY),
                        (&lsns, Type::PG_LSN_ARRAY),
                    ],
                )
                .await?
        }
        Unread::Window { read, window, after } => {
            session
                .query(
                    sql,
                    &[
                        (&read.as_str(), Type::TEXT),
                        (&limit, Type::INT8),
                        (&BATCH_BYTES, Type::INT8),
                        (&PgLsn::from(after.lsn.0), Type::PG_LSN),
                        (&after.xid.0.to_string(), Type::TEXT),
                        (&after.ordinal, Type::INT4),
                        (&window.as_str(), Type::TEXT),
                    ],
                )
                .await?
        }
    };
    let place = rows
        .iter()
        .position(|row| row.get::<_, Option<&str>>(SNAPSHOT).is_some());
    let head = rows.remove(place.ok_or_else(NoSnapshot::empty)?);
    let all = rows.len();
    // Beyond the limits there are only keys.
    rows.retain(|row| row.get(WITHIN));
    let complete = rows.len() == all;
    // PostgreSQL keeps the order of a subquery; nothing relies on it.
    let mut last = None;
    let sorted = rows.iter().map(key_of).all(|key| last.replace(key) <= Some(key));
    if !sorted {
        rows.sort_by_key(key_of);
    }
    Ok(Found {
        now: Snapshot::parse(head.get("snapshot"))?,
        observed: Lsn(head.get::<_, PgLsn>("lsn").into()),
        rows,
        complete,
    })
}

static NOW: LazyLock<String> = LazyLock::new(|| now(text_columns(false)));
static NOW_WITHOUT_TEXTS: LazyLock<String> = LazyLock::new(|| now(text_columns(true)));
static WINDOW: LazyLock<String> = LazyLock::new(|| window(text_columns(false)));
static WINDOW_WITHOUT_TEXTS: LazyLock<String> = LazyLock::new(|| window(text_columns(true)));

fn now(columns: &str) -> String {
    statement(
        "least($4, (SELECT min(m.lsn) FROM unnest($5::text[], $6::pg_lsn[]) AS m (xid, lsn), now \
             WHERE pg_visible_in_snapshot(m.xid::xid8, now.snapshot)))",
        "true",
        columns,
    )
}

fn window(columns: &str) -> String {
    statement(
        "$4",
        "(c.lsn, c.xid, c.ordinal) > ($4, $5::text::xid8, $6) \
         AND pg_visible_in_snapshot(c.xid, (SELECT $7::text::pg_snapshot))",
        columns,
    )
}

/// `floor`: SQL for the LSN at which to begin. `wanted`: SQL for which changes `c` are wanted, beside those that `$1` does not show. The
/// first row has the snapshot, and no change. The columns have the places that `row` names.
fn statement(floor: &str, wanted: &str, columns: &str) -> String {
    format!(
        "WITH now AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot, pg_current_wal_insert_lsn() AS lsn) \
         SELECT now.snapshot::text AS snapshot, now.lsn, NULL::text AS xid, NULL::integer AS ordinal, NULL::\"char\" AS op, \
                NULL::boolean AS discovered, NULL::text AS tbl, NULL::text AS old, NULL::text AS new, NULL::text AS fault, \
                NULL::integer AS pid, NULL::timestamptz AS at, NULL::boolean AS within FROM now \
         UNION ALL \
         SELECT NULL, lsn, xid::text, ordinal, op, found, CASE WHEN within THEN tbl END, CASE WHEN within THEN old END, \
                CASE WHEN within THEN new END, CASE WHEN within THEN fault END, pid, at, within FROM ( \
            SELECT w.*, row_number() OVER keys <= $2 AND sum(bytes) OVER keys - bytes < $3 AS within FROM ( \
                SELECT lsn, xid, ordinal, op, found, pid, at, {columns}, \
                       coalesce(octet_length(c.old), 0)::bigint + coalesce(octet_length(c.new), 0) AS bytes \
                FROM openregister_webhooks.change c \
                WHERE c.lsn >= (SELECT {floor}) AND {wanted} \
                  AND NOT pg_visible_in_snapshot(c.xid, (SELECT $1::text::pg_snapshot)) \
                ORDER BY c.lsn, c.xid, c.ordinal LIMIT $2 + 1) w \
            WINDOW keys AS (ORDER BY lsn, xid, ordinal ROWS UNBOUNDED PRECEDING)) b"
    )
}
