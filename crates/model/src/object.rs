//! Makes an entity of an object's row, whether a magic table or the blob table holds it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::Row;
use super::object_text::magic_text;
use super::row::{METADATA, ObjectRow, decode_text};
use super::schema::{Reference, Schema, camel_case};
use super::{Entity, Store, TableName, time};

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

/// All other fields that an object has in any format.
const OTHERS: [&str; 17] = [
    "id",
    "uuid",
    "register",
    "registerId",
    "registerUuid",
    "schema",
    "schemaId",
    "schemaUuid",
    "schemaVersion",
    "data",
    "organisation",
    "created",
    "updated",
    "size",
    "locked",
    "lock",
    "deleted",
];

/// Whether an object can have this field. The properties, which are below `data`, do not count.
#[must_use]
pub fn object_has_field(name: &str) -> bool {
    OTHERS.contains(&name)
        || TEXTS.contains(&name)
        || OPTIONAL_TIMES.contains(&name)
        || JSON.iter().any(|(json, _)| *json == name)
}

/// The metadata that is a time, and that only some generations have.
pub(crate) const OPTIONAL_TIMES: [&str; 3] = ["expires", "published", "depublished"];

/// The row of an object, with its register and schema: all that its entity is made of.
#[derive(Debug, Clone)]
pub(crate) struct ObjectState {
    table: TableName,
    row: Row,
    register: Option<Arc<Reference>>,
    schema: Option<Arc<Schema>>,
}

/// The entity of an object's row.
///
/// It contains everything that a format or a filter may need: all names of the register and the schema, the properties under
/// their names in the schema, and `locked` and `deleted` as OpenRegister stores them (`null` if not set).
#[must_use]
pub fn object_entity(
    table: &TableName,
    row: &Row,
    register: Option<&Arc<Reference>>,
    schema: Option<&Arc<Schema>>,
) -> Entity {
    Entity::of_object(ObjectState {
        table: table.clone(),
        row: row.clone(),
        register: register.cloned(),
        schema: schema.cloned(),
    })
}

impl ObjectState {
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let row = ObjectRow::new(&self.table, &self.row);
        object_fields(&self.table, row, self.register.as_deref(), self.schema.as_deref())
    }

    /// The text of [`Self::fields`], if it can be written without them.
    pub(crate) fn to_text(&self) -> Option<String> {
        let Store::Magic { register, schema } = self.table.store() else {
            return None;
        };
        let register = Reference::value_of(self.register.as_deref(), Some(*register));
        let known = self.schema.as_deref()?;
        let reference = Reference::value_of(Some(&known.reference), Some(*schema));
        magic_text(&self.row, &register, (&reference, known))
    }
}

fn object_fields(
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
        let value = if super::row::is_set(Some(&value)) {
            value
        } else {
            Value::Null
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::parse_row;
    use serde_json::json;

    fn schema() -> Schema {
        let row = json!({"id": 4, "uuid": "s-u", "slug": "person", "properties": {
            "firstName": {"type": "string"}, "E-mail address": {"type": "string"}, "born": {"type": "string", "format": "date"},
            "when": {"type": "string"}, "address": {"type": "object"}, "Über": {"type": "integer"}}});
        Schema::from_row(&row.as_object().unwrap().clone().into()).unwrap()
    }

    #[test]
    fn a_magic_row_gets_its_property_names_back() {
        let table = TableName::parse("oc_openregister_table_2_4", "oc_").unwrap();
        let row = parse_row(
            r#"{"_id":7,"_uuid":"u","_register":"2","_schema":"4","_owner":"admin","_created":"2026-11-23T23:59:15",
                "_locked":[],"_deleted":null,"_relations":null,"_files":null,"_tmlo":[],"first_name":"Ada",
                "e_mail_address":null,"born":"1815-12-10T00:00:00","when":"12","address":[],"_ber":3,
                "old_column":5,"older_column":null}"#,
        )
        .unwrap();
        let entity = object_entity(&table, &row, None, Some(&Arc::new(schema())));
        let fields = entity.fields();
        assert_eq!(
            fields["data"],
            json!({"firstName": "Ada", "E-mail address": null, "born": "1815-12-10", "when": "12", "address": {},
                   "Über": 3, "oldColumn": 5})
        );
        assert_eq!(fields["register"], json!({"id": 2, "uuid": null, "slug": null}));
        assert_eq!(
            fields["schema"],
            json!({"id": 4, "uuid": "s-u", "slug": "person"})
        );
        assert_eq!(fields["created"], "2026-11-23T23:59:15+00:00");
        assert_eq!(fields["locked"], Value::Null);
        assert_eq!((&fields["relations"], &fields["files"]), (&json!({}), &json!([])));
        assert!(!fields.contains_key("mail"));
    }

    #[test]
    fn a_blob_row_has_its_properties_in_json() {
        let table = TableName::parse("oc_openregister_objects", "oc_").unwrap();
        let row = parse_row(
            r#"{"id":2,"uuid":"u","version":"0.0.1","register":"2","schema":"4",
                "object":{"id":"u","firstName":"Ada","address":[],"n":1.50},"authorization":"{\"read\":[\"x\"]}",
                "created":"2026-11-24T00:01:41","updated":"2026-11-24T00:01:42","folder":"","locked":{"userId":"admin"},"files":{},"schemaversion":"0.0.7"}"#,
        )
        .unwrap();
        let register = Reference {
            id: 2,
            uuid: Some("r-u".into()),
            slug: Some("people".into()),
        };
        let entity = object_entity(&table, &row, Some(&Arc::new(register)), Some(&Arc::new(schema())));
        let fields = entity.fields();
        assert_eq!(
            fields["data"].to_string(),
            r#"{"firstName":"Ada","address":{},"n":1.50}"#
        );
        assert_eq!(fields["authorization"], json!({"read": ["x"]}));
        assert_eq!(fields["folder"], Value::Null);
        assert_eq!(fields["schemaVersion"], "0.0.7");
        assert_eq!(fields["files"], json!([]));
        assert_eq!(fields["locked"], json!({"userId": "admin"}));
        assert_eq!(fields["register"]["slug"], "people");
        assert_eq!(Entity::from_text(&entity.to_text()).unwrap(), entity);
    }
}
