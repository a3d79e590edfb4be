//! Taking leases on what is due, and ownership of webhooks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deadpool_postgres::Client;
use tokio::time::Instant;
use tokio_postgres::{Error, Row};

use super::delivery::{Claimed, EventRef};
use super::transition::TAKE_LEASE;
use super::worker::{SUSPECT, WorkerId, alive, is_dead};
use crate::error_text::chain;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// Which leases to take for one webhook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimRequest {
    pub(crate) webhook: WebhookId,
    /// How many leases at most.
    pub(crate) most: u32,
    /// Also a delivery that is not due yet: a probe.
    pub(crate) early: bool,
}

/// What was taken, and when more will be due.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) claimed: Vec<Claimed>,
    /// For each webhook of which a row waits that is not due: how long until the next one is.
    pub(crate) next_due: HashMap<WebhookId, Duration>,
    /// Webhooks that another worker delivers for.
    pub(crate) foreign: Vec<WebhookId>,
    /// Those of them whose worker has missed a heartbeat: it may be dead.
    pub(crate) suspect: HashSet<WebhookId>,
}

/// Makes this worker the owner of those webhooks that have no living owner. Returns those that it owns, and (`own` is false) those
/// whose owner has missed a heartbeat. If nothing changes it only reads.
fn own_sql() -> String {
    format!(
        "WITH {alive}, free AS MATERIALIZED (
            SELECT want.webhook FROM unnest($2::bigint[]) AS want(webhook)
            LEFT JOIN openregister_webhooks.webhook_owner o ON o.webhook = want.webhook
            WHERE o.webhook IS NULL OR (o.worker <> $1 AND {dead})
        ), taken AS (
            INSERT INTO openregister_webhooks.webhook_owner AS o (webhook, worker) SELECT f.webhook, $1 FROM free f ORDER BY 1
            ON CONFLICT (webhook) DO UPDATE SET worker = excluded.worker, since = clock_timestamp()
                WHERE {dead}
            RETURNING o.webhook
        )
        SELECT t.webhook, true AS own FROM taken t
        UNION ALL
        SELECT o.webhook, o.worker = $1 FROM openregister_webhooks.webhook_owner o
        WHERE o.webhook = ANY ($2::bigint[]) AND (o.worker = $1 OR NOT EXISTS (SELECT FROM openregister_webhooks.worker w
            WHERE w.id = o.worker AND w.beat_at > clock_timestamp() - interval '{suspect} milliseconds'))",
        alive = alive(),
        dead = is_dead("o.worker"),
        suspect = SUSPECT.as_millis()
    )
}

/// Most leases of one webhook in a query; a constant, so that PostgreSQL knows it when it plans.
const MOST: u32 = 1024;

/// Each webhook gets its share, whatever waits for the others: the work is proportional to what is asked for. It compares with
/// `statement_timestamp()` and not with `clock_timestamp()`, which cannot be a condition of an index. Only the outer LIMIT decides how
/// many rows the inner query locks. The leases are noted in `claim` by the same statement, so that [`super::reconcile()`] finds them if
/// the answer is lost.
fn claim_sql() -> String {
    format!(
        "WITH {alive}, picked AS MATERIALIZED (
            SELECT d.id
            FROM unnest($2::bigint[], $3::integer[], $4::boolean[]) AS want(webhook, most, early)
            JOIN openregister_webhooks.webhook_owner o ON o.webhook = want.webhook AND o.worker = $1
            CROSS JOIN LATERAL (
                SELECT l.id FROM (
                    SELECT d.id FROM openregister_webhooks.delivery d
                    WHERE d.webhook = want.webhook AND d.head
                      AND d.due_at <= CASE WHEN want.early THEN 'infinity' ELSE statement_timestamp() END
                      AND NOT (d.awaiting AND d.due_at > statement_timestamp())
                      AND (d.lease_owner IS NULL OR {dead})
                    ORDER BY d.due_at, d.id LIMIT {MOST} FOR NO KEY UPDATE SKIP LOCKED
                ) l LIMIT want.most
            ) d
        ), leased AS (
            UPDATE openregister_webhooks.delivery d
            SET {TAKE_LEASE}
            WHERE d.id = ANY (ARRAY(SELECT p.id FROM picked p))
            RETURNING d.*
        ), noted AS (
            INSERT INTO openregister_webhooks.claim (worker, number, deliveries, fences)
            SELECT $1, $5, array_agg(l.id), array_agg(l.fence) FROM leased l HAVING count(*) > 0
        )
        SELECT l.id, l.webhook, l.event_day, l.event_seq, l.lane, l.attempt, l.fence, l.reason, l.awaiting,
            l.due_at <= statement_timestamp() AS due, extract(epoch FROM clock_timestamp() - l.due_at)::float8 AS waited, l.deadline_at <= statement_timestamp() AS overdue,
            coalesce((SELECT octet_length(e.new) + coalesce(octet_length(e.old), 0)
                FROM openregister_webhooks.event e WHERE e.day = l.event_day AND e.seq = l.event_seq), 0) AS size
        FROM leased l ORDER BY l.id",
        alive = alive(),
        dead = is_dead("d.lease_owner")
    )
}

