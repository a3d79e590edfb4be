//! Looking at deliveries: those in the queue and those in the log, as one list; and the attempts of each.
//!
//! Guarantees: at most [`MAX_PAGE`] a page, newest first, each page from where the last one ended; a page costs the same
//! however long queue and log are: it looks at [`SCANNED`] rows at most, so where few rows fit it may be short, or empty,
//! and still not the last. Nothing secret is in it (what a receiver answered is, as far as it is kept).

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Row};

/// The most that one page holds.
pub const MAX_PAGE: u16 = 500;

/// The states that can be asked for.
pub const STATES: [&str; 7] = [
    "pending",
    "awaiting_user",
    "leased",
    "retrying",
    "succeeded",
    "given_up",
    "cancelled",
];

/// One delivery.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub id: i64,
    pub webhook: i64,
    /// The `webhook-id`; null where the event is no longer there.
    pub event_id: Option<String>,
    /// `ObjectCreatedEvent`, …
    pub class: Option<String>,
    pub lane: String,
    pub state: String,
    pub reason: String,
    /// Attempts made.
    pub attempts: i32,
    /// Of the last attempt of a finished one.
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
    /// Of the answer; secrets are masked.
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
    /// Where the next page begins; `None` where there is none.
    pub next: Option<i64>,
}

/// Rows of the queue, and of the log, that a page looks at.
pub const SCANNED: i64 = 20_000;

const COLUMNS: &str = "id, webhook, event_day, event_seq, event_id, class, lane, state, reason, attempt, status, cause, \
    created_at, due_at, finished_at";

/// The rows of one of the two tables that fit, and how far it was looked at. What has an index is in the inner query, what
/// has none in the outer one; both tables have an index in the order of `id`.
fn part_sql(table: &str, columns: &str, inner: &str) -> String {
    format!(
        "WITH s AS MATERIALIZED (
            SELECT {columns} FROM openregister_webhooks.{table}
            WHERE ($1::bigint IS NULL OR webhook = $1) AND ($3::bigint IS NULL OR id < $3) {inner} ORDER BY id DESC LIMIT $6
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
                AND ($5::timestamptz IS NULL OR s.created_at >= $5)
            ORDER BY s.id DESC LIMIT $7
        ) x ON true ORDER BY x.id DESC"
    )
}

/// A page of deliveries, newest first.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn list<C: GenericClient + Sync>(client: &C, query: &Query) -> Result<Page, Error> {
    let mut limit = usize::from(query.limit.clamp(1, MAX_PAGE));
    let queue = COLUMNS
        .replace("event_id, class", "NULL::text AS event_id, NULL::text AS class")
        .replace("status, cause", "NULL::integer AS status, NULL::text AS cause")
        .replace("finished_at", "NULL::timestamptz AS finished_at");
    let log = COLUMNS.replace("due_at", "NULL::timestamptz AS due_at");
    let is_final = |state: &String| ["succeeded", "given_up", "cancelled"].contains(&state.as_str());
    let mut parts = Vec::new();
    if !query.state.as_ref().is_some_and(is_final) {
        let all_fit = query.state.is_none() && query.class.is_none() && query.since.is_none();
        parts.push(part(client, query, &part_sql("delivery", &queue, ""), all_fit).await?);
    }
    if query.state.as_ref().is_none_or(is_final) {
        // What was put into the queue since then left it since then. The state has an index unless it is what most have.
        let inner = "AND ($5::timestamptz IS NULL OR day >= ($5 AT TIME ZONE 'UTC')::date) AND ($2::text IS NULL OR state = $2)";
        let all_fit = query.class.is_none() && query.since.is_none();
        parts.push(part(client, query, &part_sql("delivery_log", &log, inner), all_fit).await?);
    }
    // Below where a part stopped looking, it may have more.
    let bound = parts.iter().filter_map(|part| part.stopped).max();
    let mut entries: Vec<Entry> = parts.into_iter().flat_map(|part| part.entries).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    if let Some(bound) = bound {
        limit = limit.min(entries.partition_point(|entry| entry.id >= bound));
    }
    let more = entries.len() > limit || bound.is_some();
    entries.truncate(limit);
    let next = if entries.len() == usize::from(query.limit.clamp(1, MAX_PAGE)) {
        entries.last().map(|entry| entry.id)
    } else {
        bound
    };
    Ok(Page {
        next: next.filter(|_| more),
        entries,
    })
}

/// What one table had.
struct Part {
    entries: Vec<Entry>,
    /// The last row looked at, where there may be more that fit.
    stopped: Option<i64>,
}

/// `all_fit`: what the inner query finds is a page already.
async fn part<C: GenericClient + Sync>(
    client: &C,
    query: &Query,
    sql: &str,
    all_fit: bool,
) -> Result<Part, Error> {
    // One more than the page, to know whether there is another.
    let limit = i64::from(query.limit.clamp(1, MAX_PAGE)) + 1;
    let most = if all_fit { limit } else { SCANNED };
    let rows = client
        .query_typed(
            sql,
            &[
                (&query.webhook, Type::INT8),
                (&query.state, Type::TEXT),
                (&query.before, Type::INT8),
                (&query.class, Type::TEXT),
                (&query.since, Type::TIMESTAMPTZ),
                (&most, Type::INT8),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    let mut part = Part {
        entries: Vec::new(),
        stopped: None,
    };
    for row in &rows {
        if row.try_get::<_, Option<i64>>("id")?.is_some() {
            part.entries.push(entry(row)?);
        }
    }
    if let Some(row) = rows.first() {
        let scanned: i64 = row.try_get("scanned")?;
        let earliest: Option<DateTime<Utc>> = row.try_get("earliest")?;
        // Ids ascend with the time; all that follows is older still.
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

/// One delivery and its attempts, oldest first; `None` where there is none with this id.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn show<C: GenericClient + Sync>(
    client: &C,
    id: i64,
) -> Result<Option<(Entry, Vec<AttemptEntry>)>, Error> {
    // The newest page of what is not newer than it: it comes first, if it exists.
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
