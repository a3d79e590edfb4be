//! `documented`: exactly the shape of OpenRegister's webhook manual. The data it carries is also what the `nextcloud` and
//! `cloudevents` formats carry, and what filters see.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use super::parts::map;
use crate::lifecycle::Event;
use orw_model::{Entity, EntityKind, Names, time};

/// The body. It is written as it is read: most deliveries have this format, and most of an entity is sent as it is stored.
pub(super) fn bytes(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    match serde_json::to_writer(&mut bytes, &Body(event)) {
        Ok(()) => bytes,
        // Not to be expected, since all keys are texts.
        Err(_) => body(event).to_string().into_bytes(),
    }
}

/// The same as a value.
fn body(event: &Event) -> Value {
    map([
        ("event", event.class.name().into()),
        ("data", Value::Object(data(event))),
    ])
}

/// Writes what [`body`] makes.
struct Body<'a>(&'a Event);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("event", &self.0.class.name())?;
        map.serialize_entry("data", &Data(self.0))?;
        map.end()
    }
}

/// Writes what [`data`] makes.
struct Data<'a>(&'a Event);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.0.class.kind();
        let states = &self.0.states;
        let mut map = serializer.serialize_map(None)?;
        for (name, entity) in kind.states(states.current(), states.old()) {
            map.serialize_entry(name, &Shown(kind, entity))?;
        }
        if let Some((name, moved)) = transition(self.0) {
            map.serialize_entry(&name, &moved)?;
        }
        map.end()
    }
}

/// Writes what [`document`] makes.
struct Shown<'a>(EntityKind, &'a Entity);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.1.fields();
        if self.0 != EntityKind::Object {
            return fields.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in fields {
            match name.as_str() {
                "register" | "schema" => map.serialize_entry(name, &called(value))?,
                "locked" => {
                    map.serialize_entry("locked", &!value.is_null())?;
                    map.serialize_entry("lock", &lock(value))?;
                }
                "deleted" => map.serialize_entry("deleted", &deletion(value))?,
                _ => map.serialize_entry(name, value)?,
            }
        }
        for (name, uuid, id) in IDENTITIES {
            let part = |part| fields.get(name).and_then(|r| r.get(part));
            map.serialize_entry(id, &part("id"))?;
            map.serialize_entry(uuid, &part("uuid"))?;
        }
        map.end()
    }
}

/// Under which names an object says which register and schema it belongs to: where that is in the entity, uuid, and id.
const IDENTITIES: [(&str, &str, &str); 2] = [
    ("register", "registerUuid", "registerId"),
    ("schema", "schemaUuid", "schemaId"),
];

/// The documented `data`: the entity under the name of its kind; an Updated first carries it as `newX` and `oldX`. A Transitioned then
/// says what moved.
#[must_use]
pub fn data(event: &Event) -> Map<String, Value> {
    let kind = event.class.kind();
    kind.states(event.states.current(), event.states.old())
        .map(|(name, entity)| (name.to_owned(), document(kind, entity)))
        .chain(transition(event))
        .collect()
}

/// What moved, and its name in payloads.
pub(super) fn transition(event: &Event) -> Option<(String, Value)> {
    let transition = event.states.transition()?;
    Some(("transition".to_owned(), transition.to_value()))
}

/// An entity as the manual shows it.
#[must_use]
pub fn document(kind: EntityKind, entity: &Entity) -> Value {
    Value::Object(match kind {
        EntityKind::Object => object(entity.fields(), &Names::All),
        _ => entity.fields().clone(),
    })
}

/// The fields of [`document`] that have these names, and of an object's properties those of the names in `properties`. Only what
/// they need of the entity is made.
#[must_use]
pub fn part_of_document(
    kind: EntityKind,
    entity: &Entity,
    wanted: &Names<'_>,
    properties: &Names<'_>,
) -> Map<String, Value> {
    if kind != EntityKind::Object {
        return entity.pick(wanted, properties);
    }
    let needed = match wanted {
        Names::All => Names::All,
        Names::These(names) => Names::These(names.iter().map(|name| made_of(name)).collect()),
    };
    object(&entity.pick(&needed, properties), wanted)
}

