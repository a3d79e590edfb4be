//! Writing down what became of leased deliveries.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::{AttemptRecord, Claimed, Outcome};

/// One delivery's outcome.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) delivery: Claimed,
    pub(crate) outcome: Outcome,
    pub(crate) attempt: Option<AttemptRecord>,
    /// The event's id and class, where it could be read.
    pub(crate) event: Option<(String, String)>,
}

/// A row and the fence that it was leased with.
pub(crate) type Lease = (i64, i64);

impl Settled {
    pub(crate) const fn lease(&self) -> Lease {
        (self.delivery.id, self.delivery.fence)
    }
}

fn lease(row: &tokio_postgres::Row) -> Result<Lease, Error> {
    Ok((row.try_get("id")?, row.try_get("fence")?))
}

/// A row that a transaction which enqueues holds (see `enqueue`) is passed over and comes again with the next batch, so
/// that this never waits while it holds rows itself.
///
/// A batch may hold two outcomes of one row: of a lease that was lost, or settled without our hearing of it, and of the
/// lease that the same process took next. Only that of the row's fence counts, so from "mine" on nothing looks at the others.
///
/// `d.id = ANY (ARRAY[m.id])` and not `d.id = m.id`: the former can only be looked up, row by row. Where statistics say that
/// the queue is (almost) empty and it is not, the planner would else read all of it.
const SETTLE: &str = "\
WITH o AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::float8[], $7::text[], $8::text[],
        $9::timestamptz[], $10::integer[], $11::integer[], $12::text[], $13::text[], $14::text[], $15::boolean[], $16::integer[], $17::text[])
    AS o(owner, id, fence, outcome, attempt, wait, event_id, class, at, duration_ms, status, cause, error, response, probe, number, headers)
), mine AS MATERIALIZED (
    SELECT o.* FROM o JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[o.id])
    WHERE d.lease_owner = o.owner AND d.fence = o.fence
    FOR UPDATE OF d SKIP LOCKED
), gone AS (
    DELETE FROM openregister_webhooks.delivery d USING mine m
    WHERE d.id = ANY (ARRAY[m.id]) AND m.outcome IN ('succeeded', 'given_up', 'dropped')
    RETURNING d.*, m.outcome, m.event_id, m.class, m.attempt AS attempts, m.status, m.cause
), kept AS (
    UPDATE openregister_webhooks.delivery d
    SET lease_owner = NULL,
        attempt = m.attempt,
        state = CASE WHEN d.awaiting AND m.outcome IN ('released', 'put_off') THEN 'awaiting_user'
                     WHEN m.attempt > 0 THEN 'retrying' ELSE 'pending' END,
        awaiting = d.awaiting AND m.outcome IN ('released', 'put_off'),
        due_at = CASE m.outcome WHEN 'retry' THEN clock_timestamp() + make_interval(secs => m.wait)
            WHEN 'put_off' THEN greatest(d.due_at, clock_timestamp() + make_interval(secs => m.wait)) ELSE d.due_at END
    FROM mine m
    WHERE d.id = ANY (ARRAY[m.id]) AND m.outcome IN ('retry', 'probed', 'released', 'put_off')
), logged AS (
    INSERT INTO openregister_webhooks.delivery_log
        (day, id, webhook, event_day, event_seq, event_id, class, lane, state, reason, attempt, status, cause, created_at)
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date, g.id, g.webhook, g.event_day, g.event_seq, g.event_id, g.class,
        g.lane, g.outcome, g.reason, g.attempts, g.status, g.cause, g.created_at
    FROM gone g WHERE g.outcome <> 'dropped'
), attempted AS (
    INSERT INTO openregister_webhooks.attempt
        (day, delivery, number, webhook, at, duration_ms, status, cause, error, response, probe, headers)
    SELECT (m.at AT TIME ZONE 'UTC')::date, d.id, m.number, d.webhook, m.at, m.duration_ms, m.status, m.cause, m.error,
        m.response, m.probe, m.headers
    FROM mine m JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[m.id]) WHERE m.at IS NOT NULL
)
SELECT m.id, m.fence FROM mine m";

