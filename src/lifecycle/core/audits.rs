//! Audit rows: who did it, and the locks that no column tells.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::recent::{Recent, SAME_REQUEST};
use super::{Batch, Core, event};
use crate::capture::Change;
use crate::lifecycle::audit::{self, Audit};
use crate::lifecycle::event::{Actor, ActorState, Lane, States};
use crate::lifecycle::facts::{Facts, LockNeed};
use crate::lifecycle::outcome::ActorFound;
use crate::openregister::{Action, Entity, EventClass, ObjectRow, Row, TableName, is_set, parse_row};

impl Core {
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

pub(super) fn lock_need(change: &Change, audit: &Audit, uuid: &str) -> LockNeed {
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
