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
    /// The lock event that the object's row gave, until its audit row comes.
    pub(super) lock: Option<Action>,
    /// An event of an earlier batch still waits for its actor.
    pub(super) awaiting: bool,
}
