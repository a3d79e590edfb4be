//! Every generation of OpenRegister, side by side: its rows give the events, users and order that a person reads out of them.

use std::collections::BTreeSet;

use orw_model::EventClass;
use orw_testkit::Generation;
use orw_testkit::writer::{Object, Place, Row, Writer};
use serde_json::{Value, json};

use super::oracle::{Told, expected, of_outbox, of_recording, told};
use super::recording::recording;
use super::replay::{changes, world};
use super::rig::{Reading, Rig, install};
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::{PATIENCE, Scene};

/// The recorded generations, as the page `docs/openregister.md` calls them.
const RECORDED: [&str; 3] = ["0.2.9", "0.2.13", "0.2.13.80"];

#[test]
fn the_recorded_generations_give_the_events_the_users_and_the_order_that_their_rows_tell() {
    for generation in RECORDED {
        let recorded = recording(generation);
        let wanted = expected(&of_recording(&recorded));
        assert!(wanted.len() > 20, "{generation}");
        for sizes in [&[1][..], &[5, 2], &[1000]] {
            let events = world().replay(&changes(&recorded), sizes, 0, false);
            assert_eq!(told(&events), wanted, "{generation}, batches of {sizes:?}");
        }
    }
}

/// The table of the page: `recorded` stands where a recording has the event, and nowhere else.
#[test]
fn the_page_says_which_events_were_recorded_of_which_version() {
    let page = include_str!("../../../docs/openregister.md");
    let rows = || {
        page.lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("Event` |"))
    };
    let classes: Vec<String> = rows().map(|(class, _)| format!("{class}Event")).collect();
    let all: Vec<String> = EventClass::all().map(|class| class.to_string()).collect();
    assert_eq!(classes, all);
    let cells = |column: usize| -> Vec<(String, &str)> {
        rows()
            .map(|(class, cells)| {
                (
                    format!("{class}Event"),
                    cells.split('|').nth(column).unwrap().trim(),
                )
            })
            .collect()
    };
    for (column, generation) in RECORDED.iter().enumerate() {
        let events = world().replay(&changes(&recording(generation)), &[1000], 0, false);
        let given: BTreeSet<String> = told(&events).into_iter().map(|told| told.class).collect();
        let cells = cells(column);
        let claimed: BTreeSet<String> = cells
            .iter()
            .filter(|(_, cell)| *cell == "recorded")
            .map(|(class, _)| class.clone())
            .collect();
        assert_eq!(claimed, given, "{generation}");
    }
    for (class, cell) in cells(RECORDED.len()) {
        assert!(
            ["read", "never"].contains(&cell),
            "2.x {class}: nothing of it was seen, the page says {cell}"
        );
    }
}

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

/// The requests of the 2.x tour: each has a connection of its own, as in PHP.
struct Php<'d>(&'d Db);

impl Php<'_> {
    async fn request(&self, user: &str) -> Writer {
        let writer = Writer::connect(&self.0.url(NEXTCLOUD), Generation::V2_1)
            .await
            .unwrap();
        writer.acting_as(user)
    }

    async fn put(&self, user: &str, object: &Object, properties: Value) {
        self.request(user)
            .await
            .put(object, &row(properties))
            .await
            .unwrap();
    }

    /// Statements of one request.
    async fn write(&self, statements: &[&str]) {
        let client = self.0.client().await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
    }
}

const AUDIT: &str = "INSERT INTO oc_openregister_audit_trails (uuid, action, object_uuid, register, schema, \"user\", request, created, changed) \
     SELECT gen_random_uuid()::text, 'ACTION', _uuid, 1, 1, 'USER', gen_random_uuid()::text, now(), 'CHANGED' \
     FROM oc_openregister_table_1_1 WHERE name = 'Ada'";

fn audit(action: &str, user: &str, changed: &str) -> String {
    AUDIT
        .replace("ACTION", action)
        .replace("USER", user)
        .replace("CHANGED", changed)
}

/// Makes the nickname of a person a state that moves.
const LIFECYCLE: &str = r#"UPDATE oc_openregister_schemas SET configuration = '{"x-openregister-lifecycle": {
    "field": "nickname", "initial": "draft", "transitions": {
        "publish": {"from": ["draft"], "to": "published"}, "withdraw": {"from": ["published"], "to": "draft"}}}}'"#;

