//! Deliveries that are finished without an attempt: their webhook was deleted, their event has expired or was erased, or the
//! database was restored and its copy is not to deliver.

use std::collections::BTreeSet;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, GenericClient, Row};

use super::transition::{Ending, PROMOTE, WEBHOOKS, finish};
use crate::lifecycle::Lane;

/// Rows that [`clean_some`] takes out of the queue in one transaction.
const CLEAN: i64 = 5000;

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Cancels everything that is in the queue, in the caller's transaction; says how many deliveries that were. A schema that is
/// too old to have a queue has none.
///
/// # Errors
/// If a query fails.
pub async fn cancel_all<C: GenericClient + Sync>(tx: &C, cause: &str) -> Result<u64, Error> {
    let there = "SELECT to_regclass('openregister_webhooks.delivery') IS NOT NULL";
    if !first(&tx.query_typed(there, &[]).await?)?.unwrap_or(false) {
        return Ok(0);
    }
    let finish = finish("WHERE true", &Ending::untried("'cancelled'", "$1::text"));
    let sql = format!("WITH {finish} SELECT count(*) FROM gone");
    counted(&tx.query_typed(&sql, &[(&cause, Type::TEXT)]).await?)
}

/// Removes undeliverable rows: cancels deliveries whose webhook was deleted, and, if `events` says for how many days events are
/// kept, gives up those whose event is older (also for a webhook that is paused). Says how many.
///
/// # Errors
/// If a query fails; what was committed before stays.
pub async fn clean<C: GenericClient + Sync>(client: &mut C, events: Option<u32>) -> Result<u64, Error> {
    let mut total = 0;
    while let Some(count) = clean_some(client, events).await? {
        total += count;
    }
    Ok(total)
}

/// The same, for at most [`CLEAN`] rows, in one transaction; `None` if there are no more.
///
/// The SQL function `clean_deliveries` did this for earlier versions; it stays in the schema for their processes.
pub(crate) async fn clean_some<C: GenericClient + Sync>(
    client: &mut C,
    events: Option<u32>,
) -> Result<Option<u64>, Error> {
    match clean_by(client, events, Ending::untried_of_event).await {
        Err(error) if error.code().is_some_and(|code| code.code().starts_with("XX")) => {
            // An event is damaged: what it was is not worth keeping its delivery for.
            clean_by(client, events, Ending::untried).await
        }
        cleaned => cleaned,
    }
}

/// What the log says of a delivery that ends without an attempt.
type Untried = fn(&'static str, &'static str) -> Ending;

async fn clean_by<C: GenericClient + Sync>(
    client: &mut C,
    events: Option<u32>,
    ending: Untried,
) -> Result<Option<u64>, Error> {
    let tx = client.transaction().await?;
    // Every statement has an index; the table's statistics may be of a time when the queue was empty.
    tx.batch_execute("SET LOCAL enable_seqscan = off").await?;
    let mut count = cancel_orphans(&tx, CLEAN, ending).await?;
    let room = CLEAN - i64::try_from(count).unwrap_or(CLEAN);
    if let Some(days) = events
        && room > 0
    {
        let days = i32::try_from(days).unwrap_or(i32::MAX).min(100_000);
        count += give_up_expired(&tx, days, room, ending).await?;
    }
    tx.commit().await?;
    Ok((count > 0).then_some(count))
}

/// Cancels deliveries of webhooks that were deleted, leased or not: the outcome of a request in flight finds no row. Nothing is
/// promoted, since every row of such a webhook goes.
async fn cancel_orphans<C: GenericClient + Sync>(tx: &C, most: i64, ending: Untried) -> Result<u64, Error> {
    let sql = format!(
        "WITH RECURSIVE {WEBHOOKS} SELECT q.webhook FROM queued q WHERE q.webhook IS NOT NULL \
         AND NOT EXISTS (SELECT FROM openregister_webhooks.webhook w WHERE w.id = q.webhook)"
    );
    let orphans: Vec<i64> = all(&tx.query_typed(&sql, &[]).await?)?;
    if orphans.is_empty() {
        return Ok(0);
    }
    let finish = finish(
        "WHERE d.id = ANY (ARRAY(SELECT c.id FROM chosen c))",
        &ending("'cancelled'", "'the webhook was deleted'"),
    );
    let sql = format!(
        "WITH chosen AS MATERIALIZED (
    SELECT d.id FROM openregister_webhooks.delivery d WHERE d.webhook = ANY ($1) LIMIT $2 FOR UPDATE SKIP LOCKED
), {finish} SELECT count(*) FROM gone"
    );
    let params = [
        (&orphans as &(dyn ToSql + Sync), Type::INT8_ARRAY),
        (&most, Type::INT8),
    ];
    counted(&tx.query_typed(&sql, &params).await?)
}

