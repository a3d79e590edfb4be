//! What became of a leased delivery.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::delivery::{Claimed, LeaseKey};
use crate::delivery::response_excerpt::ResponseExcerpt;

/// What becomes of a leased delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    /// No attempt or time is left.
    GivenUp,
    /// The webhook does not want it, now that the user is known; it is not logged.
    Dropped,
    /// Tried again after the wait.
    Retry(Duration),
    /// A probe failed that was made before the delivery was due: it stays due when it was due before.
    Probed,
    /// Handed back untried.
    Released,
    /// Handed back untried, and not due before the wait is over.
    PutOff(Duration),
}

impl Outcome {
    /// Whether the row leaves the queue.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::GivenUp | Self::Dropped)
    }
}

/// One attempt, as it is logged.
#[derive(Debug, Clone)]
pub(crate) struct AttemptRecord {
    pub(crate) at: DateTime<Utc>,
    pub(crate) duration: Duration,
    pub(crate) number: u32,
    pub(crate) status: Option<u16>,
    pub(crate) cause: Option<&'static str>,
    pub(crate) error: Option<String>,
    pub(crate) answer: ResponseExcerpt,
    pub(crate) probe: bool,
    /// From the change to the receipt, if a live event has arrived.
    pub(crate) latency: Option<Duration>,
}

impl AttemptRecord {
    /// Its number, as stored.
    pub(super) fn number(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(i32::MAX)
    }
}

/// What is to be written down about one leased delivery.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeRecord {
    pub(crate) delivery: Claimed,
    pub(crate) outcome: Outcome,
    pub(crate) attempt: Option<AttemptRecord>,
    /// The event's id and class, if it could be read.
    pub(crate) event: Option<(String, String)>,
}

impl OutcomeRecord {
    pub(crate) const fn lease(&self) -> LeaseKey {
        self.delivery.lease()
    }
}