/// A tour of what is new in 2.x. Which events it must give is read out of the rows that it leaves.
async fn tour(db: &Db) {
    let php = Php(db);
    // A schema with states, and one whose objects are only ever added.
    php.write(&[
        LIFECYCLE,
        "INSERT INTO oc_openregister_schemas (uuid, title, properties, append_only) VALUES (gen_random_uuid(), 'Log', '{}', true)",
        "UPDATE oc_openregister_schemas SET draft = '{\"title\": \"Next\"}' WHERE title = 'Log'",
        "UPDATE oc_openregister_schemas SET draft = NULL, title = 'Log 2' WHERE title = 'Log'",
    ])
    .await;
    let ada = json!({"name": "Ada", "age": 36, "nickname": "draft"});
    let object = php
        .request("admin")
        .await
        .create(Place::PEOPLE, &row(ada))
        .await
        .unwrap();
    // A save that changes nothing raises the version all the same.
    php.put(
        "admin",
        &object,
        json!({"name": "Ada", "age": 36, "nickname": "draft"}),
    )
    .await;
    // A save ends the writer's own lock; only the lock that was announced ends.
    php.request("alice").await.lock(&object, 3600).await.unwrap();
    php.put(
        "alice",
        &object,
        json!({"name": "Ada", "age": 37, "nickname": "draft"}),
    )
    .await;
    php.put(
        "alice",
        &object,
        json!({"name": "Ada", "age": 38, "nickname": "draft"}),
    )
    .await;
    // A lock without an end, renewed, and ended by hand; unlocking again writes nothing.
    php.request("admin").await.lock_for_good(&object).await.unwrap();
    php.request("alice").await.lock(&object, 60).await.unwrap();
    php.request("alice").await.unlock(&object).await.unwrap();
    php.request("alice").await.unlock(&object).await.unwrap();
    // A state moves: by a save, by OpenRegister itself, by an action that the audit row names.
    php.put(
        "alice",
        &object,
        json!({"name": "Ada", "age": 38, "nickname": "published"}),
    )
    .await;
    let moved = |to: &str| {
        format!(
            "UPDATE oc_openregister_table_1_1 SET nickname = '{to}', _version = '0.1.0', _updated = now() WHERE name = 'Ada'"
        )
    };
    php.write(&[
        &moved("draft"),
        &audit("update", "alice", r#"{"automaticTransition": "withdraw"}"#),
    ])
    .await;
    php.write(&[&moved("published"), &audit("publish", "admin", "[]")])
        .await;
    // Audit rows are sealed later, and blanked when their retention ends.
    php.write(&[
        "UPDATE oc_openregister_audit_trails SET hash = md5(id::text), previous_hash = ''",
        "UPDATE oc_openregister_audit_trails SET \"user\" = '', user_name = NULL, session = NULL, object = NULL, changed = '[]', purged_at = now()",
    ])
    .await;
    php.request("alice").await.soft_delete(&object).await.unwrap();
    php.request("alice").await.restore(&object).await.unwrap();
    php.request("admin").await.purge(&object).await.unwrap();
    let append_only = [
        "CREATE TABLE oc_openregister_table_1_2 (LIKE oc_openregister_table_1_1 INCLUDING ALL)",
        "INSERT INTO oc_appconfig (appid, configkey, configvalue) VALUES ('openregister', 'table_version_1_2', 'x')",
        "INSERT INTO oc_openregister_table_1_2 (_uuid, _register, _schema, _owner, name) VALUES (gen_random_uuid(), '1', '2', 'bob', 'Line')",
    ];
    php.write(&append_only).await;
    bookkeeping(&php).await;
}

/// What jobs write about their own work, and secrets.
async fn bookkeeping(php: &Php<'_>) {
    php.write(&[
        "INSERT INTO oc_openregister_sources (uuid, title, database_url, type, auth_type, auth_config) \
         VALUES (gen_random_uuid(), 'Archive', 'pg://reader:geheim@archive/x', 'api', 'basic', '{\"user\": \"u\", \"word\": \"geheim\"}')",
        "UPDATE oc_openregister_sources SET last_sync_date = now(), last_sync_status = 'ok', updated = now()",
        "UPDATE oc_openregister_sources SET auth_config = '{\"user\": \"u\", \"word\": \"geheim too\"}'",
        "UPDATE oc_openregister_organisations SET retained_at = now()",
        "UPDATE oc_openregister_organisations SET contact_email = 'a@b.example'",
    ])
    .await;
}

fn classes_of(told: &[Told]) -> Vec<&str> {
    told.iter()
        .map(|told| told.class.strip_suffix("Event").unwrap())
        .collect()
}

/// 2.x, of which nothing is recorded: the rows are written as its source does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_2_gives_the_events_the_users_and_the_order_that_its_rows_tell() {
    for reading in [Reading::NORMAL, Reading::FORGETFUL] {
        let db = Db::openregister(Generation::V2_1).await;
        install(&db).await;
        tour(&db).await;
        let client = db.client().await;
        let wanted = expected(&of_outbox(&client).await);
        // What a reader of this test expects, in short; who did it is compared below.
        let short = "SchemaUpdated SchemaCreated SchemaUpdated ObjectCreated ObjectLocked ObjectUpdated ObjectUnlocked ObjectUpdated \
            ObjectLocked ObjectLocked ObjectUnlocked ObjectUpdated ObjectTransitioned ObjectUpdated ObjectTransitioned ObjectUpdated \
            ObjectTransitioned ObjectDeleted ObjectUpdated ObjectDeleted ObjectCreated SourceCreated SourceUpdated OrganisationUpdated";
        assert_eq!(classes_of(&wanted), short.split_whitespace().collect::<Vec<_>>());
        let mut rig = Rig::start(db, reading);
        let events = rig.settled(&client).await;
        assert_eq!(told(&events), wanted, "{reading:?}");
        let actions: Vec<Value> = events
            .iter()
            .filter_map(|event| Some(event.states.transition()?.to_value()))
            .map(|moved| {
                json!([
                    moved["from"],
                    moved["to"],
                    moved["action"],
                    moved["declaredActions"]
                ])
            })
            .collect();
        assert_eq!(
            Value::from(actions),
            json!([
                ["draft", "published", null, ["publish"]],
                ["published", "draft", "withdraw", ["withdraw"]],
                ["draft", "published", "publish", ["publish"]],
            ]),
            "{reading:?}"
        );
        for source in events
            .iter()
            .filter(|event| event.class.to_string().starts_with("Source"))
        {
            let text = source.states.current().to_text();
            assert!(
                text.contains(r#""authConfig":"***""#) && !text.contains("geheim"),
                "{text}"
            );
        }
        drop(rig.stop().await);
    }
}

/// 2.x drops the tables of agents and conversations at an upgrade: their webhooks get nothing more, all others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_an_upgrade_drops_stop_nothing() {
    let scene = Scene::on(Db::openregister(Generation::V2_1).await)
        .running()
        .await;
    scene.register(r"OCA\OpenRegister\Event\*", json!({})).await;
    let php = Php(&scene.db);
    let agent = "INSERT INTO oc_openregister_agents (uuid, name, owner, created, updated) VALUES (gen_random_uuid(), 'A', 'alice', now(), now())";
    let conversation = "INSERT INTO oc_openregister_conversations (uuid, title, user_id, created, updated) VALUES (gen_random_uuid(), 'C', 'alice', now(), now())";
    php.write(&[agent, conversation]).await;
    // Captured, and perhaps not read yet.
    php.write(&[
        "DROP TABLE oc_openregister_agents",
        "DROP TABLE oc_openregister_conversations",
    ])
    .await;
    let ada = php
        .request("alice")
        .await
        .create(Place::PEOPLE, &row(json!({"name": "Ada"})))
        .await
        .unwrap();
    php.put("alice", &ada, json!({"name": "Eve"})).await;
    let received = scene
        .receiver
        .wait_until(|received| received.len() >= 4, PATIENCE)
        .await
        .unwrap();
    let mut classes: Vec<String> = received.iter().map(super::locks::class).collect();
    classes.sort();
    assert_eq!(
        classes,
        [
            "AgentCreatedEvent",
            "ConversationCreatedEvent",
            "ObjectCreatedEvent",
            "ObjectUpdatedEvent"
        ]
    );
    let (_, doctor, _) = scene.sidecar.cli(&["doctor", "--json"]).await;
    assert!(
        doctor.contains("findings") && !doctor.contains("oc_openregister_agents"),
        "{doctor}"
    );
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.gap")
            .await,
        0
    );
}

