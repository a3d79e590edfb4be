//! Registers and schemas that change while their objects stay.

use openregister_webhooks::delivery::format;
use openregister_webhooks::lifecycle::Event;
use orw_testkit::Generation;
use serde_json::Value;

use super::rig::{Reading, Rig, install};
use crate::support::postgres::Db;

/// An object is written after each of these.
fn steps(generation: Generation) -> Vec<(&'static str, Vec<String>)> {
    let magic = generation == Generation::V0_2_13;
    let properties =
        |json: &str| format!("UPDATE oc_openregister_schemas SET properties = '{json}' WHERE id = 1");
    // What the application does to the object: its columns, or its JSON.
    let write = |columns: &str, json: &str| {
        if magic {
            format!("UPDATE oc_openregister_table_1_1 SET {columns} WHERE _uuid = 'the-object'")
        } else {
            format!("UPDATE oc_openregister_objects SET object = '{json}' WHERE uuid = 'the-object'")
        }
    };
    let alter = |sql: &str| {
        if magic {
            vec![format!("ALTER TABLE oc_openregister_table_1_1 {sql}")]
        } else {
            Vec::new()
        }
    };
    let create = if magic {
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name, age, first_name) \
         VALUES ('the-object', '1', '1', 'Ada', 1, 'A')"
    } else {
        "INSERT INTO oc_openregister_objects (uuid, register, schema, object) \
         VALUES ('the-object', '1', '1', '{\"name\": \"Ada\", \"age\": 1, \"firstName\": \"A\"}')"
    };
    vec![
        ("created", vec![create.to_owned()]),
        (
            "the slug of the register changes",
            vec![
                "UPDATE oc_openregister_registers SET slug = 'folk' WHERE id = 1".to_owned(),
                write("age = 2", r#"{"name": "Ada", "age": 2, "firstName": "A"}"#),
            ],
        ),
        (
            "the schema gains properties",
            [
                vec![properties(
                    r#"{"name": {"type": "string"}, "age": {"type": "integer"}, "firstName": {"type": "string"},
                        "E-mail (work)": {"type": "string"}, "Überschrift": {"type": "string"}}"#,
                )],
                alter("ADD e_mail_work text, ADD _berschrift text"),
                vec![write(
                    "e_mail_work = 'a@b', _berschrift = 'Ü'",
                    r#"{"name": "Ada", "age": 2, "firstName": "A", "E-mail (work)": "a@b", "Überschrift": "Ü"}"#,
                )],
            ]
            .concat(),
        ),
        (
            "one is renamed, and the column of the old name goes empty",
            [
                vec![properties(
                    r#"{"name": {"type": "string"}, "age": {"type": "integer"}, "givenName": {"type": "string"},
                        "E-mail (work)": {"type": "string"}, "Überschrift": {"type": "string"}}"#,
                )],
                alter("ADD given_name text"),
                vec![write(
                    "given_name = 'A', first_name = NULL",
                    r#"{"name": "Ada", "age": 2, "givenName": "A", "E-mail (work)": "a@b", "Überschrift": "Ü"}"#,
                )],
            ]
            .concat(),
        ),
        (
            "some are lost, what the object holds of them stays",
            vec![
                properties(r#"{"name": {"type": "string"}, "age": {"type": "string"}}"#),
                write(
                    "name = 'Eve', _berschrift = NULL",
                    r#"{"name": "Eve", "age": 2, "givenName": "A", "E-mail (work)": "a@b"}"#,
                ),
            ],
        ),
        (
            "the register is deleted",
            vec![
                "DELETE FROM oc_openregister_registers WHERE id = 1".to_owned(),
                write("age = 3", r#"{"name": "Eve", "age": 3, "givenName": "A", "E-mail (work)": "a@b"}"#),
            ],
        ),
        (
            "the schema, too",
            vec![
                "DELETE FROM oc_openregister_schemas WHERE id = 1".to_owned(),
                write("age = 4", r#"{"name": "Eve", "age": 4, "givenName": "A", "E-mail (work)": "a@b"}"#),
            ],
        ),
    ]
}

/// The event and the object as a receiver sees it.
fn line(event: &Event) -> String {
    let data = format::data(event);
    match data.get("object") {
        Some(object) => {
            let shown = |name: &str| object[name].as_str().unwrap_or("-").to_owned();
            let mut properties = object["data"].clone();
            if let Value::Object(map) = &mut properties {
                map.retain(|_, value| !value.is_null());
                map.sort_keys();
            }
            format!(
                "{} {}/{} ({}) {properties}",
                event.class,
                shown("register"),
                shown("schema"),
                shown("registerUuid").get(..4).unwrap_or("-")
            )
        }
        None => event.class.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_right_before_during_and_after_a_change_of_register_or_schema() {
    let far_behind = Reading {
        batch_size: 1,
        forgetful: true,
    };
    for generation in Generation::ALL {
        for (as_it_happens, reading) in [
            (true, Reading::NORMAL),
            (false, Reading::NORMAL),
            (false, far_behind),
        ] {
            let db = Db::openregister(generation).await;
            let client = db.client().await;
            install(&db).await;
            let mut parked = Some(db);
            let mut rig = as_it_happens.then(|| Rig::start(parked.take().unwrap(), reading));
            let mut so_far = 0;
            for (_, statements) in steps(generation) {
                for statement in statements {
                    client.batch_execute(&statement).await.unwrap();
                }
                if let Some(rig) = &mut rig {
                    so_far = rig.settled(&client).await.len().max(so_far);
                }
            }
            let mut rig = rig.unwrap_or_else(|| Rig::start(parked.take().unwrap(), reading));
            let events = rig.settled(&client).await;
            let lines: Vec<String> = events.iter().map(line).collect();
            // What no property of the schema is kept in gets its name from the column's.
            let (work, work_alone) = match generation {
                Generation::V0_2_13 | Generation::V2_1 => {
                    (r#""E-mail (work)":"a@b""#, r#""eMailWork":"a@b""#)
                }
                Generation::V0_2_9 => (r#""E-mail (work)":"a@b""#, r#""E-mail (work)":"a@b""#),
            };
            let text_age = |n: i32| match generation {
                // The schema says by now that it is a text; the blob keeps what was written.
                Generation::V0_2_13 | Generation::V2_1 => format!("\"{n}\""),
                Generation::V0_2_9 => n.to_string(),
            };
            let sorted = |fields: &[&str]| {
                let map: Value = serde_json::from_str(&format!("{{{}}}", fields.join(","))).unwrap();
                let mut map = map.as_object().unwrap().clone();
                map.sort_keys();
                Value::Object(map).to_string()
            };
            let (eve, a) = (r#""name":"Eve""#, r#""givenName":"A""#);
            let age = |n: &str| format!("\"age\":{n}");
            let expected = [
                format!(
                    "ObjectCreatedEvent people/person (16fd) {}",
                    sorted(&[r#""name":"Ada""#, &age("1"), r#""firstName":"A""#])
                ),
                "RegisterUpdatedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent folk/person (16fd) {}",
                    sorted(&[r#""name":"Ada""#, &age("2"), r#""firstName":"A""#])
                ),
                "SchemaUpdatedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent folk/person (16fd) {}",
                    sorted(&[
                        r#""name":"Ada""#,
                        &age("2"),
                        r#""firstName":"A""#,
                        work,
                        r#""Überschrift":"Ü""#
                    ])
                ),
                "SchemaUpdatedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent folk/person (16fd) {}",
                    sorted(&[r#""name":"Ada""#, &age("2"), a, work, r#""Überschrift":"Ü""#])
                ),
                "SchemaUpdatedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent folk/person (16fd) {}",
                    sorted(&[eve, &age(&text_age(2)), a, work_alone])
                ),
                "RegisterDeletedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent 1/person (-) {}",
                    sorted(&[eve, &age(&text_age(3)), a, work_alone])
                ),
                "SchemaDeletedEvent".to_owned(),
                format!(
                    "ObjectUpdatedEvent 1/1 (-) {}",
                    sorted(&[eve, &age("4"), a, work_alone])
                ),
            ];
            assert_eq!(lines, expected, "{generation}, as it happens: {as_it_happens}");
            assert!(!as_it_happens || so_far == expected.len());
            drop(rig.stop().await);
        }
    }
}

/// `_updated = NOW()` is the clock of the session's time zone; payloads are in UTC all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_upsert_in_another_time_zone_tells_the_right_time() {
    let db = Db::openregister_0_2_13().await;
    let name = db.name().to_owned();
    let client = db.client().await;
    client
        .batch_execute(&format!("ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'"))
        .await
        .unwrap();
    install(&db).await;
    let session = db.client().await;
    for statement in [
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name, _updated) \
         VALUES ('u', '1', '1', 'Ada', '2026-07-01 12:00:00')",
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) VALUES ('u', '1', '1', 'Eve') \
         ON CONFLICT (_uuid) DO UPDATE SET name = EXCLUDED.name, _updated = TIMESTAMPTZ '2026-07-01 12:00:00.25+00'",
        "UPDATE oc_openregister_table_1_1 SET name = 'Mia', _updated = '2026-07-01 12:00:01' WHERE _uuid = 'u'",
    ] {
        session.batch_execute(statement).await.unwrap();
    }
    let mut rig = Rig::start(db, Reading::NORMAL);
    let events = rig.settled(&client).await;
    let updated = |state: &Value| state["updated"].as_str().unwrap().to_owned();
    let times: Vec<Vec<String>> = events
        .iter()
        .map(|event| format::data(event).values().map(updated).collect())
        .collect();
    let (first, second) = ("2026-07-01T12:00:00+00:00", "2026-07-01T12:00:01+00:00");
    // New, old, and new again.
    assert_eq!(
        times,
        [
            vec![first],
            vec![first, first, first],
            vec![second, first, second]
        ]
    );
    let stored: String = client
        .query_one(
            "SELECT _updated::text FROM oc_openregister_table_1_1 WHERE _uuid = 'u'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(stored, "2026-07-01 12:00:01");
    drop(rig.stop().await);
}
