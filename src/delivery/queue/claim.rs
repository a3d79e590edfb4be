//! Taking leases on what is due, and ownership of webhooks.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use deadpool_postgres::Client;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::delivery::{Claimed, EventRef, Followed};
use super::transition::TAKE_LEASE;
use super::worker::{SUSPECT, WorkerId, alive, is_dead};
use crate::error_text::chain;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

static OWN: LazyLock<String> = LazyLock::new(own_sql);
static CLAIM: LazyLock<String> = LazyLock::new(|| claim_sql(false));
static CLAIM_WITH_EVENTS: LazyLock<String> = LazyLock::new(|| claim_sql(true));

/// Which leases to take for one webhook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimRequest {
    pub(crate) webhook: WebhookId,
    /// How many leases at most.
    pub(crate) most: u32,
    /// Also a delivery that is not due yet: a probe.
    pub(crate) early: bool,
    /// This worker was the webhook's owner when it last asked. It need not ask to become it.
    pub(crate) owned: bool,
}

/// What was taken, and when more will be due.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) claimed: Vec<Taken>,
    /// For each webhook of which a row waits that is not due: how long until the next one is.
    pub(crate) next_due: HashMap<WebhookId, Duration>,
    /// Webhooks that another worker delivers for.
    pub(crate) foreign: Vec<WebhookId>,
    /// Those of them whose worker has missed a heartbeat, or may have: it may be dead.
    pub(crate) suspect: HashSet<WebhookId>,
}

/// A lease, and the event as it was stored when the lease was taken, if it was read with it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) delivery: Claimed,
    /// A row for [`crate::lifecycle::store::read`].
    pub(crate) event: Option<Row>,
}

/// Whether a claim reads the events, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventsToo {
    /// The first ones, up to so many bytes of states.
    Bytes(u64),
    /// None: reading one failed.
    No,
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

/// The columns of an event `e`, for [`crate::lifecycle::store::read`]: those of the first leases `l` in the order of `id`, up to so many
/// bytes.
pub(super) fn event_columns(bytes: &str) -> String {
    let within = format!("sum(e.size) OVER (ORDER BY l.id) <= {bytes}");
    format!(
        ", CASE WHEN {within} THEN e.new END AS new, e.id, e.class, e.lane, e.at, e.pid,
            CASE WHEN {within} THEN e.old END AS old, e.actor, e.awaiting"
    )
}

/// One statement for everything: who owns the webhooks, leases on what is due, the notes of them, when more will be due, and the events.
///
/// Each webhook gets its share, whatever waits for the others: the work is proportional to what is asked for. It compares with
/// `statement_timestamp()` and not with `clock_timestamp()`, which cannot be a condition of an index. Only the outer LIMIT decides how
/// many rows the inner query locks. The leases are noted in `claim` by the same statement, so that [`super::reconcile()`] finds them if
/// the answer is lost. `LIMIT 1` keeps a look-up a look-up, whatever the statistics say when the plan is made.
fn claim_sql(events: bool) -> String {
    format!(
        "WITH {alive}, want AS MATERIALIZED (
            SELECT w.webhook, w.most, w.early, coalesce(o.worker = $1, false) AS own, n.wait
            FROM unnest($2::bigint[], $3::integer[], $4::boolean[]) AS w(webhook, most, early)
            LEFT JOIN LATERAL (
                SELECT o.worker FROM openregister_webhooks.webhook_owner o WHERE o.webhook = w.webhook LIMIT 1
            ) o ON true
            LEFT JOIN LATERAL (
                SELECT extract(epoch FROM d.due_at - statement_timestamp())::float8 AS wait FROM openregister_webhooks.delivery d
                WHERE d.webhook = w.webhook AND d.head AND d.due_at > statement_timestamp() ORDER BY d.due_at LIMIT 1
            ) n ON true
        ), picked AS MATERIALIZED (
            SELECT d.id
            FROM want
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
            WHERE want.own
        ), leased AS (
            UPDATE openregister_webhooks.delivery d
            SET {TAKE_LEASE}
            WHERE d.id = ANY (ARRAY(SELECT p.id FROM picked p))
            RETURNING d.id, d.webhook, d.event_day, d.event_seq, d.lane, d.attempt, d.fence, d.reason, d.awaiting,
                d.due_at, d.deadline_at
        ), noted AS (
            INSERT INTO openregister_webhooks.claim (worker, number, deliveries, fences)
            SELECT $1, $5, array_agg(l.id), array_agg(l.fence) FROM leased l HAVING count(*) > 0
        )
        SELECT w.webhook, w.own, w.wait, l.id AS delivery, l.event_day, l.event_seq, l.lane AS queued_lane, l.attempt, l.fence, l.reason, l.awaiting AS awaited,
            l.due_at <= statement_timestamp() AS due, l.deadline_at <= statement_timestamp() AS overdue,
            coalesce(e.size, 0) AS size, EXISTS (
                SELECT FROM openregister_webhooks.delivery f
                WHERE f.webhook = l.webhook AND f.lane = l.lane AND f.id + 0 > l.id
            ) AS followed,
            extract(epoch FROM clock_timestamp() - l.due_at)::float8 AS waited{event}
        FROM want w LEFT JOIN leased l ON l.webhook = w.webhook
        LEFT JOIN LATERAL (
            SELECT octet_length(e.new) + coalesce(octet_length(e.old), 0) AS size, e.*
            FROM openregister_webhooks.event e WHERE e.day = l.event_day AND e.seq = l.event_seq LIMIT 1
        ) e ON true
        ORDER BY l.id",
        alive = alive(),
        dead = is_dead("d.lease_owner"),
        event = if events { event_columns("$6") } else { String::new() },
    )
}

