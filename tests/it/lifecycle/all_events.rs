//! All 34 events of every generation of OpenRegister, from the write to the body, in every format.

use std::collections::{BTreeMap, BTreeSet};

use openregister_webhooks::catalogue::{format_schema, payload_schema};
use openregister_webhooks::registry::Format;
use orw_model::{EntityKind, EventClass};
use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use orw_testkit::writer::{Place, Row, Writer};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

const FORMATS: [Format; 4] = [
    Format::Documented,
    Format::Nextcloud,
    Format::CloudEvents,
    Format::OpenRegister,
];

/// November 2025, and those that the testkit knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// The blob table only; a lock in its own shape and without an audit row; DELETE removes the row.
    November,
    Later(Generation),
}

/// What the tables of November 2025 lack of those of 0.2.9, and call otherwise.
const NOVEMBER: &str = "
    ALTER TABLE oc_openregister_objects RENAME schema_version TO schemaversion;
    ALTER TABLE oc_openregister_registers DROP configuration, DROP published, DROP depublished;
    ALTER TABLE oc_openregister_schemas DROP published, DROP depublished;
    DROP TABLE oc_openregister_views;";

/// Makes the name of a person a state that moves: the schema says so before anything is captured.
const LIFECYCLE: &str = r#"UPDATE oc_openregister_schemas SET configuration =
    '{"x-openregister-lifecycle": {"field": "name", "initial": "Ada", "transitions": {"crown": {"from": ["Ada"], "to": "Ada King"}}}}'"#;

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

/// Every operation that there is an event of.
async fn operate(era: Era, db: &Db) {
    let generation = match era {
        Era::November => Generation::V0_2_9,
        Era::Later(generation) => generation,
    };
    let writer = Writer::connect(&db.url(NEXTCLOUD), generation)
        .await
        .unwrap()
        .acting_as("alice");
    let ada = row(
        json!({"name": "Ada", "age": 36, "score": 9.50, "tags": [], "address": {"no": 12}, "active": true,
                         "born": "1815-12-10"}),
    );
    let object = writer.create(Place::PEOPLE, &ada).await.unwrap();
    let client = writer.client();
    let table = match generation {
        Generation::V0_2_9 => "oc_openregister_objects",
        Generation::V0_2_13 | Generation::V2_1 => "oc_openregister_table_1_1",
    };
    let keep = format!("CREATE TEMP TABLE before AS SELECT * FROM {table}");
    client.batch_execute(&keep).await.unwrap();
    if era == Era::November {
        november_object(client, object.id).await;
    } else {
        writer
            .put(&object, &row(json!({"name": "Ada King", "age": 37})))
            .await
            .unwrap();
        writer.lock(&object, 3600).await.unwrap();
        writer.unlock(&object).await.unwrap();
        // No generation gets through a revert; this is what one would write.
        let revert = match generation {
            Generation::V0_2_13 | Generation::V2_1 => {
                "UPDATE oc_openregister_table_1_1 t SET (name, age, score, tags, address, active, born, _version) = \
                 (SELECT s.name, s.age, s.score, s.tags, s.address, s.active, s.born, '0.0.9' FROM before s)"
            }
            Generation::V0_2_9 => {
                "UPDATE oc_openregister_objects SET object = (SELECT s.object FROM before s), version = '0.0.9'"
            }
        };
        client.batch_execute(revert).await.unwrap();
        writer.soft_delete(&object).await.unwrap();
    }
    for kind in EntityKind::ALL
        .into_iter()
        .filter(|kind| *kind != EntityKind::Object)
    {
        if era == Era::November && kind == EntityKind::View {
            for statement in [
                "INSERT INTO oc_openregister_view (uuid, name, owner, query, favored_by, created, updated) \
                 VALUES ('view-uuid', 'First', 'alice', '{\"registers\": [1]}', '[]', '2025-11-15 10:00:00', '2025-11-15 10:00:00')",
                "UPDATE oc_openregister_view SET name = 'Second'",
                "DELETE FROM oc_openregister_view",
            ] {
                client.batch_execute(statement).await.unwrap();
            }
            continue;
        }
        let entity = writer.create_entity(kind, "First").await.unwrap();
        writer.update_entity(&entity, "Second").await.unwrap();
        writer.delete_entity(&entity).await.unwrap();
    }
}

