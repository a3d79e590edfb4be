//! What one backend did to one object lately: joins the changes of one request.

use chrono::TimeDelta;

use super::Classifier;
use crate::capture::Change;
use orw_model::{Action, TableName};

/// How long after a change of the same backend an audit row is taken to belong to it.
pub(super) const SAME_REQUEST: TimeDelta = TimeDelta::seconds(10);

/// What one backend did to one object lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When it last changed the row.
    pub(super) at: chrono::DateTime<chrono::Utc>,
    /// The row and its table after the last change.
    pub(super) image: Option<(TableName, String)>,
    /// The lock event that the change of the column gave, until its audit row came.
    pub(super) lock: Option<Action>,
    /// An event of an earlier batch still waits for its actor.
    pub(super) awaiting: bool,
}

impl Classifier {
    pub(super) fn remember(&mut self, change: Change, uuid: String, lock: Option<Action>, id: Option<i64>) {
        if let Some(id) = id {
            let weight = uuid.len();
            self.last_object.insert(change.pid, (id, uuid.clone()), weight);
        }
        let key = (change.pid, uuid);
        let mut recent = self
            .recent
            .remove(&key)
            .filter(|recent| (change.at - recent.at).abs() <= SAME_REQUEST)
            .unwrap_or_default();
        recent.at = change.at;
        recent.lock = lock.or(recent.lock);
        recent.image = change.new.map(|text| (change.table, text));
        let weight = recent.image.as_ref().map_or(0, |(_, text)| text.len());
        self.recent.insert(key, recent, weight);
    }
}
