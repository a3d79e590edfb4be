//! What a person reads out of raw rows: which events they tell, of what, and who caused them. Written after the description of what
//! OpenRegister does, and without the program's rules, to be compared with what the program makes of the same rows.

use std::collections::{HashMap, HashSet};

use openregister_webhooks::lifecycle::Event;
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::recording::Recorded;

/// One row as it was written.
pub(super) struct Raw {
    /// Without `oc_`.
    table: String,
    old: Option<Map<String, Value>>,
    new: Option<Map<String, Value>>,
    pid: i32,
}

/// An event: its class, the lane of what it is about, and the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) class: String,
    of: String,
    by: Option<String>,
}

/// Columns that a person would not call a change of an object, by their names in the blob table.
const SILENT: [&str; 10] = [
    "updated",
    "version",
    "size",
    "folder",
    "files",
    "relations",
    "schema_version",
    "validation",
    "locked",
    "deleted",
];

/// The same for the other kinds, all together.
const SILENT_ELSEWHERE: [&str; 10] = [
    "updated",
    "folder",
    "facets",
    "draft",
    "last_checked",
    "remote_version",
    "last_sync_date",
    "last_sync_status",
    "sync_status",
    "retained_at",
];

pub(super) fn told(events: &[Event]) -> Vec<Told> {
    let one = |event: &Event| Told {
        class: event.class.to_string(),
        of: event.lane.as_str().to_owned(),
        by: event.actor.actor().map(|actor| actor.uid.clone()),
    };
    events.iter().map(one).collect()
}

/// The rows of a recording.
pub(super) fn of_recording(recorded: &[Recorded]) -> Vec<Raw> {
    let raw = |r: &Recorded| {
        let image = |text: &Option<String>| text.as_deref().map(|text| serde_json::from_str(text).unwrap());
        let new = image(&r.change.new);
        // A row that was written as it was has one image.
        let unchanged = r.change.op == openregister_webhooks::capture::Op::Unchanged;
        Raw {
            table: r.change.table.name().to_owned(),
            old: if unchanged {
                new.clone()
            } else {
                image(&r.change.old)
            },
            new,
            pid: r.change.pid,
        }
    };
    recorded.iter().map(raw).collect()
}

/// The rows that are captured and not read yet.
pub(super) async fn of_outbox(client: &Client) -> Vec<Raw> {
    let sql = "SELECT substr(tbl, 4), old, new, pid, op::text = 'N' FROM openregister_webhooks.change ORDER BY lsn, xid, ordinal";
    let rows = client.query(sql, &[]).await.unwrap();
    let image = |text: Option<&str>| text.map(|text| serde_json::from_str(text).unwrap());
    rows.iter()
        .map(|row| {
            let new = image(row.get(2));
            let unchanged: bool = row.get(4);
            Raw {
                table: row.get(0),
                old: if unchanged { new.clone() } else { image(row.get(1)) },
                new,
                pid: row.get(3),
            }
        })
        .collect()
}

impl Raw {
    fn is_audit(&self) -> bool {
        self.table == "openregister_audit_trails"
    }

    fn is_object(&self) -> bool {
        self.table == "openregister_objects" || self.table.starts_with("openregister_table_")
    }

