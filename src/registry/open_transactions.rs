//! "A webhook receives what commits after its registration was answered."
//!
//! A trigger looks up which kinds are captured when its row is written, so a transaction that wrote before the registration
//! committed may commit after it without having captured anything. When a kind is switched on, the answer therefore
//! waits for the transactions that were in flight at that moment.

use std::time::Duration;

use tokio_postgres::Client;

use super::error::RegistryError;

/// How long an answer waits at most.
const BOUND: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until every transaction that was in flight at the call has ended; `false` where the bound came first.
///
/// A new transaction id is the measure: whoever wrote before has a smaller one. A snapshot's xmax is not, for it is one past
/// the last transaction that ended, and one that is still open can lie beyond it.
pub(super) async fn wait_for_open_transactions(client: &Client) -> Result<bool, RegistryError> {
    let row = client.query_one("SELECT pg_current_xact_id()::text", &[]).await?;
    let seen: &str = row.get(0);
    let ended = async {
        loop {
            let row = client
                .query_one(
                    "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8",
                    &[&seen],
                )
                .await?;
            if row.get(0) {
                return Ok::<_, RegistryError>(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(BOUND, ended).await {
        Ok(done) => done.map(|()| true),
        Err(_) => Ok(false),
    }
}
