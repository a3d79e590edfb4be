//! The fields of an object's entity, made of its row.

use serde_json::{Map, Value};

use super::row::{ObjectRow, decode_text, is_set};
use super::schema::{Reference, Schema, camel_case};
use super::{Names, TableName, time};

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

/// What an object's entity is made of.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s> {
    pub(crate) table: &'s TableName,
    pub(crate) row: ObjectRow<'s>,
    pub(crate) register: Option<&'s Reference>,
    pub(crate) schema: Option<&'s Schema>,
}

/// Which of the fields are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picked<'p> {
    pub(crate) fields: &'p Names<'p>,
    /// Of the properties, which are below `data`.
    pub(crate) properties: &'p Names<'p>,
}

/// The fields, in the order in which they are stored.
pub(crate) fn object_fields(source: Source<'_>, picked: Picked<'_>) -> Map<String, Value> {
    let Source {
        table,
        row,
        register,
        schema,
    } = source;
    let mut fields = Map::new();
    let mut put = |name: &str, value: &dyn Fn() -> Option<Value>| {
        if picked.fields.has(name)
            && let Some(value) = value()
        {
            fields.insert(name.to_owned(), value);
        }
    };
    let meta = |name: &str| Some(row.meta(name).cloned().unwrap_or(Value::Null));
    let text = |name: &str| Some(row.text(name).map_or(Value::Null, Value::from));
    let (register_id, schema_id) = row.ids(table);
    put("id", &|| meta("id"));
    put("uuid", &|| meta("uuid"));
    put("register", &|| Some(Reference::value_of(register, register_id)));
    put("schema", &|| {
        let reference = schema.map(|schema| &schema.reference);
        Some(Reference::value_of(reference, schema_id))
    });
    put("data", &|| {
        Some(Value::Object(properties(row, schema, picked.properties)))
    });
    put("organisation", &|| text("organisation"));
    put("created", &|| {
        row.meta("created").map(time::stamp).or(Some(Value::Null))
    });
    put("updated", &|| {
        row.meta("updated").map(time::stamp).or(Some(Value::Null))
    });
    for name in TEXTS {
        put(name, &|| text(name));
    }
    put("size", &|| meta("size"));
    put("schemaVersion", &|| {
        // The first generation calls the column schemaVersion, which PostgreSQL folds to lower case.
        let version = ["schema_version", "schemaversion", "schemaVersion"];
        let version = version.into_iter().find_map(|name| row.text(name));
        Some(version.map_or(Value::Null, Value::from))
    });
    for name in OPTIONAL_TIMES {
        put(name, &|| row.meta(name).map(time::stamp));
    }
    for name in ["locked", "deleted"] {
        put(name, &|| {
            let value = row.meta(name).map_or(Value::Null, decode_text);
            Some(if is_set(Some(&value)) { value } else { Value::Null })
        });
    }
    for (name, list) in JSON {
        put(name, &|| {
            row.meta(name).map(|value| emptied(decode_text(value), list))
        });
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
fn properties(row: ObjectRow<'_>, schema: Option<&Schema>, picked: &Names<'_>) -> Map<String, Value> {
    if row.is_magic() {
        from_columns(row, schema, picked)
    } else {
        from_json(row, schema, picked)
    }
}

fn from_columns(row: ObjectRow<'_>, schema: Option<&Schema>, picked: &Names<'_>) -> Map<String, Value> {
    let mut data = Map::new();
    for column in row.columns().columns() {
        if column.is_metadata() {
            continue;
        }
        if let Some(property) = schema.and_then(|schema| schema.column(column.name)) {
            if picked.has(property.name()) {
                data.insert(property.name().to_owned(), property.typed(column.value()));
            }
        } else if !column.name.starts_with('_') && !column.value().is_null() {
            // The schema no longer has this property, or is itself deleted.
            let name = camel_case(column.name);
            if picked.has(&name) {
                data.entry(name).or_insert_with(|| column.value().clone());
            }
        }
    }
    data
}

fn from_json(row: ObjectRow<'_>, schema: Option<&Schema>, picked: &Names<'_>) -> Map<String, Value> {
    let mut data = match row.meta("object").map(decode_text) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    if *picked != Names::All {
        data.retain(|name, _| picked.has(name));
    }
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
