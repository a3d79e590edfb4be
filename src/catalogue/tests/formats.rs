//! Every class in every format of `delivery::format`, rendered from the catalogue's examples.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::catalogue::sample;
use crate::catalogue::{example, example_event, example_of};
use crate::lifecycle::{EventType, States};
use crate::registry::{DataMode, Format};
use orw_model::{
    Action, ActorSource, Entity, EntityKind, EventClass, ObjectRow, Schema, Store, TableName, object_entity,
    other_entity,
};

const JSON: &str = "application/json";

fn body(class: EventClass, format: Format) -> (Value, &'static str) {
    let event = example_event(class).into();
    let rendered = sample(&event, format, DataMode::Full).unwrap();
    assert_eq!(
        rendered,
        sample(&event, format, DataMode::Full).unwrap(),
        "not the same bytes"
    );
    (
        serde_json::from_slice(&rendered.body).unwrap(),
        rendered.content_type,
    )
}

#[test]
fn documented_is_event_and_data() {
    for class in EventClass::all() {
        let (body, content_type) = body(class, Format::Documented);
        assert_eq!((body, content_type), (example(class), JSON));
    }
    let (body, _) = body(EventClass::object(Action::Locked), Format::Documented);
    let object = &body["data"]["object"];
    assert_eq!(object["locked"], true);
    assert_eq!(
        object["lock"],
        json!({"user": "alice", "at": "2024-01-15T10:40:00+00:00", "expires": "2024-01-15T11:40:00+00:00"})
    );
    // Numbers keep their digits.
    assert_eq!(object["data"]["price"].to_string(), "9.90");
}

#[test]
fn an_update_names_new_and_old_and_then_the_new_one_again() {
    for kind in EntityKind::ALL {
        let class = EventClass::new(kind, Action::Updated).unwrap();
        let (body, _) = body(class, Format::Documented);
        let data = body["data"].as_object().unwrap();
        let (new, old) = (
            format!("new{}", kind.class_name()),
            format!("old{}", kind.class_name()),
        );
        assert_eq!(data.keys().collect::<Vec<_>>(), [&new, &old, kind.name()]);
        assert_eq!(data[&new], data[kind.name()]);
        assert_ne!(data[&new], data[&old]);
    }
}

#[test]
fn nextcloud_is_event_user_and_time() {
    for class in EventClass::all() {
        let (body, content_type) = body(class, Format::Nextcloud);
        let mut event = body["event"].as_object().unwrap().clone();
        assert_eq!(event.shift_remove("class").unwrap(), class.name());
        assert_eq!(Value::Object(event), example(class)["data"]);
        let known = class.actor_source() != ActorSource::Nowhere;
        let alice = json!({"uid": "alice", "displayName": "Alice Adams"});
        assert_eq!(body["user"], if known { alice } else { Value::Null }, "{class}");
        assert_eq!(body["time"], 1_705_314_900);
        assert_eq!(body["authentication"], json!([]));
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["event", "user", "time", "authentication"]);
        assert_eq!(content_type, JSON);
    }
}

#[test]
fn cloudevents_has_the_required_attributes_and_no_empty_ones() {
    for class in EventClass::all() {
        let (body, content_type) = body(class, Format::CloudEvents);
        assert_eq!(content_type, "application/cloudevents+json");
        let kind = class.kind().name();
        let action = class.action().name().to_lowercase();
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(body["id"], "evt_0123456789abcdef0123456789abcdef");
        assert_eq!(body["source"], "/apps/openregister");
        assert_eq!(
            body["type"],
            format!("nl.conduction.openregister.{kind}.{action}")
        );
        assert_eq!(body["time"], "2024-01-15T10:35:00.000000Z");
        assert_eq!(body["data"], example(class)["data"]);
        for (name, value) in body.as_object().unwrap() {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(plain && !value.is_null(), "{name}");
        }
    }
}

