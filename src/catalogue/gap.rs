//! The JSON Schema of what a gap notice says: its required fields, and its properties.

use serde_json::{Value, json};

use orw_model::EntityKind;

pub(super) fn parts() -> (Value, Value) {
    let number = json!({"type": ["integer", "null"], "description": "Set if the table holds the objects of one register and schema."});
    let bound =
        |about: &str| json!({"type": ["string", "null"], "format": "date-time", "description": about});
    let kinds: Value = EntityKind::ALL.into_iter().map(EntityKind::name).collect();
    (
        json!([
            "table",
            "entity",
            "registerId",
            "schemaId",
            "since",
            "until",
            "reason",
            "remedy"
        ]),
        json!({
            "table": {"type": "string", "description": "Nextcloud's table, by its full name."},
            "entity": {"enum": kinds, "description": "The kind of entity whose events may be missing."},
            "registerId": number,
            "schemaId": number,
            "since": bound("The time of the first missing write; null if unknown."),
            "until": bound("A time after the last missing write; null if unknown."),
            "reason": {"type": "string"},
            "remedy": {"type": "string", "description": "What an administrator can do about it."},
        }),
    )
}
