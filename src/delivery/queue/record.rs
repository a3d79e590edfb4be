//! Recording what became of leased deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use deadpool_postgres::Client;
use tokio_postgres::Error;

use super::delivery::LeaseKey;
use super::outcome::{AttemptRecord, Outcome, OutcomeRecord};
use super::transition::{Ending, PROMOTE, finish, give_back};

static RECORD: LazyLock<String> = LazyLock::new(record_sql);

/// What the log says of a delivery that was attempted.
const ATTEMPTED: Ending = Ending {
    state: "m.outcome",
    cause: "m.cause",
    event_id: "m.event_id",
    class: "m.class",
    attempts: "m.attempt",
    status: "m.status",
};

/// A row that a transaction which enqueues holds (see `enqueue`) is passed over and comes again with the next batch, so
/// that this never waits while it holds rows itself.
///
/// A batch may hold two outcomes of one row: one of a lease that was lost, or whose outcome is recorded although the answer was
/// lost, and one of the lease that the same process took next. Only that of the row's fence counts, so from `mine` on nothing looks
/// at the others.
fn record_sql() -> String {
    let finish = finish(
        "USING mine m WHERE d.id = ANY (ARRAY[m.id]) AND m.outcome IN ('succeeded', 'given_up', 'dropped')",
        &ATTEMPTED,
    );
    let give_back = give_back(
        "(d.awaiting AND m.outcome IN ('released', 'put_off'))",
        "m.attempt",
    );
    format!(
        "WITH o AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::float8[], $7::text[], $8::text[],
        $9::timestamptz[], $10::integer[], $11::integer[], $12::text[], $13::text[], $14::text[], $15::boolean[], $16::integer[], $17::text[])
    AS o(owner, id, fence, outcome, attempt, wait, event_id, class, at, duration_ms, status, cause, error, response, probe, number, headers)
), mine AS MATERIALIZED (
    SELECT o.* FROM o JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[o.id])
    WHERE d.lease_owner = o.owner AND d.fence = o.fence
    FOR UPDATE OF d SKIP LOCKED
), {finish}, given_back AS (
    UPDATE openregister_webhooks.delivery d
    SET {give_back},
        status = CASE WHEN m.at IS NULL THEN d.status ELSE m.status END, cause = CASE WHEN m.at IS NULL THEN d.cause ELSE m.cause END,
        due_at = CASE m.outcome WHEN 'retry' THEN clock_timestamp() + make_interval(secs => m.wait)
            WHEN 'put_off' THEN greatest(d.due_at, clock_timestamp() + make_interval(secs => m.wait)) ELSE d.due_at END
    FROM mine m
    WHERE d.id = ANY (ARRAY[m.id]) AND m.outcome IN ('retry', 'probed', 'released', 'put_off')
), attempted AS (
    INSERT INTO openregister_webhooks.attempt
        (day, delivery, number, webhook, at, duration_ms, status, cause, error, response, probe, headers)
    SELECT (m.at AT TIME ZONE 'UTC')::date, d.id, m.number, d.webhook, m.at, m.duration_ms, m.status, m.cause, m.error,
        m.response, m.probe, m.headers
    FROM mine m JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[m.id]) WHERE m.at IS NOT NULL
)
SELECT m.id, m.fence FROM mine m"
    )
}

/// What is left of a batch and still ours: it was passed over.
const LEFT: &str = "\
SELECT d.id, d.fence FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS o(owner, id, fence)
JOIN openregister_webhooks.delivery d ON d.id = ANY (ARRAY[o.id])
WHERE d.lease_owner = o.owner AND d.fence = o.fence";

/// Those of these attempts that were written down: if the outcome was recorded and the answer was lost, the lease is gone, too.
const WRITTEN: &str = "\
SELECT o.id, o.fence FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::timestamptz[]) AS o(id, fence, number, at)
JOIN openregister_webhooks.attempt a ON a.delivery = ANY (ARRAY[o.id]) AND a.day = (o.at AT TIME ZONE 'UTC')::date
WHERE a.number = o.number AND a.at = o.at";

