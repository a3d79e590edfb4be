//! How much is written to the write-ahead log.

use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

/// Where the log ends now, in bytes since its beginning. Of the whole server: whatever else writes is counted, too.
pub(crate) async fn written(client: &Client) -> u64 {
    let row = client
        .query_one("SELECT pg_current_wal_insert_lsn()", &[])
        .await
        .unwrap();
    row.get::<_, PgLsn>(0).into()
}
