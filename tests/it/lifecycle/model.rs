//! A model of OpenRegister that knows what a person would expect: random operations, by users working at the same time,
//! cut into random batches, with and without a memory.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use openregister_webhooks::capture::{Change, ChangeKey, Lsn, Op, Origin, Xid};
use openregister_webhooks::lifecycle::Event;
use orw_model::{Action, TableName};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// Magic tables; a lock leaves no trace but its audit row.
    Magic,
    /// The blob table; the lock column is written.
    Blob,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Put,
    /// A PUT that changes nothing but `updated`.
    PutSame,
    Lock,
    Unlock,
    SoftDelete,
    Restore,
    /// DELETE of the row, whatever its state.
    Remove,
    /// The row is touched by a background job: size, folder.
    Housekeeping,
    Revert,
    /// A copy into another magic table; the old row stays.
    Migrate,
}

/// An operation on one of a few objects by one of two users.
#[derive(Debug, Clone, Copy)]
struct Step {
    operation: Operation,
    object: u8,
    by_bob: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        3 => Just(Operation::Create),
        3 => Just(Operation::Put),
        1 => Just(Operation::PutSame),
        2 => Just(Operation::Lock),
        2 => Just(Operation::Unlock),
        2 => Just(Operation::SoftDelete),
        1 => Just(Operation::Restore),
        1 => Just(Operation::Remove),
        1 => Just(Operation::Housekeeping),
        1 => Just(Operation::Revert),
        1 => Just(Operation::Migrate),
    ];
    let step = (operation, 0..4u8, any::<bool>()).prop_map(|(operation, object, by_bob)| Step {
        operation,
        object,
        by_bob,
    });
    prop::collection::vec(step, 1..40)
}

fn table_name(name: &str) -> TableName {
    TableName::parse(name, "").unwrap()
}

/// The application: its rows, and what its operations write.
struct App {
    generation: Generation,
    /// With audit trails off only locks leave audit rows.
    audits: bool,
    rows: BTreeMap<u8, (TableName, Map<String, Value>)>,
    changes: Vec<Change>,
    /// The objects whose lock was announced, and not its end.
    locked: BTreeSet<u8>,
    /// Who a person would say caused which event on which object.
    expected: Vec<(Action, String)>,
    serial: i64,
    /// Which request this is.
    request: usize,
}

const START: &str = "2026-11-24T00:00:00Z";

impl App {
    fn new(generation: Generation, audits: bool) -> Self {
        Self {
            generation,
            audits,
            rows: BTreeMap::new(),
            changes: Vec::new(),
            locked: BTreeSet::new(),
            expected: Vec::new(),
            serial: 0,
            request: 0,
        }
    }

    fn column(&self, name: &str) -> String {
        match self.generation {
            Generation::Magic => format!("_{name}"),
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

    fn step(&mut self, pid: i32, step: Step) {
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
            Operation::Put | Operation::PutSame if in_bin => {}
            Operation::Put => {
                expect(Action::Updated);
                new.insert(updated, stamp);
                self.set_property(&mut new);
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
                if self.generation == Generation::Blob {
                    new.insert(locked, json!({"userId": user, "lockedAt": stamp}));
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
                if self.generation == Generation::Magic {
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
                expect(Action::Updated);
                expect(Action::Reverted);
                new.insert(version, json!(format!("0.0.{}", self.serial)));
                self.set_property(&mut new);
                self.write(pid, object, new);
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

    /// The writes of an update, and the unlock that follows every one of them. Where no column holds the lock, that ends it.
    fn update(&mut self, pid: i32, object: u8, uuid: &str, new: Map<String, Value>, user: &str) {
        self.write(pid, object, new.clone());
        if self.audits {
            self.audit(pid, object, "update", user);
        }
        self.write(pid, object, new);
        self.audit(pid, object, "unlock", user);
        if self.generation == Generation::Magic && self.locked.remove(&object) {
            self.expected.push((Action::Unlocked, uuid.to_owned()));
        }
    }

    fn set_property(&self, row: &mut Map<String, Value>) {
        match self.generation {
            Generation::Magic => row.insert("title".into(), json!(self.serial)),
            Generation::Blob => row.insert("object".into(), json!({"title": self.serial})),
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
        self.set_property(&mut row);
        let table = table_name(match self.generation {
            Generation::Magic => "openregister_table_1_1",
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

fn run(generation: Generation, audits: bool, pooled: bool, steps: &[Step]) -> App {
    let mut app = App::new(generation, audits);
    for (n, step) in steps.iter().enumerate() {
        // A PHP request has a connection of its own, unless connections are kept.
        let pid = if pooled {
            7
        } else {
            100 + i32::try_from(n).unwrap()
        };
        app.request = n;
        app.step(pid, *step);
    }
    app
}

fn told(events: &[Event]) -> Vec<(Action, String)> {
    events
        .iter()
        .map(|event| {
            let uuid = event.states.current().fields()["uuid"].as_str().unwrap();
            (event.class.action(), uuid.to_owned())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each operation gives what a person expects, however the stream is cut, however far ahead the lookups see.
    #[test]
    fn operations_give_what_a_person_expects(
        magic in any::<bool>(), steps in steps(), sizes in prop::collection::vec(1..9usize, 1..4), ahead in 0..20usize,
    ) {
        let generation = if magic { Generation::Magic } else { Generation::Blob };
        let app = run(generation, true, false, &steps);
        let events = World::default().replay(&app.changes, &sizes, ahead, false);
        prop_assert_eq!(told(&events), app.expected);
        // No id appears twice.
        let ids: std::collections::HashSet<_> = events.iter().map(|event| event.id.clone()).collect();
        prop_assert_eq!(ids.len(), events.len());
    }

    /// Without audit trails, too: locks alone leave audit rows then.
    #[test]
    fn without_audit_trails_too(magic in any::<bool>(), steps in steps(), size in 1..9usize) {
        let generation = if magic { Generation::Magic } else { Generation::Blob };
        let app = run(generation, false, false, &steps);
        let events = World::default().replay(&app.changes, &[size], 0, false);
        prop_assert_eq!(told(&events), app.expected);
    }

    /// With one connection for everybody, where only audit rows and their requests tell one request from another.
    #[test]
    fn with_kept_connections_too(magic in any::<bool>(), steps in steps(), size in 1..9usize) {
        let generation = if magic { Generation::Magic } else { Generation::Blob };
        let audited: Vec<Step> = steps
            .into_iter()
            .filter(|step| {
                !matches!(step.operation, Operation::Housekeeping | Operation::Restore | Operation::Revert)
            })
            .collect();
        let app = run(generation, true, true, &audited);
        let events = World::default().replay(&app.changes, &[size], 0, false);
        prop_assert_eq!(told(&events), app.expected);
    }
}
