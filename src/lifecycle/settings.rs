//! The settings of the classification, and the columns whose change alone is no news.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use orw_model::EntityKind;

/// The columns of a kind whose change alone gives no event. Objects' columns have their names in the blob table here; a magic table
/// puts `_` before them.
#[must_use]
pub const fn housekeeping(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        // Times, storage, what is derived from other columns, and the inverse side of relations, which OpenRegister writes by itself.
        // In 2.x the version moves at every save, also if nothing else does.
        EntityKind::Object => &[
            "updated",
            "version",
            "size",
            "folder",
            "files",
            "relations",
            "schema_version",
            // The name in the first generation, folded to lower case by PostgreSQL.
            "schemaversion",
            "validation",
        ],
        EntityKind::Register => &["updated", "folder"],
        // The draft is what somebody is still modelling; the published schema changes when it is taken over.
        EntityKind::Schema => &["updated", "facets", "draft"],
        // What background jobs write about their own work.
        EntityKind::Configuration => &[
            "updated",
            "last_checked",
            "remote_version",
            "last_sync_date",
            "sync_status",
        ],
        EntityKind::Source => &["updated", "last_sync_date", "last_sync_status", "last_sync_token"],
        EntityKind::Organisation => &["updated", "retained_at"],
        EntityKind::Application | EntityKind::Agent | EntityKind::View | EntityKind::Conversation => {
            &["updated"]
        }
    }
}

/// The housekeeping columns that are in effect.
#[derive(Debug, Clone)]
pub struct Housekeeping(HashMap<EntityKind, HashSet<String>>);

impl Default for Housekeeping {
    /// See [`housekeeping`].
    fn default() -> Self {
        let columns = |kind| housekeeping(kind).iter().map(|name| (*name).to_owned());
        let kinds = EntityKind::ALL.into_iter();
        Self(kinds.map(|kind| (kind, columns(kind).collect())).collect())
    }
}

impl Housekeeping {
    /// These columns, in every kind.
    #[must_use]
    pub fn of_every_kind(columns: &[String]) -> Self {
        let kinds = EntityKind::ALL.into_iter();
        Self(
            kinds
                .map(|kind| (kind, columns.iter().cloned().collect()))
                .collect(),
        )
    }

    pub(crate) fn contains(&self, kind: EntityKind, column: &str) -> bool {
        self.0.get(&kind).is_some_and(|columns| columns.contains(column))
    }
}

/// How changes become events.
#[derive(Debug, Clone)]
pub struct LifecycleSettings {
    /// The prefix of Nextcloud's tables, `oc_`.
    pub table_prefix: String,
    pub housekeeping: Housekeeping,
    /// How long after a change its audit row may come, which names the actor.
    pub actor_window: Duration,
}

impl LifecycleSettings {
    #[must_use]
    pub fn new(table_prefix: &str) -> Self {
        Self {
            table_prefix: table_prefix.to_owned(),
            housekeeping: Housekeeping::default(),
            actor_window: Duration::from_millis(500),
        }
    }

    pub(crate) fn is_housekeeping(&self, kind: EntityKind, column: &str) -> bool {
        self.housekeeping.contains(kind, column)
    }
}
