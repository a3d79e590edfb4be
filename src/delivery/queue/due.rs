//! Deliveries become due earlier than planned: the user is known, or the receiver works again. And the notification that makes other
//! processes look into the queue.

use deadpool_postgres::Client;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::delivery::EventRef;
use super::transition::WEBHOOKS;
use super::worker::CHANNEL;
use crate::registry::WebhookId;

/// SQL that makes the deliveries due that waited for the row that names the user of an event, given SQL for the `seq` of the events in an
/// array: a part of a `WITH`, `woken`, with the webhooks.
///
/// A row that is leased already runs with what was known; `awaiting` stays, so that its filter is evaluated again.
pub(crate) fn resolve_user_sql(seqs: &str) -> String {
    format!(
        "woken AS (UPDATE openregister_webhooks.delivery SET due_at = least(due_at, clock_timestamp()) \
         WHERE awaiting AND lease_owner IS NULL AND event_seq = ANY ({seqs}) RETURNING webhook)"
    )
}

/// The row that names the user of these events has come: makes the deliveries due that waited for it. Wake the dispatcher for the
/// webhooks that this returns, after the commit.
///
/// # Errors
/// If the query fails.
pub async fn resolve_user<C: GenericClient + Sync>(
    tx: &C,
    events: &[EventRef],
) -> Result<Vec<WebhookId>, Error> {
    let seqs: Vec<i64> = events.iter().map(|e| e.seq).collect();
    let sql = format!(
        "WITH {} SELECT DISTINCT webhook FROM woken",
        resolve_user_sql("$1")
    );
    let rows = tx.query_typed(&sql, &[(&seqs, Type::INT8_ARRAY)]).await?;
    rows.iter().map(|row| row.try_get(0).map(WebhookId)).collect()
}

/// The receiver is back, or somebody asked for it: makes every delivery due that waits for its next attempt. Says how many.
pub(crate) async fn due_now(client: &Client, webhook: WebhookId) -> Result<u64, Error> {
    let sql = "UPDATE openregister_webhooks.delivery SET due_at = clock_timestamp() \
        WHERE webhook = $1 AND head AND NOT awaiting AND lease_owner IS NULL AND due_at > clock_timestamp()";
    client.execute(sql, &[&webhook.0]).await
}

/// Every webhook that has something in the queue, whatever its state. The work is that of one look-up for each of them.
///
/// # Errors
/// If the query fails.
pub(crate) async fn queued(client: &Client) -> Result<Vec<WebhookId>, Error> {
    let sql = format!("WITH RECURSIVE {WEBHOOKS} SELECT q.webhook FROM queued q WHERE q.webhook IS NOT NULL");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter().map(|row| row.try_get(0).map(WebhookId)).collect()
}

/// Notifies every process, once the transaction is committed, that there is something in the queue. It is for processes without a
/// dispatcher of their own; others use [`crate::delivery::Wake`].
///
/// # Errors
/// If the query fails.
pub async fn notify_peers<C: GenericClient + Sync>(tx: &C) -> Result<(), Error> {
    tx.batch_execute(&format!("NOTIFY {CHANNEL}")).await
}
