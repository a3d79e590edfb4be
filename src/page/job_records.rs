//! What the API answers about jobs, as the page reads it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) webhook: Option<i64>,
    pub(crate) state: String,
    #[serde(rename = "ask", default)]
    pub(crate) request: Value,
    pub(crate) expected: Option<i64>,
    pub(crate) seen: i64,
    pub(crate) enqueued: i64,
    pub(crate) note: Option<String>,
    pub(crate) waiting: Option<String>,
    pub(crate) who: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

impl Job {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "done" | "cancelled")
    }

    /// How much is done, in percent; `None` if nobody knows how much there is.
    pub(crate) fn percent(&self) -> Option<i64> {
        if self.state == "done" {
            return Some(100);
        }
        let (done, expected) = self.progress()?;
        Some((done * 100 / expected).clamp(0, 99))
    }

    /// What is done, and what there is to do as far as that was known at the start: deliveries that are put back of a retry, rows that are
    /// looked at of a backfill (an estimate). `None` if it is not known, was too low, or the job is over.
    fn progress(&self) -> Option<(i64, i64)> {
        let done = if self.puts_back() {
            self.enqueued
        } else {
            self.seen
        };
        let expected = self
            .expected
            .filter(|expected| *expected > 0 && *expected >= done)?;
        (!self.is_over()).then_some((done, expected))
    }

    fn puts_back(&self) -> bool {
        self.kind == "retry"
    }

    /// How many rows there are to be looked at.
    pub(crate) fn to_look_at(&self) -> Option<i64> {
        let (_, expected) = self.progress().filter(|_| !self.puts_back())?;
        Some(expected)
    }

    /// How many deliveries there are to be put back.
    pub(crate) fn to_put_back(&self) -> Option<i64> {
        let (_, expected) = self.progress().filter(|_| self.puts_back())?;
        Some(expected)
    }
}

/// How many deliveries a bulk retry would put back.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RetryCount {
    pub(crate) count: i64,
    /// Otherwise there are more.
    pub(crate) exact: bool,
}

/// What a bulk retry began.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RetryStarted {
    pub(crate) jobs: Vec<Job>,
    pub(crate) skipped: Vec<Skipped>,
}

/// What was put back of a webhook at once.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Retried {
    pub(crate) retried: i64,
    /// There is more: the time was up.
    pub(crate) more: bool,
}

/// A webhook that gets no job now.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) webhook: i64,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<Job>,
    pub(crate) cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: &str, state: &str, (seen, enqueued, expected): (i64, i64, Option<i64>)) -> Job {
        let job = serde_json::json!({"id": 1, "kind": kind, "state": state, "expected": expected, "seen": seen,
            "enqueued": enqueued, "who": "ann", "created_at": "2026-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z"});
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn progress_is_of_what_is_expected_and_a_wrong_estimate_is_not_shown() {
        let retry = job("retry", "running", (865, 43, Some(215)));
        assert_eq!((retry.to_look_at(), retry.to_put_back()), (None, Some(215)));
        assert_eq!(retry.percent(), Some(20));
        let backfill = job("backfill", "running", (500, 400, Some(2_000)));
        assert_eq!(
            (backfill.to_look_at(), backfill.to_put_back()),
            (Some(2_000), None)
        );
        assert_eq!(backfill.percent(), Some(25));
        for unknown in [None, Some(0), Some(400)] {
            let backfill = job("backfill", "running", (500, 400, unknown));
            assert_eq!((backfill.to_look_at(), backfill.percent()), (None, None));
        }
        let done = job("retry", "done", (865, 215, Some(215)));
        assert_eq!((done.to_put_back(), done.percent()), (None, Some(100)));
    }
}
