//! What the classification must know beyond the changes themselves: what it asks for, and the answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::event::Lane;
use super::locks::LockSource;
use crate::capture::ChangeKey;
use orw_model::{Action, Row};

/// What a batch needs to know.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Registers and schemas, by numeric id.
    pub registers: BTreeSet<i64>,
    pub schemas: BTreeSet<i64>,
    /// Users, by uid.
    pub users: BTreeSet<String>,
    /// Times that a bulk upsert wrote in the session's time zone.
    pub local_times: BTreeSet<String>,
    /// Uuids of rows inserted into magic tables: are they in the blob table?
    pub in_blob: BTreeSet<String>,
    /// The same uuids and the table (without prefix) of each: is it in another magic table, too?
    pub homes: BTreeMap<String, String>,
    /// Tables (without prefix) and uuids: is there such a row?
    pub rows_exist: BTreeSet<(String, String)>,
    /// Uuids of objects of which an audit row `lock` or `unlock` tells: was a lock announced, and its end not?
    pub held: BTreeSet<String>,
    /// Audit rows `lock`/`unlock` of which no row change is remembered: which lock events did the backend cause lately?
    pub locks: BTreeSet<LockQuery>,
    /// Present rows of objects, by table (without prefix) and uuid.
    pub rows: BTreeSet<(String, String)>,
}

/// Asks for the events of the last seconds before `at`, and for the row as the backend last wrote it before `key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockQuery {
    pub uuid: String,
    pub pid: i32,
    pub at: DateTime<Utc>,
    /// The audit row's place in the stream.
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

/// The answers. What is asked for and missing here does not exist.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    pub registers: HashMap<i64, Row>,
    pub schemas: HashMap<i64, Row>,
    pub users: HashMap<String, User>,
    /// The local times that are not UTC, in UTC.
    pub utc: HashMap<String, String>,
    pub in_blob: HashSet<String>,
    /// By uuid: the other table (without prefix) and its row.
    pub homes: HashMap<String, (String, Row)>,
    /// By uuid: when that row was inserted, if the outbox still has it. The reader may be behind: a row that was
    /// inserted after the one in question is no home of it.
    pub homes_since: HashMap<String, ChangeKey>,
    pub rows_exist: HashSet<(String, String)>,
    pub held: HashMap<String, LockSource>,
    pub locks: HashMap<LockQuery, LockAnswer>,
    pub rows: HashMap<(String, String), Row>,
}
