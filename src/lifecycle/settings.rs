//! The settings of the classification.

use std::collections::HashSet;
use std::time::Duration;

use orw_model::EntityKind;

/// Columns of objects whose change alone gives no event, by their names in the blob table (a magic table puts `_` before them): times,
/// storage, what is derived from other columns, and the inverse side of relations, which the application writes by itself.
pub const OBJECT_HOUSEKEEPING: [&str; 8] = [
    "updated",
    "size",
    "folder",
    "files",
    "relations",
    "schema_version",
    // The name in the first generation, folded to lower case by PostgreSQL.
    "schemaversion",
    "validation",
];

/// Columns of the other kinds whose change alone gives no event. `folder` is a register's, `facets` a schema's; the rest is what
/// background jobs write into configurations about their own work.
pub const PLAIN_HOUSEKEEPING: [&str; 7] = [
    "updated",
    "folder",
    "facets",
    "last_checked",
    "remote_version",
    "last_sync_date",
    "sync_status",
];

/// How changes become events.
#[derive(Debug, Clone)]
pub struct LifecycleSettings {
    /// The prefix of Nextcloud's tables, `oc_`.
    pub table_prefix: String,
    /// See [`OBJECT_HOUSEKEEPING`].
    pub object_housekeeping: HashSet<String>,
    /// See [`PLAIN_HOUSEKEEPING`].
    pub plain_housekeeping: HashSet<String>,
    /// How long after a change its audit row may come, which names the actor.
    pub actor_window: Duration,
}

impl LifecycleSettings {
    #[must_use]
    pub fn new(table_prefix: &str) -> Self {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            table_prefix: table_prefix.to_owned(),
            object_housekeeping: set(&OBJECT_HOUSEKEEPING),
            plain_housekeeping: set(&PLAIN_HOUSEKEEPING),
            actor_window: Duration::from_millis(500),
        }
    }

    pub(crate) fn is_housekeeping(&self, kind: EntityKind, column: &str) -> bool {
        match kind {
            EntityKind::Object => self.object_housekeeping.contains(column),
            _ => self.plain_housekeeping.contains(column),
        }
    }
}
