//! A delivery: as it is put into the queue, and as a worker holds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::NaiveDate;
use tokio::time::Instant;
use tokio_postgres::types::{FromSql, Type, accepts};

use super::worker::WorkerId;
use crate::lifecycle::Lane;
use crate::registry::WebhookId;

/// A row of `openregister_webhooks.event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventRef {
    pub day: NaiveDate,
    pub seq: i64,
}

/// Why something is delivered; the value of `ORW-Reason`, and of the column `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Live,
    Retry,
    Replay,
    Backfill,
    Test,
}

impl Reason {
    const ALL: [Self; 5] = [Self::Live, Self::Retry, Self::Replay, Self::Backfill, Self::Test];

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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason in the database that this program does not know: a newer one may have stored it.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no reason of a delivery that this version knows")]
struct UnknownReason(String);

impl<'a> FromSql<'a> for Reason {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let stored = <&str>::from_sql(ty, raw)?;
        let known = Self::ALL.into_iter().find(|reason| reason.name() == stored);
        Ok(known.ok_or_else(|| UnknownReason(stored.to_owned()))?)
    }

    accepts!(TEXT);
}

/// A delivery to be made.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub webhook: WebhookId,
    pub event: EventRef,
    pub lane: Lane,
    /// `false` for `ordering: none`: it waits for nothing.
    pub ordered: bool,
    /// How long to wait for the row that names the user; `None` if the webhook does not need to know the user.
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
    /// `false` if it was taken before it was due, as a probe.
    pub(crate) due: bool,
    /// Since when it has been due, by the clock of this machine.
    pub(crate) due_since: Instant,
    /// Its deadline has passed: the next failure is the last.
    pub(crate) overdue: bool,
    /// Bytes of the event's states, as stored.
    pub(crate) size: u64,
    /// Whether more waits behind it in its lane.
    pub(crate) followed: Followed,
}

/// Whether something waits behind a delivery in its lane: known from the lease, or learned since. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followed(Arc<AtomicBool>);

impl Followed {
    pub(crate) fn new(followed: bool) -> Self {
        Self(Arc::new(AtomicBool::new(followed)))
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a clone of it is somewhere else.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Claimed {
    pub(crate) const fn lease(&self) -> LeaseKey {
        LeaseKey {
            id: self.id,
            fence: self.fence,
        }
    }
}

/// Names one lease: the row, and the fence that the row got with this lease. The next lease of the same row has another fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LeaseKey {
    pub(crate) id: i64,
    pub(crate) fence: i64,
}

impl LeaseKey {
    /// Reads the columns `id` and `fence`.
    pub(super) fn read(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            fence: row.try_get("fence")?,
        })
    }

    /// The ids and the fences, as two columns.
    pub(super) fn columns<'a>(keys: impl IntoIterator<Item = &'a Self>) -> (Vec<i64>, Vec<i64>) {
        keys.into_iter().map(|key| (key.id, key.fence)).unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_is_stored_and_no_other() {
        for reason in Reason::ALL {
            let read = Reason::from_sql(&Type::TEXT, reason.name().as_bytes());
            assert_eq!(read.unwrap(), reason);
        }
        let unknown = Reason::from_sql(&Type::TEXT, b"whim").unwrap_err();
        assert!(unknown.to_string().contains("whim"), "{unknown}");
    }
}
