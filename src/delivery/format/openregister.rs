//! `openregister`: the envelope of OpenRegister's own webhooks, with what their documentation promises on top.

use serde_json::{Map, Value};

use super::{Sender, map};
use crate::lifecycle::{Event, States};
use crate::openregister::{Action, Entity, EntityKind};

pub(super) fn body(event: &Event, sender: &Sender) -> Value {
    let timestamp = event.at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    map([
        ("event", event.class.name().into()),
        ("webhook", sender.shown()),
        ("data", Value::Object(data(event, &timestamp))),
        ("timestamp", timestamp.clone().into()),
        ("attempt", 1.into()),
    ])
}

fn data(event: &Event, timestamp: &str) -> Map<String, Value> {
    let kind = event.class.kind();
    let action = event.class.action();
    let current = event.states.current();
    let mut data = Map::new();
    data.insert("objectType".into(), kind.name().into());
    data.insert("action".into(), verb(kind, action).into());
    data.insert(kind.name().into(), shown(kind, current));
    if let States::Both { new, old } = &event.states {
        data.insert(format!("new{}", kind.class_name()), shown(kind, new));
        data.insert(format!("old{}", kind.class_name()), shown(kind, old));
    }
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
    }
}

fn shown(kind: EntityKind, entity: &Entity) -> Value {
    match kind {
        EntityKind::Object => object(entity),
        _ => Value::Object(entity.fields().clone()),
    }
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
    const DONE: [&str; 13] = [
        "id",
        "uuid",
        "slug",
        "name",
        "description",
        "summary",
        "image",
        "uri",
        "version",
        "register",
        "schema",
        "data",
        "expires",
    ];
    for (name, value) in fields {
        if !DONE.contains(&name.as_str()) {
            let value = if name == "deleted" && value.is_null() {
                Value::Array(Vec::new())
            } else {
                value.clone()
            };
            own.insert(name.clone(), value);
        }
    }
    own.insert("source".into(), Value::Null);
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
