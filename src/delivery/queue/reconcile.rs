//! Gives back leases that nobody knows of.
//!
//! A claim can be committed although its answer never arrives; it can even be executed after the process has given up on the
//! answer. Then rows are leased to a living worker that does not know of them, and nobody else may take them. Every claim
//! therefore notes what it leased, in its own transaction (table `claim`), and the worker compares these notes with what
//! it has in hand.
//!
//! Guarantees: only a lease that nobody has in hand is given back, whenever and however often the statement is executed. The
//! caller promises that it awaits no answer to a claim below `below`, and that `held` is everything it has in hand when it asks. A
//! lease of such a claim that is not in `held` can never come into the worker's hands any more: the answer was lost, or the outcome
//! is recorded. The number of a later claim is not below `below`, so its leases are not looked at. The leases of workers that are
//! not alive are given back, too; any claim may take those rows anyway.

use std::collections::BTreeSet;

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::delivery::LeaseKey;
use super::transition::give_back;
use super::worker::{WorkerId, alive, is_dead};
use crate::registry::WebhookId;

/// Claims of dead workers that are looked at in one statement.
const DEAD: u32 = 64;

/// Rows that another transaction holds are passed over: the note stays, and the next run looks at them again.
fn sql() -> String {
    format!(
        "WITH {alive}, looked_at AS MATERIALIZED (
            SELECT c.* FROM openregister_webhooks.claim c WHERE c.worker = $1 AND c.number < $2
            UNION ALL
            (SELECT c.* FROM openregister_webhooks.claim c
             WHERE c.worker <> $1 AND {dead}
             ORDER BY c.worker, c.number LIMIT {DEAD})
        ), leased AS MATERIALIZED (
            SELECT c.worker, c.number, d.id, d.fence
            FROM looked_at c CROSS JOIN LATERAL unnest(c.deliveries, c.fences) AS n(id, fence)
            JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[n.id])
            WHERE d.lease_owner = c.worker AND d.fence = n.fence
        ), unknown AS MATERIALIZED (
            SELECT d.id, l.worker = $1 AS own FROM leased l
            JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[l.id])
            WHERE d.lease_owner = l.worker AND d.fence = l.fence
              AND (d.id, d.fence) NOT IN (SELECT h.id, h.fence FROM unnest($3::bigint[], $4::bigint[]) AS h(id, fence))
            FOR NO KEY UPDATE OF d SKIP LOCKED
        ), released AS (
            UPDATE openregister_webhooks.delivery d
            SET {give_back}
            WHERE d.id = ANY (ARRAY(SELECT u.id FROM unknown u))
            RETURNING d.id, d.webhook
        ), over AS (
            DELETE FROM openregister_webhooks.claim c USING looked_at o
            WHERE c.worker = o.worker AND c.number = o.number AND NOT EXISTS (
                SELECT FROM leased l WHERE l.worker = c.worker AND l.number = c.number
                    AND l.id NOT IN (SELECT u.id FROM unknown u))
        )
        SELECT r.webhook, u.own, count(*) AS count FROM released r JOIN unknown u ON u.id = r.id GROUP BY 1, 2",
        alive = alive(),
        dead = is_dead("c.worker"),
        give_back = give_back("d.awaiting", "d.attempt")
    )
}

/// What was given back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Leases of this worker that it did not know of.
    pub(crate) unknown: u64,
    /// Leases of workers that are not alive.
    pub(crate) dead: u64,
    /// Whose deliveries these are: they may be taken now.
    pub(crate) webhooks: BTreeSet<WebhookId>,
}

/// Gives back what is leased to `worker` by claims below `below` and not `held`, and what is leased to the dead.
pub(crate) async fn reconcile(
    client: &Client,
    worker: WorkerId,
    below: i64,
    held: &[LeaseKey],
) -> Result<Reconciled, Error> {
    let (ids, fences) = LeaseKey::columns(held);
    let statement = client.prepare_cached(&sql()).await?;
    let rows = client
        .query(&statement, &[&worker.0, &below, &ids, &fences])
        .await?;
    let mut done = Reconciled::default();
    for row in rows {
        let count = u64::try_from(row.try_get::<_, i64>("count")?).unwrap_or_default();
        match row.try_get("own")? {
            true => done.unknown += count,
            false => done.dead += count,
        }
        done.webhooks.insert(WebhookId(row.try_get("webhook")?));
    }
    Ok(done)
}
