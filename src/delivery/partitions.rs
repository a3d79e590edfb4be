//! Partitions by day of events, delivery log and attempts: made ahead, dropped after their retention, by age and by size.
//!
//! Guarantees: a day's partition exists before the day begins (a missing one costs nothing but its own drop: the default
//! partition takes the rows); an event is not dropped while a delivery of it is pending, and none is pending for longer than
//! events are kept.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, GenericClient};

/// Days for which partitions are made ahead.
const AHEAD: i32 = 7;

/// How long things are kept, in days, and how much of them, in bytes on disk (0: no limit). Whichever ends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub events: u32,
    pub log: u32,
    pub event_bytes: u64,
    pub log_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: 3,
            log: 30,
            event_bytes: 0,
            log_bytes: 0,
        }
    }
}

/// Rows that are taken out of the queue in one transaction.
const CLEAN: i32 = 5000;
/// How often a partition that is in use is asked for, and how long apart; each time for 200 ms.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Makes the coming days' partitions, gives up what waits for events past their retention, and drops those; then whole days,
/// oldest first and never today's, until the rest is within its size. Safe at any
/// time, in any process.
///
/// # Errors
/// Where PostgreSQL says so; the next run makes up for it.
pub async fn maintain<C: GenericClient + Sync>(client: &C, retention: Retention) -> Result<(), Error> {
    patiently(
        client,
        "SELECT openregister_webhooks.ensure_partitions($1)",
        &[&AHEAD],
    )
    .await?;
    clean(client, Some(retention.events)).await?;
    for (which, days) in [("event", retention.events), ("log", retention.log)] {
        let sql = "SELECT openregister_webhooks.drop_partitions($1, (clock_timestamp() AT TIME ZONE 'UTC')::date - $2::integer)";
        patiently(client, sql, &[&which, &in_days(days)]).await?;
    }
    for (which, bytes) in [("event", retention.event_bytes), ("log", retention.log_bytes)] {
        if bytes > 0 {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            let sql = "SELECT openregister_webhooks.trim_partitions($1, $2)";
            patiently(client, sql, &[&which, &bytes]).await?;
        }
    }
    Ok(())
}

/// Takes out of the queue what can never be delivered: for webhooks that are gone, and (where `events` says for how many
/// days events are kept) for events that are. Returns how many rows.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn clean<C: GenericClient + Sync>(client: &C, events: Option<u32>) -> Result<u64, Error> {
    let mut total = 0;
    while let Some(moved) = clean_some(client, events).await? {
        total += moved;
    }
    Ok(total)
}

/// The same, a limited number of rows at a time; `None` when there are no more.
pub(crate) async fn clean_some<C: GenericClient + Sync>(
    client: &C,
    events: Option<u32>,
) -> Result<Option<u64>, Error> {
    let sql = "SELECT openregister_webhooks.clean_deliveries((clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer, $2)";
    let events = events.map(in_days);
    let moved: i32 = client.query_one(sql, &[&events, &CLEAN]).await?.try_get(0)?;
    Ok(u64::try_from(moved).ok().filter(|moved| *moved > 0))
}

fn in_days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX).min(100_000)
}

/// Runs a statement that needs a lock, and again where it was not to be had: nobody waits long behind it.
async fn patiently<C: GenericClient + Sync>(
    client: &C,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match client.execute(sql, params).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done.map(drop),
        }
    }
}
