//! Which cluster and database a connection leads to.

use tokio_postgres::Client;

/// The cluster and database that LSNs and transaction ids belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub system_identifier: i64,
    pub database_oid: u32,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "cluster {} database {}",
            self.system_identifier, self.database_oid
        )
    }
}

/// The identity of the database that `client` is connected to, and the xmax of its current snapshot.
pub(crate) async fn current_identity(client: &Client) -> Result<(Identity, u64), tokio_postgres::Error> {
    let row = client
        .query_typed(
            "SELECT (SELECT system_identifier FROM pg_control_system()), \
                    (SELECT oid FROM pg_database WHERE datname = current_database()), \
                    pg_snapshot_xmax(pg_current_snapshot())::text",
            &[],
        )
        .await?;
    let row = row.first();
    let identity = Identity {
        system_identifier: row.map_or(0, |r| r.get(0)),
        database_oid: row.map_or(0, |r| r.get(1)),
    };
    Ok((
        identity,
        row.and_then(|r| r.get::<_, String>(2).parse().ok()).unwrap_or(0),
    ))
}
