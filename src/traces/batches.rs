//! In which batch an event was stored: the transaction that did it names the batch.

use std::collections::HashMap;

use chrono::NaiveDate;
use deadpool_postgres::Pool;
use opentelemetry::trace::SpanContext;

use super::ids;

/// A stored event: a row of `openregister_webhooks.event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredIn {
    pub day: NaiveDate,
    pub seq: i64,
}

/// The batches of these events; one that cannot be told (it was stored by an earlier version, or is gone) is not in the answer.
pub(super) async fn look_up(
    pool: &Pool,
    events: impl Iterator<Item = StoredIn>,
) -> Result<HashMap<StoredIn, SpanContext>, String> {
    // LIMIT 1 keeps this a look-up per event: a join could be planned as a scan of all events.
    let sql = "SELECT e.day, e.seq, e.batch FROM unnest($1::date[], $2::bigint[]) AS r(day, seq) CROSS JOIN LATERAL \
        (SELECT day, seq, batch::text FROM openregister_webhooks.event e WHERE e.day = r.day AND e.seq = r.seq LIMIT 1) e \
        WHERE e.batch IS NOT NULL";
    let mut events: Vec<(NaiveDate, i64)> = events.map(|event| (event.day, event.seq)).collect();
    events.sort_unstable();
    events.dedup();
    let (days, seqs): (Vec<NaiveDate>, Vec<i64>) = events.into_iter().unzip();
    let client = pool
        .get()
        .await
        .map_err(|error| crate::error_text::chain(&error))?;
    let statement = client.prepare_cached(sql).await;
    let statement = statement.map_err(|error| crate::error_text::chain(&error))?;
    let rows = client.query(&statement, &[&days, &seqs]).await;
    let rows = rows.map_err(|error| crate::error_text::chain(&error))?;
    let known = rows.iter().map(|row| {
        let stored = StoredIn {
            day: row.try_get(0)?,
            seq: row.try_get(1)?,
        };
        Ok((stored, ids::batch(stored.day, row.try_get(2)?)))
    });
    known
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| crate::error_text::chain(&error))
}
