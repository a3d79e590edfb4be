//! Audit rows: who did it, and the locks and reverts that no column shows.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::batch::{Batch, event};
use super::classifier::Classifier;
use super::recent::{Recent, SAME_REQUEST};
use crate::capture::Change;
use crate::lifecycle::audit::{self, Audit};
use crate::lifecycle::event::{Actor, ActorState, Lane, States};
use crate::lifecycle::facts::{Facts, LockQuery};
use crate::lifecycle::locks::LockSource;
use crate::lifecycle::outcome::ActorFound;
use orw_model::{Action, ActorSource, EventClass, ObjectRow, Row, TableName, is_set, parse_row};

/// An audit row with what it belongs to.
struct AuditRow<'a> {
    change: &'a Change,
    audit: &'a Audit,
    /// Its backend and the object's uuid.
    key: &'a (i32, String),
    actor: Option<Actor>,
}

impl AuditRow<'_> {
    fn uuid(&self) -> &str {
        &self.key.1
    }
}

impl Classifier {
    /// An audit row: names the actor of the events of its request, and may tell a lock or its end.
    pub(super) fn audit_row(&mut self, batch: &mut Batch, facts: &Facts, change: &Change, audit: &Audit) {
        if audit.is_read() {
            return;
        }
        let uuid = audit.object_uuid.clone().or_else(|| {
            let (id, uuid) = self.last_object.get(&change.pid)?;
            (audit.object == Some(*id)).then(|| uuid.clone())
        });
        let Some(uuid) = uuid else { return };
        let key = (change.pid, uuid);
        let actor = audit.user.as_ref().map(|uid| {
            self.users
                .actor(uid, audit.user_name.as_deref(), ActorSource::AuditTrail)
        });
        let found = ActorFound {
            pid: change.pid,
            lane: Lane::object(&key.1),
            since: self.since(change),
            at: change.at,
            actor: actor.clone(),
            transition: self.transition_named(audit),
        };
        self.name_actor(batch, &key, found);
        let row = AuditRow {
            change,
            audit,
            key: &key,
            actor,
        };
        match audit.action.as_str() {
            "lock" => self.lock_or_unlock(batch, facts, row, Action::Locked),
            "unlock" => self.lock_or_unlock(batch, facts, row, Action::Unlocked),
            "revert" => self.reverted(batch, facts, row),
            _ => {}
        }
    }

    /// The earliest time of events that an audit row may belong to.
    fn since(&self, audit: &Change) -> DateTime<Utc> {
        let window = TimeDelta::from_std(self.settings.actor_window).unwrap_or(TimeDelta::MAX);
        audit.at.checked_sub_signed(window).unwrap_or(audit.at)
    }

    /// The transition that an audit row names: one that OpenRegister made by itself, or an action that the schema declares.
    fn transition_named(&self, audit: &Audit) -> Option<String> {
        audit.automatic_transition.clone().or_else(|| {
            let schema = self
                .references
                .schema(audit.schema)
                .filter(|_| audit.is_named())?;
            schema.declares(&audit.action).then(|| audit.action.clone())
        })
    }

    /// Names the actor of the events of the same request, and the action of their transition.
    fn name_actor(&mut self, batch: &mut Batch, key: &(i32, String), named: ActorFound) {
        let open = batch.open.remove(key).unwrap_or_default();
        let mut found = false;
        for place in open {
            if let Some(event) = batch.out.events.get_mut(place)
                && event.at >= named.since
            {
                event.actor = ActorState::Known(named.actor.clone());
                if let States::Moved { transition, .. } = &mut event.states {
                    transition.action.clone_from(&named.transition);
                }
                found = true;
            }
        }
        let earlier = self
            .recent
            .get_mut(key)
            .map(|recent| std::mem::take(&mut recent.awaiting));
        // After a restart nothing is remembered: a stored event from before it may be waiting.
        if earlier.unwrap_or(!found) {
            batch.out.actors.push(named);
        }
    }

    /// An audit row `lock` or `unlock`: Locked or Unlocked, unless the object's row tells the same.
    ///
    /// OpenRegister writes `unlock` after every update, too, so it counts only if a lock was announced and no row holds it.
    fn lock_or_unlock(&mut self, batch: &mut Batch, facts: &Facts, row: AuditRow<'_>, action: Action) {
        let AuditRow { change, audit, .. } = row;
        let uuid = row.uuid();
        let recent = self.end_of_request(change, row.key);
        let held = batch.held(facts, uuid);
        let told_by_request = action == Action::Locked && recent.told.lock == Some(Action::Locked);
        let nothing_to_end = action == Action::Unlocked && held.is_none();
        if audit.lock_changed || told_by_request || nothing_to_end {
            return;
        }
        let forgotten = recent.image.is_none();
        let image = self.image(facts, &row, recent);
        let told_before = || forgotten && last_of_a_lock(facts, change, audit, uuid) == Some(Action::Locked);
        let now_held = if action == Action::Locked {
            let row_decides = match held {
                Some(LockSource::AuditRow(_)) => false,
                // Also if the lock was renewed without a difference: the row will tell when it ends.
                Some(LockSource::Row) => image.is_held() || told_before(),
                None => told_before(),
            };
            if row_decides {
                return;
            }
            Some(LockSource::AuditRow(audit.id))
        } else {
            let still_held = match held {
                Some(LockSource::Row) => image.is_held(),
                // An `unlock` from before that lock, read again: after a restore, or from the quarantine.
                Some(LockSource::AuditRow(lock)) => audit.id < lock,
                None => true,
            };
            if still_held {
                return;
            }
            None
        };
        batch.set_held(uuid, change.at, now_held);
        self.push_lock_event(batch, row, action, image);
    }

