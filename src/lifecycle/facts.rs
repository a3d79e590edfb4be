//! What the classification must know beyond the changes themselves: the needs of a batch, and the facts that were looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::earlier::EarlierStates;
use super::event::Lane;
use super::locks::LockSource;
use crate::capture::ChangeKey;
use orw_model::{Action, Row};

/// What must be looked up for a batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Registers and schemas, by numeric id.
    pub registers: BTreeSet<i64>,
    pub schemas: BTreeSet<i64>,
    /// Users, by uid.
    pub users: BTreeSet<String>,
    /// Times in the session's time zone, which bulk upserts write.
    pub local_times: BTreeSet<String>,
    /// Uuids of rows inserted into magic tables: which of them are in the blob table?
    pub in_blob: BTreeSet<String>,
    /// Those of the same uuids that may not be new, each with its table (without prefix): which of them are in another magic table, too?
    pub homes: BTreeMap<String, String>,
    /// Tables (without prefix) and uuids: which of these rows exist?
    pub rows_exist: BTreeSet<(String, String)>,
    /// Uuids of objects named by an audit row `lock` or `unlock`: which have a lock that was announced and whose end was not?
    pub held: BTreeSet<String>,
    /// Uuids of objects of which an update may be a revert: which states did they have before?
    pub earlier: BTreeSet<String>,
    /// Audit rows `lock`, `unlock` and `revert` for which no change of the object's row is remembered: what did their backend do lately?
    pub locks: BTreeSet<LockQuery>,
    /// Tables (without prefix) and uuids of objects whose current row is needed.
    pub rows: BTreeSet<(String, String)>,
}

/// Asks for the events of the last seconds before `at`, and for the object's row as the backend last wrote it before `key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockQuery {
    pub uuid: String,
    pub pid: i32,
    pub at: DateTime<Utc>,
    /// The audit row's key in the stream.
    pub key: ChangeKey,
    /// The tables (without prefix) in which the object may be.
    pub tables: Vec<String>,
}

impl LockQuery {
    /// The lane of the object.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::object(&self.uuid)
    }
}

/// The answer to a [`LockQuery`].
#[derive(Debug, Default, Clone)]
pub struct LockAnswer {
    /// The actions of the events, the newest first.
    pub events: Vec<Action>,
    /// The table (without prefix) and the row, if the outbox still has it.
    pub image: Option<(String, Row)>,
}

impl Needs {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A user of Nextcloud.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    pub display_name: Option<String>,
    /// Sorted.
    pub groups: Vec<String>,
}

/// What was looked up. If something was asked for and is missing here, it does not exist.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    pub registers: HashMap<i64, Row>,
    pub schemas: HashMap<i64, Row>,
    pub users: HashMap<String, User>,
    /// By local time: the same time in UTC. Empty if the session's zone is UTC.
    pub utc: HashMap<String, String>,
    pub in_blob: HashSet<String>,
    /// By uuid: the other table (without prefix) and its row.
    pub homes: HashMap<String, (String, Row)>,
    /// By uuid: when that row was inserted, if the outbox still has it. The reader may be behind, and an object cannot have been
    /// migrated from a row that was inserted later.
    pub homes_since: HashMap<String, ChangeKey>,
    pub rows_exist: HashSet<(String, String)>,
    pub held: HashMap<String, LockSource>,
    /// By uuid.
    pub earlier: HashMap<String, EarlierStates>,
    pub locks: HashMap<LockQuery, LockAnswer>,
    pub rows: HashMap<(String, String), Row>,
}
