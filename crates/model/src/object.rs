//! Makes an entity of an object's row, whether a magic table or the blob table holds it.

use std::sync::Arc;

use super::columns::Row;
use super::object_fields::{JSON, OPTIONAL_TIMES, TEXTS};
use super::object_state::ObjectState;
use super::schema::{Reference, Schema};
use super::{Entity, TableName};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_row;
    use serde_json::Value;
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
