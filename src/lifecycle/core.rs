//! The classification itself: a pure function of the changes, of what was looked up for them, and of a bounded memory
//! of the changes before.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::audit::{self, Audit};
use super::bounded::Bounded;
use super::difference;
use super::event::{Actor, ActorState, Event, EventId, Lane, States};
use super::facts::{Facts, LockNeed, Needs, RequestNeed};
use super::outcome::{ActorFound, Outcome, Undecodable};
use super::people::People;
use super::references::References;
use super::settings::LifecycleSettings;
use crate::capture::{Change, Op, Origin};
use crate::openregister::{
    Action, Entity, EntityKind, EventClass, ObjectRow, Row, Store, TableName, decode_text, is_set, object,
    parse_row, plain,
};

/// What is remembered of recent changes, in bytes.
const MEMORY: usize = 16 << 20;
/// How long after a change of the same backend an audit row is taken to belong to it.
const SAME_REQUEST: TimeDelta = TimeDelta::seconds(10);

/// A change with its row images read.
#[derive(Debug)]
pub struct Decoded {
    pub(crate) change: Change,
    kind: DecodedKind,
}

#[derive(Debug)]
enum DecodedKind {
    Object {
        old: Option<Row>,
        new: Option<Row>,
    },
    Plain {
        kind: EntityKind,
        old: Option<Row>,
        new: Option<Row>,
    },
    Audit(Audit),
    /// A change that can cause no event.
    Nothing,
}

impl Decoded {
    /// Reads the row images.
    ///
    /// # Errors
    /// Where an image is missing or unreadable, or names no row; the change goes to quarantine.
    pub fn read(change: Change) -> Result<Self, Box<Undecodable>> {
        match Self::read_kind(&change) {
            Ok(kind) => Ok(Self { change, kind }),
            Err(reason) => Err(Box::new(Undecodable { change, reason })),
        }
    }

    fn read_kind(change: &Change) -> Result<DecodedKind, String> {
        let image = |text: &Option<String>, side: &str, wanted: bool| match text {
            Some(text) => parse_row(text)
                .map(Some)
                .map_err(|error| format!("{side} row: {error}")),
            None if wanted => Err(format!("the {side} row image is missing")),
            None => Ok(None),
        };
        let old = image(&change.old, "old", matches!(change.op, Op::Update | Op::Delete))?;
        let new = image(&change.new, "new", change.op != Op::Delete)?;
        let either = new.as_ref().or(old.as_ref());
        match change.table.store() {
            Store::Magic { .. } | Store::Blob => {
                let uuid = either.and_then(|row| ObjectRow::new(&change.table, row).uuid());
                uuid.ok_or("the row has no uuid")?;
                Ok(DecodedKind::Object { old, new })
            }
            Store::Plain(kind) => {
                let id = either.and_then(|row| row.get("id")).and_then(Value::as_i64);
                id.ok_or("the row has no id")?;
                Ok(DecodedKind::Plain {
                    kind: *kind,
                    old,
                    new,
                })
            }
            Store::Audit if change.op == Op::Insert => {
                let audit = new.as_ref().and_then(Audit::from_row);
                Ok(DecodedKind::Audit(audit.ok_or("the row has no id or no action")?))
            }
            Store::Audit => Ok(DecodedKind::Nothing),
        }
    }
}

/// What one backend did to one object lately.
#[derive(Debug, Default)]
struct Recent {
    /// When it last changed the row.
    at: chrono::DateTime<chrono::Utc>,
    /// The row and its table after the last change.
    image: Option<(TableName, String)>,
    /// The lock event that the change of the column gave, until its audit row came.
    lock: Option<Action>,
    /// UPDATE statements that no audit row has claimed yet.
    updates: u32,
    /// The request that wrote an audit row `update`.
    updated_in: Option<String>,
    /// An event of an earlier batch still waits for its actor.
    awaiting: bool,
}

