//! The classification itself: a pure function of the changes, of what was looked up for them, and of a bounded memory
//! of the changes before.

mod audits;
mod decode;
mod needs;
mod objects;
mod other_kinds;
mod recent;
pub(super) mod update;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::capture::{Change, Op};
use crate::lifecycle::bounded_map::BoundedMap;
use crate::lifecycle::event::{ActorState, Event, EventId, Lane, States};
use crate::lifecycle::facts::{Facts, Needs};
use crate::lifecycle::local_time;
use crate::lifecycle::locks::{LockChange, LockSource};
use crate::lifecycle::outcome::Outcome;
use crate::lifecycle::references::References;
use crate::lifecycle::settings::LifecycleSettings;
use crate::lifecycle::users::KnownUsers;
use orw_model::{Entity, EntityKind, EventClass, ObjectRow, Row, TableName, object_entity, time};

pub use decode::Decoded;
use decode::DecodedKind;
pub(super) use objects::owner;
pub(super) use other_kinds::creator;
use recent::Recent;

/// What is remembered of recent changes, in bytes.
const MEMORY: usize = 16 << 20;

/// The classifier.
#[derive(Debug)]
pub struct Classifier {
    settings: LifecycleSettings,
    references: References,
    users: KnownUsers,
    recent: BoundedMap<(i32, String), Recent>,
    /// Objects whose row was copied into another table: the copy's table. A DELETE elsewhere is then no event.
    moved: BoundedMap<String, TableName>,
    /// The last object of a backend, by numeric id: the first generation's audit rows name no uuid.
    last_object: BoundedMap<i32, (i64, String)>,
    /// The batch's times that are not in UTC, in UTC.
    utc: HashMap<String, String>,
}

/// What a batch under way has gathered.
#[derive(Default)]
struct Batch {
    out: Outcome,
    /// Events that wait for the audit row of their request.
    open: HashMap<(i32, String), Vec<usize>>,
    /// Rows deleted from a table later in the batch, by uuid: what lookups can no longer see.
    deleted_later: HashMap<String, Vec<(usize, TableName, Row)>>,
    /// What became of the locks that were announced, by the object's uuid.
    locks: BTreeMap<String, (DateTime<Utc>, Option<LockSource>)>,
    /// Where in the batch rows are inserted, by uuid: a row that comes later is no home of an earlier one.
    inserted: HashMap<String, Vec<(usize, TableName)>>,
}

impl Classifier {
    #[must_use]
    pub fn new(settings: LifecycleSettings) -> Self {
        Self {
            settings,
            references: References::default(),
            users: KnownUsers::default(),
            recent: BoundedMap::new(MEMORY),
            moved: BoundedMap::new(MEMORY / 4),
            last_object: BoundedMap::new(MEMORY / 16),
            utc: HashMap::new(),
        }
    }

    /// Forgets everything; what is needed is looked up again.
    pub fn forget(&mut self) {
        self.references.clear();
        self.users.clear();
        self.recent.clear();
        self.moved.clear();
        self.last_object.clear();
    }

    /// Turns changes into events, in order. `needs` is what [`Self::needs`] asked for them, `facts` the answers.
    pub fn classify(&mut self, changes: Vec<Decoded>, needs: Needs, facts: &Facts) -> Outcome {
        self.learn(&changes, needs, facts);
        let mut batch = Batch::default();
        for (at, decoded) in changes.iter().enumerate() {
            if let DecodedKind::Object { new: Some(new), .. } = &decoded.kind
                && decoded.change.op == Op::Insert
                && let Some(uuid) = ObjectRow::new(&decoded.change.table, new).uuid()
            {
                let inserts = batch.inserted.entry(uuid.to_owned()).or_default();
                inserts.push((at, decoded.change.table.clone()));
            }
            if let DecodedKind::Object { old: Some(old), .. } = &decoded.kind
                && decoded.change.op == Op::Delete
                && let Some(uuid) = ObjectRow::new(&decoded.change.table, old).uuid()
            {
                batch.deleted_later.entry(uuid.to_owned()).or_default().push((
                    at,
                    decoded.change.table.clone(),
                    old.clone(),
                ));
            }
        }
        for (at, decoded) in changes.into_iter().enumerate() {
            let Decoded { change, kind } = decoded;
            match kind {
                DecodedKind::Object { old, new } => {
                    self.object_change(&mut batch, facts, at, change, old.as_ref(), new.as_ref());
                }
                DecodedKind::Plain { kind, old, new } => {
                    self.plain_change(&mut batch, facts, &change, kind, old.as_ref(), new.as_ref());
                }
                DecodedKind::Audit(audit) => self.audit_row(&mut batch, facts, &change, &audit),
                DecodedKind::Nothing => {}
            }
        }
        for (key, events) in batch.open {
            if let Some(recent) = self.recent.get_mut(&key) {
                recent.awaiting |= !events.is_empty();
            }
        }
        let locks = batch.locks.into_iter();
        batch.out.locks = locks
            .map(|(uuid, (at, held))| LockChange { uuid, at, held })
            .collect();
        batch.out
    }

    fn learn(&mut self, changes: &[Decoded], needs: Needs, facts: &Facts) {
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

    fn entity(&self, table: &TableName, row: &Row) -> Entity {
        let row = ObjectRow::new(table, row);
        let (register, schema) = row.ids(table);
        let mut entity = object_entity(
            table,
            row,
            self.references.register(register),
            self.references.schema(schema),
        );
        if let Some(utc) = local_time::of(row).and_then(|time| self.utc.get(time)) {
            entity.set("updated", time::stamp(&Value::from(utc.as_str())));
        }
        entity
    }
}

impl Batch {
    fn push(&mut self, event: Event) -> usize {
        self.out.events.push(event);
        self.out.events.len() - 1
    }

    /// What announced the lock of an object, at the present point of the stream.
    fn held(&self, facts: &Facts, uuid: &str) -> Option<LockSource> {
        match self.locks.get(uuid) {
            Some((_, held)) => *held,
            None => facts.held.get(uuid).copied(),
        }
    }

    fn set_held(&mut self, uuid: &str, at: DateTime<Utc>, held: Option<LockSource>) {
        self.locks.insert(uuid.to_owned(), (at, held));
    }
}

fn event(change: &Change, class: EventClass, lane: Lane, states: States, actor: ActorState) -> Event {
    Event {
        // A change gives at most one event of each action, so the action is its place: the id does not depend on
        // which other events the settings let through.
        id: EventId::of(change, class.action() as u8),
        class,
        lane,
        at: change.at,
        states,
        actor,
        pid: change.pid,
    }
}
