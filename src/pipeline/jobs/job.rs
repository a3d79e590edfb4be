//! A job, its kind and its state.

use std::error::Error;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::{FromSql, Type, accepts};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Delivers again the events that were stored since a time.
    Replay,
    /// Delivers the current entities as Created.
    Backfill,
    /// Puts back what failed and matches a filter.
    Retry,
}

impl JobKind {
    const ALL: [Self; 3] = [Self::Replay, Self::Backfill, Self::Retry];

    /// The name, as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Backfill => "backfill",
            Self::Retry => "retry",
        }
    }
}

/// Whether a job is at work or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    /// A replay was cancelled and still has to enqueue the new events that it held back.
    Cancelling,
    Done,
    Cancelled,
}

impl JobState {
    /// The name, as it is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

impl JobKind {
    /// The kind with this name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl JobState {
    /// The state with this name.
    fn from_name(name: &str) -> Option<Self> {
        [Self::Running, Self::Cancelling, Self::Done, Self::Cancelled]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// A stored name that this version does not know is an error of its column.
impl<'a> FromSql<'a> for JobKind {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let name = <&str>::from_sql(ty, raw)?;
        Self::from_name(name).ok_or_else(|| format!("{name:?} is not a kind of job").into())
    }

    accepts!(TEXT);
}

/// A stored name that this version does not know is an error of its column.
impl<'a> FromSql<'a> for JobState {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let name = <&str>::from_sql(ty, raw)?;
        Self::from_name(name).ok_or_else(|| format!("{name:?} is not a state of a job").into())
    }

    accepts!(TEXT);
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A job and its progress, as a row of `openregister_webhooks.job`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: i64,
    pub kind: JobKind,
    pub webhook: i64,
    pub state: JobState,
    /// The request, as JSON of `progress`.
    #[serde(rename = "ask")]
    pub request: Value,
    /// The event, the row or the delivery that was looked at last, as JSON of `progress`.
    pub place: Value,
    /// For a backfill: how many rows there were at the start, as PostgreSQL estimates. For a retry: how many deliveries could be put
    /// back at the start, if they were counted.
    pub expected: Option<i64>,
    /// How many events or rows were looked at; for a retry, how many deliveries that match.
    pub seen: i64,
    /// How many deliveries were enqueued.
    pub enqueued: i64,
    /// What whoever started it should know of its limits.
    pub note: Option<String>,
    /// Why it makes no progress now.
    pub waiting: Option<String>,
    /// Who started it.
    pub who: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Job {
    /// How much of `expected` is done: of a retry, what was put back; of others, what was looked at.
    #[must_use]
    pub const fn counted(&self) -> i64 {
        match self.kind {
            JobKind::Retry => self.enqueued,
            JobKind::Replay | JobKind::Backfill => self.seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_name_is_read_strictly() {
        for kind in JobKind::ALL {
            assert_eq!(
                JobKind::from_sql(&Type::TEXT, kind.name().as_bytes()).unwrap(),
                kind
            );
        }
        for state in [
            JobState::Running,
            JobState::Cancelling,
            JobState::Done,
            JobState::Cancelled,
        ] {
            assert_eq!(
                JobState::from_sql(&Type::TEXT, state.name().as_bytes()).unwrap(),
                state
            );
        }
        assert!(JobKind::from_sql(&Type::TEXT, b"restore").is_err());
        assert!(JobState::from_sql(&Type::TEXT, b"paused").is_err());
    }
}
