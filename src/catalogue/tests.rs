//! The catalogue agrees with the program, the manual and the docs page.

mod documents;
mod dutch;
mod formats;
mod reference;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::fields;
use super::{
    example, example_event, example_of, format_schema, gap_schema, markdown, payload_schema, sample,
};
use crate::lifecycle::EventType;
use crate::registry::{DataMode, Format};
use orw_model::{Action, EventClass};

/// The formats whose bodies differ from event to event.
const FORMATS: [Format; 5] = [
    Format::Documented,
    Format::Nextcloud,
    Format::CloudEvents,
    Format::OpenRegister,
    Format::NlGov,
];

/// What is wrong with `payload`, by the schema.
fn faults(schema: &Value, payload: &Value) -> Vec<String> {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
        .iter_errors(payload)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn assert_valid(class: EventClass, payload: &Value) {
    let found = faults(&payload_schema(class, Format::Documented), payload);
    assert_eq!(found, Vec::<String>::new(), "{class}");
}

#[test]
fn schemas_are_schemas() {
    for format in FORMATS {
        let schemas = EventClass::all().map(|class| payload_schema(class, format));
        for schema in schemas.chain([gap_schema(format), format_schema(format)]) {
            jsonschema::meta::validate(&schema).unwrap();
        }
    }
}

#[test]
fn every_example_is_valid_in_every_format_and_no_other_event() {
    for format in FORMATS {
        let whole = format_schema(format);
        for class in EventClass::all() {
            let body = body(class, format);
            let found = faults(&payload_schema(class, format), &body);
            assert_eq!(found, Vec::<String>::new(), "{class} {format:?}");
            // It is valid against exactly one of them, as `oneOf` demands.
            assert_eq!(faults(&whole, &body), Vec::<String>::new(), "{class} {format:?}");
            assert!(
                !faults(&gap_schema(format), &body).is_empty(),
                "{class} {format:?}"
            );
        }
        let gap = sample(&example_of(EventType::Gap), format, DataMode::Full).unwrap();
        let gap = serde_json::from_slice(&gap.body).unwrap();
        for schema in [&gap_schema(format), &whole] {
            assert_eq!(faults(schema, &gap), Vec::<String>::new(), "{format:?}");
        }
    }
}

fn body(class: EventClass, format: Format) -> Value {
    serde_json::from_slice(
        &sample(&example_event(class).into(), format, DataMode::Full)
            .unwrap()
            .body,
    )
    .unwrap()
}

#[test]
fn every_example_is_valid_and_has_every_field_of_the_catalogue_and_no_other() {
    for class in EventClass::all() {
        let payload = example(class);
        assert_valid(class, &payload);
        let kind = class.kind();
        let shown: BTreeSet<&str> = payload["data"][kind.name()]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let known = fields(kind);
        let names: BTreeSet<&str> = known.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), known.len(), "{class}: a field is there twice");
        assert!(shown.is_subset(&names), "{class}: {:?}", shown.difference(&names));
        for field in known.iter().filter(|field| !field.optional) {
            assert!(shown.contains(field.name), "{class}: {}", field.name);
        }
    }
}

#[test]
fn a_wrong_payload_is_invalid() {
    let class = EventClass::object(Action::Created);
    let schema = payload_schema(class, Format::Documented);
    let wrong = |path: &str, value: Value| {
        let mut payload = example(class);
        *payload.pointer_mut(path).unwrap() = value;
        !faults(&schema, &payload).is_empty()
    };
    assert!(wrong(
        "/event",
        json!("OCA\\OpenRegister\\Event\\ObjectUpdatedEvent")
    ));
    assert!(wrong("/data/object/id", json!("123")));
    assert!(wrong("/data/object/data", json!([])));
    assert!(wrong("/data/object/created", json!("15 January")));
    assert!(wrong("/data/object/locked", Value::Null));
    assert!(wrong("/data/object", json!({})));
}

/// Payloads of the shape that OpenRegister's manual shows, shortened as there: one of each class.
#[test]
fn the_manuals_examples_are_valid() {
    let fixture = include_str!("../../tests/fixtures/manual-payloads.json");
    let payloads: Vec<Value> = serde_json::from_str(fixture).unwrap();
    let mut classes = BTreeSet::new();
    for payload in &payloads {
        let class = EventClass::parse(payload["event"].as_str().unwrap()).unwrap();
        assert_valid(class, payload);
        classes.insert(class);
    }
    assert_eq!(classes.len(), EventClass::documented().count());
}

/// Asserts that the file at `path` holds `text`; with `ORW_TEST_BLESS` it is written first.
fn assert_written(path: &str, text: &str, command: &str) {
    let whole = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ORW_TEST_BLESS").is_some() {
        std::fs::write(&whole, text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&whole).is_ok_and(|written| written == text),
        "{path} is out of date: {command}"
    );
}

#[test]
fn the_docs_page_is_up_to_date() {
    assert_written(
        "docs/events.md",
        &markdown(),
        "cargo run -- events --markdown > docs/events.md",
    );
}

#[test]
fn the_schemas_of_the_docs_are_up_to_date() {
    for format in FORMATS.into_iter().chain([Format::Zgw]) {
        let name = format.as_str();
        let path = format!("docs/schemas/{name}.json");
        assert_written(
            &path,
            &format!("{:#}\n", format_schema(format)),
            &format!("cargo run -- events --schema all --format {name} > {path}"),
        );
    }
}
