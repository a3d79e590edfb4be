//! The application of the model: its rows, what its operations write, and what a person expects of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use openregister_webhooks::capture::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use orw_model::{Action, TableName};
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// 0.2.13: magic tables; a lock leaves no trace but its audit row.
    Magic,
    /// 0.2.9: the blob table; the lock column is written.
    Blob,
    /// 2.x: magic tables; the lock column is written, every save raises the version, and ends the writer's own lock.
    Second,
}

impl Generation {
    /// Whether the row shows a lock.
    fn row_has_lock(self) -> bool {
        self != Self::Magic
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Create,
    Put,
    /// A PUT that changes nothing but `updated`.
    PutSame,
    /// A PUT within the second of the one before: `updated` stays.
    PutSoon,
    Lock,
    Unlock,
    SoftDelete,
    Restore,
    /// DELETE of the row, whatever its state.
    Remove,
    /// The row is touched by a background job: size, folder.
    Housekeeping,
    /// Back to an earlier state, if there is one.
    Revert,
    /// A copy into another magic table; the old row stays.
    Migrate,
}

/// An operation on one of a few objects by one of two users.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) object: u8,
    pub(super) by_bob: bool,
}

fn table_name(name: &str) -> TableName {
    TableName::parse(name, "").unwrap()
}

/// The application: its rows, and what its operations write.
pub(super) struct App {
    generation: Generation,
    /// With audit trails off only locks leave audit rows.
    audits: bool,
    rows: BTreeMap<u8, (TableName, Map<String, Value>)>,
    pub(super) changes: Vec<Change>,
    /// The objects whose lock was announced, and not its end.
    locked: BTreeSet<u8>,
    /// The titles that an object had so far.
    titles: BTreeMap<u8, Vec<Value>>,
    /// Who a person would say caused which event on which object.
    pub(super) expected: Vec<(Action, String)>,
    serial: i64,
    /// Which request this is.
    pub(super) request: usize,
}

const START: &str = "2026-11-24T00:00:00Z";

impl App {
    pub(super) fn new(generation: Generation, audits: bool) -> Self {
        Self {
            generation,
            audits,
            rows: BTreeMap::new(),
            changes: Vec::new(),
            locked: BTreeSet::new(),
            titles: BTreeMap::new(),
            expected: Vec::new(),
            serial: 0,
            request: 0,
        }
    }

