//! Questions to the database, none of which waits without an end.

use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use tokio::time::timeout;

use crate::database::DatabaseError;

/// Asks over a connection of the pool. Where no answer comes in time (a pooler that is silent, a path that lost its state), the
/// connection is closed: who used it next would wait behind the question. The server may execute it nevertheless.
pub(super) async fn ask<T>(
    pool: &Pool,
    patience: Duration,
    question: impl AsyncFnOnce(&mut Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, DatabaseError> {
    let mut client = pool.get().await?;
    match timeout(patience, question(&mut client)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            drop(Client::take(client));
            Err(DatabaseError::Away(format!(
                "it gave no answer within {} s",
                patience.as_secs_f32()
            )))
        }
    }
}