#[test]
fn openregister_is_its_own_envelope() {
    for class in EventClass::all() {
        let (body, content_type) = body(class, Format::OpenRegister);
        assert_eq!(content_type, JSON);
        assert_eq!(body["event"], class.name());
        assert_eq!(body["webhook"], json!({"id": "1000000000", "name": "my-app"}));
        assert_eq!(
            (&body["timestamp"], &body["attempt"]),
            (&json!("2024-01-15T10:35:00+00:00"), &json!(1))
        );
        assert_eq!(body["data"]["objectType"], class.kind().name());
    }
    let (body, _) = body(EventClass::object(Action::Created), Format::OpenRegister);
    let data = &body["data"];
    assert_eq!(
        (&data["action"], &data["register"]),
        (&json!("create"), &json!("5"))
    );
    assert_eq!(data["objectUuid"], data["object"]["id"]);
    assert_eq!(data["object"]["title"], "Example object");
    let own = &data["object"]["@self"];
    assert_eq!(
        (
            &own["description"],
            &own["locked"],
            &own["deleted"],
            &own["schema"]
        ),
        (&json!(123), &Value::Null, &json!([]), &json!("7"))
    );
}

/// Recordings of real installations: rows, and the JSON that OpenRegister itself made of them.
const RECORDED: [&str; 2] = [
    include_str!("../../../tests/fixtures/recorded-0.2.13.jsonl"),
    include_str!("../../../tests/fixtures/recorded-0.2.9.jsonl"),
];

