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

/// Whether every transaction of this database with a smaller id than `$1` has ended.
///
/// `xmin` alone would do, but it counts the transactions of every database of the server. So, up to 5,000 ids beyond it,
/// each transaction that is still in progress is looked at: every transaction holds a lock on its own id, and the session that
/// holds it says which database it is in. A transaction of which that is not known counts as one of this database.
const ENDED: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8 \
    OR (pg_snapshot_xmin(pg_current_snapshot())::text::bigint > $1::text::bigint - 5000 \
        AND NOT EXISTS (SELECT FROM generate_series(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, $1::text::bigint - 1) x \
            WHERE pg_xact_status(x::text::xid8) = 'in progress' \
              AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                  WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted \
                    AND l.transactionid = (x & 4294967295)::text::xid \
                    AND a.datid <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))))";

/// Waits until every transaction of this database that was in flight at the call has ended; `false` if the bound is reached first.
///
/// A new transaction id is the measure: whoever wrote before has a smaller one. A snapshot's xmax is not, for it is one past
/// the last transaction that ended, and one that is still open can lie beyond it.
pub(super) async fn wait_for_open_transactions(client: &Client) -> Result<bool, RegistryError> {
    let row = client.query_one("SELECT pg_current_xact_id()::text", &[]).await?;
    let seen: &str = row.get(0);
    let ended = async {
        loop {
            let row = client.query_one(ENDED, &[&seen]).await?;
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