    fn column(&self, name: &str) -> String {
        match self.generation {
            Generation::Magic | Generation::Second => format!("_{name}"),
            Generation::Blob => name.to_owned(),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        // A request takes milliseconds, and the next comes soon after it.
        START.parse::<DateTime<Utc>>().unwrap() + TimeDelta::milliseconds(7 * self.changes.len() as i64)
    }

    fn push(
        &mut self,
        pid: i32,
        table: TableName,
        op: Op,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let text = |row: Option<&Map<String, Value>>| row.map(|row| Value::Object(row.clone()).to_string());
        let n = self.changes.len() as u64;
        self.changes.push(Change {
            key: ChangeKey {
                lsn: Lsn(1000 + n),
                xid: Xid(500 + n),
                ordinal: 0,
            },
            table,
            op,
            origin: Origin::Live,
            old: text(old),
            new: text(new),
            pid,
            at: self.now(),
        });
    }

    /// A write of an object's whole row, as the trigger sees it.
    fn write(&mut self, pid: i32, object: u8, new: Map<String, Value>) {
        let (table, old) = self.rows[&object].clone();
        if old == new {
            self.push(pid, table.clone(), Op::Unchanged, None, Some(&new));
        } else {
            self.push(pid, table.clone(), Op::Update, Some(&old), Some(&new));
        }
        self.rows.insert(object, (table, new));
    }

    fn audit(&mut self, pid: i32, object: u8, action: &str, user: &str) {
        self.serial += 1;
        let (_, row) = &self.rows[&object];
        let audit = json!({
            "id": self.serial, "action": action, "object": 1, "object_uuid": row[&self.column("uuid")], "user": user,
            "user_name": user, "request": format!("request {}", self.request), "changed": [], "created": "2026-11-24T00:00:00",
            "register": 1, "schema": 1,
        });
        let table = table_name("openregister_audit_trails");
        self.push(pid, table, Op::Insert, None, audit.as_object());
    }

    pub(super) fn step(&mut self, pid: i32, step: Step) {
        let user = if step.by_bob { "bob" } else { "admin" };
        let object = step.object;
        let there = self.rows.contains_key(&object);
        if matches!(step.operation, Operation::Create) {
            if !there {
                self.create(pid, object, user);
            }
            return;
        }
        if !there {
            return;
        }
        let (table, row) = self.rows[&object].clone();
        let [deleted, locked, updated, version] =
            ["deleted", "locked", "updated", "version"].map(|name| self.column(name));
        let in_bin = row[&deleted].is_object();
        let uuid = row[&self.column("uuid")].as_str().unwrap().to_owned();
        let mut new = row.clone();
        self.serial += 1;
        let stamp = json!(format!("2026-11-24T00:00:00.{:06}", self.serial));
        let mut expect = |action| self.expected.push((action, uuid.clone()));
        match step.operation {
            Operation::Create => {}
            Operation::Put | Operation::PutSame | Operation::PutSoon if in_bin => {}
            Operation::Put | Operation::PutSoon => {
                expect(Action::Updated);
                if matches!(step.operation, Operation::Put) {
                    new.insert(updated, stamp);
                }
                let title = self.serial.into();
                self.set_title(object, &mut new, title);
                self.update(pid, object, &uuid, new, user);
            }
            Operation::PutSame => {
                new.insert(updated, stamp);
                self.update(pid, object, &uuid, new, user);
            }
            Operation::Lock | Operation::Unlock if in_bin => {}
            Operation::Lock => {
                expect(Action::Locked);
                self.locked.insert(object);
                match self.generation {
                    Generation::Magic => {}
                    Generation::Blob => {
                        new.insert(locked, json!({"userId": user, "lockedAt": stamp}));
                    }
                    // Without an end, as in 2.x.
                    Generation::Second => {
                        new.insert(locked, json!({"user": user, "process": null, "created": stamp}));
                    }
                }
                self.write(pid, object, new);
                self.audit(pid, object, "lock", user);
            }
            Operation::Unlock => {
                // An unlock of what is not locked leaves its audit row, and is no event.
                if self.locked.remove(&object) {
                    expect(Action::Unlocked);
                }
                new.insert(locked, Value::Null);
                self.write(pid, object, new);
                self.audit(pid, object, "unlock", user);
            }
            Operation::SoftDelete => {
                if !in_bin {
                    expect(Action::Deleted);
                }
                // A lock that the row holds is still there when the object is restored, and ends with the row's.
                if !self.generation.row_has_lock() {
                    self.locked.remove(&object);
                }
                new.insert(deleted, json!({"deletedBy": user, "deletedAt": stamp}));
                self.write(pid, object, new);
                if self.audits {
                    self.audit(pid, object, "delete", user);
                }
            }
            Operation::Restore => {
                if in_bin {
                    expect(Action::Updated);
                    new.insert(deleted, json!([]));
                    self.write(pid, object, new);
                }
            }
            Operation::Remove => {
                if !in_bin {
                    expect(Action::Deleted);
                }
                self.locked.remove(&object);
                self.push(pid, table, Op::Delete, Some(&row), None);
                self.rows.remove(&object);
            }
            Operation::Housekeeping => {
                new.insert(self.column("size"), stamp.clone());
                new.insert(self.column("folder"), stamp);
                self.write(pid, object, new);
            }
            Operation::Revert if in_bin => {}
            Operation::Revert => {
                let now = self.titles[&object].last();
                let earlier = self.titles[&object]
                    .iter()
                    .find(|title| Some(*title) != now)
                    .cloned();
                if let Some(title) = earlier {
                    expect(Action::Updated);
                    expect(Action::Reverted);
                    new.insert(version, json!(format!("0.0.{}", self.serial)));
                    self.set_title(object, &mut new, title);
                    self.write(pid, object, new);
                }
            }
            Operation::Migrate if in_bin || self.generation == Generation::Blob => {}
            Operation::Migrate => {
                // Once: nobody moves an object back and forth.
                let target = table_name("openregister_table_1_2");
                if table != target {
                    expect(Action::Updated);
                    self.push(pid, target.clone(), Op::Insert, None, Some(&new));
                    self.rows.insert(object, (target, new));
                }
            }
        }
    }

    /// The writes of an update, and the unlock that follows every one of them. It ends the lock, but in 0.2.9.
    fn update(&mut self, pid: i32, object: u8, uuid: &str, mut new: Map<String, Value>, user: &str) {
        if self.generation == Generation::Second {
            new.insert(self.column("version"), json!(format!("0.0.{}", self.serial)));
        }
        self.write(pid, object, new.clone());
        if self.audits {
            self.audit(pid, object, "update", user);
        }
        if self.generation == Generation::Second {
            new.insert(self.column("locked"), Value::Null);
        }
        self.write(pid, object, new);
        self.audit(pid, object, "unlock", user);
        if self.generation != Generation::Blob && self.locked.remove(&object) {
            self.expected.push((Action::Unlocked, uuid.to_owned()));
        }
    }

    fn set_title(&mut self, object: u8, row: &mut Map<String, Value>, title: Value) {
        self.titles.entry(object).or_default().push(title.clone());
        match self.generation {
            Generation::Magic | Generation::Second => row.insert("title".into(), title),
            Generation::Blob => row.insert("object".into(), json!({"title": title})),
        };
    }

    fn create(&mut self, pid: i32, object: u8, user: &str) {
        self.serial += 1;
        let uuid = format!("object-{object}-{}", self.serial);
        let mut row = Map::new();
        for (name, value) in [
            ("id", json!(self.serial)),
            ("uuid", json!(uuid)),
            ("register", json!("1")),
            ("schema", json!("1")),
            ("owner", json!(user)),
            ("updated", json!("2026-11-24T00:00:00")),
        ] {
            row.insert(self.column(name), value);
        }
        for name in ["deleted", "locked", "version", "size", "folder"] {
            row.insert(self.column(name), Value::Null);
        }
        if self.generation == Generation::Second {
            row.insert(self.column("version"), json!("0.0.1"));
        }
        self.titles.remove(&object);
        let title = self.serial.into();
        self.set_title(object, &mut row, title);
        let table = table_name(match self.generation {
            Generation::Magic | Generation::Second => "openregister_table_1_1",
            Generation::Blob => "openregister_objects",
        });
        self.push(pid, table.clone(), Op::Insert, None, Some(&row));
        self.rows.insert(object, (table, row));
        if self.audits {
            self.audit(pid, object, "create", user);
        }
        self.expected.push((Action::Created, uuid));
    }
}