/// The rows as they were inserted, by uuid, with their schema; and the objects that `create` shows in the audit table.
fn recorded(text: &str) -> Vec<(Entity, Value)> {
    let (mut schemas, mut rows, mut found) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let change: Value = serde_json::from_str(line).unwrap();
        let Some(new) = change["new"].as_object() else {
            continue;
        };
        let table = TableName::parse(change["table"].as_str().unwrap(), "oc_").unwrap();
        match table.store() {
            Store::Magic { .. } | Store::Blob if change["op"] == "INSERT" => {
                let row = new.clone().into();
                let object = ObjectRow::new(&table, &row);
                let schema = schemas.get(&object.ids(&table).1.unwrap());
                let uuid = object.uuid().unwrap().to_owned();
                rows.insert(uuid, object_entity(&table, &row, None, schema));
            }
            _ if table.name() == "openregister_schemas" => {
                let schema = Schema::from_row(&new.clone().into()).unwrap();
                schemas.insert(new["id"].as_i64().unwrap(), Arc::new(schema));
            }
            _ if table.name() == "openregister_audit_trails" && new["action"] == "create" => {
                let mut shown = new["changed"].clone();
                for (_, value) in shown.as_object_mut().unwrap() {
                    *value = value["new"].take();
                }
                let uuid = shown["@self"]["id"].as_str().unwrap();
                if let Some(entity) = rows.remove(uuid) {
                    found.push((entity, shown));
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn openregister_shows_an_object_as_the_real_one_does() {
    for recorded in RECORDED.map(recorded) {
        assert!(recorded.len() >= 2);
        for (entity, real) in recorded {
            let mut event = example_event(EventClass::object(Action::Created));
            event.states = States::One(entity);
            let rendered = sample(&event.into(), Format::OpenRegister, DataMode::Full).unwrap();
            let body: Value = serde_json::from_slice(&rendered.body).unwrap();
            let (mut ours, real) = (body["data"]["object"].clone(), real);
            if real["@self"]["version"].is_null() {
                // OpenRegister had not read the database's default when it showed the object.
                ours["@self"]["version"] = Value::Null;
            }
            // Names, order, nulls and lists are the same.
            assert_eq!(ours["@self"].to_string(), real["@self"].to_string());
            for (name, value) in real.as_object().unwrap() {
                let unset = value.is_null() || value == &json!([]);
                if unset {
                    assert_eq!(&ours[name], value, "{name}");
                }
            }
        }
    }
}

#[test]
fn openregister_writes_an_empty_map_as_php_does() {
    let mut entity = example_event(EventClass::object(Action::Created))
        .states
        .current()
        .clone();
    entity.set(
        "data",
        json!({"address": {}, "deep": [{"a": {}, "b": null}], "none": null, "text": "{}"}),
    );
    entity.set("retention", json!({}));
    entity.set("mail", json!([]));
    let mut event = example_event(EventClass::object(Action::Created));
    event.states = States::One(entity.clone());
    let rendered = sample(&event.clone().into(), Format::OpenRegister, DataMode::Full).unwrap();
    let body: Value = serde_json::from_slice(&rendered.body).unwrap();
    let object = &body["data"]["object"];
    assert_eq!(object["address"], json!([]));
    assert_eq!(object["deep"], json!([{"a": [], "b": null}]));
    assert_eq!((&object["none"], &object["text"]), (&Value::Null, &json!("{}")));
    assert_eq!(object["@self"]["retention"], json!([]));
    assert_eq!(object["@self"]["mail"], Value::Null);
    // Our own formats keep `{}`.
    let rendered = sample(&event.into(), Format::Documented, DataMode::Full).unwrap();
    let body: Value = serde_json::from_slice(&rendered.body).unwrap();
    assert_eq!(body["data"]["object"]["data"]["address"], json!({}));

    let row = json!({"id": 1, "uuid": "u", "title": "People", "authorization": {}, "configuration": {"a": {}}, "groups": null});
    let mut event = example_event(EventClass::new(EntityKind::Register, Action::Created).unwrap());
    event.states = States::One(other_entity(
        EntityKind::Register,
        &row.as_object().unwrap().clone().into(),
    ));
    let rendered = sample(&event.into(), Format::OpenRegister, DataMode::Full).unwrap();
    let body: Value = serde_json::from_slice(&rendered.body).unwrap();
    let register = &body["data"]["register"];
    assert_eq!(register["authorization"], json!([]));
    assert_eq!(
        (&register["configuration"], &register["groups"]),
        (&json!({"a": []}), &json!([]))
    );
}

#[test]
fn a_gap_is_an_event_of_our_own_in_every_format() {
    let notice = example_of(EventType::Gap);
    let body = |format| {
        let rendered = sample(&notice, format, DataMode::Full).unwrap();
        let body: Value = serde_json::from_slice(&rendered.body).unwrap();
        (body, rendered.content_type)
    };
    let gap = json!({"table": "oc_openregister_table_5_7", "entity": "object", "registerId": 5, "schemaId": 7,
        "since": "2024-01-15T09:00:00.000000Z", "until": "2024-01-15T10:35:00.000000Z",
        "reason": "the outbox was full: what was written to it between 2024-01-15 09:00:00 and 2024-01-15 10:35:00 UTC is not captured",
        "remedy": "openregister-webhooks backfill --table oc_openregister_table_5_7"});
    let name = "openregister-webhooks.gap";
    assert_eq!(
        body(Format::Documented),
        (json!({"event": name, "data": {"gap": gap}}), JSON)
    );
    assert_eq!(
        body(Format::Nextcloud),
        (
            json!({"event": {"class": name, "gap": gap}, "user": null, "time": 1_705_314_900, "authentication": []}),
            JSON
        )
    );
    assert_eq!(
        body(Format::CloudEvents),
        (
            json!({"specversion": "1.0", "id": "evt_0123456789abcdef0123456789abcdef", "source": "/apps/openregister_webhooks",
                "type": name, "subject": "gap:openregister_table_5_7", "time": "2024-01-15T10:35:00.000000Z",
                "datacontenttype": "application/json", "eventclass": name, "data": {"gap": gap}}),
            "application/cloudevents+json"
        )
    );
    assert_eq!(
        body(Format::OpenRegister),
        (
            json!({"event": name, "webhook": {"id": "1000000000", "name": "my-app"},
                "data": {"objectType": "gap", "action": "gap", "gap": gap, "timestamp": "2024-01-15T10:35:00+00:00"},
                "timestamp": "2024-01-15T10:35:00+00:00", "attempt": 1}),
            JSON
        )
    );
}