/// Gives up deliveries of events that are older than `days`, whole UTC days. Leased rows are left to their worker.
async fn give_up_expired<C: GenericClient + Sync>(
    tx: &C,
    days: i32,
    most: i64,
    ending: Untried,
) -> Result<u64, Error> {
    let finish = finish(
        "WHERE d.id = ANY (ARRAY(SELECT c.id FROM chosen c))",
        &ending("'given_up'", "'expired'"),
    );
    let sql = format!(
        "WITH chosen AS MATERIALIZED (
    SELECT d.id FROM openregister_webhooks.delivery d
    WHERE d.event_day < (clock_timestamp() AT TIME ZONE 'UTC')::date - $1 AND d.lease_owner IS NULL
    ORDER BY d.id LIMIT $2 FOR UPDATE SKIP LOCKED
), {finish} SELECT g.webhook, g.lane FROM gone g"
    );
    let params = [(&days as &(dyn ToSql + Sync), Type::INT4), (&most, Type::INT8)];
    let gone = tx.query_typed(&sql, &params).await?;
    let lanes: BTreeSet<(i64, &str)> = gone
        .iter()
        .map(|row| Ok((row.try_get("webhook")?, row.try_get("lane")?)))
        .collect::<Result<_, Error>>()?;
    let (webhooks, lanes): (Vec<i64>, Vec<&str>) = lanes.into_iter().unzip();
    promote(tx, &webhooks, &lanes).await?;
    Ok(gone.len() as u64)
}

/// Cancels deliveries of one object, of events up to `until`, at most `most` for each webhook, in the caller's transaction; what
/// comes after them is then the head of its lane. Says how many there were.
pub(crate) async fn cancel_object<C: GenericClient + Sync>(
    tx: &C,
    lane: &Lane,
    until: i64,
    most: i64,
) -> Result<u64, Error> {
    let sql = format!("WITH RECURSIVE {WEBHOOKS} SELECT q.webhook FROM queued q WHERE q.webhook IS NOT NULL");
    let webhooks: Vec<i64> = all(&tx.query_typed(&sql, &[]).await?)?;
    let finish = finish(
        "WHERE d.id = ANY (ARRAY(SELECT c.id FROM chosen c))",
        &Ending::untried("'cancelled'", "'the object was erased'"),
    );
    let sql = format!(
        "WITH chosen AS MATERIALIZED (
    SELECT o.id FROM unnest($2::bigint[]) AS w (webhook) CROSS JOIN LATERAL (
        SELECT d.id FROM openregister_webhooks.delivery d
        WHERE d.webhook = w.webhook AND d.lane = $1 AND d.event_seq <= $3 ORDER BY d.id + 0 LIMIT $4
    ) o
), {finish} SELECT count(*) FROM gone"
    );
    let params: [Param<'_>; 4] = [
        (&lane.as_str(), Type::TEXT),
        (&webhooks, Type::INT8_ARRAY),
        (&until, Type::INT8),
        (&most, Type::INT8),
    ];
    let cancelled = counted(&tx.query_typed(&sql, &params).await?)?;
    let lanes = vec![lane.as_str(); webhooks.len()];
    promote(tx, &webhooks, &lanes).await?;
    Ok(cancelled)
}

/// Takes the object, and what its receivers answered, out of the log's entries about events up to `until`, at most `most` of them,
/// in the caller's transaction. The entries stay as figures. Says how many entries and how many attempts were changed.
pub(crate) async fn blank_log<C: GenericClient + Sync>(
    tx: &C,
    lane: &Lane,
    until: i64,
    most: i64,
) -> Result<(u64, u64), Error> {
    let lane: Param<'_> = (&lane.as_str(), Type::TEXT);
    let rows = tx
        .query_typed(
            "SELECT id FROM openregister_webhooks.delivery_log WHERE lane = $1 AND event_seq <= $2 ORDER BY id LIMIT $3",
            &[lane.clone(), (&until, Type::INT8), (&most, Type::INT8)],
        )
        .await?;
    let ids: Vec<i64> = all(&rows)?;
    let attempts = tx
        .execute_typed(
            "UPDATE openregister_webhooks.attempt SET headers = NULL, response = NULL, error = NULL \
             WHERE delivery = ANY ($1) AND (headers IS NOT NULL OR response IS NOT NULL OR error IS NOT NULL)",
            &[(&ids, Type::INT8_ARRAY)],
        )
        .await?;
    let entries = tx
        .execute_typed(
            "UPDATE openregister_webhooks.delivery_log SET lane = 'erased' WHERE lane = $1 AND id = ANY ($2)",
            &[lane, (&ids, Type::INT8_ARRAY)],
        )
        .await?;
    Ok((entries, attempts))
}

/// Makes the first row of each of these lanes its head; the two slices belong together.
async fn promote<C: GenericClient + Sync>(tx: &C, webhooks: &[i64], lanes: &[&str]) -> Result<(), Error> {
    if webhooks.is_empty() {
        return Ok(());
    }
    let params: [Param<'_>; 2] = [(&webhooks, Type::INT8_ARRAY), (&lanes, Type::TEXT_ARRAY)];
    tx.query_typed(PROMOTE, &params).await.map(drop)
}

/// The first column of the first row.
fn first<'a, T: tokio_postgres::types::FromSql<'a>>(rows: &'a [Row]) -> Result<Option<T>, Error> {
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// The first column of every row.
fn all<'a, T: tokio_postgres::types::FromSql<'a>>(rows: &'a [Row]) -> Result<Vec<T>, Error> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn counted(rows: &[Row]) -> Result<u64, Error> {
    Ok(first::<i64>(rows)?.map_or(0, i64::cast_unsigned))
}
