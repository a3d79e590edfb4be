//! Looking at deliveries: those in the queue and those in the log, as one list; and the attempts of each.
//!
//! Guarantees: at most [`MAX_PAGE`] entries a page, newest first; each page begins where the one before ended. A page costs the
//! same however long queue and log are: it looks at [`SCANNED`] rows of each at most. So if few rows match the query, a page may be
//! short, or empty, and still not be the last. No secret is in it that belongs to a registration; what a receiver answered is in
//! it, as far as it is kept.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

use super::transition::{FINISHED, UNFINISHED};
use crate::lifecycle::Lane;

/// The most that one page holds.
pub const MAX_PAGE: u16 = 500;

/// The states that can be asked for.
pub const STATES: [&str; 7] = {
    let ([pending, awaiting_user, leased, retrying], [succeeded, given_up, cancelled]) =
        (UNFINISHED, FINISHED);
    [
        pending,
        awaiting_user,
        leased,
        retrying,
        succeeded,
        given_up,
        cancelled,
    ]
};

/// One delivery.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub id: i64,
    pub webhook: i64,
    /// The `webhook-id`; null if the event is no longer there.
    pub event_id: Option<String>,
    /// `ObjectCreatedEvent`, …
    pub class: Option<String>,
    pub lane: String,
    pub state: String,
    pub reason: String,
    /// Attempts made.
    pub attempts: i32,
    /// The HTTP status of the last attempt of a finished one.
    pub status: Option<i32>,
    pub cause: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When an unfinished one is tried next.
    pub due_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEntry {
    pub number: i32,
    pub at: DateTime<Utc>,
    pub duration_ms: i32,
    pub status: Option<i32>,
    pub cause: Option<String>,
    pub error: Option<String>,
    /// The headers of the answer; secrets are masked.
    pub headers: Option<Value>,
    pub response: Option<String>,
    pub probe: bool,
}

/// Which deliveries.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub webhook: Option<i64>,
    /// One of [`STATES`].
    pub state: Option<String>,
    /// `ObjectCreatedEvent`, …
    pub class: Option<String>,
    /// Only those of the object with this uuid.
    pub object: Option<String>,
    /// Only those that were put into the queue then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those older than this id: where the page before ended.
    pub before: Option<i64>,
    pub limit: u16,
}

/// A page of deliveries.
#[derive(Debug, Clone)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// Where the next page begins ([`Query::before`]); `None` if this is the last one.
    pub next: Option<i64>,
}

/// Rows of the queue, and of the log, that a page looks at.
pub const SCANNED: i64 = 20_000;

/// One of the two tables, and how it is read: both give the same columns.
struct Source {
    table: &'static str,
    columns: &'static str,
    /// Further conditions that have an index in this table.
    indexed: &'static str,
}

const QUEUE: Source = Source {
    table: "openregister_webhooks.delivery",
    columns: "id, webhook, event_day, event_seq, NULL::text AS event_id, NULL::text AS class, lane, state, reason, attempt, \
        NULL::integer AS status, NULL::text AS cause, created_at, due_at, NULL::timestamptz AS finished_at",
    indexed: "",
};

/// What was put into the queue since a time has left it since that time, too. The state has an index unless it is the one that most
/// rows have.
const LOG: Source = Source {
    table: "openregister_webhooks.delivery_log",
    columns: "id, webhook, event_day, event_seq, event_id, class, lane, state, reason, attempt, \
        status, cause, created_at, NULL::timestamptz AS due_at, finished_at",
    indexed: "AND ($5::timestamptz IS NULL OR day >= ($5 AT TIME ZONE 'UTC')::date) AND ($2::text IS NULL OR state = $2) \
        AND ($8::text IS NULL OR lane = $8)",
};

impl Source {
    /// The rows that match, and how far the table was looked at. Conditions that have an index are in the inner query, the others in
    /// the outer one; both tables have an index in the order of `id`.
    fn sql(&self) -> String {
        let Self {
            table,
            columns,
            indexed,
        } = self;
        format!(
            "WITH s AS MATERIALIZED (
            SELECT {columns} FROM {table}
            WHERE ($1::bigint IS NULL OR webhook = $1) AND ($3::bigint IS NULL OR id < $3) {indexed} ORDER BY id DESC LIMIT $6
        )
        SELECT (SELECT count(*) FROM s) AS scanned, (SELECT min(s.id) FROM s) AS reached,
            (SELECT min(s.created_at) FROM s) AS earliest, x.*
        FROM (SELECT) one LEFT JOIN LATERAL (
            SELECT s.*, coalesce(s.event_id, e.id) AS known_id, coalesce(s.class, e.class) AS known_class
            FROM s LEFT JOIN LATERAL (
                SELECT e.id, e.class FROM openregister_webhooks.event e
                WHERE e.day = s.event_day AND e.seq = s.event_seq AND s.class IS NULL LIMIT 1
            ) e ON true
            WHERE ($2::text IS NULL OR s.state = $2) AND ($4::text IS NULL OR coalesce(s.class, e.class) = $4)
                AND ($5::timestamptz IS NULL OR s.created_at >= $5) AND ($8::text IS NULL OR s.lane = $8)
            ORDER BY s.id DESC LIMIT $7
        ) x ON true ORDER BY x.id DESC"
        )
    }
}

impl Query {
    fn entries(&self) -> usize {
        usize::from(self.limit.clamp(1, MAX_PAGE))
    }
}

