//! Waiting for conditions. Every test waits with the same patience, and never sleeps in place of a condition.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

/// How long a test waits for something that is bound to come: so long that only a hang reaches it, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// The time between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

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
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until a query gives true.
pub(crate) async fn until_true(client: &Client, what: &str, sql: &str) {
    until(what, async || client.query_one(sql, &[]).await.unwrap().get(0)).await;
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    until_some(what, async || holds().await.then_some(())).await;
}

/// Waits until there is a value; gives it.
pub(crate) async fn until_some<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until a file contains this text; gives the file's text.
pub(crate) async fn until_contains(path: &std::path::Path, text: &str) -> String {
    let began = Instant::now();
    loop {
        let all = std::fs::read_to_string(path).unwrap_or_default();
        if all.contains(text) {
            return all;
        }
        assert!(began.elapsed() < PATIENCE, "{text} is not in {all}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
