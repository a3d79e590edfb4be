//! The durable queue: `openregister_webhooks.delivery` and its log.
//!
//! Guarantees: of a lane (webhook, lane) only the first row, its head, is ever leased (for `ordering: none` every row
//! is a head); an outcome counts only from the holder of the current lease; a finished row moves to the log, and its
//! successor becomes the head, in one transaction. `enqueue` is part of the caller's transaction. A lease that its worker
//! does not know of (the answer was lost) is found and given back by `reconcile`.

mod claim;
mod control;
mod enqueue;
#[cfg(test)]
mod model;
mod reconcile;
mod retry;
mod settle;
mod worker;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

pub use control::{cancel_webhook, resolve_user, wake_all};
pub use enqueue::{enqueue, lock};
pub use retry::{Again, Retried, retry, retry_given_up};

pub(crate) use claim::{Claim, Want, claim};
pub(crate) use control::{Doing, Health, due_now, forgive, health, record_health};
pub(crate) use reconcile::{Reconciled, reconcile};
pub(crate) use settle::{Lease, Settled, SettledBatch, settle};
pub(crate) use worker::{CHANNEL, LEASE, WorkerId, beat, leave};

use super::kept::Kept;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// A row of `openregister_webhooks.event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventRef {
    pub day: NaiveDate,
    pub seq: i64,
}

/// Why something is delivered; the value of `ORW-Reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Live,
    Retry,
    Replay,
    Backfill,
    Test,
}

impl Reason {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
            Self::Test => "test",
        }
    }

    fn from_stored(name: &str) -> Self {
        match name {
            "retry" => Self::Retry,
            "replay" => Self::Replay,
            "backfill" => Self::Backfill,
            "test" => Self::Test,
            _ => Self::Live,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A delivery to be made.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub webhook: WebhookId,
    pub event: EventRef,
    pub lane: Lane,
    /// `false` for `ordering: none`: it waits for nothing.
    pub ordered: bool,
    /// How long the row that names the user is waited for; `None` where the webhook does not need to know.
    pub await_user: Option<Duration>,
    pub reason: Reason,
}

/// A delivery that this process holds the lease of.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// Who holds the lease.
    pub(crate) worker: WorkerId,
    pub(crate) id: i64,
    pub(crate) webhook: WebhookId,
    pub(crate) event: EventRef,
    pub(crate) lane: Lane,
    /// Attempts made so far.
    pub(crate) attempt: u32,
    pub(crate) fence: i64,
    pub(crate) reason: Reason,
    /// It waited for the row that names the user.
    pub(crate) awaited: bool,
    /// It was due; else it was taken early, as a probe.
    pub(crate) due: bool,
    /// Its time is over: the next failure is the last.
    pub(crate) overdue: bool,
    /// Bytes of the event's states, as stored.
    pub(crate) size: u64,
}

/// What becomes of a leased delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    /// No attempt or time is left.
    GivenUp,
    /// Nobody wants it any more; leaves no trace.
    Dropped,
    /// Tried again after the wait.
    Retry(Duration),
    /// A probe out of turn failed: due when it was due before.
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

/// What one attempt met with.
#[derive(Debug, Clone)]
pub(crate) struct AttemptRecord {
    pub(crate) at: DateTime<Utc>,
    pub(crate) duration: Duration,
    pub(crate) number: u32,
    pub(crate) status: Option<u16>,
    pub(crate) cause: Option<&'static str>,
    pub(crate) error: Option<String>,
    pub(crate) answer: Kept,
    pub(crate) probe: bool,
}

impl AttemptRecord {
    /// Its number, as stored.
    fn number(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(i32::MAX)
    }
}
