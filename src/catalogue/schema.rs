//! JSON Schemas (2020-12) of the bodies, in every format.
//!
//! The schemas allow additional fields, since columns that OpenRegister adds are passed on. They require only the fields that
//! identify an entity, so that the shortened examples of OpenRegister's manual are valid, too. `docs/events.md` promises the
//! other fields.

use serde_json::{Map, Value, json};

use super::dutch;
use super::field::{Field, Shape};
use super::fields::fields;
use super::gap;
use super::occasion::when;
use crate::lifecycle::GAP_EVENT;
use crate::registry::Format;
use orw_model::{Action, EntityKind, EventClass};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The JSON Schema of the body that a webhook of `format` receives for `class`.
#[must_use]
pub fn payload_schema(class: EventClass, format: Format) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), DRAFT.into());
    schema.extend(event(class, format));
    let mut defs = Map::new();
    defs.insert(class.kind().name().into(), entity(class.kind(), format));
    schema.insert("$defs".into(), defs.into());
    schema.into()
}

/// The JSON Schema of every body that a webhook of `format` receives: one of the events, each with a definition of its own
/// (`#/$defs/ObjectCreatedEvent`), or a gap notice (`#/$defs/Gap`). This is `docs/schemas/<format>.json`. A notification in the format
/// `zgw` looks alike for every event, and what a template makes is up to the template.
#[must_use]
pub fn format_schema(format: Format) -> Value {
    if let Some(fields) = alike(format) {
        let mut schema = Map::new();
        schema.insert("$schema".into(), DRAFT.into());
        let title = format!("The body of a webhook of the format {}", format.as_str());
        schema.insert("title".into(), title.into());
        schema.extend(fields);
        return schema.into();
    }
    let mut defs = Map::new();
    for kind in EntityKind::ALL {
        defs.insert(kind.name().into(), entity(kind, format));
    }
    for class in EventClass::all() {
        defs.insert(class.to_string(), event(class, format).into());
    }
    let events: Value = EventClass::all()
        .map(|class| class.to_string())
        .chain(["Gap".to_owned()])
        .map(|name| json!({"$ref": format!("#/$defs/{name}")}))
        .collect();
    defs.insert("Gap".into(), notice(format).into());
    json!({
        "$schema": DRAFT,
        "title": format!("The body of a webhook of the format {}", format.as_str()),
        "oneOf": events,
        "$defs": defs,
    })
}

/// The JSON Schema of a gap notice in `format`.
#[must_use]
pub fn gap_schema(format: Format) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), DRAFT.into());
    schema.extend(notice(format));
    schema.into()
}

/// The schema of a format whose bodies have the same fields for every event.
fn alike(format: Format) -> Option<Map<String, Value>> {
    match format {
        Format::Zgw => {
            let (required, properties) = dutch::zgw();
            Some(object(required, properties))
        }
        Format::Template => Some(Map::new()),
        _ => None,
    }
}

/// The schema of a gap notice, which contains no references.
fn notice(format: Format) -> Map<String, Value> {
    let name = json!({"const": GAP_EVENT});
    let time = json!({"type": "string", "format": "date-time"});
    let (required, properties) = gap::parts();
    let gap: Value = object(required, properties).into();
    let data: Value = object(json!(["gap"]), json!({"gap": gap})).into();
    let (required, properties) = match format {
        Format::NlGov => dutch::nlgov_gap(&id(), &data),
        Format::Documented | Format::Zgw | Format::Template => {
            (json!(["event", "data"]), json!({"event": name, "data": data}))
        }
        Format::Nextcloud => {
            let event: Value = object(json!(["class", "gap"]), json!({"class": name, "gap": gap})).into();
            let properties = json!({"event": event, "user": {"type": "null"}, "time": {"type": "integer"}, "authentication": no_tokens()});
            (json!(["event", "user", "time", "authentication"]), properties)
        }
        Format::CloudEvents => (
            json!(CLOUDEVENTS),
            json!({
                "specversion": {"const": "1.0"},
                "id": id(),
                "source": {"const": "/apps/openregister_webhooks"},
                "type": name,
                "subject": {"type": "string", "pattern": "^gap:."},
                "time": time,
                "datacontenttype": {"const": "application/json"},
                "eventclass": name,
                "data": data,
            }),
        ),
        Format::OpenRegister => {
            let data: Value = object(
                json!(["objectType", "action", "gap", "timestamp"]),
                json!({"objectType": {"const": "gap"}, "action": {"const": "gap"}, "gap": gap, "timestamp": time}),
            )
            .into();
            envelope(&name, &data)
        }
    };
    let mut schema = Map::new();
    schema.insert("title".into(), GAP_EVENT.into());
    let about = "Events may be missing, because changes could not be captured. Sent only to webhooks with `gapEvents`.";
    schema.insert("description".into(), about.into());
    schema.extend(object(required, properties));
    schema
}

