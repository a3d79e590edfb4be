//! Makes entities of the rows of all kinds but objects: one row is one entity, one column is one field.

use serde_json::{Map, Value};

use super::columns::Row;
use super::row::decode_text;
use super::schema::camel_case;
use super::{Entity, EntityKind, mask, time};

/// What a column holds, if its PostgreSQL type does not say it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Time,
    /// A JSON list; null is `[]`.
    List,
    /// A JSON map; null stays, `[]` is `{}`.
    Map,
    /// JSON of any shape.
    Json,
}

/// The columns that hold times, in every kind.
const TIMES: [&str; 12] = [
    "created",
    "updated",
    "deleted",
    "deleted_at",
    "published",
    "depublished",
    "last_checked",
    "last_sync_date",
    "provisioned_at",
    "suspended_at",
    "deprovisioned_at",
    "retained_at",
];

const fn lists(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Register => &["schemas", "groups", "languages"],
        EntityKind::Schema => &["required", "groups"],
        EntityKind::Application => &["configurations", "registers", "schemas", "groups"],
        EntityKind::Agent => &["groups", "views", "invited_users", "tools"],
        EntityKind::Configuration => &[
            "registers",
            "schemas",
            "objects",
            "views",
            "agents",
            "sources",
            "applications",
            "notification_groups",
            "mappings",
        ],
        EntityKind::View => &["favored_by"],
        EntityKind::Organisation => &["users", "groups"],
        EntityKind::Object | EntityKind::Source | EntityKind::Conversation => &[],
    }
}

const fn maps(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Register => &["authorization", "configuration"],
        EntityKind::Schema => &[
            "properties",
            "archive",
            "authorization",
            "configuration",
            "facets",
        ],
        EntityKind::Application | EntityKind::Organisation => &["authorization"],
        EntityKind::Agent => &["configuration"],
        EntityKind::View => &["query"],
        EntityKind::Conversation => &["metadata"],
        EntityKind::Object | EntityKind::Source | EntityKind::Configuration => &[],
    }
}

/// Columns with JSON of any shape, or in which null has a meaning.
const fn json(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Schema => &["all_of", "one_of", "any_of", "hooks", "draft"],
        EntityKind::View => &["presentation"],
        _ => &[],
    }
}

fn holds(kind: EntityKind, column: &str) -> Option<Holds> {
    if TIMES.contains(&column) {
        Some(Holds::Time)
    } else if lists(kind).contains(&column) {
        Some(Holds::List)
    } else if maps(kind).contains(&column) {
        Some(Holds::Map)
    } else if json(kind).contains(&column) || column.starts_with('_') {
        Some(Holds::Json)
    } else {
        None
    }
}

/// The entity of a row of any kind but an object. The fields have the names of OpenRegister's own JSON, an entity that has only
/// a title also gets a `name`, and secrets are masked.
#[must_use]
pub fn other_entity(kind: EntityKind, row: &Row) -> Entity {
    let mut fields = Map::new();
    for key in ["id", "uuid"] {
        fields.insert(key.into(), row.get(key).cloned().unwrap_or(Value::Null));
    }
    let named = !row.contains_key("name") && kind != EntityKind::Conversation;
    if let Some(title) = row.get("title").filter(|_| named) {
        fields.insert("name".into(), title.clone());
    }
    for (column, value) in row.iter() {
        if !fields.contains_key(column) || column == "name" {
            fields.insert(camel_case(column), field(kind, column, value));
        }
    }
    match kind {
        EntityKind::Schema => complete_schema(&mut fields),
        EntityKind::Application => complete_application(&mut fields),
        EntityKind::Configuration => {
            let app = fields.get("app").cloned().unwrap_or(Value::Null);
            fields.insert("application".into(), app);
        }
        _ => {}
    }
    mask::mask(&mut fields);
    Entity::new(fields)
}

fn field(kind: EntityKind, column: &str, value: &Value) -> Value {
    let mut field = match holds(kind, column) {
        Some(Holds::Time) => time::stamp(value),
        Some(Holds::List) => match decode_text(value) {
            Value::Null => Value::Array(Vec::new()),
            other => other,
        },
        Some(Holds::Map) => match decode_text(value) {
            Value::Array(items) if items.is_empty() => Value::Object(Map::new()),
            other => other,
        },
        Some(Holds::Json) => decode_text(value),
        None => value.clone(),
    };
    mask::mask_column(kind, column, &mut field);
    field
}