const NEXT_DUE: &str = "\
SELECT w.webhook, extract(epoch FROM d.due_at - clock_timestamp())::float8 AS wait
FROM unnest($1::bigint[]) AS w(webhook)
CROSS JOIN LATERAL (
    SELECT d.due_at FROM openregister_webhooks.delivery d
    WHERE d.webhook = w.webhook AND d.head AND d.due_at > statement_timestamp()
    ORDER BY d.due_at LIMIT 1
) d";

/// Takes leases for `worker`, and says when more will be due. `number` must be greater than that of every earlier claim of this
/// worker.
pub(crate) async fn claim(
    client: &Client,
    worker: WorkerId,
    number: i64,
    requests: &[ClaimRequest],
) -> Result<Claim, Error> {
    let webhooks: Vec<i64> = requests.iter().map(|w| w.webhook.0).collect();
    let most: Vec<i32> = requests
        .iter()
        .map(|w| i32::try_from(w.most.min(MOST)).unwrap_or(i32::MAX))
        .collect();
    let early: Vec<bool> = requests.iter().map(|w| w.early).collect();
    let own = client.prepare_cached(&own_sql()).await?;
    let take = client.prepare_cached(&claim_sql()).await?;
    let next = client.prepare_cached(NEXT_DUE).await?;
    // All go out at once; each sees what the one before it did.
    let (owned, taken, next) = futures::future::try_join3(
        client.query(&own, &[&worker.0, &webhooks]),
        client.query(&take, &[&worker.0, &webhooks, &most, &early, &number]),
        client.query(&next, &[&webhooks]),
    )
    .await?;
    let (mut own, mut suspect) = (HashSet::new(), HashSet::new());
    for row in &owned {
        let webhook = WebhookId(row.try_get("webhook")?);
        if row.try_get("own")? {
            own.insert(webhook);
        } else {
            suspect.insert(webhook);
        }
    }
    Ok(Claim {
        claimed: taken.iter().filter_map(|row| readable(row, worker)).collect(),
        next_due: next
            .iter()
            .map(|row| {
                let wait = Duration::try_from_secs_f64(row.try_get("wait")?).unwrap_or_default();
                Ok((WebhookId(row.try_get("webhook")?), wait))
            })
            .collect::<Result<_, Error>>()?,
        foreign: requests
            .iter()
            .map(|w| w.webhook)
            .filter(|id| !own.contains(id))
            .collect(),
        suspect,
    })
}

/// What was leased, unless its row cannot be read: a newer version may have stored a reason that this one does not know. Its
/// lease is then held by nobody, and the reconciliation gives it back; the other deliveries go on.
fn readable(row: &Row, worker: WorkerId) -> Option<Claimed> {
    read(row, worker)
        .inspect_err(|error| {
            let id = row.try_get::<_, i64>("id").unwrap_or_default();
            tracing::error!(id, error = %chain(error), "a delivery cannot be read, so it is not sent; the others go on");
        })
        .ok()
}

fn read(row: &Row, worker: WorkerId) -> Result<Claimed, Error> {
    Ok(Claimed {
        worker,
        id: row.try_get("id")?,
        webhook: WebhookId(row.try_get("webhook")?),
        event: EventRef {
            day: row.try_get("event_day")?,
            seq: row.try_get("event_seq")?,
        },
        lane: Lane::from_stored(row.try_get("lane")?),
        attempt: u32::try_from(row.try_get::<_, i32>("attempt")?).unwrap_or_default(),
        fence: row.try_get("fence")?,
        reason: row.try_get("reason")?,
        awaited: row.try_get("awaiting")?,
        due: row.try_get("due")?,
        due_since: ago(row.try_get("waited")?),
        overdue: row.try_get("overdue")?,
        size: u64::try_from(row.try_get::<_, i32>("size")?).unwrap_or_default(),
    })
}

/// The moment that lies so many seconds back; now, if they are negative.
fn ago(seconds: f64) -> Instant {
    let now = Instant::now();
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    now.checked_sub(wait).unwrap_or(now)
}
