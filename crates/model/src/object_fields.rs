//! The fields of an object's entity, made of its row.

use serde_json::{Map, Value};

use super::row::{METADATA, ObjectRow, decode_text, is_set};
use super::schema::{Reference, Schema, camel_case};
use super::{TableName, time};

/// The metadata that is JSON, and whether its empty value is a list. The blob table stores some of it in text columns.
pub(crate) const JSON: [(&str, bool); 15] = [
    ("files", true),
    ("relations", false),
    ("authorization", false),
    ("validation", false),
    ("geo", false),
    ("retention", false),
    ("groups", true),
    ("tmlo", false),
    ("mail", true),
    ("contacts", true),
    ("notes", true),
    ("todos", true),
    ("calendar", true),
    ("talk", true),
    ("deck", true),
];

/// The metadata that is text.
pub(crate) const TEXTS: [&str; 10] = [
    "version",
    "owner",
    "name",
    "description",
    "summary",
    "image",
    "slug",
    "uri",
    "application",
    "folder",
];

/// The metadata that is a time, and that only some generations have.
pub(crate) const OPTIONAL_TIMES: [&str; 3] = ["expires", "published", "depublished"];

/// The fields, in the order in which they are stored.
pub(crate) fn object_fields(
    table: &TableName,
    row: ObjectRow<'_>,
    register: Option<&Reference>,
    schema: Option<&Schema>,
) -> Map<String, Value> {
    let (register_id, schema_id) = row.ids(table);
    let meta = |name: &str| row.meta(name).cloned().unwrap_or(Value::Null);
    let text = |name: &str| row.text(name).map_or(Value::Null, Value::from);

    let mut fields = Map::new();
    fields.insert("id".into(), meta("id"));
    fields.insert("uuid".into(), meta("uuid"));
    fields.insert("register".into(), Reference::value_of(register, register_id));
    let reference = schema.map(|schema| &schema.reference);
    fields.insert("schema".into(), Reference::value_of(reference, schema_id));
    fields.insert("data".into(), Value::Object(properties(row, schema)));
    fields.insert("organisation".into(), text("organisation"));
    fields.insert("created".into(), time::stamp(&meta("created")));
    fields.insert("updated".into(), time::stamp(&meta("updated")));
    for name in TEXTS {
        fields.insert(name.into(), text(name));
    }
    fields.insert("size".into(), meta("size"));
    // The first generation calls the column schemaVersion, which PostgreSQL folds to lower case.
    let version = ["schema_version", "schemaversion", "schemaVersion"];
    let version = version.into_iter().find_map(|name| row.text(name));
    fields.insert("schemaVersion".into(), version.map_or(Value::Null, Value::from));
    for name in OPTIONAL_TIMES {
        if let Some(value) = row.meta(name) {
            fields.insert(name.into(), time::stamp(value));
        }
    }
    for name in ["locked", "deleted"] {
        let value = row.meta(name).map_or(Value::Null, decode_text);
        let value = if is_set(Some(&value)) { value } else { Value::Null };
        fields.insert(name.into(), value);
    }
    for (name, list) in JSON {
        if let Some(value) = row.meta(name) {
            fields.insert(name.into(), emptied(decode_text(value), list));
        }
    }
    fields
}

/// Replaces null, and the empty value of the other shape, by the empty value of the right shape.
pub(crate) fn emptied(value: Value, list: bool) -> Value {
    match value {
        Value::Null if list => Value::Array(Vec::new()),
        Value::Null => Value::Object(Map::new()),
        Value::Array(items) if items.is_empty() && !list => Value::Object(Map::new()),
        Value::Object(map) if map.is_empty() && list => Value::Array(Vec::new()),
        other => other,
    }
}

/// The object's properties, under their names in the schema.
fn properties(row: ObjectRow<'_>, schema: Option<&Schema>) -> Map<String, Value> {
    if row.is_magic() {
        from_columns(row, schema)
    } else {
        from_json(row, schema)
    }
}

fn from_columns(row: ObjectRow<'_>, schema: Option<&Schema>) -> Map<String, Value> {
    let mut data = Map::new();
    for (column, value) in row.columns().iter() {
        if column.strip_prefix('_').is_some_and(is_metadata) {
            continue;
        }
        if let Some((name, value)) = schema.and_then(|s| s.property(column, value)) {
            data.insert(name.to_owned(), value);
        } else if !column.starts_with('_') && !value.is_null() {
            // The schema no longer has this property, or is itself deleted.
            data.entry(camel_case(column)).or_insert_with(|| value.clone());
        }
    }
    data
}

fn from_json(row: ObjectRow<'_>, schema: Option<&Schema>) -> Map<String, Value> {
    let mut data = match row.meta("object").map(decode_text) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    // 0.2.9 stores the uuid among the properties, too.
    if data.get("id").is_some_and(|id| id.as_str() == row.uuid()) {
        data.shift_remove("id");
    }
    for name in schema.map_or(&[] as &[String], Schema::maps) {
        if let Some(value) = data.get_mut(name)
            && value.as_array().is_some_and(Vec::is_empty)
        {
            *value = Value::Object(Map::new());
        }
    }
    data
}

pub(crate) fn is_metadata(name: &str) -> bool {
    METADATA.contains(&name) || name == "deck"
}