/// An update of the changed columns only, lock, unlock, revert, and DELETE, as November 2025 does them. Audit rows name no
/// uuid, only the row's id.
async fn november_object(client: &Client, id: i64) {
    let audit = |action: &str| {
        format!(
            "INSERT INTO oc_openregister_audit_trails (uuid, schema, register, object, action, changed, \"user\", user_name, session, created) \
             VALUES (gen_random_uuid(), 1, 1, {id}, '{action}', '[]', 'alice', 'Alice', '', now())"
        )
    };
    for statement in [
        "UPDATE oc_openregister_objects SET object = '{\"name\": \"Ada King\", \"age\": 37}', size = 40, \
         updated = '2025-11-15 10:00:00'"
            .to_owned(),
        audit("update"),
        "UPDATE oc_openregister_objects SET locked = '{\"user\": \"alice\", \"process\": null, \
         \"created\": \"2025-11-15T10:00:01+00:00\", \"duration\": 3600, \"expiration\": \"2025-11-15T11:00:01+00:00\"}'"
            .to_owned(),
        "UPDATE oc_openregister_objects SET locked = NULL".to_owned(),
        "UPDATE oc_openregister_objects SET object = (SELECT s.object FROM before s), version = '0.0.9'".to_owned(),
        format!("DELETE FROM oc_openregister_objects WHERE id = {id}"),
        audit("delete"),
    ] {
        client.batch_execute(&statement).await.unwrap();
    }
}

/// What a webhook of every format receives of everything, by format.
pub(super) async fn received(era: Era) -> BTreeMap<&'static str, Vec<Received>> {
    let db = match era {
        Era::November => {
            let db = Db::openregister_0_2_9().await;
            db.client().await.batch_execute(NOVEMBER).await.unwrap();
            db
        }
        Era::Later(generation) => Db::openregister(generation).await,
    };
    db.client().await.batch_execute(LIFECYCLE).await.unwrap();
    let scene = Scene::on(db).running().await;
    let receiver = &scene.receiver;
    for format in FORMATS {
        let path = format!("/{}", format.as_str());
        let more = json!({"uri": receiver.url(&path), "format": format.as_str()});
        scene.register(r"OCA\OpenRegister\Event\*", more.clone()).await;
        // No pattern matches it.
        scene
            .register(r"OCA\OpenRegister\Event\ObjectTransitionedEvent", more)
            .await;
    }
    operate(era, &scene.db).await;
    let complete = |received: &[Received]| {
        FORMATS.iter().all(|format| {
            let path = format!("/{}", format.as_str());
            let own = received.iter().filter(|request| request.path == path);
            let classes: Vec<_> = own.map(|request| class(*format, &request.json())).collect();
            // Of the transitions the second one waits for an audit row that a revert does not write.
            classes.iter().filter(|class| class.is_by_name_only()).count() == 2
                && classes.iter().collect::<BTreeSet<_>>().len() == EventClass::COUNT
        })
    };
    let all = match receiver.wait_until(complete, PATIENCE).await {
        Ok(all) => all,
        Err(_) => {
            let seen: Vec<_> = receiver
                .received()
                .iter()
                .map(|r| format!("{} {}", r.path, r.json()))
                .collect();
            panic!("{era:?}: not all of the 34 came: {seen:#?}");
        }
    };
    FORMATS
        .into_iter()
        .map(|format| {
            let path = format!("/{}", format.as_str());
            let own = all.iter().filter(|request| request.path == path);
            (format.as_str(), own.cloned().collect())
        })
        .collect()
}

fn class(format: Format, body: &Value) -> EventClass {
    let name = match format {
        Format::Documented | Format::OpenRegister => &body["event"],
        Format::Nextcloud => &body["event"]["class"],
        Format::CloudEvents | Format::NlGov => &body["eventclass"],
        Format::Zgw | Format::Template => &body["class"],
    };
    EventClass::parse(name.as_str().unwrap()).unwrap()
}

