//! Questions to a database that are answered by a number, and waiting for one.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

/// How long a test waits for something that is bound to come: so long that only a hang reaches it, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// One number from one query.
pub(crate) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until a query gives this number.
pub(crate) async fn until_number(client: &Client, sql: &str, expected: i64, patience: Duration) {
    let began = Instant::now();
    loop {
        let last = number(client, sql).await;
        if last == expected {
            return;
        }
        assert!(began.elapsed() < patience, "{sql}: {last}, expected {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
