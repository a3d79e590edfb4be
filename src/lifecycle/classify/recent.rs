//! What one backend did to one object lately: connects the changes of one request.

use chrono::TimeDelta;

use orw_model::{Action, TableName};

/// How long after a change an audit row of the same backend is taken to belong to the same request.
pub(super) const SAME_REQUEST: TimeDelta = TimeDelta::seconds(10);

/// What one backend did to one object lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When it last changed the row.
    pub(super) at: chrono::DateTime<chrono::Utc>,
    /// The row and its table after the last change.
    pub(super) image: Option<(TableName, String)>,
    /// What its rows have told already, until the audit row comes.
    pub(super) told: Told,
    /// An event of an earlier batch still waits for its actor.
    pub(super) awaiting: bool,
}

/// Events of a request that the object's rows gave, so that its audit row is none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// The last one of a lock.
    pub(super) lock: Option<Action>,
    pub(super) revert: bool,
}

impl Told {
    /// What is told after `more`, too.
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            lock: more.lock.or(self.lock),
            revert: self.revert || more.revert,
        }
    }
}