    /// A column of an object's row, by its name in the blob table; JSON in text is decoded, and empty JSON is null.
    fn meta<'a>(&self, row: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
        let column = if self.table == "openregister_objects" {
            name.to_owned()
        } else {
            format!("_{name}")
        };
        row.get(&column).filter(|value| !is_empty(value))
    }

    fn uuid(&self) -> &str {
        let row = self.new.as_ref().or(self.old.as_ref()).unwrap();
        let name = if self.is_audit() {
            row.get("object_uuid")
        } else {
            self.meta(row, "uuid")
        };
        name.and_then(Value::as_str).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.new.as_ref()?.get(name)?.as_str()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn somebody(uid: Option<&str>) -> Option<String> {
    uid.filter(|uid| !uid.is_empty() && !uid.eq_ignore_ascii_case("system"))
        .map(str::to_owned)
}

/// The events that these rows tell, in their order.
pub(super) fn expected(rows: &[Raw]) -> Vec<Told> {
    let mut reader = Reader {
        rows,
        told: Vec::new(),
        tables: HashMap::new(),
        locked: HashSet::new(),
        states: HashMap::new(),
        rows_show_locks: rows.iter().filter(|raw| raw.is_object()).any(|raw| {
            let row = raw.new.as_ref();
            row.is_some_and(|row| raw.meta(row, "locked").is_some())
        }),
    };
    for (at, raw) in rows.iter().enumerate() {
        if raw.is_audit() {
            reader.audit(raw);
        } else if raw.is_object() {
            reader.object(at);
        } else {
            reader.other(raw);
        }
    }
    reader.told
}

struct Reader<'r> {
    rows: &'r [Raw],
    told: Vec<Told>,
    /// In which table an object was first.
    tables: HashMap<String, String>,
    /// Objects that are locked by an audit row.
    locked: HashSet<String>,
    /// The property with a state, by the schema's id.
    states: HashMap<String, String>,
    rows_show_locks: bool,
}

