//! Turns what could not be captured into gaps, which `doctor` reports and `gaps` announces.
//!
//! A writer that finds every change table locked exclusively goes on and records that in `missed` or, if that is locked, too, by a
//! notification (`sql/functions.sql`). A writer that finds the outbox beyond its limit also records it in `missed`, once for each table of
//! Nextcloud until the full change table is emptied. That happens when everything is read and every transaction that found it full has
//! ended, and then the gap is over. When `missed` has grown to [`FULL`], writers record each table once only, so the time of the last
//! loss is unknown.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::loss_notices::LossNotices;

const REASON: &str = "every change table was locked exclusively";

/// The size of `missed` in bytes from which on writers record each table only once (`capture()` in `sql/functions.sql`).
const FULL: i64 = 1_048_576;

/// SQL for whether [`gather`] and [`close`] would find anything.
pub(super) const ANY: &str = "EXISTS (SELECT FROM openregister_webhooks.missed)";

/// Turns the rows of `missed` into gaps, except those of a full outbox.
pub(super) async fn gather(client: &Client) -> Result<(), tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "WITH gone AS (DELETE FROM openregister_webhooks.missed WHERE filled IS NULL RETURNING tbl, at), \
                  lost AS (SELECT tbl, count(*) AS transactions, min(at) AS first, row_number() OVER (ORDER BY tbl) AS n, \
                               CASE WHEN filled_up THEN clock_timestamp() ELSE max(at) END AS last, CASE WHEN filled_up THEN 'at least ' ELSE '' END AS least \
                           FROM gone, (SELECT pg_catalog.pg_relation_size('openregister_webhooks.missed') >= $2 AS filled_up) f GROUP BY tbl, filled_up) \
             INSERT INTO openregister_webhooks.gap (id, since, until, tbl, reason, remedy) \
             SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + n, first, last, tbl, \
                    format('%s%s transactions wrote to it between %s and %s while %s: what they wrote is not captured', least, transactions, \
                           to_char(first AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), to_char(last AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC'), $1::text), \
                    'openregister-webhooks backfill --table ' || tbl FROM lost RETURNING tbl, reason",
            &[(&REASON, Type::TEXT), (&FULL, Type::INT8)],
        )
        .await?;
    for row in rows {
        let (table, reason): (&str, &str) = (row.get(0), row.get(1));
        tracing::error!(%table, %reason, "changes are lost");
    }
    Ok(())
}

/// Turns the rows of `missed` about a full outbox into gaps, once the full change table is emptied.
pub(super) async fn close(client: &Client) -> Result<(), tokio_postgres::Error> {
    let rows = client
        .query_typed(
            "WITH gone AS (DELETE FROM openregister_webhooks.missed WHERE filled IS NOT NULL \
                               AND filled IS DISTINCT FROM pg_catalog.pg_relation_filenode('openregister_webhooks.change_0'::pg_catalog.regclass) \
                               AND filled IS DISTINCT FROM pg_catalog.pg_relation_filenode('openregister_webhooks.change_1'::pg_catalog.regclass) \
                               AND filled IS DISTINCT FROM pg_catalog.pg_relation_filenode('openregister_webhooks.change_2'::pg_catalog.regclass) \
                           RETURNING tbl, at), \
                  lost AS (SELECT tbl, min(at) AS first, clock_timestamp() AS last, row_number() OVER (ORDER BY tbl) AS n \
                           FROM gone GROUP BY tbl) \
             INSERT INTO openregister_webhooks.gap (id, since, until, tbl, reason, remedy) \
             SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + n, first, last, tbl, \
                    format('the outbox was full: what was written to it between %s and %s is not captured', \
                           to_char(first AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), to_char(last AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC')), \
                    CASE WHEN tbl LIKE '%audit\\_trails' THEN 'none: who did what, and locks of OpenRegister 0.2.13, are not known for that time' \
                         ELSE 'openregister-webhooks backfill --table ' || tbl END FROM lost RETURNING tbl, reason",
            &[],
        )
        .await?;
    for row in rows {
        let (table, reason): (&str, &str) = (row.get(0), row.get(1));
        tracing::error!(%table, %reason, "capture goes on; changes are lost");
    }
    Ok(())
}

/// Turns loss notices into gaps; whether there were any. A table that is not captured cannot come from a writer and is skipped.
pub(super) async fn store_notices(
    client: &Client,
    notices: &LossNotices,
) -> Result<bool, tokio_postgres::Error> {
    let waiting = notices.waiting();
    if waiting.is_empty() {
        return Ok(false);
    }
    let noted = client
        .query_typed(
            "INSERT INTO openregister_webhooks.gap (id, tbl, reason, remedy) \
             SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + n, tbl, \
                    'transactions wrote to it while ' || $2::text || ', and openregister_webhooks.missed, too: what they wrote is not captured', \
                    'openregister-webhooks backfill --table ' || tbl \
             FROM unnest($1::text[]) WITH ORDINALITY AS t (tbl, n) \
             WHERE tbl IN (SELECT c.tbl FROM openregister_webhooks.captured_table c) RETURNING tbl",
            &[(&waiting.tables(), Type::TEXT_ARRAY), (&REASON, Type::TEXT)],
        )
        .await?;
    for row in noted {
        let table: &str = row.get(0);
        tracing::error!(%table, reason = REASON, "changes are lost");
    }
    notices.stored(&waiting);
    Ok(true)
}