    /// An audit row `revert`: Reverted, unless the object's row told it already.
    fn reverted(&mut self, batch: &mut Batch, facts: &Facts, row: AuditRow<'_>) {
        let AuditRow { change, audit, .. } = row;
        let recent = self.end_of_request(change, row.key);
        let told = if recent.image.is_some() {
            recent.told.revert
        } else {
            stored_before(facts, change, audit, row.uuid()).any(|action| action == Action::Reverted)
        };
        if told {
            return;
        }
        let image = self.image(facts, &row, recent);
        let Some((table, object)) = image.0.or_else(|| bare(audit, row.uuid())) else {
            return;
        };
        let entity = self.entity(&table, &object);
        batch.push(event(
            change,
            EventClass::object(Action::Reverted),
            Lane::object(row.uuid()),
            States::One(entity),
            ActorState::Known(row.actor),
        ));
    }

    /// Takes what is remembered of the request that an audit row ends; later changes belong to another request.
    fn end_of_request(&mut self, change: &Change, key: &(i32, String)) -> Recent {
        self.recent
            .remove(key)
            .filter(|recent| (change.at - recent.at).abs() <= SAME_REQUEST)
            .unwrap_or_default()
    }

    fn push_lock_event(&self, batch: &mut Batch, row: AuditRow<'_>, action: Action, image: Image) {
        let Some((table, object)) = image.0.or_else(|| bare(row.audit, row.uuid())) else {
            return;
        };
        let mut entity = self.entity(&table, &object);
        entity.set("locked", lock_value(row.audit, action));
        batch.push(event(
            row.change,
            EventClass::object(action),
            Lane::object(row.uuid()),
            States::One(entity),
            ActorState::Known(row.actor),
        ));
    }

    /// The row of the object that was locked or unlocked: as the request left it, else as it is now.
    fn image(&self, facts: &Facts, row: &AuditRow<'_>, recent: Recent) -> Image {
        let (change, audit, uuid) = (row.change, row.audit, row.uuid());
        let remembered = recent
            .image
            .and_then(|(table, text)| Some((table, parse_row(&text).ok()?)));
        let looked_up = || {
            let (name, row) = facts.locks.get(&lock_need(change, audit, uuid))?.image.clone()?;
            Some((TableName::parse(&name, "")?, row))
        };
        let now = || {
            audit_tables(audit).into_iter().find_map(|name| {
                let row = facts.rows.get(&(name.clone(), uuid.to_owned()))?;
                Some((TableName::parse(&name, "")?, row.clone()))
            })
        };
        Image(remembered.or_else(looked_up).or_else(now))
    }
}

/// An object's row, if it is known.
struct Image(Option<(TableName, Row)>);

impl Image {
    /// Whether the row holds a lock.
    fn is_held(&self) -> bool {
        let row = self.0.as_ref();
        row.is_some_and(|(table, row)| is_set(ObjectRow::new(table, row).meta("locked")))
    }
}

/// What the audit row itself says of an object whose row is gone.
fn bare(audit: &Audit, uuid: &str) -> Option<(TableName, Row)> {
    let table = TableName::parse(audit_tables(audit).first()?, "")?;
    let mut row = Map::new();
    for (name, value) in [("id", audit.object.into()), ("uuid", Value::from(uuid))] {
        row.insert(format!("_{name}"), Value::clone(&value));
        row.insert(name.into(), value);
    }
    Some((table, row.into()))
}

/// The tables in which the object of an audit row may be.
pub(super) fn audit_tables(audit: &Audit) -> Vec<String> {
    let magic = audit
        .register
        .zip(audit.schema)
        .map(|(register, schema)| format!("openregister_table_{register}_{schema}"));
    magic
        .into_iter()
        .chain(["openregister_objects".to_owned()])
        .collect()
}

pub(super) fn lock_need(change: &Change, audit: &Audit, uuid: &str) -> LockQuery {
    LockQuery {
        uuid: uuid.to_owned(),
        pid: change.pid,
        at: change.at,
        key: change.key,
        tables: audit_tables(audit),
    }
}

/// The actions of the events that the backend caused for the object lately, the newest first, as they are stored. Asked if nothing is
/// remembered, after a restart.
fn stored_before<'f>(
    facts: &'f Facts,
    change: &Change,
    audit: &Audit,
    uuid: &str,
) -> impl Iterator<Item = Action> + use<'f> {
    let found = facts.locks.get(&lock_need(change, audit, uuid));
    found.into_iter().flat_map(|found| &found.events).copied()
}

/// The last of these events that is one of a lock.
fn last_of_a_lock(facts: &Facts, change: &Change, audit: &Audit, uuid: &str) -> Option<Action> {
    stored_before(facts, change, audit, uuid)
        .find(|action| matches!(action, Action::Locked | Action::Unlocked))
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
