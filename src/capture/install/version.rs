//! The version of the schema: the number of the newest migration.

use tokio_postgres::Client;

use super::migrations::MIGRATIONS;

/// The version of the schema that this program installs.
pub(crate) const fn known_version() -> i32 {
    MIGRATIONS[MIGRATIONS.len() - 1].version
}

/// Whether the schema exists and is at least as new as this program needs it.
pub(crate) async fn is_current(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let there = "SELECT pg_catalog.to_regclass('openregister_webhooks.migration') IS NOT NULL";
    if !client
        .query_typed(there, &[])
        .await?
        .first()
        .is_some_and(|r| r.get(0))
    {
        return Ok(false);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM openregister_webhooks.migration";
    let rows = client.query_typed(newest, &[]).await?;
    Ok(rows
        .first()
        .is_some_and(|r| r.get::<_, i32>(0) >= known_version()))
}