/// The classifier.
#[derive(Debug)]
pub struct Core {
    settings: LifecycleSettings,
    references: References,
    people: People,
    recent: Bounded<(i32, String), Recent>,
    /// Objects whose row was copied into another table: the copy's table. A DELETE elsewhere is then no event.
    moved: Bounded<String, TableName>,
    /// The last object of a backend, by numeric id: the first generation's audit rows name no uuid.
    last_object: Bounded<i32, (i64, String)>,
}

/// What a batch under way has gathered.
#[derive(Default)]
struct Batch {
    out: Outcome,
    /// Events that wait for the audit row of their request.
    open: HashMap<(i32, String), Vec<usize>>,
    /// Rows deleted from a table later in the batch, by uuid: what lookups can no longer see.
    deleted_later: HashMap<String, Vec<(usize, TableName, Row)>>,
    /// Where in the batch rows are inserted, by uuid: a row that comes later is no home of an earlier one.
    inserted: HashMap<String, Vec<(usize, TableName)>>,
}

impl Core {
    #[must_use]
    pub fn new(settings: LifecycleSettings) -> Self {
        Self {
            settings,
            references: References::default(),
            people: People::default(),
            recent: Bounded::new(MEMORY),
            moved: Bounded::new(MEMORY / 4),
            last_object: Bounded::new(MEMORY / 16),
        }
    }

    /// Forgets everything; what is needed is looked up again.
    pub fn forget(&mut self) {
        self.references.clear();
        self.people.clear();
        self.recent.clear();
        self.moved.clear();
        self.last_object.clear();
    }

    /// What must be looked up before [`Self::classify`] can work on `changes`.
    pub fn needs(&mut self, changes: &[Decoded]) -> Needs {
        self.references.make_room();
        self.people.make_room();
        let mut needs = Needs::default();
        let mut touched = HashSet::new();
        let mut updated = HashSet::new();
        for decoded in changes {
            let change = &decoded.change;
            match &decoded.kind {
                DecodedKind::Object { old, new } => {
                    self.needs_of_object(&mut needs, change, old.as_ref(), new.as_ref());
                    if let Some(uuid) = new
                        .as_ref()
                        .and_then(|row| ObjectRow::new(&change.table, row).uuid())
                    {
                        touched.insert((change.pid, uuid.to_owned()));
                    }
                }
                DecodedKind::Plain { kind, old, new } => {
                    self.needs_of_plain(&mut needs, change, *kind, old.as_ref(), new.as_ref());
                }
                DecodedKind::Audit(audit) => {
                    self.needs_of_audit(&mut needs, change, audit, &touched, &mut updated);
                }
                DecodedKind::Nothing => {}
            }
        }
        needs.users.retain(|uid| !uid.is_empty());
        needs
    }