/// The schema of the `webhook-id`.
fn id() -> Value {
    json!({"type": "string", "pattern": "^evt_[0-9a-f]{32}$", "description": "The same as the header webhook-id."})
}

/// The attributes of every CloudEvent.
const CLOUDEVENTS: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "eventclass",
    "data",
];

/// The envelope of OpenRegister's own webhooks: its required fields, and its properties.
fn envelope(event: &Value, data: &Value) -> (Value, Value) {
    let text = json!({"type": "string"});
    (
        json!(["event", "webhook", "data", "timestamp", "attempt"]),
        json!({
            "event": event,
            "webhook": {"type": "object", "required": ["id", "name"], "properties": {"id": text, "name": text}},
            "data": data,
            "timestamp": {"type": "string", "format": "date-time"},
            "attempt": {"const": 1},
        }),
    )
}

/// The schema of a body. It refers to the definition of its entity.
fn event(class: EventClass, format: Format) -> Map<String, Value> {
    if let Some(fields) = alike(format) {
        return fields;
    }
    let (required, properties) = match format {
        Format::NlGov => dutch::nlgov(class, &id(), &data(class)),
        Format::Documented | Format::Zgw | Format::Template => documented(class),
        Format::Nextcloud => nextcloud(class),
        Format::CloudEvents => cloudevents(class),
        Format::OpenRegister => openregister(class),
    };
    let mut schema = Map::new();
    schema.insert("title".into(), class.to_string().into());
    schema.insert("description".into(), when(class).into());
    schema.extend(object(required, properties));
    schema
}

/// `{"type": "object"}` with these properties.
fn object(required: Value, properties: Value) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("required".into(), required);
    schema.insert("properties".into(), properties);
    schema
}

/// The states of the entity: the required fields, and the properties.
fn states(class: EventClass) -> (Vec<Value>, Map<String, Value>) {
    let kind = class.kind();
    let reference = json!({"$ref": format!("#/$defs/{kind}")});
    let mut properties = Map::new();
    let mut required = Vec::new();
    if class.action() == Action::Updated {
        for prefix in ["new", "old"] {
            let name = format!("{prefix}{}", kind.class_name());
            properties.insert(name.clone(), reference.clone());
            required.push(Value::String(name));
        }
    } else {
        required.push(kind.name().into());
    }
    properties.insert(kind.name().into(), reference);
    if class.action() == Action::Transitioned {
        required.push("transition".into());
        properties.insert("transition".into(), transition());
    }
    (required, properties)
}

/// The schema of what moved.
fn transition() -> Value {
    let text = json!({"type": "string"});
    let mut schema = object(
        json!(["field", "from", "to", "action", "declaredActions"]),
        json!({
            "field": {"type": "string", "description": "The property that the schema's x-openregister-lifecycle names."},
            "from": {"description": "Its value before; null if it was not set."},
            "to": {"description": "Its value after; null if it is not set."},
            "action": {
                "type": ["string", "null"],
                "description": "The action, if the audit row of the change names it.",
            },
            "declaredActions": {
                "type": "array",
                "items": text,
                "description": "The actions by which the schema allows this change.",
            },
        }),
    );
    schema.insert("description".into(), "What moved.".into());
    schema.into()
}

fn data(class: EventClass) -> Value {
    let (required, properties) = states(class);
    object(required.into(), properties.into()).into()
}

