//! What bounds the log and the stored events: their partitions, one for each UTC day, are made ahead and dropped by age and by size.
//!
//! Guarantees: a day's partition exists before the day begins (if it does not, the default partition takes the rows, and they are
//! deleted one by one later). No event is dropped while a delivery of it is pending, and no delivery is pending for longer than
//! events are kept. The SQL functions `ensure_partitions`, `index_log`, `drop_partitions` and `trim_partitions` run with the rights of the schema's
//! owner; `docs/storage.md` has the settings.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, GenericClient, Row};

use super::queue;

/// Days for which partitions are made ahead.
const AHEAD: i32 = 7;

/// For how many days events and log are kept, and how many bytes of them on disk with indexes (0: no limit), whichever is reached
/// first.
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

/// How often to try to lock a partition that is in use, and the pause between two attempts. Each attempt waits 200 ms at most.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Indexes of the log that one run makes at most: those of a year.
const INDEXES: usize = 2_000;

/// Makes indexes that days of the log do not have yet, one day at a time: an upgrade does not make those of a long log. Safe at any
/// time, in any process.
///
/// # Errors
/// If a query fails; the next run makes up for it.
pub async fn index_log<C: GenericClient + Sync>(client: &C) -> Result<(), Error> {
    for _ in 0..INDEXES {
        let rows = patiently(client, "SELECT openregister_webhooks.index_log()", &[]).await?;
        if rows.first().map_or(Ok(0), |row| row.try_get::<_, i32>(0))? == 0 {
            break;
        }
    }
    Ok(())
}

/// Makes the coming days' partitions. Gives up deliveries of events that are older than the retention, and drops these events and the
/// log's oldest days. Then it drops whole days, the oldest first and never today's, until the rest is within its size. Safe at any
/// time, in any process.
///
/// # Errors
/// If a query fails; the next run makes up for it.
pub async fn maintain<C: GenericClient + Sync>(client: &mut C, retention: Retention) -> Result<(), Error> {
    patiently(
        client,
        "SELECT openregister_webhooks.ensure_partitions($1)",
        &[&AHEAD],
    )
    .await?;
    queue::clean(client, Some(retention.events)).await?;
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

fn in_days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX).min(100_000)
}

/// Runs a statement that needs a lock, and tries again if it did not get the lock: so nobody waits long behind it.
async fn patiently<C: GenericClient + Sync>(
    client: &C,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let mut attempt = 1;
    loop {
        match client.query(sql, params).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}