    fn needs_of_object(&self, needs: &mut Needs, change: &Change, old: Option<&Row>, new: Option<&Row>) {
        let (Some(row), Some(uuid)) = (
            new.or(old).map(|row| ObjectRow::new(&change.table, row)),
            new.or(old)
                .and_then(|row| ObjectRow::new(&change.table, row).uuid()),
        ) else {
            return;
        };
        self.needs_references(needs, row.ids(&change.table));
        let owner = Some(row).filter(|_| change.op == Op::Insert).and_then(owner);
        let uids = [owner, deleted_by(row), locked_by(row)];
        needs.users.extend(
            uids.into_iter()
                .flatten()
                .filter(|uid| !self.people.knows(uid, change.at)),
        );
        match (change.op, change.table.store()) {
            (Op::Insert, Store::Magic { .. }) => {
                needs.in_blob.insert(uuid.to_owned());
                needs
                    .homes
                    .insert(uuid.to_owned(), change.table.name().to_owned());
            }
            (Op::Delete, Store::Blob) => {
                if let (Some(register), Some(schema)) = row.ids(&change.table) {
                    let twin = format!("openregister_table_{register}_{schema}");
                    needs.rows_exist.insert((twin, uuid.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn needs_references(&self, needs: &mut Needs, (register, schema): (Option<i64>, Option<i64>)) {
        if let Some(id) = register.filter(|id| !self.references.knows_register(*id)) {
            needs.registers.insert(id);
        }
        if let Some(id) = schema.filter(|id| !self.references.knows_schema(*id)) {
            needs.schemas.insert(id);
        }
    }

    fn needs_of_plain(
        &mut self,
        needs: &mut Needs,
        change: &Change,
        kind: EntityKind,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        // Before its first change in this batch the row was as its old image says, whatever a lookup would find now.
        if let Some(id) = row_id(new.or(old)) {
            self.references.learn(kind, id, old);
        }
        if change.op == Op::Insert {
            if let Some(uid) = new.and_then(|row| creator(kind, row))
                && !self.people.knows(&uid, change.at)
            {
                needs.users.insert(uid);
            }
            if let Some((other, uuid)) =
                other_view_table(&change.table).zip(new.and_then(|row| text(row, "uuid")))
            {
                needs.rows_exist.insert((other.to_owned(), uuid));
            }
        }
    }

    fn needs_of_audit(
        &self,
        needs: &mut Needs,
        change: &Change,
        audit: &Audit,
        touched: &HashSet<(i32, String)>,
        updated: &mut HashSet<(String, String)>,
    ) {
        if let Some(uid) = &audit.user
            && !self.people.knows(uid, change.at)
        {
            needs.users.insert(uid.clone());
        }
        let Some(uuid) = &audit.object_uuid else { return };
        let key = (change.pid, uuid.clone());
        if audit.action == "update" {
            if let Some(request) = &audit.request {
                updated.insert((uuid.clone(), request.clone()));
            }
            return;
        }
        if !matches!(audit.action.as_str(), "lock" | "unlock") || audit.lock_changed {
            return;
        }
        let remembered = self.recent.get(&key);
        if audit.action == "unlock"
            && let Some(request) = &audit.request
            && !updated.contains(&(uuid.clone(), request.clone()))
            && remembered.and_then(|r| r.updated_in.as_ref()) != Some(request)
        {
            needs.requests.insert(RequestNeed {
                audit: audit.id,
                uuid: uuid.clone(),
                request: request.clone(),
            });
        }
        if !touched.contains(&key) && remembered.is_none_or(|r| r.image.is_none()) {
            needs.locks.insert(lock_need(change, audit, uuid));
            self.needs_references(needs, (audit.register, audit.schema));
            for table in audit_tables(audit) {
                needs.rows.insert((table, uuid.clone()));
            }
        }
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
        if let Some(now) = changes.last().map(|decoded| decoded.change.at) {
            for uid in needs.users {
                let user = facts.users.get(&uid).cloned();
                self.people.learn(uid, user, now);
            }
        }
    }

    fn entity(&self, table: &TableName, row: &Row) -> Entity {
        let row = ObjectRow::new(table, row);
        let (register, schema) = row.ids(table);
        object(
            table,
            row,
            self.references.register(register),
            self.references.schema(schema),
        )
    }

    fn object_change(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        at: usize,
        change: Change,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        let Some(row) = new.or(old).map(|row| ObjectRow::new(&change.table, row)) else {
            return;
        };
        let Some(uuid) = row.uuid().map(str::to_owned) else {
            return;
        };
        let actions = match (change.op, old, new) {
            (Op::Insert, _, Some(new)) => self.inserted(batch, facts, at, &change, &uuid, new),
            (Op::Update, Some(old), Some(new)) => {
                let (before, after) = (
                    ObjectRow::new(&change.table, old),
                    ObjectRow::new(&change.table, new),
                );
                difference::of_object(&self.settings, before, after)
                    .into_iter()
                    .map(|action| (action, self.states(&change.table, action, old, new)))
                    .collect()
            }
            (Op::Delete, Some(old), _)
                if !row.is_deleted() && !self.lives_elsewhere(facts, &change, row, &uuid) =>
            {
                vec![(Action::Deleted, States::One(self.entity(&change.table, old)))]
            }
            _ => Vec::new(),
        };
        let lock = actions
            .iter()
            .map(|(action, _)| *action)
            .find(|action| matches!(action, Action::Locked | Action::Unlocked));
        for (action, states) in actions {
            let fallback = fallback_uid(action, row).map(|uid| self.people.actor(&uid, None));
            let actor = match change.origin {
                Origin::Live => ActorState::Awaited { fallback },
                Origin::Discovered => ActorState::Known(fallback),
            };
            let open = matches!(actor, ActorState::Awaited { .. });
            let place = batch.push(event(
                &change,
                EventClass::object(action),
                Lane::object(&uuid),
                states,
                actor,
            ));
            if open {
                batch
                    .open
                    .entry((change.pid, uuid.clone()))
                    .or_default()
                    .push(place);
            }
        }
        self.remember(change, uuid, lock, row.meta("id").and_then(Value::as_i64));
    }

    fn states(&self, table: &TableName, action: Action, old: &Row, new: &Row) -> States {
        match action {
            Action::Updated => States::Both {
                new: self.entity(table, new),
                old: self.entity(table, old),
            },
            // The last state, and who deleted it when.
            Action::Deleted => {
                let mut last = self.entity(table, old);
                let deleted = self.entity(table, new).fields().get("deleted").cloned();
                last.set("deleted", deleted.unwrap_or(Value::Null));
                States::One(last)
            }
            _ => States::One(self.entity(table, new)),
        }
    }

    /// The events of an INSERT of an object's row.
    fn inserted(
        &mut self,
        batch: &Batch,
        facts: &Facts,
        at: usize,
        change: &Change,
        uuid: &str,
        new: &Row,
    ) -> Vec<(Action, States)> {
        let row = ObjectRow::new(&change.table, new);
        if row.is_deleted() {
            return Vec::new();
        }
        // The twin may be gone by now; then its DELETE is in this batch, too.
        let gone = batch
            .deleted_later
            .get(uuid)
            .into_iter()
            .flatten()
            .filter(|(place, table, _)| *place > at && *table != change.table)
            .find(|(_, table, _)| {
                let inserts = batch.inserted.get(uuid).into_iter().flatten();
                inserts
                    .filter(|(_, other)| other == table)
                    .all(|(place, _)| *place < at)
            });
        match change.table.store() {
            Store::Magic { .. } => {
                let migrated = facts.in_blob.contains(uuid)
                    || gone.is_some_and(|(_, table, _)| matches!(table.store(), Store::Blob));
                let home = facts
                    .homes
                    .get(uuid)
                    .filter(|_| {
                        facts
                            .homes_since
                            .get(uuid)
                            .is_none_or(|since| *since < change.key)
                    })
                    .and_then(|(name, row)| TableName::parse(name, "").map(|table| (table, row)))
                    .or_else(|| gone.map(|(_, table, row)| (table.clone(), row)))
                    .filter(|(table, row)| {
                        *table != change.table && !ObjectRow::new(table, row).is_deleted()
                    });
                if migrated || home.is_some() {
                    self.moved
                        .insert(uuid.to_owned(), change.table.clone(), uuid.len());
                }
                match home {
                    _ if migrated => Vec::new(),
                    Some((table, old)) => vec![(
                        Action::Updated,
                        States::Both {
                            new: self.entity(&change.table, new),
                            old: self.entity(&table, old),
                        },
                    )],
                    None => vec![(Action::Created, States::One(self.entity(&change.table, new)))],
                }
            }
            // Nothing is ever moved into the blob table.
            _ => vec![(Action::Created, States::One(self.entity(&change.table, new)))],
        }
    }

    /// Whether the object of a deleted row goes on in another table.
    fn lives_elsewhere(&self, facts: &Facts, change: &Change, row: ObjectRow<'_>, uuid: &str) -> bool {
        let moved = self.moved.get(&uuid.to_owned());
        moved.is_some_and(|table| *table != change.table) || has_twin(facts, &change.table, row, uuid)
    }

    fn remember(&mut self, change: Change, uuid: String, lock: Option<Action>, id: Option<i64>) {
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
        if matches!(change.op, Op::Update | Op::Unchanged) {
            recent.updates = recent.updates.saturating_add(1);
        }
        recent.image = change.new.map(|text| (change.table, text));
        let weight = recent.image.as_ref().map_or(0, |(_, text)| text.len());
        self.recent.insert(key, recent, weight);
    }

    fn audit_row(&mut self, batch: &mut Batch, facts: &Facts, change: &Change, audit: &Audit) {
        if audit.is_read() {
            return;
        }
        let uuid = audit.object_uuid.clone().or_else(|| {
            let (id, uuid) = self.last_object.get(&change.pid)?;
            (audit.object == Some(*id)).then(|| uuid.clone())
        });
        let Some(uuid) = uuid else { return };
        let key = (change.pid, uuid);
        let actor = audit
            .user
            .as_ref()
            .map(|uid| self.people.actor(uid, audit.user_name.as_deref()));
        self.settle(batch, change, &key, actor.as_ref());
        match audit.action.as_str() {
            "lock" => self.lock_row(batch, facts, change, audit, &key, Action::Locked, actor),
            "unlock" => self.lock_row(batch, facts, change, audit, &key, Action::Unlocked, actor),
            action => self.claim_updates(change, audit, key, action == "update"),
        }
    }

    /// The audit row of another action: the UPDATEs before it belong to its request.
    fn claim_updates(&mut self, change: &Change, audit: &Audit, key: (i32, String), update: bool) {
        if self.recent.get(&key).is_none() {
            let recent = Recent {
                at: change.at,
                ..Recent::default()
            };
            self.recent.insert(key.clone(), recent, 0);
        }
        if let Some(recent) = self.recent.get_mut(&key) {
            recent.updates = 0;
            if update {
                recent.updated_in.clone_from(&audit.request);
            }
        }
    }

    /// Tells the events of the same request who caused them.
    fn settle(&mut self, batch: &mut Batch, change: &Change, key: &(i32, String), actor: Option<&Actor>) {
        let window = TimeDelta::from_std(self.settings.actor_window).unwrap_or(TimeDelta::MAX);
        let since = change.at.checked_sub_signed(window).unwrap_or(change.at);
        let open = batch.open.remove(key).unwrap_or_default();
        let mut found = false;
        for place in open {
            if let Some(event) = batch.out.events.get_mut(place)
                && event.at >= since
            {
                event.actor = ActorState::Known(actor.cloned());
                found = true;
            }
        }
        let earlier = self
            .recent
            .get_mut(key)
            .map(|recent| std::mem::take(&mut recent.awaiting));
        // After a restart nothing is remembered: an event of before may be waiting.
        if earlier.unwrap_or(!found) {
            batch.out.actors.push(ActorFound {
                pid: change.pid,
                lane: Lane::object(&key.1),
                since,
                at: change.at,
                actor: actor.cloned(),
            });
        }
    }

    /// An audit row `lock` or `unlock`: an event where the column tells nothing.
    #[expect(clippy::too_many_arguments, reason = "one place, and each is something else")]
    fn lock_row(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        change: &Change,
        audit: &Audit,
        key: &(i32, String),
        action: Action,
        actor: Option<Actor>,
    ) {
        let mut recent = self
            .recent
            .remove(key)
            .filter(|recent| (change.at - recent.at).abs() <= SAME_REQUEST)
            .unwrap_or_default();
        // The request is over; what comes next belongs to another one.
        let image = recent.image.take();
        let by_column = recent.lock == Some(action) || audit.lock_changed;
        let after_update = action == Action::Unlocked
            && (recent.updates > 1
                || (audit.request.is_some() && recent.updated_in == audit.request)
                || facts.requests.contains(&audit.id));
        if by_column || after_update {
            return;
        }
        let looked_up = facts.locks.get(&lock_need(change, audit, &key.1));
        if image.is_none() && looked_up.is_some_and(|found| told_by_column(&found.events, action)) {
            return;
        }
        let image = image
            .and_then(|(table, text)| Some((table, parse_row(&text).ok()?)))
            .or_else(|| {
                let (name, row) = looked_up?.image.clone()?;
                Some((TableName::parse(&name, "")?, row))
            });
        let Some(mut entity) = self.locked_entity(facts, audit, &key.1, image, action) else {
            return;
        };
        entity.set("locked", lock_value(audit, action));
        batch.push(event(
            change,
            EventClass::object(action),
            Lane::object(&key.1),
            States::One(entity),
            ActorState::Known(actor),
        ));
    }

    /// The state of the object that was locked: as the UPDATE before the audit row left it, else as it is now. `None`
    /// where the column holds a lock, so that it was the column that told.
    fn locked_entity(
        &self,
        facts: &Facts,
        audit: &Audit,
        uuid: &str,
        image: Option<(TableName, Row)>,
        action: Action,
    ) -> Option<Entity> {
        if let Some((table, row)) = image {
            return Some(self.entity(&table, &row));
        }
        let now = audit_tables(audit).into_iter().find_map(|name| {
            let row = facts.rows.get(&(name.clone(), uuid.to_owned()))?;
            Some((TableName::parse(&name, "")?, row))
        });
        if let Some((table, row)) = now {
            let persisted = action == Action::Locked && is_set(ObjectRow::new(&table, row).meta("locked"));
            return (!persisted).then(|| self.entity(&table, row));
        }
        // Deleted since: all that is left is what the audit row itself says.
        let table = TableName::parse(audit_tables(audit).first()?, "")?;
        let mut row = Row::new();
        for (name, value) in [("id", audit.object.into()), ("uuid", Value::from(uuid))] {
            row.insert(name.into(), value);
            row.insert(format!("_{name}"), row[name].clone());
        }
        Some(self.entity(&table, &row))
    }

    fn plain_change(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        change: &Change,
        kind: EntityKind,
        old: Option<&Row>,
        new: Option<&Row>,
    ) {
        let Some(id) = row_id(new.or(old)) else { return };
        self.references.set(kind, id, new);
        let action = match (change.op, old, new) {
            (Op::Insert, _, Some(new)) if !difference::is_plain_deleted(kind, new) => {
                let copied = other_view_table(&change.table)
                    .zip(text(new, "uuid"))
                    .is_some_and(|(other, uuid)| facts.rows_exist.contains(&(other.to_owned(), uuid)));
                (!copied).then_some(Action::Created)
            }
            (Op::Update, Some(old), Some(new)) => difference::of_plain(&self.settings, kind, old, new),
            (Op::Delete, Some(old), _) if !difference::is_plain_deleted(kind, old) => Some(Action::Deleted),
            _ => None,
        };
        let Some((action, class)) = action.and_then(|action| Some((action, EventClass::new(kind, action)?)))
        else {
            return;
        };
        let states = match (action, old, new) {
            (Action::Updated, Some(old), Some(new)) => States::Both {
                new: plain(kind, new),
                old: plain(kind, old),
            },
            (Action::Deleted, Some(last), _) | (_, _, Some(last)) => States::One(plain(kind, last)),
            _ => return,
        };
        let creator = new
            .filter(|_| action == Action::Created)
            .and_then(|row| creator(kind, row));
        let actor = creator.map(|uid| self.people.actor(&uid, None));
        let lane = Lane::row(change.table.name(), &id.to_string());
        batch.push(event(change, class, lane, states, ActorState::Known(actor)));
    }
}

impl Batch {
    fn push(&mut self, event: Event) -> usize {
        self.out.events.push(event);
        self.out.events.len() - 1
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

fn row_id(row: Option<&Row>) -> Option<i64> {
    row?.get("id")?.as_i64()
}

fn text(row: &Row, key: &str) -> Option<String> {
    row.get(key)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
}

/// Whether the row of the blob table has a twin in its magic table.
fn has_twin(facts: &Facts, table: &TableName, row: ObjectRow<'_>, uuid: &str) -> bool {
    if !matches!(table.store(), Store::Blob) {
        return false;
    }
    let (Some(register), Some(schema)) = row.ids(table) else {
        return false;
    };
    let twin = format!("openregister_table_{register}_{schema}");
    facts.rows_exist.contains(&(twin, uuid.to_owned()))
}

/// Views live in one of two tables; an upgrade copies those of the one into the other.
fn other_view_table(table: &TableName) -> Option<&'static str> {
    match table.name() {
        "openregister_view" => Some("openregister_views"),
        _ => None,
    }
}

/// The tables in which the object of an audit row may be.
fn audit_tables(audit: &Audit) -> Vec<String> {
    let magic = audit
        .register
        .zip(audit.schema)
        .map(|(register, schema)| format!("openregister_table_{register}_{schema}"));
    magic
        .into_iter()
        .chain(["openregister_objects".to_owned()])
        .collect()
}

fn lock_need(change: &Change, audit: &Audit, uuid: &str) -> LockNeed {
    LockNeed {
        uuid: uuid.to_owned(),
        pid: change.pid,
        at: change.at,
        key: change.key,
        tables: audit_tables(audit),
    }
}

/// Whether the events that a backend caused say that the column told already, or that an update came before.
fn told_by_column(events: &[Action], action: Action) -> bool {
    events.contains(&action) || (action == Action::Unlocked && events.contains(&Action::Updated))
}

fn lock_value(audit: &Audit, action: Action) -> Value {
    if action == Action::Unlocked {
        return Value::Null;
    }
    let mut lock = Map::new();
    lock.insert("user".into(), audit.user.clone().into());
    let at = audit::created(&audit.created).map(|at| at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string());
    lock.insert("created".into(), at.into());
    lock.insert("expiration".into(), Value::Null);
    Value::Object(lock)
}

fn first_text(value: Option<&Value>, keys: &[&str]) -> Option<String> {
    let value = decode_text(value?);
    keys.iter()
        .find_map(|key| value.get(*key).and_then(Value::as_str))
        // JSON may hold what no text of PostgreSQL can, and no uid does.
        .filter(|uid| !uid.is_empty() && !uid.contains('\0') && !uid.eq_ignore_ascii_case("system"))
        .map(str::to_owned)
}

fn owner(row: ObjectRow<'_>) -> Option<String> {
    row.text("owner")
        .filter(|uid| !uid.eq_ignore_ascii_case("system"))
        .map(str::to_owned)
}

fn deleted_by(row: ObjectRow<'_>) -> Option<String> {
    first_text(row.meta("deleted"), &["deletedBy", "user"])
}

fn locked_by(row: ObjectRow<'_>) -> Option<String> {
    first_text(row.meta("locked"), &["user", "userId"])
}

/// Whom the row itself names.
fn fallback_uid(action: Action, row: ObjectRow<'_>) -> Option<String> {
    match action {
        Action::Created => owner(row),
        Action::Deleted => deleted_by(row),
        Action::Locked => locked_by(row),
        Action::Updated | Action::Unlocked | Action::Reverted => None,
    }
}

/// Who created an entity that is no object, where the row says so.
fn creator(kind: EntityKind, row: &Row) -> Option<String> {
    let column = if kind == EntityKind::Conversation {
        "user_id"
    } else {
        "owner"
    };
    text(row, column).filter(|uid| !uid.eq_ignore_ascii_case("system"))
}
