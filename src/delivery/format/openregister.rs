//! `openregister`: the envelope of OpenRegister's own webhooks, with what their documentation promises on top.

use serde_json::{Map, Value};

use super::documented;
use super::parts::{Sender, map};
use crate::lifecycle::{Event, States};
use crate::registry::DataMode;
use orw_model::{Action, Entity, EntityKind, is_set};

pub(super) fn body(event: &Event, sender: &Sender, mode: DataMode) -> Value {
    let timestamp = event.at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    map([
        ("event", event.class.name().into()),
        ("webhook", sender.shown()),
        ("data", Value::Object(data(event, &timestamp, mode))),
        ("timestamp", timestamp.clone().into()),
        ("attempt", 1.into()),
    ])
}

fn data(event: &Event, timestamp: &str, mode: DataMode) -> Map<String, Value> {
    let kind = event.class.kind();
    let action = event.class.action();
    let current = event.states.current();
    let mut data = Map::new();
    data.insert("objectType".into(), kind.name().into());
    data.insert("action".into(), verb(kind, action).into());
    data.insert(kind.name().into(), shown(kind, current, mode));
    if let States::Both { new, old } = &event.states {
        data.insert(format!("new{}", kind.class_name()), shown(kind, new, mode));
        data.insert(format!("old{}", kind.class_name()), shown(kind, old, mode));
    }
    data.extend(documented::transition(event));
    if kind == EntityKind::Object {
        let field = |name: &str| current.fields().get(name).cloned().unwrap_or(Value::Null);
        data.insert("objectUuid".into(), field("uuid"));
        data.insert("register".into(), id_text(&field("register")));
        data.insert("schema".into(), id_text(&field("schema")));
    }
    if action == Action::Reverted {
        // The point that was reverted to is an argument of the request and leaves no trace.
        data.insert("revertPoint".into(), Value::Null);
    }
    data.insert("timestamp".into(), timestamp.into());
    data
}

/// OpenRegister says `create` of an object and `created` of anything else.
const fn verb(kind: EntityKind, action: Action) -> &'static str {
    match (kind, action) {
        (EntityKind::Object, Action::Created) => "create",
        (EntityKind::Object, Action::Updated) => "update",
        (EntityKind::Object, Action::Deleted) => "delete",
        (_, Action::Created) => "created",
        (_, Action::Updated) => "updated",
        (_, Action::Deleted) => "deleted",
        (_, Action::Locked) => "locked",
        (_, Action::Unlocked) => "unlocked",
        (_, Action::Reverted) => "reverted",
        (_, Action::Transitioned) => "transitioned",
    }
}

fn shown(kind: EntityKind, entity: &Entity, mode: DataMode) -> Value {
    as_php(match (kind, mode) {
        (EntityKind::Object, DataMode::Full) => object(entity),
        (EntityKind::Object, DataMode::Reference) => reference(entity),
        _ => Value::Object(entity.fields().clone()),
    })
}

/// As PHP writes it, which has one kind of array: an empty map is `[]`.
fn as_php(value: Value) -> Value {
    match value {
        Value::Object(map) if map.is_empty() => Value::Array(Vec::new()),
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, as_php(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(as_php).collect(),
        other => other,
    }
}

/// What an object's metadata look like where nothing is set.
#[derive(Clone, Copy)]
enum Unset {
    Null,
    /// `[]`, also for what else is a map.
    Empty,
    /// Left out: there in some generations of OpenRegister only.
    Absent,
}

/// The metadata in OpenRegister's order, after those that [`object`] makes itself.
const METADATA: [(&str, Unset); 19] = [
    ("schemaVersion", Unset::Null),
    ("files", Unset::Empty),
    ("relations", Unset::Empty),
    ("locked", Unset::Null),
    ("owner", Unset::Null),
    ("organisation", Unset::Null),
    ("groups", Unset::Empty),
    ("authorization", Unset::Empty),
    ("folder", Unset::Null),
    ("application", Unset::Null),
    ("validation", Unset::Empty),
    ("geo", Unset::Empty),
    ("retention", Unset::Empty),
    ("tmlo", Unset::Absent),
    ("size", Unset::Null),
    ("updated", Unset::Null),
    ("created", Unset::Null),
    ("published", Unset::Absent),
    ("depublished", Unset::Absent),
];

/// What the generation that knows `tmlo` writes at the end: null also where the table has no such column.
const LINKED: [&str; 7] = ["mail", "contacts", "notes", "todos", "calendar", "talk", "deck"];

/// Which object it is, at the places where OpenRegister's own JSON says so.
fn reference(entity: &Entity) -> Value {
    let field = |name: &str| entity.fields().get(name).cloned().unwrap_or(Value::Null);
    let own = map([
        ("id", field("uuid")),
        ("register", id_text(&field("register"))),
        ("schema", id_text(&field("schema"))),
    ]);
    map([("id", field("uuid")), ("@self", own)])
}

/// OpenRegister's own JSON of an object: the properties, the metadata under `@self`, and the uuid as `id`.
fn object(entity: &Entity) -> Value {
    let fields = entity.fields();
    let field = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
    let or = |value: Value, other: Value| if value.is_null() { other } else { value };
    let mut own = Map::new();
    own.insert("id".into(), field("uuid"));
    own.insert("slug".into(), field("slug"));
    own.insert("name".into(), or(field("name"), field("uuid")));
    own.insert("description".into(), or(field("description"), field("id")));
    for name in ["summary", "image", "uri", "version"] {
        own.insert(name.into(), field(name));
    }
    own.insert("register".into(), id_text(&field("register")));
    own.insert("schema".into(), id_text(&field("schema")));
    let empty = || Value::Array(Vec::new());
    for (name, unset) in METADATA {
        let value = match unset {
            Unset::Null => field(name),
            Unset::Empty => or(field(name), empty()),
            Unset::Absent => match fields.get(name) {
                Some(value) => value.clone(),
                None => continue,
            },
        };
        own.insert(name.into(), value);
    }
    own.insert("deleted".into(), or(field("deleted"), empty()));
    if fields.contains_key("tmlo") {
        own.insert("source".into(), Value::Null);
        for name in LINKED {
            // Nothing linked is null, though the entity has a list there.
            let linked = field(name);
            let unset = !is_set(Some(&linked));
            own.insert(name.into(), if unset { Value::Null } else { linked });
        }
    }
    let mut object = fields
        .get("data")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    object.insert("@self".into(), Value::Object(own));
    object.insert("id".into(), field("uuid"));
    Value::Object(object)
}

/// The numeric id of a register or schema as text, as OpenRegister writes it.
fn id_text(reference: &Value) -> Value {
    match reference.get("id") {
        Some(Value::Null) | None => Value::Null,
        Some(id) => Value::String(id.to_string()),
    }
}
