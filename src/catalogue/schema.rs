//! JSON Schemas (2020-12) of the payloads of format `documented`.

use serde_json::{Map, Value, json};

use super::fields::{Field, Shape, fields};
use super::when;
use crate::openregister::{Action, EntityKind, EventClass};

/// The JSON Schema of the payload. Fields beyond it may be there: what OpenRegister adds to a row is passed on.
///
/// Only what identifies an entity is demanded of it, so that the shortened examples of OpenRegister's manual are valid,
/// too; that every field is there is what `docs/events.md` promises.
#[must_use]
pub fn payload_schema(class: EventClass) -> Value {
    let kind = class.kind();
    let reference = json!({"$ref": format!("#/$defs/{kind}")});
    let mut data = Map::new();
    let mut required = Vec::new();
    if class.action() == Action::Updated {
        for prefix in ["new", "old"] {
            let name = format!("{prefix}{}", kind.class_name());
            data.insert(name.clone(), reference.clone());
            required.push(Value::String(name));
        }
        data.insert(kind.name().into(), reference);
    } else {
        data.insert(kind.name().into(), reference);
        required.push(kind.name().into());
    }
    let mut defs = Map::new();
    defs.insert(kind.name().into(), entity_schema(kind));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": class.to_string(),
        "description": when(class),
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"const": class.name()},
            "data": {"type": "object", "required": required, "properties": data},
        },
        "$defs": defs,
    })
}

fn entity_schema(kind: EntityKind) -> Value {
    let properties: Map<String, Value> = fields(kind)
        .into_iter()
        .map(|field| (field.name.to_owned(), field_schema(field)))
        .collect();
    json!({"type": "object", "required": ["id", "uuid"], "properties": properties})
}

fn field_schema(field: Field) -> Value {
    let mut schema = Map::new();
    let name = match field.shape {
        Shape::Text | Shape::Time => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Bool => "boolean",
        Shape::List => "array",
        Shape::Map => "object",
        Shape::Any => "",
    };
    if !name.is_empty() {
        let kind = if field.nullable {
            json!([name, "null"])
        } else {
            json!(name)
        };
        schema.insert("type".into(), kind);
    }
    if field.shape == Shape::Time {
        schema.insert("format".into(), "date-time".into());
    }
    if !field.about.is_empty() {
        schema.insert("description".into(), field.about.into());
    }
    Value::Object(schema)
}
