//! Changes of objects' rows in magic tables and in the blob table: creation, deletion, migration between tables.

use serde_json::Value;

use super::batch::{Batch, event};
use super::classifier::Classifier;
use super::recent::Told;
use super::update;
use crate::capture::{Change, Op, Origin};
use crate::lifecycle::event::{ActorState, Lane, States};
use crate::lifecycle::facts::Facts;
use crate::lifecycle::locks::LockSource;
use orw_model::{Action, ActorSource, EventClass, ObjectRow, Row, Store, TableName, decode_text};

impl Classifier {
    /// A change of an object's row, at the place `at` of the batch.
    pub(super) fn object_change(
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
                let mut actions = update::of_object(&self.settings, before, after);
                if actions.first() == Some(&Action::Updated)
                    && update::may_be_revert(before, after)
                    && batch.was_before(facts, &change, &uuid, &self.entity(&change.table, new))
                {
                    actions.insert(1, Action::Reverted);
                }
                let mut given: Vec<(Action, States)> = actions
                    .into_iter()
                    .map(|action| (action, self.states(&change.table, action, old, new)))
                    .collect();
                if let Some(moved) = self.transition(after.ids(&change.table).1, &given) {
                    given.insert(1, (Action::Transitioned, moved));
                }
                given
            }
            (Op::Delete, Some(old), _) if !self.lives_elsewhere(facts, &change, row, &uuid) => {
                // Also if a soft-deleted object is purged: nothing is left that could be locked.
                batch.set_held(&uuid, change.at, None);
                if row.is_deleted() {
                    Vec::new()
                } else {
                    vec![(Action::Deleted, States::One(self.entity(&change.table, old)))]
                }
            }
            _ => Vec::new(),
        };
        let mut given = actions.iter().map(|(action, _)| *action);
        let told = Told {
            revert: given.clone().any(|action| action == Action::Reverted),
            lock: given.find(|action| matches!(action, Action::Locked | Action::Unlocked)),
        };
        for (action, states) in actions {
            match action {
                Action::Locked => batch.set_held(&uuid, change.at, Some(LockSource::Row)),
                // A new object is not locked, whatever is remembered of an earlier object with the same uuid.
                Action::Created | Action::Deleted | Action::Unlocked => {
                    batch.set_held(&uuid, change.at, None);
                }
                Action::Updated | Action::Reverted | Action::Transitioned => {}
            }
            let fallback = fallback(action, row).map(|(uid, source)| self.users.actor(&uid, None, source));
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
        self.remember(change, uuid, told, row.meta("id").and_then(Value::as_i64));
    }

    fn states(&self, table: &TableName, action: Action, old: &Row, new: &Row) -> States {
        match action {
            Action::Updated => States::Both {
                new: self.entity(table, new),
                old: self.entity(table, old),
            },
            // The last state, with who deleted it and when.
            Action::Deleted => {
                let mut last = self.entity(table, old);
                let deleted = self.entity(table, new).fields().get("deleted").cloned();
                last.set("deleted", deleted.unwrap_or(Value::Null));
                States::One(last)
            }
            _ => States::One(self.entity(table, new)),
        }
    }

    /// The transition that an Updated, the first of these events, brings with it: it comes right after it.
    fn transition(&self, schema: Option<i64>, given: &[(Action, States)]) -> Option<States> {
        let Some((Action::Updated, States::Both { new, old })) = given.first() else {
            return None;
        };
        let schema = self
            .references
            .schema(schema)
            .filter(|schema| schema.has_lifecycle())?;
        let transition = schema.transition(old.fields(), new.fields())?;
        Some(States::Moved {
            new: new.clone(),
            transition,
        })
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
        // The object's other row may be gone by now; then its DELETE is in this batch, too.
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
            // OpenRegister never migrates objects into the blob table.
            _ => vec![(Action::Created, States::One(self.entity(&change.table, new)))],
        }
    }

    /// Whether the object of a deleted row lives on in another table.
    fn lives_elsewhere(&self, facts: &Facts, change: &Change, row: ObjectRow<'_>, uuid: &str) -> bool {
        let moved = self.moved.get(&uuid.to_owned());
        moved.is_some_and(|table| *table != change.table) || has_twin(facts, &change.table, row, uuid)
    }
}

/// Whether an object of the blob table also has a row in its magic table.
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

fn first_text(value: Option<&Value>, keys: &[&str]) -> Option<String> {
    let value = decode_text(value?);
    keys.iter()
        .find_map(|key| value.get(*key).and_then(Value::as_str))
        // JSON may hold a NUL, which PostgreSQL's text and a uid cannot.
        .filter(|uid| !uid.is_empty() && !uid.contains('\0') && !uid.eq_ignore_ascii_case("system"))
        .map(str::to_owned)
}

pub(in crate::lifecycle) fn owner(row: ObjectRow<'_>) -> Option<String> {
    row.text("owner")
        .filter(|uid| !uid.eq_ignore_ascii_case("system"))
        .map(str::to_owned)
}

pub(super) fn deleted_by(row: ObjectRow<'_>) -> Option<String> {
    first_text(row.meta("deleted"), &["deletedBy", "user"])
}

pub(super) fn locked_by(row: ObjectRow<'_>) -> Option<String> {
    first_text(row.meta("locked"), &["user", "userId"])
}

/// The user that the row itself names, and the kind of source.
fn fallback(action: Action, row: ObjectRow<'_>) -> Option<(String, ActorSource)> {
    match action {
        Action::Created => owner(row).map(|uid| (uid, ActorSource::Owner)),
        Action::Deleted => deleted_by(row).map(|uid| (uid, ActorSource::Row)),
        Action::Locked => locked_by(row).map(|uid| (uid, ActorSource::Row)),
        Action::Updated | Action::Unlocked | Action::Reverted | Action::Transitioned => None,
    }
}
