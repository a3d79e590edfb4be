//! Gaps: stretches of which changes were not captured. The consumer is told of each.
//!
//! Guarantees: a gap is told in the transaction that marks it as told, so once, whoever leads and whatever is killed; whoever
//! recorded it (`losses`; `attach` in `sql/functions.sql`, also in a session of Nextcloud), and whenever. Failing to tell keeps
//! nothing from being read. What goes into quarantine makes one gap of a table in [`QUARANTINE_SECONDS`] at most, however much it is.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::reader::{Consumer, ReadError};
use orw_model::TableName;

/// Gaps that are told in one transaction.
const BATCH: i64 = 100;

/// The least time between two gaps of one table's changes that went into quarantine.
const QUARANTINE_SECONDS: f64 = 60.0;

/// A stretch of which changes of one table are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// `openregister_webhooks.gap.id`.
    pub id: i64,
    /// The table's full name.
    pub name: String,
    pub table: TableName,
    /// The first write that is missing; `None` where nobody knows.
    pub since: Option<DateTime<Utc>>,
    /// A moment after the last one.
    pub until: Option<DateTime<Utc>>,
    /// For a person.
    pub reason: String,
    pub remedy: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

/// Tells the consumer of the gaps that it was not told of.
pub(super) async fn tell<C: Consumer>(
    client: &mut Client,
    consumer: &mut C,
    table_prefix: &str,
) -> Result<(), ReadError<C::Error>> {
    let any = "SELECT EXISTS (SELECT FROM openregister_webhooks.gap WHERE told_at IS NULL)";
    let rows = client.query_typed(any, &[]).await?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    let tx = client.transaction().await?;
    // No role's own functions and operators are to be picked up.
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
        // The consumer was given nothing that could be committed.
        tx.commit().await?;
        return Ok(());
    }
    consumer.gaps(&tx, gaps).await.map_err(ReadError::Consumer)?;
    tx.commit().await?;
    consumer.committed();
    Ok(())
}

/// `None` for a table that is none of OpenRegister's: nobody can be registered for it.
fn read(row: &Row, table_prefix: &str) -> Option<Gap> {
    let name: String = row.get("tbl");
    let Some(table) = TableName::parse(&name, table_prefix) else {
        tracing::warn!(table = %name, "a gap of a table that is not captured: nobody is told");
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
