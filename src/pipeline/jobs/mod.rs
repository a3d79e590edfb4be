//! Jobs: replays and backfills, long work in small steps.
//!
//! Guarantees: a step is one short transaction that puts a batch of deliveries into the queue and says how far the job
//! is, so a job goes on in any process where another was killed, and enqueues nothing twice; memory and the queue's depth
//! are bounded, whatever the job's size; one job at a time for a webhook. Order per object holds between a job and the stream:
//! * A backfill reads a row after it has taken the lock that orders the queue. What was enqueued before was committed before,
//!   so the row is at least as new; what comes later goes behind it.
//! * A replay is a rewind: while it runs, the webhook's new events are not enqueued by the reader but by the replay, when it
//!   comes to them. It ends under the same lock, when nothing is left, and the reader goes on from there.

mod backfill;
mod replay;
mod runner;
mod start;
mod step_size;
mod store;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

pub use runner::{Runner, RunnerSettings};
pub use start::{BackfillRequest, ReplayRequest, StartError, start_backfill, start_replay};
pub use store::{cancel, get, list};

pub(crate) use store::{cancel_all, replaying};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Delivers again what was stored since a time.
    Replay,
    /// Delivers what is there now, as Created.
    Backfill,
}

impl JobKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Backfill => "backfill",
        }
    }
}

/// Whether a job is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    /// A replay that was cancelled hands over the new events that it held back.
    Cancelling,
    Done,
    Cancelled,
}

impl JobState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A job and how far it is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: i64,
    pub kind: JobKind,
    pub webhook: i64,
    pub state: JobState,
    /// What was asked for.
    pub ask: Value,
    /// Where it is: the event or the row that it looked at last.
    pub place: Value,
    /// Of a backfill: how many rows there were at the start, as PostgreSQL estimates.
    pub expected: Option<i64>,
    /// Events or rows that were looked at.
    pub seen: i64,
    /// Deliveries that came of them.
    pub enqueued: i64,
    /// What the asker should know of its limits.
    pub note: Option<String>,
    /// Why it makes no progress now.
    pub waiting: Option<String>,
    pub who: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}