impl Reader<'_> {
    fn tell(&mut self, class: &str, of: String, by: Option<String>) {
        let class = format!("{class}Event");
        self.told.push(Told { class, of, by });
    }

    fn audit(&mut self, raw: &Raw) {
        if self.rows_show_locks {
            return;
        }
        let (uuid, by) = (raw.uuid().to_owned(), somebody(raw.text("user")));
        match raw.text("action") {
            Some("lock") => {
                self.locked.insert(uuid.clone());
                self.tell("ObjectLocked", format!("object:{uuid}"), by);
            }
            Some("unlock") if self.locked.remove(&uuid) => {
                self.tell("ObjectUnlocked", format!("object:{uuid}"), by);
            }
            Some("delete") => {
                self.locked.remove(&uuid);
            }
            _ => {}
        }
    }

    /// Who the audit row of the same request names.
    fn auditor(&self, at: usize) -> Option<Option<String>> {
        let raw = &self.rows[at];
        let own = |audit: &&Raw| audit.is_audit() && audit.pid == raw.pid && audit.uuid() == raw.uuid();
        let mut audits = self.rows[at..].iter().filter(own);
        let audit = audits.find(|audit| audit.text("action") != Some("read"))?;
        Some(somebody(audit.text("user")))
    }

    fn object(&mut self, at: usize) {
        let raw = &self.rows[at];
        let uuid = raw.uuid().to_owned();
        let lane = format!("object:{uuid}");
        let first = self
            .tables
            .entry(uuid)
            .or_insert_with(|| raw.table.clone())
            .clone();
        let by = |reader: &Self, fallback: Option<String>| reader.auditor(at).unwrap_or(fallback);
        let deleted = |row: &Map<String, Value>| raw.meta(row, "deleted").is_some();
        match (&raw.old, &raw.new) {
            (None, Some(_)) if first != raw.table => {
                let by = by(self, None);
                self.tell("ObjectUpdated", lane, by);
            }
            (None, Some(new)) => {
                let owner = somebody(raw.meta(new, "owner").and_then(Value::as_str));
                let by = by(self, owner);
                self.tell("ObjectCreated", lane, by);
            }
            (Some(old), None) if !deleted(old) => {
                let by = by(self, None);
                self.tell("ObjectDeleted", lane, by);
            }
            (Some(old), Some(new)) => match (deleted(old), deleted(new)) {
                (false, true) => {
                    let who = raw
                        .meta(new, "deleted")
                        .and_then(|deleted| deleted.get("deletedBy"));
                    let by = by(self, somebody(who.and_then(Value::as_str)));
                    self.tell("ObjectDeleted", lane, by);
                }
                (true, true) => {}
                (true, false) => {
                    let by = by(self, None);
                    self.tell("ObjectUpdated", lane, by);
                }
                (false, false) => self.changed(at, old, new, &lane),
            },
            _ => {}
        }
    }

    /// An object's row was written again.
    fn changed(&mut self, at: usize, old: &Map<String, Value>, new: &Map<String, Value>, lane: &str) {
        let raw = &self.rows[at];
        let by = self.auditor(at).flatten();
        let blob = raw.table == "openregister_objects";
        let mut columns = new.keys().filter(|column| old.get(*column) != new.get(*column));
        let news = columns.any(|column| {
            let name = if blob {
                column.as_str()
            } else {
                column.strip_prefix('_').unwrap_or("a property")
            };
            let id = raw.meta(new, "id").map(|id| Value::from(id.to_string()));
            let filled = old.get(column).is_none_or(is_empty)
                && match name {
                    "description" => new.get(column) == id.as_ref(),
                    "name" => new.get(column) == raw.meta(new, "uuid"),
                    _ => false,
                };
            !SILENT.contains(&name) && !filled
        });
        if news {
            self.tell("ObjectUpdated", lane.to_owned(), by.clone());
        }
        let schema = raw
            .meta(new, "schema")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if let Some(state) = self.states.get(schema) {
            let value = |row: &Map<String, Value>| {
                let properties = if blob {
                    row["object"].as_object().unwrap()
                } else {
                    row
                };
                properties.get(state).cloned().unwrap_or_default()
            };
            if value(old) != value(new) {
                self.tell("ObjectTransitioned", lane.to_owned(), by.clone());
            }
        }
        match (raw.meta(old, "locked"), raw.meta(new, "locked")) {
            (before, Some(lock)) if before != Some(lock) => {
                let holder = ["user", "userId"]
                    .iter()
                    .find_map(|name| lock.get(*name)?.as_str());
                let by = by.or_else(|| somebody(holder));
                self.tell("ObjectLocked", lane.to_owned(), by);
            }
            (Some(_), None) => self.tell("ObjectUnlocked", lane.to_owned(), by),
            _ => {}
        }
    }

    fn other(&mut self, raw: &Raw) {
        let (name, creator) = match raw.table.strip_prefix("openregister_").unwrap() {
            "registers" => ("Register", None),
            "schemas" => ("Schema", None),
            "applications" => ("Application", None),
            "agents" => ("Agent", Some("owner")),
            "sources" => ("Source", None),
            "configurations" => ("Configuration", None),
            "view" | "views" => ("View", Some("owner")),
            "conversations" => ("Conversation", Some("user_id")),
            "organisations" => ("Organisation", Some("owner")),
            table => panic!("{table}"),
        };
        let row = raw.new.as_ref().or(raw.old.as_ref()).unwrap();
        let lane = format!("{}:{}", raw.table, row["id"]);
        if name == "Schema" {
            self.annotation(raw);
        }
        let gone = |row: &Map<String, Value>| {
            let column = if name == "Conversation" {
                "deleted_at"
            } else {
                "deleted"
            };
            row.get(column).is_some_and(|value| !is_empty(value))
        };
        let what = match (&raw.old, &raw.new) {
            (None, Some(_)) => Some("Created"),
            (Some(old), None) => (!gone(old)).then_some("Deleted"),
            (Some(old), Some(new)) => match (gone(old), gone(new)) {
                (false, true) => Some("Deleted"),
                (true, true) => None,
                (true, false) => Some("Updated"),
                (false, false) => {
                    let mut columns = new.keys().filter(|column| old.get(*column) != new.get(*column));
                    columns
                        .any(|column| !SILENT_ELSEWHERE.contains(&column.as_str()))
                        .then_some("Updated")
                }
            },
            (None, None) => None,
        };
        if let Some(what) = what {
            let creator = creator
                .filter(|_| what == "Created")
                .and_then(|column| raw.text(column));
            self.tell(&format!("{name}{what}"), lane, somebody(creator));
        }
    }

    /// Which property of the schema's objects has a state.
    fn annotation(&mut self, raw: &Raw) {
        let Some(new) = &raw.new else { return };
        let id = new["id"].to_string();
        self.states.remove(&id);
        let configuration = match &new["configuration"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        };
        if let Some(field) = configuration["x-openregister-lifecycle"]["field"].as_str() {
            self.states.insert(id, field.to_owned());
        }
    }
}
