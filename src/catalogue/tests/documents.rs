//! What filters see of the catalogue's examples.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::catalogue::{example_event, sample};
use crate::delivery::format;
use crate::lifecycle::{Event, StoredEvent};
use crate::pipeline::Documented;
use crate::registry::{DataMode, Format};
use orw_filter::{Document, Filter};
use orw_model::{EntityKind, EventClass, object_has_field};

/// Whether `event` matches a filter, as it is evaluated for one webhook.
fn holds(event: &Event, filter: &Value) -> bool {
    let filter = Filter::parse(filter).unwrap();
    let states = Documented::of(event, filter.needs());
    let document = Document::of_event(&states.subject(event), filter.needs()).unwrap();
    filter.matches(&document).unwrap()
}

#[test]
fn a_filter_sees_what_the_nextcloud_body_carries() {
    for class in EventClass::all() {
        let event = example_event(class);
        let body = sample(
            &StoredEvent::from(event.clone()),
            Format::Nextcloud,
            DataMode::Full,
        )
        .unwrap()
        .body;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let states = body["event"].as_object().unwrap();
        assert!(states.contains_key(class.kind().name()), "{class}");
        for (name, value) in states {
            let filter = json!({format!("event.{name}"): {"$e": value}});
            assert!(holds(&event, &filter), "{class}: {filter}");
            if name != "class" {
                let filter = json!({format!("data.{name}"): {"$e": value}});
                assert!(holds(&event, &filter), "{class}: {filter}");
            }
        }
        for (path, value) in [
            ("user.uid", &body["user"]["uid"]),
            ("user.displayName", &body["user"]["displayName"]),
            ("time", &body["time"]),
        ] {
            if !value.is_null() {
                assert!(holds(&event, &json!({path: value})), "{class}: {path}");
            }
        }
        // And nothing else.
        let kind = class.kind();
        for name in [
            kind.name().to_owned(),
            format!("new{}", kind.class_name()),
            format!("old{}", kind.class_name()),
        ] {
            let there = holds(&event, &json!({format!("event.{name}"): {"$exists": true}}));
            assert_eq!(there, states.contains_key(&name), "{class}: {name}");
        }
    }
}

#[test]
fn the_fields_of_objects_are_known() {
    for class in EventClass::all().filter(|class| class.kind() == EntityKind::Object) {
        let data = format::data(&example_event(class));
        let unknown: BTreeSet<_> = data
            .iter()
            .filter(|(name, _)| *name != "transition")
            .filter_map(|(_, value)| value.as_object())
            .flat_map(|fields| fields.keys())
            .filter(|field| !object_has_field(field))
            .collect();
        assert!(unknown.is_empty(), "{class}: {unknown:?}");
    }
}
