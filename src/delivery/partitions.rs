//! Partitions by day of events, delivery log and attempts: made ahead, dropped after their retention.
//!
//! Guarantees: a day's partition exists before the day begins (a missing one costs nothing but its own drop: the default
//! partition takes the rows); what a pending delivery needs is not dropped.

use tokio_postgres::{Error, GenericClient};

/// Days for which partitions are made ahead.
const AHEAD: i32 = 7;

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub events: u32,
    pub log: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: 3, log: 30 }
    }
}

/// Makes the coming days' partitions and drops those past their retention. Safe at any time, in any process.
///
/// # Errors
/// Where PostgreSQL says so; a lock that is not had within 2 s is such a case, and the next run makes up for it.
pub async fn maintain<C: GenericClient + Sync>(client: &C, retention: Retention) -> Result<(), Error> {
    client
        .execute("SELECT openregister_webhooks.ensure_partitions($1)", &[&AHEAD])
        .await?;
    for (which, days) in [("event", retention.events), ("log", retention.log)] {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        client
            .execute(
                "SELECT openregister_webhooks.drop_partitions($1, (clock_timestamp() AT TIME ZONE 'UTC')::date - $2::integer)",
                &[&which, &days],
            )
            .await?;
    }
    Ok(())
}