fn documented(class: EventClass) -> (Value, Value) {
    (
        json!(["event", "data"]),
        json!({"event": {"const": class.name()}, "data": data(class)}),
    )
}

fn nextcloud(class: EventClass) -> (Value, Value) {
    let (mut required, mut properties) = states(class);
    required.insert(0, "class".into());
    properties.insert("class".into(), json!({"const": class.name()}));
    let text = json!({"type": "string"});
    let user = json!({
        "type": ["object", "null"],
        "required": ["uid", "displayName"],
        "properties": {"uid": text, "displayName": text},
        "description": "The user who caused the event; null if unknown.",
    });
    let event: Value = object(required.into(), properties.into()).into();
    (
        json!(["event", "user", "time", "authentication"]),
        json!({
            "event": event,
            "user": user,
            "time": {"type": "integer", "description": "The time of the event, in seconds since 1970."},
            "authentication": no_tokens(),
        }),
    )
}

/// The tokens that Nextcloud 33 and later sends along with its own events.
fn no_tokens() -> Value {
    json!({"type": "array", "maxItems": 0, "description": "Always empty: tokens can be made by Nextcloud only."})
}

fn cloudevents(class: EventClass) -> (Value, Value) {
    let kind = class.kind();
    let action = class.action().name().to_ascii_lowercase();
    (
        json!(CLOUDEVENTS),
        json!({
            "specversion": {"const": "1.0"},
            "id": id(),
            "source": {"type": "string", "format": "uri-reference", "description": "`/apps/openregister`, unless ORW_EVENT_SOURCE says something else."},
            "type": {"const": format!("nl.conduction.openregister.{kind}.{action}")},
            "subject": {"type": "string", "pattern": format!("^{kind}:."), "description": "The kind and the uuid."},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "eventclass": {"const": class.name()},
            "data": data(class),
        }),
    )
}

fn openregister(class: EventClass) -> (Value, Value) {
    let kind = class.kind();
    let text = json!({"type": "string"});
    let text_or_null = json!({"type": ["string", "null"]});
    let time = json!({"type": "string", "format": "date-time"});
    let (mut required, mut properties) = states(class);
    let mut put = |name: &str, schema: Value| {
        required.push(name.into());
        properties.insert(name.into(), schema);
    };
    put("objectType", json!({"const": kind.name()}));
    put("action", text.clone());
    if kind == EntityKind::Object {
        for name in ["objectUuid", "register", "schema"] {
            put(name, text_or_null.clone());
        }
    }
    put("timestamp", time.clone());
    let data: Value = object(required.into(), properties.into()).into();
    envelope(&json!({"const": class.name()}), &data)
}

fn entity(kind: EntityKind, format: Format) -> Value {
    if kind == EntityKind::Object && format == Format::OpenRegister {
        let own = json!({
            "type": "object",
            "required": ["id", "register", "schema"],
            "properties": {
                "id": {"type": "string", "description": "The uuid."},
                "register": {"type": ["string", "null"], "description": "The numeric id as text."},
                "schema": {"type": ["string", "null"], "description": "The numeric id as text."},
            },
        });
        let about = "The properties, the metadata under `@self`, and the uuid as `id`.";
        let properties = json!({"id": {"type": "string"}, "@self": own});
        let mut schema = object(json!(["id", "@self"]), properties);
        schema.insert("description".into(), about.into());
        return schema.into();
    }
    let properties: Map<String, Value> = fields(kind)
        .into_iter()
        .map(|field| (field.name.to_owned(), field_schema(field, format)))
        .collect();
    object(json!(["id", "uuid"]), properties.into()).into()
}

fn field_schema(field: Field, format: Format) -> Value {
    let mut schema = Map::new();
    if field.shape == Shape::Map && format == Format::OpenRegister {
        // PHP has only one kind of array, so an empty map is [].
        let kind: &[&str] = if field.nullable {
            &["object", "array", "null"]
        } else {
            &["object", "array"]
        };
        schema.insert("type".into(), json!(kind));
        schema.insert("maxItems".into(), 0.into());
        if !field.about.is_empty() {
            schema.insert("description".into(), field.about.into());
        }
        return schema.into();
    }
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
