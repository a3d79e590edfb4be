//! What the tables of capture hold, for `doctor`. Nothing here changes anything.

use tokio_postgres::types::{PgLsn, Type};
use tokio_postgres::{Client, Error};

use super::position::Position;

/// Captured changes that have not been read. Rows are counted up to a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Unread {
    pub(crate) changes: i64,
    /// The row images of these changes, in bytes.
    pub(crate) bytes: i64,
    /// The age of the oldest, in seconds; 0 if there is none.
    pub(crate) oldest: f64,
    /// Changes that `adopt --deliver` set aside, and that have not been read.
    pub(crate) adopted: i64,
}

/// A row of `gap`.
#[derive(Debug)]
pub(crate) struct RecordedGap {
    pub(crate) id: i64,
    pub(crate) table: String,
    pub(crate) reason: String,
    pub(crate) remedy: String,
    /// When it was recorded, in UTC, to the minute.
    pub(crate) at: String,
}

/// How this schema was installed.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) host_schema: String,
    pub(crate) table_prefix: String,
    /// An uninstall has begun and has not finished.
    pub(crate) detaching: bool,
    /// The first discovery of tables has finished.
    pub(crate) discovered: bool,
}

/// The version of the installed schema.
pub(crate) async fn schema_version(client: &Client) -> Result<i32, Error> {
    let rows = client
        .query_typed(
            "SELECT coalesce(max(version), 0) FROM openregister_webhooks.migration",
            &[],
        )
        .await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// How this schema was installed; `None` if somebody deleted the row that says so.
pub(crate) async fn installation(client: &Client) -> Result<Option<Installation>, Error> {
    let rows = client
        .query_typed(
            "SELECT host_schema, table_prefix, detaching, discovered_at IS NOT NULL FROM openregister_webhooks.settings",
            &[],
        )
        .await?;
    Ok(rows.first().map(|row| Installation {
        host_schema: row.get(0),
        table_prefix: row.get(1),
        detaching: row.get(2),
        discovered: row.get(3),
    }))
}

/// What has not been read from this position on; counts at most `limit` rows.
pub(crate) async fn unread(
    client: &Client,
    position: Option<&Position>,
    limit: i64,
) -> Result<Unread, Error> {
    let snapshot = position.map_or_else(|| "3:3:".to_owned(), |p| p.snapshot.as_str().to_owned());
    let window = position.and_then(|p| p.window.as_ref());
    let key = window.map(|(_, key)| *key);
    let rows = client
        .query_typed(
            "SELECT count(*), coalesce(sum(bytes), 0)::bigint, coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8, \
                    (SELECT count(*) FROM (SELECT FROM openregister_webhooks.change_adopted LIMIT $6) a) \
             FROM (SELECT c.at, coalesce(octet_length(c.old), 0)::bigint + coalesce(octet_length(c.new), 0) AS bytes \
                   FROM openregister_webhooks.change c \
                   WHERE NOT pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot) \
                     AND NOT coalesce(pg_visible_in_snapshot(c.xid, $2::text::pg_snapshot) \
                                      AND (c.lsn, c.xid, c.ordinal) <= ($3, $4::text::xid8, $5), false) \
                   LIMIT $6) u",
            &[
                (&snapshot, Type::TEXT),
                (&window.map(|(s, _)| s.as_str()), Type::TEXT),
                (&key.map(|k| PgLsn::from(k.lsn.0)), Type::PG_LSN),
                (&key.map(|k| k.xid.0.to_string()), Type::TEXT),
                (&key.map(|k| k.ordinal), Type::INT4),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    Ok(rows.first().map_or_else(Unread::default, |row| Unread {
        changes: row.get(0),
        bytes: row.get(1),
        oldest: row.get(2),
        adopted: row.get(3),
    }))
}

/// The latest gaps, at most 20.
pub(crate) async fn latest_gaps(client: &Client) -> Result<Vec<RecordedGap>, Error> {
    let rows = client
        .query_typed(
            "SELECT id, tbl, reason, remedy, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM openregister_webhooks.gap \
             ORDER BY id DESC LIMIT 20",
            &[],
        )
        .await?;
    let gap = |row: &tokio_postgres::Row| RecordedGap {
        id: row.get(0),
        table: row.get(1),
        reason: row.get(2),
        remedy: row.get(3),
        at: row.get(4),
    };
    Ok(rows.iter().map(gap).collect())
}

/// How many changes are in quarantine, and the reason of the latest.
pub(crate) async fn quarantined(client: &Client) -> Result<(i64, Option<String>), Error> {
    let rows = client
        .query_typed(
            "SELECT count(*), (SELECT reason FROM openregister_webhooks.quarantine ORDER BY id DESC LIMIT 1) \
             FROM openregister_webhooks.quarantine",
            &[],
        )
        .await?;
    Ok(rows.first().map_or((0, None), |row| (row.get(0), row.get(1))))
}
