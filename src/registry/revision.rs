//! The registry's revision: changes have one order.

use tokio_postgres::Transaction;

use super::error::RegistryError;

/// The registry's revision, its row locked: changes have one order.
pub(super) async fn next_revision(tx: &Transaction<'_>) -> Result<i64, RegistryError> {
    let row = tx
        .query_one(
            "UPDATE openregister_webhooks.registry SET revision = revision + 1, state = gen_random_uuid() RETURNING revision",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// A transaction that waits for nobody longer than an answer may take.
pub(super) async fn begin(client: &mut tokio_postgres::Client) -> Result<Transaction<'_>, RegistryError> {
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '20s'")
        .await?;
    Ok(tx)
}