/// The first row of a lane becomes its head. A statement of its own, so that it sees what was put in until the rows
/// before it were deleted; see `enqueue`. `id + 0` is what the index of lanes is ordered by, and no other.
const PROMOTE: &str = "\
UPDATE openregister_webhooks.delivery d SET head = true
FROM unnest($1::bigint[], $2::text[]) AS l(webhook, lane)
CROSS JOIN LATERAL (
    SELECT f.id, f.head FROM openregister_webhooks.delivery f
    WHERE f.webhook = l.webhook AND f.lane = l.lane ORDER BY f.id + 0 LIMIT 1
) f
WHERE d.id = ANY (ARRAY[f.id]) AND NOT f.head
RETURNING d.webhook";

/// What is left of a batch: passed over, or no longer ours.
const LEFT: &str = "\
SELECT d.id, d.fence FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS o(owner, id, fence)
JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[o.id])
WHERE d.lease_owner = o.owner AND d.fence = o.fence";

/// Of these attempts those that were written down: when that was done and its answer was lost, the lease is gone, too.
const WRITTEN: &str = "\
SELECT o.id, o.fence FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::timestamptz[]) AS o(id, fence, number, at)
JOIN openregister_webhooks.attempt a ON a.delivery = ANY (ARRAY[o.id]) AND a.day = (o.at AT TIME ZONE 'UTC')::date
WHERE a.number = o.number AND a.at = o.at";

/// How a batch went.
#[derive(Debug, Default)]
pub(crate) struct SettledBatch {
    /// Webhooks that have a new head.
    pub(crate) promoted: BTreeSet<i64>,
    /// To be settled again with the next batch.
    pub(crate) again: Vec<Settled>,
    /// How many attempts are not written down, since their leases had been lost: another worker decides about those rows.
    pub(crate) lost: usize,
}

/// Settles a batch. Safe to repeat where it is not known whether it was committed.
pub(crate) async fn settle(client: &mut Client, batch: Vec<Settled>) -> Result<SettledBatch, Error> {
    let settle = client.prepare_cached(SETTLE).await?;
    let promote = client.prepare_cached(PROMOTE).await?;
    let columns = Columns::of(&batch);
    let lanes: BTreeSet<(i64, &str)> = batch
        .iter()
        .filter(|s| s.outcome.is_final())
        .map(|s| (s.delivery.webhook.0, s.delivery.lane.as_str()))
        .collect();
    let (lane_webhooks, lane_names): (Vec<i64>, Vec<&str>) = lanes.into_iter().unzip();
    let tx = client.transaction().await?;
    let c = &columns;
    let settle_params: [&(dyn tokio_postgres::types::ToSql + Sync); 17] = [
        &c.owners,
        &c.ids,
        &c.fences,
        &c.outcomes,
        &c.attempts,
        &c.waits,
        &c.event_ids,
        &c.classes,
        &c.ats,
        &c.durations,
        &c.statuses,
        &c.causes,
        &c.errors,
        &c.responses,
        &c.probes,
        &c.numbers,
        &c.headers,
    ];
    // Both go out at once; the server runs them one after the other, each with its own snapshot.
    let (done, promoted) = futures::future::try_join(tx.query(&settle, &settle_params), async {
        if lane_webhooks.is_empty() {
            return Ok(vec![]);
        }
        tx.query(&promote, &[&lane_webhooks, &lane_names]).await
    })
    .await?;
    tx.commit().await?;
    let mut result = SettledBatch {
        promoted: promoted
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?,
        ..SettledBatch::default()
    };
    if done.len() < batch.len() {
        let settled: BTreeSet<Lease> = done.iter().map(lease).collect::<Result<_, _>>()?;
        let left: BTreeSet<Lease> = client
            .query(LEFT, &[&columns.owners, &columns.ids, &columns.fences])
            .await?
            .iter()
            .map(lease)
            .collect::<Result<_, _>>()?;
        let mut lost: BTreeMap<Lease, AttemptRecord> = BTreeMap::new();
        for one in batch {
            if left.contains(&one.lease()) {
                result.again.push(one);
            } else if !settled.contains(&one.lease()) {
                // What was not sent is not repeated.
                lost.extend(one.attempt.clone().map(|attempt| (one.lease(), attempt)));
            }
        }
        result.lost = unwritten(client, lost).await?;
    }
    Ok(result)
}

