//! Announces gaps: stretches of time from which changes were not captured.
//!
//! Guarantees: the consumer gets a gap in the transaction that marks it as announced (`told_at`), so it gets it once, whoever
//! leads and whatever is killed. It does not matter who recorded the gap, or when (`losses`, `quarantine`; `attach` in
//! `sql/functions.sql`, also in a session of Nextcloud). A failure to announce does not keep changes from being read. Quarantined
//! changes give at most one gap for each table in [`QUARANTINE_SECONDS`], however many they are.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::consumer::{Consumer, ReadError};
use super::gap::Gap;
use orw_model::TableName;

/// How many gaps are announced in one transaction.
const BATCH: i64 = 100;

/// The shortest time between two gaps that announce quarantined changes of the same table.
const QUARANTINE_SECONDS: f64 = 60.0;

/// Whether [`announce`] would find anything.
pub(super) const ANY: &str = "SELECT EXISTS (SELECT FROM openregister_webhooks.gap WHERE told_at IS NULL)";

/// Passes the gaps that are not announced yet to the consumer.
pub(super) async fn announce<C: Consumer>(
    client: &mut Client,
    consumer: &mut C,
    table_prefix: &str,
) -> Result<(), ReadError<C::Error>> {
    let tx = client.transaction().await?;
    // Keeps functions and operators of other roles out.
    tx.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")
        .await?;
    let mut rows = tx
        .query_typed(
            "UPDATE openregister_webhooks.gap SET told_at = clock_timestamp() WHERE id IN ( \
                SELECT id FROM openregister_webhooks.gap g WHERE told_at IS NULL \
                   AND (cause <> 'quarantine' OR NOT EXISTS (SELECT FROM openregister_webhooks.gap p WHERE p.tbl = g.tbl \
                        AND p.cause = 'quarantine' AND p.told_at > clock_timestamp() - make_interval(secs => $2))) \
                ORDER BY id LIMIT $1 FOR UPDATE) AND told_at IS NULL \
             RETURNING id, tbl, since, until, left(reason, 2000) AS reason, left(remedy, 2000) AS remedy, at",
            &[(&BATCH, Type::INT8), (&QUARANTINE_SECONDS, Type::FLOAT8)],
        )
        .await?;
    rows.sort_unstable_by_key(|row| row.get::<_, i64>("id"));
    let gaps: Vec<Gap> = rows.iter().filter_map(|row| read(row, table_prefix)).collect();
    if gaps.is_empty() {
        // The consumer was not called, so it has nothing to commit.
        tx.commit().await?;
        return Ok(());
    }
    consumer.gaps(&tx, gaps).await.map_err(ReadError::Consumer)?;
    tx.commit().await?;
    consumer.committed();
    Ok(())
}

/// `None` for a table that is not OpenRegister's: nobody can be registered for its events.
fn read(row: &Row, table_prefix: &str) -> Option<Gap> {
    let name: String = row.get("tbl");
    let Some(table) = TableName::parse(&name, table_prefix) else {
        tracing::warn!(table = %name, "a gap of a table that is not captured is announced to nobody");
        return None;
    };
    Some(Gap {
        id: row.get("id"),
        name,
        table,
        since: row.get("since"),
        until: row.get("until"),
        reason: row.get("reason"),
        remedy: row.get("remedy"),
        at: row.get("at"),
    })
}
