//! Audit rows: who did it, and the locks that no column tells.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::recent::{Recent, SAME_REQUEST};
use super::{Batch, Classifier, event};
use crate::capture::Change;
use crate::lifecycle::audit::{self, Audit};
use crate::lifecycle::event::{Actor, ActorState, Lane, States};
use crate::lifecycle::facts::{Facts, LockQuery};
use crate::lifecycle::locks::LockSource;
use crate::lifecycle::outcome::ActorFound;
use orw_model::{Action, ActorSource, EventClass, ObjectRow, Row, TableName, is_set, parse_row};

impl Classifier {
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
        self.settle(batch, change, &key, actor.as_ref());
        match audit.action.as_str() {
            "lock" => self.lock_row(batch, facts, change, audit, &key, actor),
            "unlock" => self.unlock_row(batch, facts, change, audit, &key, actor),
            _ => {}
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

    /// An audit row `lock`: Locked, unless the object's row told it.
    fn lock_row(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        change: &Change,
        audit: &Audit,
        key: &(i32, String),
        actor: Option<Actor>,
    ) {
        let recent = self.end_of_request(change, key);
        if recent.lock == Some(Action::Locked) || audit.lock_changed {
            return;
        }
        let held = batch.held(facts, &key.1);
        let forgotten = recent.image.is_none();
        let image = self.image(facts, change, audit, &key.1, recent);
        let told_before = || forgotten && told_by_row(facts, change, audit, &key.1);
        let row_decides = match held {
            Some(LockSource::AuditRow(_)) => false,
            // Also where the lock was renewed to what it was: the row will tell when it ends.
            Some(LockSource::Row) => image.is_held() || told_before(),
            None => told_before(),
        };
        if row_decides {
            return;
        }
        batch.set_held(&key.1, change.at, Some(LockSource::AuditRow(audit.id)));
        self.push_lock_event(batch, change, audit, &key.1, Action::Locked, image, actor);
    }

    /// An audit row `unlock`, which OpenRegister writes after every update, too: Unlocked, where a lock was announced and
    /// no row holds it.
    fn unlock_row(
        &mut self,
        batch: &mut Batch,
        facts: &Facts,
        change: &Change,
        audit: &Audit,
        key: &(i32, String),
        actor: Option<Actor>,
    ) {
        let recent = self.end_of_request(change, key);
        let Some(held) = batch.held(facts, &key.1).filter(|_| !audit.lock_changed) else {
            return;
        };
        let image = self.image(facts, change, audit, &key.1, recent);
        let goes_on = match held {
            LockSource::Row => image.is_held(),
            // An unlock from before that lock, read again: after a restore, or out of the quarantine.
            LockSource::AuditRow(lock) => audit.id < lock,
        };
        if goes_on {
            return;
        }
        batch.set_held(&key.1, change.at, None);
        self.push_lock_event(batch, change, audit, &key.1, Action::Unlocked, image, actor);
    }

    /// What is remembered of the request that an audit row ends; what comes next belongs to another one.
    fn end_of_request(&mut self, change: &Change, key: &(i32, String)) -> Recent {
        self.recent
            .remove(key)
            .filter(|recent| (change.at - recent.at).abs() <= SAME_REQUEST)
            .unwrap_or_default()
    }

    #[expect(clippy::too_many_arguments, reason = "one place, and each is something else")]
    fn push_lock_event(
        &self,
        batch: &mut Batch,
        change: &Change,
        audit: &Audit,
        uuid: &str,
        action: Action,
        image: Image,
        actor: Option<Actor>,
    ) {
        let Some((table, row)) = image.0.or_else(|| bare(audit, uuid)) else {
            return;
        };
        let mut entity = self.entity(&table, &row);
        entity.set("locked", lock_value(audit, action));
        batch.push(event(
            change,
            EventClass::object(action),
            Lane::object(uuid),
            States::One(entity),
            ActorState::Known(actor),
        ));
    }

    /// The row of the object that was locked or unlocked: as the request left it, else as it is now.
    fn image(&self, facts: &Facts, change: &Change, audit: &Audit, uuid: &str, recent: Recent) -> Image {
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

/// An object's row, where it is known.
struct Image(Option<(TableName, Row)>);

impl Image {
    /// Whether the row holds a lock.
    fn is_held(&self) -> bool {
        let row = self.0.as_ref();
        row.is_some_and(|(table, row)| is_set(ObjectRow::new(table, row).meta("locked")))
    }
}

/// All that is left of an object that was deleted since: what the audit row itself says.
fn bare(audit: &Audit, uuid: &str) -> Option<(TableName, Row)> {
    let table = TableName::parse(audit_tables(audit).first()?, "")?;
    let mut row = Row::new();
    for (name, value) in [("id", audit.object.into()), ("uuid", Value::from(uuid))] {
        row.insert(name.into(), value);
        row.insert(format!("_{name}"), row[name].clone());
    }
    Some((table, row))
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

/// Whether the stored events say that the row told of this very lock: asked where nothing is remembered, after a restart.
fn told_by_row(facts: &Facts, change: &Change, audit: &Audit, uuid: &str) -> bool {
    let found = facts.locks.get(&lock_need(change, audit, uuid));
    let mut events = found.into_iter().flat_map(|found| &found.events);
    let last = events.find(|event| matches!(event, Action::Locked | Action::Unlocked));
    last == Some(&Action::Locked)
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
