//! Putting deliveries into the queue.

use std::sync::LazyLock;

use chrono::{NaiveDate, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient};

use super::claim::event_columns;
use super::delivery::NewDelivery;
use super::worker::WorkerId;
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

/// The new rows, each with its place in its lane: `placed`, as parts of a `WITH`. A new row is a head if its lane is empty. The lane's
/// last row is locked against deletion until this transaction ends: whoever deletes it then either finds the new row as its successor,
/// or has committed before, and the lane is empty. For `id + 0` see `transition`.
macro_rules! placed {
    ($array:literal, $column:literal) => {
        concat!(
            "WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::date[], $3::bigint[], $4::text[], $5::boolean[], $6::float8[], $7::text[]",
            $array,
            ")
    WITH ORDINALITY AS n(webhook, event_day, event_seq, lane, ordered, await_user, reason",
            $column,
            ", place)
), tail AS MATERIALIZED (
    SELECT l.webhook, l.lane, t.id
    FROM (SELECT DISTINCT webhook, lane FROM new WHERE ordered) l
    LEFT JOIN LATERAL (
        SELECT d.id FROM openregister_webhooks.delivery d
        WHERE d.webhook = l.webhook AND d.lane = l.lane ORDER BY d.id + 0 DESC LIMIT 1 FOR KEY SHARE
    ) t ON true
), placed AS MATERIALIZED (
    SELECT n.*, NOT n.ordered
        OR (t.id IS NULL AND 1 = row_number() OVER (PARTITION BY n.webhook, n.lane, n.ordered ORDER BY n.place)) AS head
    FROM new n LEFT JOIN tail t ON n.ordered AND t.webhook = n.webhook AND t.lane = n.lane
)"
        )
    };
}

const INSERT: &str = concat!(
    placed!("", ""),
    "
INSERT INTO openregister_webhooks.delivery
    (webhook, event_day, event_seq, lane, head, awaiting, state, due_at, reason, deadline_at)
SELECT n.webhook, n.event_day, n.event_seq, n.lane, n.head, n.await_user IS NOT NULL,
    CASE WHEN n.await_user IS NULL THEN 'pending' ELSE 'awaiting_user' END,
    clock_timestamp() + make_interval(secs => coalesce(n.await_user, 0)),
    n.reason,
    clock_timestamp() + make_interval(hours => $8)
FROM placed n
ORDER BY n.place"
);

/// The same; what is granted (`$9`) is leased to worker `$10` at once, if it is a head, waits for no user, and that worker is the
/// webhook's owner. The leases are noted under the number `$11`, as those of a claim; the answer is that of a claim, too, with events of
/// up to `$12` bytes. A head that is leased here is the first of its lane, so it is followed if the lane gets more than one delivery: that is
/// asked for all together, since a comparison for each would cost the square of their number.
static INSERT_LEASED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{placed}, leased AS MATERIALIZED (
    SELECT n.*, n.granted AND n.head AND n.await_user IS NULL AND EXISTS (
        SELECT FROM openregister_webhooks.webhook_owner o WHERE o.webhook = n.webhook AND o.worker = $10
    ) AS taken
    FROM placed n
), put AS (
    INSERT INTO openregister_webhooks.delivery
        (webhook, event_day, event_seq, lane, head, awaiting, state, due_at, reason, deadline_at, lease_owner, fence)
    SELECT n.webhook, n.event_day, n.event_seq, n.lane, n.head, n.await_user IS NOT NULL,
        CASE WHEN n.taken THEN 'leased' WHEN n.await_user IS NULL THEN 'pending' ELSE 'awaiting_user' END,
        clock_timestamp() + make_interval(secs => coalesce(n.await_user, 0)),
        n.reason,
        clock_timestamp() + make_interval(hours => $8),
        CASE WHEN n.taken THEN $10::uuid END,
        CASE WHEN n.taken THEN 1 ELSE 0 END
    FROM leased n
    ORDER BY n.place
    RETURNING id, webhook, event_day, event_seq, lane, attempt, fence, reason, lease_owner
), noted AS (
    INSERT INTO openregister_webhooks.claim (worker, number, deliveries, fences)
    SELECT $10, $11, array_agg(l.id), array_agg(l.fence) FROM put l WHERE l.lease_owner IS NOT NULL HAVING count(*) > 0
)
SELECT l.webhook, true AS own, NULL::float8 AS wait, l.id AS delivery, l.event_day, l.event_seq, l.lane AS queued_lane, l.attempt,
    l.fence, l.reason, false AS awaited, true AS due, false AS overdue, coalesce(e.size, 0) AS size,
    (l.webhook, l.lane) IN (
        SELECT n.webhook, n.lane FROM placed n WHERE n.ordered GROUP BY n.webhook, n.lane HAVING count(*) > 1
    ) AS followed,
    0::float8 AS waited{event}
FROM put l
LEFT JOIN LATERAL (
    SELECT octet_length(e.new) + coalesce(octet_length(e.old), 0) AS size, e.*
    FROM openregister_webhooks.event e WHERE e.day = l.event_day AND e.seq = l.event_seq LIMIT 1
) e ON true
WHERE l.lease_owner IS NOT NULL
ORDER BY l.id",
        placed = placed!(", $9::boolean[]", ", granted"),
        event = event_columns("$12"),
    )
});

/// Which of the deliveries that are enqueued together are leased at once, to whom, and the number under which that is noted.
#[derive(Debug)]
pub(crate) struct LeaseAtOnce {
    pub(crate) worker: WorkerId,
    /// Greater than that of every earlier claim of this worker.
    pub(crate) number: i64,
    /// For each delivery.
    pub(crate) granted: Vec<bool>,
}

/// How many bytes of events are read with leases that are taken at once.
const EVENT_BYTES: i64 = 1024 * 1024;

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
    columns(Write::new(INSERT), deliveries)
}

/// The same; some are leased at once. Its answer is for [`super::Claim::read`].
pub(crate) fn enqueue_and_lease(deliveries: &[NewDelivery], lease: &LeaseAtOnce) -> Write {
    columns(Write::new(&INSERT_LEASED), deliveries)
        .with(lease.granted.clone(), Type::BOOL_ARRAY)
        .with(lease.worker.0, Type::UUID)
        .with(lease.number, Type::INT8)
        .with(EVENT_BYTES, Type::INT8)
}

fn columns(write: Write, deliveries: &[NewDelivery]) -> Write {
    let each = || deliveries.iter();
    let webhooks: Vec<i64> = each().map(|d| d.webhook.0).collect();
    let days: Vec<_> = each().map(|d| d.event.day).collect();
    let seqs: Vec<i64> = each().map(|d| d.event.seq).collect();
    let lanes: Vec<String> = each().map(|d| d.lane.as_str().to_owned()).collect();
    let ordered: Vec<bool> = each().map(|d| d.ordered).collect();
    let awaits: Vec<Option<f64>> = each().map(|d| d.await_user.map(|w| w.as_secs_f64())).collect();
    let reasons: Vec<&str> = each().map(|d| d.reason.name()).collect();
    write
        .with(webhooks, Type::INT8_ARRAY)
        .with(days, Type::DATE_ARRAY)
        .with(seqs, Type::INT8_ARRAY)
        .with(lanes, Type::TEXT_ARRAY)
        .with(ordered, Type::BOOL_ARRAY)
        .with(awaits, Type::FLOAT8_ARRAY)
        .with(reasons, Type::TEXT_ARRAY)
        .with(DEADLINE_HOURS, Type::INT4)
}
