//! A gap: a stretch of time from which changes of one table are missing.

use chrono::{DateTime, Utc};

use orw_model::TableName;

/// A stretch of time from which changes of one table are missing, as a row of `openregister_webhooks.gap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// `openregister_webhooks.gap.id`.
    pub id: i64,
    /// The table's full name, with the prefix.
    pub name: String,
    pub table: TableName,
    /// The time of the first missing write; `None` if it is unknown.
    pub since: Option<DateTime<Utc>>,
    /// A time after the last missing write; `None` if it is unknown.
    pub until: Option<DateTime<Utc>>,
    /// What happened, for a person.
    pub reason: String,
    /// What to do about it, for a person: a command, or why there is none.
    pub remedy: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}