/// The audit row comes after the event is stored, and before it is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transition_waits_for_the_audit_row_that_may_name_its_action() {
    let scene = Scene::on(Db::openregister(Generation::V2_1).await).with("ORW_ACTOR_WAIT_MS", "10000");
    let scene = scene.running().await;
    let event = r"OCA\OpenRegister\Event\ObjectTransitionedEvent";
    scene
        .register(
            event,
            json!({"eventFilter": {"event.transition.to": "published"}}),
        )
        .await;
    let php = Php(&scene.db);
    php.write(&[LIFECYCLE]).await;
    let ada = row(json!({"name": "Ada", "nickname": "draft"}));
    php.request("admin")
        .await
        .create(Place::PEOPLE, &ada)
        .await
        .unwrap();
    let client = scene.db.client().await;
    let publish = "UPDATE oc_openregister_table_1_1 SET nickname = 'published', _updated = now()";
    client.batch_execute(publish).await.unwrap();
    let stored = "SELECT count(*) FROM openregister_webhooks.event WHERE class = 'ObjectTransitionedEvent'";
    scene.until(stored, 1).await;
    client
        .batch_execute(&audit("publish", "alice", "[]"))
        .await
        .unwrap();
    let received = scene.received(1).await;
    let body = received[0].json();
    assert_eq!(
        body["data"]["transition"],
        json!({"field": "nickname", "from": "draft", "to": "published", "action": "publish", "declaredActions": ["publish"]})
    );
    assert_eq!(received[0].header("orw-actor-source"), "audit");
}