/// How many of these attempts are not written down.
async fn unwritten(client: &Client, attempts: BTreeMap<Lease, AttemptRecord>) -> Result<usize, Error> {
    if attempts.is_empty() {
        return Ok(0);
    }
    let (ids, fences): (Vec<i64>, Vec<i64>) = attempts.keys().copied().unzip();
    let numbers: Vec<i32> = attempts.values().map(AttemptRecord::number).collect();
    let ats: Vec<_> = attempts.values().map(|attempt| attempt.at).collect();
    let written = client.query(WRITTEN, &[&ids, &fences, &numbers, &ats]).await?;
    let written: BTreeSet<Lease> = written.iter().map(lease).collect::<Result<_, _>>()?;
    Ok(attempts.len() - written.len())
}

/// A batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    owners: Vec<uuid::Uuid>,
    ids: Vec<i64>,
    fences: Vec<i64>,
    outcomes: Vec<&'static str>,
    attempts: Vec<i32>,
    waits: Vec<f64>,
    event_ids: Vec<Option<&'a str>>,
    classes: Vec<Option<&'a str>>,
    ats: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    durations: Vec<Option<i32>>,
    statuses: Vec<Option<i32>>,
    causes: Vec<Option<&'static str>>,
    errors: Vec<Option<&'a str>>,
    responses: Vec<Option<&'a str>>,
    probes: Vec<bool>,
    numbers: Vec<i32>,
    headers: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Settled]) -> Self {
        let mut c = Self::default();
        for s in batch {
            let record = s.attempt.as_ref();
            // A probe out of turn uses up no attempt.
            let used = u32::from(record.is_some_and(|r| !r.probe));
            let (name, wait) = match s.outcome {
                Outcome::Succeeded => ("succeeded", 0.0),
                Outcome::GivenUp => ("given_up", 0.0),
                Outcome::Dropped => ("dropped", 0.0),
                Outcome::Retry(wait) => ("retry", wait.as_secs_f64()),
                Outcome::Probed => ("probed", 0.0),
                Outcome::Released => ("released", 0.0),
                Outcome::PutOff(wait) => ("put_off", wait.as_secs_f64()),
            };
            c.owners.push(s.delivery.worker.0);
            c.ids.push(s.delivery.id);
            c.fences.push(s.delivery.fence);
            c.outcomes.push(name);
            c.attempts
                .push(i32::try_from(s.delivery.attempt + used).unwrap_or(i32::MAX));
            c.waits.push(wait);
            c.event_ids.push(s.event.as_ref().map(|(id, _)| id.as_str()));
            c.classes.push(s.event.as_ref().map(|(_, class)| class.as_str()));
            c.ats.push(record.map(|r| r.at));
            c.durations
                .push(record.map(|r| i32::try_from(r.duration.as_millis()).unwrap_or(i32::MAX)));
            c.statuses.push(record.and_then(|r| r.status).map(i32::from));
            c.causes.push(record.and_then(|r| r.cause));
            c.errors.push(record.and_then(|r| r.error.as_deref()));
            c.responses.push(record.and_then(|r| r.answer.body.as_deref()));
            c.headers.push(record.and_then(|r| r.answer.headers.as_deref()));
            c.probes.push(record.is_some_and(|r| r.probe));
            c.numbers.push(record.map_or(0, AttemptRecord::number));
        }
        c
    }
}