/// The field of an object's entity that a field of the document is made of.
fn made_of(name: &str) -> &str {
    let identity = IDENTITIES
        .iter()
        .find(|(_, uuid, id)| [*uuid, *id].contains(&name));
    match (identity, name) {
        (Some((reference, ..)), _) => reference,
        (None, "lock") => "locked",
        (None, name) => name,
    }
}

/// The fields of the document that are wanted.
fn object(entity: &Map<String, Value>, wanted: &Names<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: &dyn Fn() -> Value| {
        if wanted.has(name) {
            fields.insert(name.to_owned(), value());
        }
    };
    for (name, value) in entity {
        match name.as_str() {
            "register" | "schema" => put(name, &|| called(value)),
            "locked" => {
                put("locked", &|| (!value.is_null()).into());
                put("lock", &|| lock(value));
            }
            "deleted" => put("deleted", &|| deletion(value)),
            _ => put(name, &|| value.clone()),
        }
    }
    for (name, uuid, id) in IDENTITIES {
        let part = |part| entity.get(name).and_then(|r| r.get(part)).cloned();
        put(id, &|| part("id").unwrap_or(Value::Null));
        put(uuid, &|| part("uuid").unwrap_or(Value::Null));
    }
    fields
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::{ActorState, EventId, Lane, States};
    use orw_model::{Action, EventClass, Transition};

    fn entity(locked: &Value, deleted: &Value) -> Entity {
        let fields = json!({
            "id": 7, "uuid": "u", "register": {"id": 1, "uuid": "r", "slug": ""}, "schema": {"id": 12345678901234567890_u64, "slug": "s"},
            "data": {"name": "\u{1}\"é", "deep": [[], {}, {"a": null}], "number": 1.50}, "locked": locked, "deleted": deleted, "owner": null
        });
        Entity::new(fields.as_object().cloned().unwrap_or_default())
    }

    /// A part of the document is that of the whole.
    #[test]
    fn a_part_is_that_of_the_whole() {
        let locked = json!({"user": "ada", "lockedAt": "2024-01-15T10:30:00+00:00"});
        let entity = entity(&locked, &Value::Null);
        let Value::Object(whole) = document(EntityKind::Object, &entity) else {
            unreachable!()
        };
        let parts = whole.keys().map(|name| vec![name.as_str()]).chain([
            vec![],
            vec!["nothing"],
            vec!["lock", "schemaUuid", "id"],
        ]);
        for names in parts {
            let part = part_of_document(
                EntityKind::Object,
                &entity,
                &Names::These(names.clone()),
                &Names::All,
            );
            let wanted = whole.iter().filter(|(name, _)| names.contains(&name.as_str()));
            let wanted: Map<String, Value> = wanted
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            assert_eq!(part, wanted, "{names:?}");
        }
        let all = part_of_document(EntityKind::Object, &entity, &Names::All, &Names::All);
        assert_eq!(all, whole);
    }

    /// What is written is what the filters and the other formats see.
    #[test]
    fn the_bytes_are_those_of_the_value() {
        let locked = json!({"user": "ada", "lockedAt": "2024-01-15T10:30:00+00:00"});
        let deleted = json!({"deletedBy": "bob", "deletedAt": "2024-01-15T10:30:00Z"});
        for class in EventClass::all() {
            for (locked, deleted) in [
                (&Value::Null, &Value::Null),
                (&locked, &Value::Null),
                (&Value::Null, &deleted),
            ] {
                let (new, old) = (entity(locked, deleted), entity(&Value::Null, &Value::Null));
                let states = match class.action() {
                    Action::Updated => States::Both { new, old },
                    Action::Transitioned => States::Moved {
                        new,
                        transition: Transition {
                            field: "state".to_owned(),
                            from: Value::Null,
                            to: json!("\u{1}\"é"),
                            action: Some("go".to_owned()),
                            declared: vec!["go".to_owned(), "run".to_owned()],
                        },
                    },
                    _ => States::One(new),
                };
                let event = Event {
                    id: EventId::from_stored("evt_1".to_owned()),
                    class,
                    lane: Lane::object("u"),
                    at: chrono::DateTime::UNIX_EPOCH,
                    states,
                    actor: ActorState::Known(None),
                    pid: 1,
                };
                assert_eq!(
                    String::from_utf8(bytes(&event)).unwrap(),
                    body(&event).to_string()
                );
            }
        }
    }
}