/// A page of deliveries, newest first.
///
/// # Errors
/// If a query fails.
pub async fn list<C: GenericClient + Sync>(client: &C, query: &Query) -> Result<Page, Error> {
    let is_final = |state: &String| FINISHED.contains(&state.as_str());
    let mut parts = Vec::new();
    if !query.state.as_ref().is_some_and(is_final) {
        let all_match =
            query.state.is_none() && query.class.is_none() && query.since.is_none() && query.object.is_none();
        parts.push(part(client, query, &QUEUE, all_match).await?);
    }
    if query.state.as_ref().is_none_or(is_final) {
        let all_match = query.class.is_none() && query.since.is_none();
        parts.push(part(client, query, &LOG, all_match).await?);
    }
    Ok(join(parts, query.entries()))
}

/// What one table has for a page.
#[derive(Default)]
struct Part {
    /// Newest first.
    entries: Vec<Entry>,
    /// The id of the last row that was looked at, if older rows may match, too.
    stopped: Option<i64>,
}

/// One page of `most` entries from the parts of both tables.
fn join(parts: Vec<Part>, most: usize) -> Page {
    // Below the id at which a part stopped looking, that part may have more entries: nothing of the other part below it is shown.
    let bound = parts.iter().filter_map(|part| part.stopped).max();
    let mut entries: Vec<Entry> = parts.into_iter().flat_map(|part| part.entries).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    let shown = bound.map_or(most, |bound| {
        most.min(entries.partition_point(|entry| entry.id >= bound))
    });
    let more = entries.len() > shown || bound.is_some();
    entries.truncate(shown);
    let next = if entries.len() == most {
        entries.last().map(|entry| entry.id)
    } else {
        bound
    };
    Page {
        next: next.filter(|_| more),
        entries,
    }
}

/// Reads one table. `all_match`: every row that the inner query finds is an entry of the page.
async fn part<C: GenericClient + Sync>(
    client: &C,
    query: &Query,
    source: &Source,
    all_match: bool,
) -> Result<Part, Error> {
    // One more than the page holds shows whether there is another page.
    let limit = i64::try_from(query.entries()).unwrap_or(i64::MAX) + 1;
    let most = if all_match { limit } else { SCANNED };
    let lane = query
        .object
        .as_deref()
        .map(|uuid| Lane::object(uuid).as_str().to_owned());
    let rows = client
        .query_typed(
            &source.sql(),
            &[
                (&query.webhook, Type::INT8),
                (&query.state, Type::TEXT),
                (&query.before, Type::INT8),
                (&query.class, Type::TEXT),
                (&query.since, Type::TIMESTAMPTZ),
                (&most, Type::INT8),
                (&limit, Type::INT8),
                (&lane, Type::TEXT),
            ],
        )
        .await?;
    let mut part = Part::default();
    for row in &rows {
        if row.try_get::<_, Option<i64>>("id")?.is_some() {
            part.entries.push(entry(row)?);
        }
    }
    if let Some(row) = rows.first() {
        let scanned: i64 = row.try_get("scanned")?;
        let earliest: Option<DateTime<Utc>> = row.try_get("earliest")?;
        // Ids ascend with the time, so all rows that follow are older still.
        let is_past = query
            .since
            .zip(earliest)
            .is_some_and(|(since, earliest)| earliest < since - chrono::TimeDelta::minutes(10));
        if scanned == most && !is_past {
            part.stopped = row.try_get("reached")?;
        }
    }
    Ok(part)
}

/// One delivery and its attempts, oldest first; `None` if there is no delivery with this id.
///
/// # Errors
/// If a query fails.
pub async fn show<C: GenericClient + Sync>(
    client: &C,
    id: i64,
) -> Result<Option<(Entry, Vec<AttemptEntry>)>, Error> {
    // The newest of those that are not newer than it: that is the delivery itself, if it exists.
    let query = Query {
        before: Some(id.saturating_add(1)),
        limit: 1,
        ..Query::default()
    };
    let Some(found) = list(client, &query)
        .await?
        .entries
        .into_iter()
        .find(|e| e.id == id)
    else {
        return Ok(None);
    };
    let sql = "SELECT number, at, duration_ms, status, cause, error, headers, response, probe FROM openregister_webhooks.attempt \
        WHERE delivery = $1 ORDER BY at DESC LIMIT 500";
    let mut attempts = client
        .query_typed(sql, &[(&id, Type::INT8)])
        .await?
        .iter()
        .map(attempt)
        .collect::<Result<Vec<_>, _>>()?;
    attempts.reverse();
    Ok(Some((found, attempts)))
}

fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        id: row.try_get("id")?,
        webhook: row.try_get("webhook")?,
        event_id: row.try_get("known_id")?,
        class: row.try_get("known_class")?,
        lane: row.try_get("lane")?,
        state: row.try_get("state")?,
        reason: row.try_get("reason")?,
        attempts: row.try_get("attempt")?,
        status: row.try_get("status")?,
        cause: row.try_get("cause")?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

fn attempt(row: &Row) -> Result<AttemptEntry, Error> {
    Ok(AttemptEntry {
        number: row.try_get("number")?,
        at: row.try_get("at")?,
        duration_ms: row.try_get("duration_ms")?,
        status: row.try_get("status")?,
        cause: row.try_get("cause")?,
        error: row.try_get("error")?,
        headers: row
            .try_get::<_, Option<&str>>("headers")?
            .and_then(|text| serde_json::from_str(text).ok()),
        response: row.try_get("response")?,
        probe: row.try_get("probe")?,
    })
}
