//! The formats `nlgov` and `zgw`, and templates, of every event.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::faults;
use crate::catalogue::{example, example_event, example_of, format_schema, payload_schema, sample};
use crate::delivery::format::{self, RenderError, Rendered};
use crate::lifecycle::EventType;
use crate::registry::{BodyOptions, DataMode, EventSource, Fields, Format};
use orw_model::{Action, EventClass};

/// The schema `Message` of the Notificaties API 1.0, from its facts.
const MESSAGE: &str = include_str!("../../../tests/fixtures/notificaties-message.json");
/// What the NL GOV profile demands of an event, from its facts.
const PROFILE: &str = include_str!("../../../tests/fixtures/nl-gov-profile.json");

fn options(body: Value) -> BodyOptions {
    let Value::Object(map) = body else {
        panic!("an object")
    };
    BodyOptions::of_request(&Fields::json(map)).unwrap()
}

fn source() -> EventSource {
    EventSource {
        oin: Some("00000001823288444000".to_owned()),
        name: Some("openregister".to_owned()),
    }
}

fn render(class: EventClass, format: Format, options: &BodyOptions) -> Result<Rendered, RenderError> {
    let event = example_event(class).into();
    let once = format::sample(&event, (format, DataMode::Full), options, &source());
    assert_eq!(
        once,
        format::sample(&event, (format, DataMode::Full), options, &source())
    );
    once
}

fn body(rendered: &Rendered) -> Value {
    serde_json::from_slice(&rendered.body).unwrap()
}

const OBJECT: EventClass = EventClass::object(Action::Created);

#[test]
fn nlgov_keeps_the_profile() {
    let profile: Value = serde_json::from_str(PROFILE).unwrap();
    for class in EventClass::all() {
        let rendered = sample(&example_event(class).into(), Format::NlGov, DataMode::Full).unwrap();
        assert_eq!(rendered.content_type, "application/cloudevents+json");
        let body = body(&rendered);
        assert_eq!(faults(&profile, &body), Vec::<String>::new(), "{class}");
        let (kind, action) = (class.kind().name(), class.action().name().to_lowercase());
        assert_eq!(body["type"], format!("nl.openregister.{kind}.{action}"));
        assert_eq!(
            body["source"],
            "urn:nld:oin:00000001823288444000:systeem:openregister"
        );
        assert_eq!(body["sequence"], "00000000000000000001");
        assert_eq!(body["data"], example(class)["data"]);
        assert_eq!(
            body["dataref"].is_null(),
            class.action() == Action::Deleted,
            "{class}"
        );
    }
    let object = body(&render(OBJECT, Format::NlGov, &BodyOptions::default()).unwrap());
    let uuid = object["subject"].as_str().unwrap();
    assert_eq!(
        object["dataref"],
        format!("/apps/openregister/api/objects/5/7/{uuid}")
    );
    let gap = sample(&example_of(EventType::Gap), Format::NlGov, DataMode::Full).unwrap();
    let gap = body_of(&gap);
    assert_eq!(faults(&profile, &gap), Vec::<String>::new());
    assert_eq!(gap["type"], "nl.openregister.gap.recorded");
}

fn body_of(rendered: &Rendered) -> Value {
    body(rendered)
}

#[test]
fn a_registration_may_say_what_nlgov_is_like() {
    let options = options(json!({"nlgov": {
        "type": "nl.zaken.{schema}.{action}", "mode": "binary",
        "dataref": "https://cloud.example/objects/{uuid}", "dataschema": "https://cloud.example/schemas/{schemaId}"}}));
    let structured = body(&render(OBJECT, Format::NlGov, &BodyOptions::default()).unwrap());
    let rendered = render(OBJECT, Format::NlGov, &options).unwrap();
    assert_eq!(rendered.content_type, "application/json");
    assert_eq!(body(&rendered), structured["data"]);
    let headers: BTreeMap<&str, &str> = rendered
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let uuid = structured["subject"].as_str().unwrap();
    assert_eq!(headers["ce-specversion"], "1.0");
    assert_eq!(headers["ce-type"], "nl.zaken.my-schema.created");
    assert_eq!(
        headers["ce-dataref"],
        format!("https://cloud.example/objects/{uuid}")
    );
    assert_eq!(headers["ce-dataschema"], "https://cloud.example/schemas/7");
    for (name, value) in &headers {
        let name = name.strip_prefix("ce-").unwrap();
        if !matches!(name, "type" | "dataref" | "dataschema") {
            assert_eq!(structured[name], *value, "{name}");
        }
    }
}

