//! Looking at deliveries: those in the queue and those in the log, as one list; and the attempts of each.
//!
//! Guarantees: at most [`MAX_PAGE`] a page, newest first, each page from where the last one ended; nothing secret is in
//! it (what a receiver answered is, as far as it is kept).

use chrono::{DateTime, Utc};
use serde::Serialize;
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
    pub response: Option<String>,
    pub probe: bool,
}

/// Which deliveries.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub webhook: Option<i64>,
    /// One of [`STATES`].
    pub state: Option<String>,
    /// Only those older than this id: the last of the page before.
    pub before: Option<i64>,
    pub limit: u16,
}

const COLUMNS: &str = "id, webhook, event_day, event_seq, event_id, class, lane, state, reason, attempt, status, cause, \
    created_at, due_at, finished_at";

/// Queue and log, each with an index in the order that is asked for.
fn list_sql() -> String {
    let filter = "($1::bigint IS NULL OR webhook = $1) AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR id < $3)";
    format!(
        "SELECT p.*, coalesce(p.event_id, e.id) AS known_id, coalesce(p.class, e.class) AS known_class FROM (
            (SELECT id, webhook, event_day, event_seq, NULL AS event_id, NULL AS class, lane, state, reason, attempt,
                NULL::integer AS status, NULL AS cause, created_at, due_at, NULL::timestamptz AS finished_at
             FROM openregister_webhooks.delivery WHERE {filter} ORDER BY id DESC LIMIT $4)
            UNION ALL
            (SELECT {log} FROM openregister_webhooks.delivery_log WHERE {filter} ORDER BY id DESC LIMIT $4)
            ORDER BY id DESC LIMIT $4
        ) p LEFT JOIN LATERAL (
            SELECT e.id, e.class FROM openregister_webhooks.event e WHERE e.day = p.event_day AND e.seq = p.event_seq LIMIT 1
        ) e ON p.event_id IS NULL ORDER BY p.id DESC",
        log = COLUMNS.replace("due_at", "NULL::timestamptz AS due_at"),
    )
}

/// A page of deliveries, newest first.
///
/// # Errors
/// Where PostgreSQL says so.
pub async fn list<C: GenericClient + Sync>(client: &C, query: &Query) -> Result<Vec<Entry>, Error> {
    let limit = i64::from(query.limit.clamp(1, MAX_PAGE));
    let rows = client
        .query_typed(
            &list_sql(),
            &[
                (&query.webhook, Type::INT8),
                (&query.state, Type::TEXT),
                (&query.before, Type::INT8),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
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
    let Some(found) = list(client, &query).await?.into_iter().find(|e| e.id == id) else {
        return Ok(None);
    };
    let sql = "SELECT number, at, duration_ms, status, cause, error, response, probe FROM openregister_webhooks.attempt \
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
        response: row.try_get("response")?,
        probe: row.try_get("probe")?,
    })
}
