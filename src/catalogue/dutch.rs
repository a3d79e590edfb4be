//! JSON Schemas of the formats `nlgov` and `zgw`: the required fields, and the properties.

use serde_json::{Value, json};

use crate::lifecycle::GAP_EVENT;
use orw_model::EventClass;

/// The attributes that every event in the format `nlgov` has.
const NLGOV: [&str; 11] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "sequence",
    "sequencetype",
    "datacontenttype",
    "eventclass",
    "data",
];

fn attributes(id: &Value, class: &str, data: &Value) -> Value {
    json!({
        "specversion": {"const": "1.0"},
        "id": id,
        "source": {
            "type": "string",
            "pattern": "^urn:nld:oin:[0-9]{20}:systeem:.",
            "description": "The settings ORW_OIN and ORW_EVENT_SOURCE.",
        },
        "type": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9-]*([.][a-z0-9-]+)+$",
            "description": "`nl.openregister.<kind>.<action>`, unless the registration says something else.",
        },
        "subject": {"type": "string", "minLength": 1, "description": "The uuid."},
        "time": {"type": "string", "format": "date-time", "description": "When OpenRegister wrote the change to its database."},
        "dataref": {"type": "string", "format": "uri-reference", "description": "The entity in OpenRegister's API; not of a Deleted."},
        "dataschema": {"type": "string", "format": "uri", "description": "Only where the registration says it."},
        "datacontenttype": {"const": "application/json"},
        "eventclass": {"const": class},
        "data": data,
    })
}

/// An event in the format `nlgov`, in structured mode.
pub(super) fn nlgov(class: EventClass, id: &Value, data: &Value) -> (Value, Value) {
    let mut properties = attributes(id, &class.name(), data);
    properties["sequence"] = json!({
        "type": "string",
        "pattern": "^[0-9]{20}$",
        "description": "A later event of the same subject has a larger one.",
    });
    properties["sequencetype"] = json!({"const": "ascending"});
    (json!(NLGOV), properties)
}

/// A gap notice in the format `nlgov`; it has no place in a sequence.
pub(super) fn nlgov_gap(id: &Value, data: &Value) -> (Value, Value) {
    let required: Value = NLGOV
        .iter()
        .filter(|name| !name.starts_with("sequence"))
        .copied()
        .collect();
    (required, attributes(id, GAP_EVENT, data))
}

/// A notification of the Notificaties API 1.0.
pub(super) fn zgw() -> (Value, Value) {
    let text = |most: u32| json!({"type": "string", "minLength": 1, "maxLength": most});
    let url = json!({"type": "string", "format": "uri", "minLength": 1});
    (
        json!([
            "kanaal",
            "hoofdObject",
            "resource",
            "resourceUrl",
            "actie",
            "aanmaakdatum",
            "kenmerken"
        ]),
        json!({
            "kanaal": text(50),
            "hoofdObject": url,
            "resource": text(100),
            "resourceUrl": url,
            "actie": {"enum": ["create", "update", "partial_update", "destroy"]},
            "aanmaakdatum": {"type": "string", "format": "date-time"},
            "kenmerken": {"type": "object", "additionalProperties": text(1000)},
        }),
    )
}
