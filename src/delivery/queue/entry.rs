//! A delivery and an attempt as they are shown, read from rows.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Error, Row};

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
    /// The HTTP status of the last attempt.
    pub status: Option<i32>,
    /// Why the last attempt failed, or why it was cancelled.
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

/// Reads a row of `search`.
pub(super) fn entry(row: &Row) -> Result<Entry, Error> {
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

/// Reads a row of the table `attempt`.
pub(super) fn attempt(row: &Row) -> Result<AttemptEntry, Error> {
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