/// Adds to `required` every property that is itself marked as required.
fn complete_schema(fields: &mut Map<String, Value>) {
    let own: Vec<String> = fields
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, definition)| definition.get("required") == Some(&Value::Bool(true)))
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(Value::Array(required)) = fields.get_mut("required") {
        for name in own {
            if !required.iter().any(|r| r.as_str() == Some(&name)) {
                required.push(name.into());
            }
        }
    }
}

/// The quotas as OpenRegister shows them, and the rights that hold where none are set.
fn complete_application(fields: &mut Map<String, Value>) {
    let mut quota = Map::new();
    for (name, column) in [
        ("storage", "storageQuota"),
        ("bandwidth", "bandwidthQuota"),
        ("requests", "requestQuota"),
    ] {
        quota.insert(name.into(), fields.shift_remove(column).unwrap_or(Value::Null));
    }
    fields.insert("quota".into(), Value::Object(quota));
    if fields.get("authorization").is_none_or(Value::is_null) {
        let rights =
            ["create", "read", "update", "delete"].map(|right| (right.to_owned(), Value::Array(Vec::new())));
        fields.insert(
            "authorization".into(),
            Value::Object(rights.into_iter().collect()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_row;
    use serde_json::json;

    #[test]
    fn fields_are_named_and_shaped_as_openregister_shows_them() {
        let row = parse_row(
            r#"{"id":4,"uuid":"u","version":"0.0.1","title":"Person","required":["a"],
                "properties":{"a":{"type":"string"},"b":{"required":true}},"hard_validation":true,"archive":[],
                "created":"2026-11-23T23:59:12","groups":null,"all_of":"[\"x\"]","hooks":null,"_mail":null}"#,
        )
        .unwrap();
        let schema = other_entity(EntityKind::Schema, &row);
        assert_eq!(
            Value::Object(schema.fields().clone()),
            json!({"id": 4, "uuid": "u", "name": "Person", "version": "0.0.1", "title": "Person", "required": ["a", "b"],
                   "properties": {"a": {"type": "string"}, "b": {"required": true}}, "hardValidation": true, "archive": {},
                   "created": "2026-11-23T23:59:12+00:00", "groups": [], "allOf": ["x"], "hooks": null, "mail": null})
        );

        let row = parse_row(
            r#"{"id":1,"uuid":"u","title":"one","user_id":"admin","metadata":"[]","deleted_at":null}"#,
        )
        .unwrap();
        let conversation = other_entity(EntityKind::Conversation, &row);
        assert_eq!(
            Value::Object(conversation.fields().clone()),
            json!({"id": 1, "uuid": "u", "title": "one", "userId": "admin", "metadata": {}, "deletedAt": null})
        );

        let row = parse_row(
            r#"{"id":1,"uuid":"u","name":"app","storage_quota":5,"authorization":null,"schemas":null}"#,
        )
        .unwrap();
        let application = other_entity(EntityKind::Application, &row);
        assert_eq!(
            application.fields()["quota"],
            json!({"storage": 5, "bandwidth": null, "requests": null})
        );
        assert_eq!(application.fields()["schemas"], json!([]));
        assert_eq!(application.fields()["authorization"]["read"], json!([]));

        let row =
            parse_row(r#"{"id":1,"uuid":"u","title":"src","database_url":"pg://me:geheim@h/x"}"#).unwrap();
        let source = other_entity(EntityKind::Source, &row);
        assert_eq!(source.fields()["databaseUrl"], "pg://me:***@h/x");
        assert_eq!(source.fields()["name"], "src");

        let row = parse_row(
            r#"{"id":1,"uuid":"u","title":"src","database_url":"me:geheim@h/x","auth_config":"{\"type\":\"basic\",\"user\":\"me\"}",
                "auth_type":"basic","last_sync_token":"t","last_sync_date":"2026-10-01T10:00:00","batch_size":100}"#,
        )
        .unwrap();
        let source = other_entity(EntityKind::Source, &row);
        assert_eq!(
            Value::Object(source.fields().clone()),
            json!({"id": 1, "uuid": "u", "name": "src", "title": "src", "databaseUrl": "***", "authConfig": "***",
                   "authType": "basic", "lastSyncToken": "***", "lastSyncDate": "2026-10-01T10:00:00+00:00", "batchSize": 100})
        );
    }
}
