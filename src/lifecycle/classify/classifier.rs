//! The classifier: its settings and its bounded memory of earlier changes.

use std::collections::HashMap;

use serde_json::Value;

use super::decode::Decoded;
use super::insertions::Insertions;
use super::recent::{Recent, SAME_REQUEST, Told};
use crate::capture::Change;
use crate::lifecycle::bounded_map::BoundedMap;
use crate::lifecycle::facts::{Facts, Needs};
use crate::lifecycle::local_time;
use crate::lifecycle::references::References;
use crate::lifecycle::settings::LifecycleSettings;
use crate::lifecycle::users::KnownUsers;
use orw_model::{Entity, EntityKind, ObjectRow, Row, TableName, object_entity, time};

/// What is remembered of recent changes, in bytes.
const MEMORY: usize = 2 << 20;
/// What is remembered of moved objects, in bytes. No look-up replaces it: the DELETE of a forgotten one is told as an event. It takes memory
/// only while objects are moved.
const MOVED: usize = 4 << 20;

/// The classifier.
#[derive(Debug)]
pub struct Classifier {
    pub(super) settings: LifecycleSettings,
    pub(super) references: References,
    pub(super) users: KnownUsers,
    pub(super) recent: BoundedMap<(i32, String), Recent>,
    /// Objects whose row was copied into another table: the copy's table. A DELETE elsewhere is then no event.
    pub(super) moved: BoundedMap<String, TableName>,
    /// Which objects got a row in the last seconds.
    pub(super) insertions: Insertions,
    /// The last object of a backend, by numeric id: the first generation's audit rows name no uuid.
    pub(super) last_object: BoundedMap<i32, (i64, String)>,
    /// The batch's times that are not in UTC, in UTC.
    pub(super) utc: HashMap<String, String>,
}

impl Classifier {
    #[must_use]
    pub fn new(settings: LifecycleSettings) -> Self {
        Self {
            settings,
            references: References::default(),
            users: KnownUsers::default(),
            recent: BoundedMap::new(MEMORY),
            moved: BoundedMap::new(MOVED),
            insertions: Insertions::default(),
            last_object: BoundedMap::new(MEMORY / 2),
            utc: HashMap::new(),
        }
    }

    /// Forgets everything; what is needed is looked up again.
    pub fn forget(&mut self) {
        self.references.clear();
        self.users.clear();
        self.recent.clear();
        self.moved.clear();
        self.insertions.clear();
        self.last_object.clear();
    }

    /// Takes over what was looked up for a batch.
    pub(super) fn learn(&mut self, changes: &[Decoded], needs: Needs, facts: &Facts) {
        for id in needs.registers {
            self.references
                .learn(EntityKind::Register, id, facts.registers.get(&id));
        }
        for id in needs.schemas {
            self.references
                .learn(EntityKind::Schema, id, facts.schemas.get(&id));
        }
        self.utc.clone_from(&facts.utc);
        if let Some(now) = changes.last().map(|decoded| decoded.change.at) {
            for uid in needs.users {
                let user = facts.users.get(&uid).cloned();
                self.users.learn(uid, user, now);
            }
        }
    }

    /// The object that a row holds, with its register and schema as they are at this point of the stream.
    pub(super) fn entity(&self, table: &TableName, row: &Row) -> Entity {
        let (register, schema) = ObjectRow::new(table, row).ids(table);
        let mut entity = object_entity(
            table,
            row,
            self.references.register(register),
            self.references.schema(schema),
        );
        if let Some(utc) = local_time::of(ObjectRow::new(table, row)).and_then(|time| self.utc.get(time)) {
            entity.set("updated", time::stamp(&Value::from(utc.as_str())));
        }
        entity
    }

    /// Remembers a change of an object's row, for the audit row that follows it.
    pub(super) fn remember(&mut self, change: Change, uuid: String, told: Told, id: Option<i64>) {
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
        recent.told = recent.told.and(told);
        recent.image = change.new.map(|text| (change.table, text));
        let weight = recent.image.as_ref().map_or(0, |(_, text)| text.len());
        self.recent.insert(key, recent, weight);
    }
}
