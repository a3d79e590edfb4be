//! Putting deliveries into the queue.

use chrono::{NaiveDate, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::delivery::NewDelivery;
use crate::database::Write;

/// A delivery is tried for so long.
const DEADLINE_HOURS: i32 = 72;

/// One transaction at a time enqueues, until its end, so that ids ascend in commit order.
pub(crate) const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('openregister_webhooks.enqueue', 0))";

/// Takes the lock of the one transaction that may enqueue, until the end of the transaction; returns the UTC day. Whoever stores events
/// takes it first: then their `seq` ascends in the order in which they are enqueued, and each is visible before the next is stored.
///
/// # Errors
/// If a query fails.
pub async fn lock<C: GenericClient + Sync>(tx: &C) -> Result<NaiveDate, Error> {
    tx.query_typed(LOCK, &[]).await?;
    let rows = tx.query_typed(&format!("SELECT {TODAY}"), &[]).await?;
    rows.first()
        .map_or_else(|| Ok(Utc::now().date_naive()), |row| row.try_get(0))
}

/// SQL for the UTC day.
pub(crate) const TODAY: &str = "(clock_timestamp() AT TIME ZONE 'UTC')::date";

/// A new row is a head if its lane is empty. The lane's last row is locked against deletion until this transaction ends: whoever deletes
/// it then either finds the new row as its successor, or has committed before, and the lane is empty. For `id + 0` see `transition`.
const INSERT: &str = "\
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::date[], $3::bigint[], $4::text[], $5::boolean[], $6::float8[], $7::text[])
    WITH ORDINALITY AS n(webhook, event_day, event_seq, lane, ordered, await_user, reason, place)
), tail AS MATERIALIZED (
    SELECT l.webhook, l.lane, t.id
    FROM (SELECT DISTINCT webhook, lane FROM new WHERE ordered) l
    LEFT JOIN LATERAL (
        SELECT d.id FROM openregister_webhooks.delivery d
        WHERE d.webhook = l.webhook AND d.lane = l.lane ORDER BY d.id + 0 DESC LIMIT 1 FOR KEY SHARE
    ) t ON true
)
INSERT INTO openregister_webhooks.delivery
    (webhook, event_day, event_seq, lane, head, awaiting, state, due_at, reason, deadline_at)
SELECT n.webhook, n.event_day, n.event_seq, n.lane,
    NOT n.ordered
        OR (t.id IS NULL AND 1 = row_number() OVER (PARTITION BY n.webhook, n.lane, n.ordered ORDER BY n.place)),
    n.await_user IS NOT NULL,
    CASE WHEN n.await_user IS NULL THEN 'pending' ELSE 'awaiting_user' END,
    clock_timestamp() + make_interval(secs => coalesce(n.await_user, 0)),
    n.reason,
    clock_timestamp() + make_interval(hours => $8)
FROM new n LEFT JOIN tail t ON n.ordered AND t.webhook = n.webhook AND t.lane = n.lane
ORDER BY n.place";

/// Puts deliveries into the queue, in the caller's transaction, in the order given. The transaction must be READ COMMITTED and
/// should end soon after: others that enqueue wait for it. Wake the [`crate::delivery::Dispatcher`] after the commit.
///
/// # Errors
/// If a query fails.
pub async fn enqueue<C: GenericClient + Sync>(tx: &C, deliveries: &[NewDelivery]) -> Result<(), Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let write = enqueue_locked(deliveries);
    // Both go out at once; the server runs them one after the other, each with its own snapshot.
    futures::future::try_join(tx.query_typed(LOCK, &[]), write.run(tx))
        .await
        .map(drop)
}

/// What [`enqueue`] runs after it has taken the lock, for a caller that has it.
#[must_use]
pub fn enqueue_locked(deliveries: &[NewDelivery]) -> Write {
    let each = || deliveries.iter();
    let webhooks: Vec<i64> = each().map(|d| d.webhook.0).collect();
    let days: Vec<_> = each().map(|d| d.event.day).collect();
    let seqs: Vec<i64> = each().map(|d| d.event.seq).collect();
    let lanes: Vec<String> = each().map(|d| d.lane.as_str().to_owned()).collect();
    let ordered: Vec<bool> = each().map(|d| d.ordered).collect();
    let awaits: Vec<Option<f64>> = each().map(|d| d.await_user.map(|w| w.as_secs_f64())).collect();
    let reasons: Vec<&str> = each().map(|d| d.reason.name()).collect();
    Write::new(INSERT)
        .with(webhooks, Type::INT8_ARRAY)
        .with(days, Type::DATE_ARRAY)
        .with(seqs, Type::INT8_ARRAY)
        .with(lanes, Type::TEXT_ARRAY)
        .with(ordered, Type::BOOL_ARRAY)
        .with(awaits, Type::FLOAT8_ARRAY)
        .with(reasons, Type::TEXT_ARRAY)
        .with(DEADLINE_HOURS, Type::INT4)
}
