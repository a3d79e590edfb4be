//! Queries with a time limit: no answer of the database is waited for without an end.

use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use tokio::time::timeout;

use crate::database::DatabaseError;

/// Runs queries over a connection of the pool. If no answer comes in time (a pooler that is silent, a network that lost the
/// connection's state), the connection is closed, since the next query on it would wait behind this one. The server may execute the
/// query nevertheless.
///
/// # Errors
/// If a query fails, and [`DatabaseError::Away`] if the time is over.
pub(super) async fn timed_query<T>(
    pool: &Pool,
    query_timeout: Duration,
    queries: impl AsyncFnOnce(&mut Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, DatabaseError> {
    let mut client = pool.get().await?;
    match timeout(query_timeout, queries(&mut client)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            drop(Client::take(client));
            Err(DatabaseError::Away(format!(
                "it gave no answer within {} s",
                query_timeout.as_secs_f32()
            )))
        }
    }
}