/// Takes leases for `worker`, and says when more will be due. `number` must be greater than that of every earlier claim of this
/// worker.
pub(crate) async fn claim(
    client: &Client,
    worker: WorkerId,
    number: i64,
    requests: &[ClaimRequest],
    events: EventsToo,
) -> Result<Claim, Error> {
    let webhooks: Vec<i64> = requests.iter().map(|w| w.webhook.0).collect();
    let most: Vec<i32> = requests
        .iter()
        .map(|w| i32::try_from(w.most.min(MOST)).unwrap_or(i32::MAX))
        .collect();
    let early: Vec<bool> = requests.iter().map(|w| w.early).collect();
    let unowned: Vec<i64> = requests
        .iter()
        .filter(|w| !w.owned)
        .map(|w| w.webhook.0)
        .collect();
    let (text, bytes) = match events {
        EventsToo::Bytes(bytes) => (&CLAIM_WITH_EVENTS, Some(i64::try_from(bytes).unwrap_or(i64::MAX))),
        EventsToo::No => (&CLAIM, None),
    };
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&worker.0, &webhooks, &most, &early, &number];
    params.extend(bytes.iter().map(|bytes| bytes as &(dyn ToSql + Sync)));
    let take = client.prepare_cached(text).await?;
    if unowned.is_empty() {
        return Claim::read(client.query(&take, &params).await?, worker);
    }
    let own = client.prepare_cached(&OWN).await?;
    let owner: [&(dyn ToSql + Sync); 2] = [&worker.0, &unowned];
    // Both go out at once; the second sees what the first did.
    let (owners, taken) =
        futures::future::try_join(client.query(&own, &owner), client.query(&take, &params)).await?;
    let mut claim = Claim::read(taken, worker)?;
    // Of the others the answer says whose owner may be dead.
    let mut suspect = HashSet::new();
    for row in &owners {
        if !row.try_get::<_, bool>("own")? {
            suspect.insert(WebhookId(row.try_get("webhook")?));
        }
    }
    claim
        .suspect
        .retain(|id| suspect.contains(id) || !unowned.contains(&id.0));
    Ok(claim)
}

impl Claim {
    /// Reads the answer of [`claim_sql`], or of `enqueue_and_lease`. A webhook that is another worker's is suspect until somebody has asked about its owner.
    pub(crate) fn read(rows: Vec<Row>, worker: WorkerId) -> Result<Self, Error> {
        let mut claim = Self::default();
        for row in rows {
            let webhook = WebhookId(row.try_get(0)?);
            if !row.try_get::<_, bool>(1)? {
                claim.foreign.push(webhook);
                claim.suspect.insert(webhook);
                continue;
            }
            if let Some(wait) = row.try_get::<_, Option<f64>>(2)? {
                let wait = Duration::try_from_secs_f64(wait).unwrap_or_default();
                claim.next_due.insert(webhook, wait);
            }
            let taken = row
                .try_get::<_, Option<i64>>(3)?
                .and_then(|id| Taken::read(row, id, webhook, worker));
            claim.claimed.extend(taken);
        }
        Ok(claim)
    }
}

impl Taken {
    /// What was leased, unless its row cannot be read: a newer version may have stored a reason that this one does not know. Its
    /// lease is then held by nobody, and the reconciliation gives it back; the other deliveries go on.
    fn read(row: Row, id: i64, webhook: WebhookId, worker: WorkerId) -> Option<Self> {
        let delivery = read(&row, id, webhook, worker)
            .inspect_err(|error| {
                tracing::error!(id, error = %chain(error), "a delivery cannot be read, so it is not sent; the others go on");
            })
            .ok()?;
        // `new`, the only column that may be left out; it is never NULL in the table.
        let there = row.len() > EVENT_AT
            && row
                .try_get::<_, Option<&str>>(EVENT_AT)
                .is_ok_and(|new| new.is_some());
        Some(Self {
            delivery,
            event: there.then_some(row),
        })
    }
}

/// Where the columns of the event begin.
const EVENT_AT: usize = 16;

fn read(row: &Row, id: i64, webhook: WebhookId, worker: WorkerId) -> Result<Claimed, Error> {
    Ok(Claimed {
        worker,
        id,
        webhook,
        event: EventRef {
            day: row.try_get(4)?,
            seq: row.try_get(5)?,
        },
        lane: Lane::from_stored(row.try_get(6)?),
        attempt: u32::try_from(row.try_get::<_, i32>(7)?).unwrap_or_default(),
        fence: row.try_get(8)?,
        reason: row.try_get(9)?,
        awaited: row.try_get(10)?,
        due: row.try_get(11)?,
        overdue: row.try_get(12)?,
        size: u64::try_from(row.try_get::<_, i32>(13)?).unwrap_or_default(),
        followed: Followed::new(row.try_get(14)?),
        due_since: ago(row.try_get(15)?),
    })
}

/// The moment that lies so many seconds back; now, if they are negative.
fn ago(seconds: f64) -> Instant {
    let now = Instant::now();
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    now.checked_sub(wait).unwrap_or(now)
}
