//! Attaches the capture trigger to a table, without making a writer wait.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// How often a busy table is tried before it is left to discovery.
pub(super) const ATTEMPTS: u32 = 40;
const ATTACH: &str = "SELECT openregister_webhooks.attach($1, $2)";

/// Attaches the trigger to a table; `false` if the table stayed busy or is gone. The rows that it holds become changes, unless
/// copying them takes longer than the connection's statement timeout: then a gap is recorded instead.
pub(super) async fn attach(
    client: &Client,
    table: &str,
    attempts: u32,
) -> Result<bool, tokio_postgres::Error> {
    let row = match retry_while_busy(client, attempts, ATTACH, &[&table, &true]).await {
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            retry_while_busy(client, attempts, ATTACH, &[&table, &false]).await?
        }
        done => done?,
    };
    Ok(row.is_some_and(|r| r.get(0)))
}

/// Attaches the trigger while the system runs: one try, in a transaction of at most 200 ms. The table's rows are copied under
/// its lock, and a gap is better than a host that waits. The limit is set for the transaction only, because behind a pooler
/// somebody else uses the session next.
pub(crate) async fn attach_briefly(client: &mut Client, table: &str) -> Result<bool, tokio_postgres::Error> {
    for copy in [true, false] {
        let tx = client.transaction().await?;
        tx.batch_execute("SET LOCAL statement_timeout = '200ms'").await?;
        match tx
            .query_typed(ATTACH, &[(&table, Type::TEXT), (&copy, Type::BOOL)])
            .await
        {
            Ok(rows) => {
                tx.commit().await?;
                return Ok(rows.first().is_some_and(|r| r.get(0)));
            }
            Err(error) if is_busy(&error) => return Ok(false),
            Err(error) if copy && error.code() == Some(&SqlState::QUERY_CANCELED) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Runs `statement`, which takes a lock on a table of Nextcloud, until it gets the lock, and returns its row; `None` if it never
/// did. Between two tries the host has the table for itself for longer than a try can hold it up.
pub(super) async fn retry_while_busy(
    client: &Client,
    attempts: u32,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, tokio_postgres::Error> {
    for attempt in 1..=attempts {
        match client.query_one(statement, parameters).await {
            Ok(row) => return Ok(Some(row)),
            Err(error) if is_busy(&error) => {
                let pause = Duration::from_millis(150 + u64::from(attempt) * 10);
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether the lock could not be taken in time, or taking it would have been a deadlock.
fn is_busy(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}