/// How a batch went.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Webhooks that have a new head.
    pub(crate) promoted: BTreeSet<i64>,
    /// Their rows were locked by another transaction: to be recorded with the next batch.
    pub(crate) passed_over: BTreeSet<LeaseKey>,
    /// How many attempts are not written down, since their leases had been lost: another worker decides about those rows.
    pub(crate) lost: usize,
}

/// Records the outcomes of a batch, in one transaction. If it is not known whether that was committed, it is safe to repeat.
pub(crate) async fn record_outcomes(client: &Client, batch: &[OutcomeRecord]) -> Result<Recorded, Error> {
    let columns = Columns::of(batch);
    let (mine, promoted) = write(client, batch, &columns).await?;
    let mut recorded = Recorded {
        promoted,
        ..Recorded::default()
    };
    if mine.len() < batch.len() {
        recorded.passed_over = client
            .query(LEFT, &[&columns.owners, &columns.ids, &columns.fences])
            .await?
            .iter()
            .map(LeaseKey::read)
            .collect::<Result<_, _>>()?;
        let mut lost: BTreeMap<LeaseKey, &AttemptRecord> = BTreeMap::new();
        for one in batch {
            let lease = one.lease();
            if !mine.contains(&lease) && !recorded.passed_over.contains(&lease) {
                // What was not sent is not repeated.
                lost.extend(one.attempt.as_ref().map(|attempt| (lease, attempt)));
            }
        }
        recorded.lost = unwritten(client, lost).await?;
    }
    Ok(recorded)
}

/// Writes what is still leased by its owner, and promotes the next rows of the lanes. Returns the leases whose outcomes are written,
/// and the webhooks that have a new head.
///
/// The whole transaction goes out at once: BEGIN, the two statements, each of which gets a snapshot of its own, and COMMIT, which the
/// server turns into a ROLLBACK if one of them failed.
async fn write(
    client: &Client,
    batch: &[OutcomeRecord],
    c: &Columns<'_>,
) -> Result<(BTreeSet<LeaseKey>, BTreeSet<i64>), Error> {
    let record = client.prepare_cached(&RECORD).await?;
    let promote = client.prepare_cached(PROMOTE).await?;
    let lanes: BTreeSet<(i64, &str)> = batch
        .iter()
        .filter(|one| one.outcome.is_final())
        .map(|one| (one.delivery.webhook.0, one.delivery.lane.as_str()))
        .collect();
    let (webhooks, lanes): (Vec<i64>, Vec<&str>) = lanes.into_iter().unzip();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 17] = [
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
    let promoting: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&webhooks, &lanes];
    let promote = async {
        if webhooks.is_empty() {
            return Ok(vec![]);
        }
        client.query(&promote, &promoting).await
    };
    let (begun, mine, promoted, ended) = futures::join!(
        client.batch_execute("BEGIN"),
        client.query(&record, &params),
        promote,
        client.batch_execute("COMMIT"),
    );
    begun?;
    let (mine, promoted) = (mine?, promoted?);
    ended?;
    Ok((
        mine.iter().map(LeaseKey::read).collect::<Result<_, _>>()?,
        promoted
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?,
    ))
}

/// How many of these attempts are not written down.
async fn unwritten(client: &Client, attempts: BTreeMap<LeaseKey, &AttemptRecord>) -> Result<usize, Error> {
    if attempts.is_empty() {
        return Ok(0);
    }
    let (ids, fences) = LeaseKey::columns(attempts.keys());
    let numbers: Vec<i32> = attempts.values().map(|attempt| attempt.number()).collect();
    let ats: Vec<_> = attempts.values().map(|attempt| attempt.at).collect();
    let written = client.query(WRITTEN, &[&ids, &fences, &numbers, &ats]).await?;
    let written: BTreeSet<LeaseKey> = written.iter().map(LeaseKey::read).collect::<Result<_, _>>()?;
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
    fn of(batch: &'a [OutcomeRecord]) -> Self {
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