#[test]
fn zgw_keeps_the_standard() {
    let message: Value = serde_json::from_str(MESSAGE).unwrap();
    let options = options(json!({"zgw": {
        "kanaal": "objecten", "resource": "{schema}", "updateActie": "partial_update",
        "hoofdObject": "https://cloud.example/registers/{registerId}",
        "resourceUrl": "https://cloud.example/objects/{uuid}",
        "kenmerken": {"register": "register", "title": "data.title", "price": "data.price", "none": "data.none"}}}));
    for class in EventClass::all() {
        let actie = match class.action() {
            Action::Created => "create",
            Action::Updated => "update",
            Action::Deleted => "destroy",
            _ => {
                let refused = sample(&example_event(class).into(), Format::Zgw, DataMode::Full);
                assert!(
                    refused.unwrap_err().to_string().contains("no words for"),
                    "{class}"
                );
                continue;
            }
        };
        let body = body(&sample(&example_event(class).into(), Format::Zgw, DataMode::Full).unwrap());
        for schema in [
            &message,
            &format_schema(Format::Zgw),
            &payload_schema(class, Format::Zgw),
        ] {
            assert_eq!(faults(schema, &body), Vec::<String>::new(), "{class}");
        }
        assert_eq!(
            (&body["actie"], &body["resource"]),
            (&json!(actie), &json!(class.kind().name()))
        );
        assert_eq!(body["hoofdObject"], body["resourceUrl"]);
        assert_eq!(body["aanmaakdatum"], "2024-01-15T10:35:00.000000Z");
    }
    let updated = EventClass::object(Action::Updated);
    let body = body(&render(updated, Format::Zgw, &options).unwrap());
    assert_eq!(faults(&message, &body), Vec::<String>::new());
    assert_eq!(body["actie"], "partial_update");
    assert_eq!(body["hoofdObject"], "https://cloud.example/registers/5");
    assert_eq!(body["resource"], "my-schema");
    let kenmerken = body["kenmerken"].as_object().unwrap();
    assert_eq!(kenmerken["register"], "my-register");
    assert!(
        kenmerken.contains_key("title") && !kenmerken.contains_key("none"),
        "{kenmerken:?}"
    );
    assert!(sample(&example_of(EventType::Gap), Format::Zgw, DataMode::Full).is_err());
}

#[test]
fn a_template_sees_what_filters_see() {
    let text = r#"{"text": {{ "*" ~ event.class ~ "* " ~ data.object.data.title ~ " by " ~ user.displayName }},
        "when": {{ at }}, "seconds": {{ time }}, "id": {{ id }}, "same": {{ event.object == data.object }}}"#;
    let options = options(json!({ "template": text }));
    let body = body(&render(OBJECT, Format::Template, &options).unwrap());
    let title = example(OBJECT)["data"]["object"]["data"]["title"].clone();
    assert_eq!(
        body,
        json!({"text": format!("*{}* {} by Alice Adams", OBJECT.name(), title.as_str().unwrap()),
            "when": "2024-01-15T10:35:00.000000Z", "seconds": 1_705_314_900,
            "id": "evt_0123456789abcdef0123456789abcdef", "same": true})
    );
    for class in EventClass::all() {
        assert!(sample(&example_event(class).into(), Format::Template, DataMode::Full).is_ok());
    }
    assert!(sample(&example_of(EventType::Gap), Format::Template, DataMode::Full).is_ok());
    // A reference has nothing to show.
    let event = example_event(OBJECT).into();
    let text = json!({"template": "[{{ data.object.data.title }},{{ user }}]"});
    let reference = format::sample(
        &event,
        (Format::Template, DataMode::Reference),
        &self::options(text),
        &source(),
    );
    assert_eq!(reference.unwrap().body, b"[null,null]");
}
