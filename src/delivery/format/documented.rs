//! `documented`: exactly the shape of OpenRegister's webhook manual. The data it carries is also what the `nextcloud` and
//! `cloudevents` formats carry, and what filters see.

use serde_json::{Map, Value};

use super::parts::map;
use crate::lifecycle::Event;
use orw_model::{Entity, EntityKind, time};

pub(super) fn body(event: &Event) -> Value {
    map([
        ("event", event.class.name().into()),
        ("data", Value::Object(data(event))),
    ])
}

/// The documented `data`: the entity under the name of its kind; an Updated first carries it as `newX` and `oldX`.
#[must_use]
pub fn data(event: &Event) -> Map<String, Value> {
    let kind = event.class.kind();
    kind.states(event.states.current(), event.states.old())
        .map(|(name, entity)| (name.to_owned(), document(kind, entity)))
        .collect()
}

/// An entity as the manual shows it.
#[must_use]
pub fn document(kind: EntityKind, entity: &Entity) -> Value {
    match kind {
        EntityKind::Object => object(entity),
        _ => Value::Object(entity.fields().clone()),
    }
}

fn object(entity: &Entity) -> Value {
    let mut fields = Map::new();
    for (name, value) in entity.fields() {
        match name.as_str() {
            "register" | "schema" => {
                fields.insert(name.clone(), called(value));
            }
            "locked" => {
                fields.insert("locked".into(), (!value.is_null()).into());
                fields.insert("lock".into(), lock(value));
            }
            "deleted" => {
                fields.insert("deleted".into(), deletion(value));
            }
            _ => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
    for (name, uuid, id) in [
        ("register", "registerUuid", "registerId"),
        ("schema", "schemaUuid", "schemaId"),
    ] {
        let part = |part| entity.fields().get(name).and_then(|r| r.get(part)).cloned();
        fields.insert(id.into(), part("id").unwrap_or(Value::Null));
        fields.insert(uuid.into(), part("uuid").unwrap_or(Value::Null));
    }
    Value::Object(fields)
}

/// How a register or schema is called: its slug, else its uuid, else its numeric id as text.
fn called(reference: &Value) -> Value {
    let text = |part: &str| {
        reference
            .get(part)
            .and_then(Value::as_str)
            .filter(|s| !s.is_empty())
            .map(Value::from)
    };
    text("slug")
        .or_else(|| text("uuid"))
        .or_else(|| reference.get("id").map(|id| Value::String(id.to_string())))
        .unwrap_or(Value::Null)
}

/// The first of `names` that is there, of the several ways in which OpenRegister's generations write the same.
fn first(value: &Value, names: &[&str]) -> Value {
    names
        .iter()
        .filter_map(|name| value.get(*name))
        .find(|found| !found.is_null())
        .cloned()
        .unwrap_or(Value::Null)
}

fn lock(value: &Value) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    map([
        ("user", first(value, &["user", "userId", "lockedBy"])),
        ("at", time::stamp(&first(value, &["lockedAt", "created"]))),
        (
            "expires",
            time::stamp(&first(value, &["expiration", "expiresAt"])),
        ),
    ])
}

fn deletion(value: &Value) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let at = first(value, &["deletedAt", "time", "deleted", "timestamp"]);
    map([
        ("by", first(value, &["deletedBy", "user"])),
        ("at", time::stamp(&at)),
        ("reason", first(value, &["reason", "deletedReason"])),
    ])
}
