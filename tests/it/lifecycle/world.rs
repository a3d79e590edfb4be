//! Nextcloud's database in memory, as the classifier's lookups would find it.

use std::collections::{BTreeMap, HashMap};

use openregister_webhooks::capture::{Change, ChangeKey, Op};
use openregister_webhooks::lifecycle::{
    ActorState, Classifier, Decoded, Event, Facts, Lane, LifecycleSettings, LockAnswer, LockSource, Needs,
    Outcome, States, User,
};
use orw_model::{Row, Store, TableName, parse_row};

/// The tables, by name without prefix and key, and the events that were stored.
#[derive(Default)]
pub(crate) struct World {
    tables: HashMap<String, BTreeMap<String, Row>>,
    pub(crate) users: HashMap<String, User>,
    pub(crate) events: Vec<Event>,
    /// The locks that were announced.
    locks: HashMap<String, LockSource>,
    /// When rows were inserted, by table and key.
    inserted: HashMap<(String, String), ChangeKey>,
}

fn key(table: &TableName, row: &Row) -> String {
    let column = match table.store() {
        Store::Magic { .. } => "_uuid",
        Store::Blob => "uuid",
        _ => "id",
    };
    row[column]
        .as_str()
        .map_or_else(|| row[column].to_string(), str::to_owned)
}

impl World {
    /// A change becomes visible.
    pub(crate) fn apply(&mut self, change: &Change) {
        let rows = self.tables.entry(change.table.name().to_owned()).or_default();
        if let Some(old) = change.old.as_deref().and_then(|text| parse_row(text).ok()) {
            rows.remove(&key(&change.table, &old));
        }
        if let Some(new) = change.new.as_deref().and_then(|text| parse_row(text).ok()) {
            let key = key(&change.table, &new);
            if change.op == Op::Insert {
                self.inserted
                    .insert((change.table.name().to_owned(), key.clone()), change.key);
            }
            rows.insert(key, new);
        }
    }

    fn row(&self, table: &str, key: &str) -> Option<&Row> {
        self.tables.get(table)?.get(key)
    }

    /// What the lookups would answer.
    pub(crate) fn answer(&self, needs: &Needs) -> Facts {
        let mut facts = Facts::default();
        for (ids, table, found) in [
            (&needs.registers, "openregister_registers", &mut facts.registers),
            (&needs.schemas, "openregister_schemas", &mut facts.schemas),
        ] {
            for id in ids {
                if let Some(row) = self.row(table, &id.to_string()) {
                    found.insert(*id, row.clone());
                }
            }
        }
        for uid in &needs.users {
            if let Some(user) = self.users.get(uid) {
                facts.users.insert(uid.clone(), user.clone());
            }
        }
        for uuid in &needs.in_blob {
            if self.row("openregister_objects", uuid).is_some() {
                facts.in_blob.insert(uuid.clone());
            }
        }
        for (uuid, own) in &needs.homes {
            for (table, rows) in &self.tables {
                if table.starts_with("openregister_table_")
                    && table != own
                    && let Some(row) = rows.get(uuid)
                {
                    facts.homes.insert(uuid.clone(), (table.clone(), row.clone()));
                    if let Some(since) = self.inserted.get(&(table.clone(), uuid.clone())) {
                        facts.homes_since.insert(uuid.clone(), *since);
                    }
                }
            }
        }
        for (table, uuid) in &needs.rows_exist {
            let by_uuid = |row: &Row| row.get("uuid").and_then(|u| u.as_str()) == Some(uuid);
            let rows = self.tables.get(table);
            if rows.is_some_and(|rows| rows.contains_key(uuid) || rows.values().any(by_uuid)) {
                facts.rows_exist.insert((table.clone(), uuid.clone()));
            }
        }
        for (table, uuid) in &needs.rows {
            if let Some(row) = self.row(table, uuid) {
                facts.rows.insert((table.clone(), uuid.clone()), row.clone());
            }
        }
        for uuid in &needs.held {
            if let Some(held) = self.locks.get(uuid) {
                facts.held.insert(uuid.clone(), *held);
            }
        }
        for uuid in &needs.earlier {
            let states = facts.earlier.entry(uuid.clone()).or_default();
            let lane = Lane::object(uuid);
            for event in self.events.iter().filter(|event| event.lane == lane) {
                let images = [Some(event.states.current()), event.states.old()];
                images
                    .into_iter()
                    .flatten()
                    .for_each(|object| states.add(event.at, object));
            }
        }
        for need in &needs.locks {
            let events = self
                .events
                .iter()
                .rev()
                .filter(|e| e.lane == need.lane() && e.pid == need.pid && e.at <= need.at)
                .filter(|e| need.at - e.at <= chrono::TimeDelta::seconds(10))
                .map(|e| e.class.action())
                .collect();
            facts
                .locks
                .insert(need.clone(), LockAnswer { events, image: None });
        }
        facts
    }

    /// Works on one batch as the pipeline does, and keeps the events.
    pub(crate) fn batch(&mut self, classifier: &mut Classifier, changes: &[Change]) -> Outcome {
        let mut undecodable = Vec::new();
        let mut decoded = Vec::new();
        for change in changes {
            match Decoded::read(change.clone()) {
                Ok(change) => decoded.push(change),
                Err(reason) => undecodable.push(*reason),
            }
        }
        let needs = classifier.needs(&decoded);
        let facts = self.answer(&needs);
        let mut outcome = classifier.classify(decoded, needs, &facts);
        outcome.undecodable = undecodable;
        self.events.extend(outcome.events.iter().cloned());
        for lock in &outcome.locks {
            match lock.held {
                Some(held) => self.locks.insert(lock.uuid.clone(), held),
                None => self.locks.remove(&lock.uuid),
            };
        }
        for found in &outcome.actors {
            for event in &mut self.events {
                if event.pid == found.pid
                    && event.lane == found.lane
                    && event.at >= found.since
                    && event.at <= found.at
                    && matches!(event.actor, ActorState::Awaited { .. })
                {
                    event.actor = ActorState::Known(found.actor.clone());
                    if let States::Moved { transition, .. } = &mut event.states {
                        transition.action.clone_from(&found.transition);
                    }
                }
            }
        }
        outcome
    }

    /// Replays `changes` in batches of these sizes (the last repeats), each batch visible before it is worked on, and
    /// as many more as `ahead`.
    pub(crate) fn replay(
        &mut self,
        changes: &[Change],
        sizes: &[usize],
        ahead: usize,
        restart: bool,
    ) -> Vec<Event> {
        let mut classifier = Classifier::new(LifecycleSettings::new("oc_"));
        let mut applied = 0;
        let mut done = 0;
        let mut sizes = sizes
            .iter()
            .copied()
            .chain(std::iter::repeat(*sizes.last().unwrap()));
        while done < changes.len() {
            let to = (done + sizes.next().unwrap().max(1)).min(changes.len());
            while applied < (to + ahead).min(changes.len()) {
                self.apply(&changes[applied]);
                applied += 1;
            }
            if restart {
                classifier = Classifier::new(LifecycleSettings::new("oc_"));
            }
            let outcome = self.batch(&mut classifier, &changes[done..to]);
            assert!(outcome.undecodable.is_empty(), "{:?}", outcome.undecodable);
            done = to;
        }
        std::mem::take(&mut self.events)
    }
}

/// The short name of an operation, for lists.
pub(crate) const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Insert => "INSERT",
        Op::Update => "UPDATE",
        Op::Unchanged => "UPDATE (no difference)",
        Op::Delete => "DELETE",
    }
}