fn faults(schema: &Value, body: &Value) -> Vec<String> {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

async fn check(era: Era) {
    let received = received(era).await;
    for format in FORMATS {
        let whole = format_schema(format);
        let bodies = &received[format.as_str()];
        for request in bodies {
            let body = request.json();
            let class = class(format, &body);
            let found = faults(&payload_schema(class, format), &body);
            assert_eq!(
                found,
                Vec::<String>::new(),
                "{era:?} {class} {format:?}: {body:#}"
            );
            assert_eq!(
                faults(&whole, &body),
                Vec::<String>::new(),
                "{era:?} {class} {format:?}"
            );
        }
    }
    // One event of each class, but for the register of 0.2.9, whose organisation is a statement of its own.
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for request in &received["documented"] {
        *counts
            .entry(class(Format::Documented, &request.json()).to_string())
            .or_default() += 1;
    }
    let twice: Vec<(&str, usize)> = counts
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(c, n)| (c.as_str(), *n))
        .collect();
    let expected: &[(&str, usize)] = match era {
        Era::Later(Generation::V0_2_13 | Generation::V2_1) => {
            &[("ObjectTransitionedEvent", 2), ("ObjectUpdatedEvent", 2)]
        }
        _ => &[
            ("ObjectTransitionedEvent", 2),
            ("ObjectUpdatedEvent", 2),
            ("RegisterUpdatedEvent", 2),
        ],
    };
    assert_eq!(
        twice, expected,
        "{era:?}: a revert is an update and moves the state, too"
    );
    details(era, &received);
}

/// What the formats promise beyond their schemas.
fn details(era: Era, received: &BTreeMap<&'static str, Vec<Received>>) {
    let of = |format: Format, name: &str| -> Value {
        let bodies = received[format.as_str()].iter().map(Received::json);
        let found = bodies.filter(|body| class(format, body).to_string() == name);
        found.into_iter().next().unwrap()
    };
    let created = of(Format::Documented, "ObjectCreatedEvent");
    let object = &created["data"]["object"];
    assert_eq!(
        (&object["register"], &object["schema"]),
        (&json!("people"), &json!("person"))
    );
    assert_eq!(object["data"]["tags"], json!([]));
    assert_eq!(object["data"]["score"].to_string().trim_end_matches('0'), "9.5");
    let locked = of(Format::Documented, "ObjectLockedEvent");
    let object = &locked["data"]["object"];
    assert_eq!(
        (&object["locked"], &object["lock"]["user"]),
        (&json!(true), &json!("alice"))
    );
    // 0.2.13 does not keep until when.
    assert_eq!(
        object["lock"]["expires"].is_string(),
        era != Era::Later(Generation::V0_2_13),
        "{object:#}"
    );
    let unlocked = of(Format::Documented, "ObjectUnlockedEvent");
    assert_eq!(unlocked["data"]["object"]["locked"], json!(false));
    let reverted = of(Format::Documented, "ObjectRevertedEvent");
    assert_eq!(reverted["data"]["object"]["data"]["name"], "Ada");
    assert_eq!(reverted["data"]["object"]["version"], "0.0.9");
    for format in FORMATS {
        let moved = of(format, "ObjectTransitionedEvent");
        let data = if format == Format::Nextcloud {
            &moved["event"]
        } else {
            &moved["data"]
        };
        assert_eq!(
            data["transition"],
            json!({"field": "name", "from": "Ada", "to": "Ada King", "action": null, "declaredActions": ["crown"]}),
            "{era:?} {format:?}"
        );
    }
    let deleted = of(Format::Nextcloud, "ObjectDeletedEvent");
    assert_eq!(deleted["event"]["object"]["data"]["name"], "Ada");
    for name in ["ObjectCreatedEvent", "ObjectUpdatedEvent", "ObjectDeletedEvent"] {
        assert_eq!(
            of(Format::Nextcloud, name)["user"]["uid"],
            "alice",
            "{era:?} {name}"
        );
    }
    let source = of(Format::Documented, "SourceCreatedEvent");
    let source = &source["data"]["source"];
    assert_eq!(
        (&source["name"], &source["databaseUrl"]),
        (&json!("First"), &json!("pg://reader:***@archive/source"))
    );
    for kind in ["Register", "Schema", "Configuration"] {
        let updated = of(Format::Documented, &format!("{kind}DeletedEvent"));
        assert_eq!(updated["data"][kind.to_lowercase()]["name"], "Second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_34_come_from_november_2025_and_are_valid() {
    check(Era::November).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_34_come_from_0_2_9_and_are_valid() {
    check(Era::Later(Generation::V0_2_9)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_34_come_from_0_2_13_and_are_valid() {
    check(Era::Later(Generation::V0_2_13)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_34_come_from_2_1_and_are_valid() {
    check(Era::Later(Generation::V2_1)).await;
}
