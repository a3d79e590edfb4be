//! The user who made a change, from the write to the body that a receiver gets.

use std::ops::Deref;

use orw_model::EntityKind;
use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use orw_testkit::writer::{Place, Row, Writer};
use serde_json::{Value, json};

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

/// The program on a database, with one webhook that shows the user.
struct World {
    scene: Scene,
    generation: Generation,
}

impl Deref for World {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl World {
    async fn start(generation: Generation, event: &str, filter: Value) -> Self {
        // Long enough for a machine that is busy with other tests.
        let scene = Scene::on(Db::openregister(generation).await).with("ORW_ACTOR_WAIT_MS", "10000");
        let scene = scene.running().await;
        let more = json!({"uri": scene.receiver.url("/"), "eventFilter": filter, "format": "nextcloud"});
        scene.register(event, more).await;
        Self { scene, generation }
    }

    async fn writer(&self, user: &str) -> Writer {
        let url = self.db.url(NEXTCLOUD);
        Writer::connect(&url, self.generation)
            .await
            .unwrap()
            .acting_as(user)
    }

    async fn received(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Value> {
        let received = self.receiver.wait_until(enough, PATIENCE).await.unwrap();
        received.iter().map(Received::json).collect()
    }
}

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

/// The class without its namespace.
fn class(body: &Value) -> &str {
    let name = body["event"]["class"].as_str().unwrap();
    name.strip_prefix(r"OCA\OpenRegister\Event\").unwrap()
}

fn has(class: &'static str) -> impl Fn(&[Received]) -> bool {
    move |received| {
        received
            .iter()
            .any(|request| self::class(&request.json()) == class)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_at_work_on_one_object_are_told_apart() {
    for generation in Generation::ALL {
        let world = World::start(generation, r"OCA\OpenRegister\Event\Object*", json!([])).await;
        let (admin, alice) = (world.writer("admin").await, world.writer("alice").await);
        // Each writes its own name, so that the state says whose the change was.
        let mine = |user: &str, n: i64| row(json!({"name": user, "age": n}));
        let object = alice.create(Place::PEOPLE, &mine("alice", 0)).await.unwrap();
        let puts = async |writer: &Writer, user: &str| {
            for n in 1..=12 {
                writer.put(&object, &mine(user, n)).await.unwrap();
            }
        };
        tokio::join!(puts(&admin, "admin"), puts(&alice, "alice"));
        // Lock and unlock without a PUT between them: in 0.2.9 a PUT writes back the lock that it has read.
        let locks = async |writer: &Writer| {
            for n in 1..=4 {
                writer.lock(&object, 60 * n).await.unwrap();
            }
        };
        tokio::join!(locks(&admin), locks(&alice));
        admin.soft_delete(&object).await.unwrap();
        let bodies = world.received(has("ObjectDeletedEvent")).await;
        let mut seen = std::collections::BTreeSet::new();
        for body in &bodies {
            let object = &body["event"]["object"];
            let who = body["user"]["uid"].as_str().unwrap();
            let whose = match class(body) {
                "ObjectLockedEvent" => object["lock"]["user"].as_str().unwrap(),
                "ObjectDeletedEvent" => object["deleted"]["by"].as_str().unwrap(),
                _ => object["data"]["name"].as_str().unwrap(),
            };
            assert_eq!(who, whose, "{generation}: {body:#}");
            seen.insert((class(body).to_owned(), who.to_owned()));
        }
        for user in ["admin", "alice"] {
            for class in ["ObjectUpdatedEvent", "ObjectLockedEvent"] {
                assert!(
                    seen.contains(&(class.to_owned(), user.to_owned())),
                    "{generation}: {class} {user}"
                );
            }
        }
        assert_eq!(
            bodies[0]["user"],
            json!({"uid": "alice", "displayName": "Alice Adams"})
        );
    }
}

/// Without audit trails OpenRegister still writes audit rows for locks, and for the unlock after an update. Of the rest the
/// row tells who created and who deleted it, and nothing tells who restored it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_audit_trails_the_row_tells_what_it_can() {
    for generation in Generation::ALL {
        let mut world = World::start(generation, r"OCA\OpenRegister\Event\Object*", json!([])).await;
        world.scene.sidecar.kill().await;
        world.scene.sidecar = world.scene.sidecar.with("ORW_ACTOR_WAIT_MS", "5000");
        world.scene.sidecar.start().await;
        // Every request has a connection of its own, as in PHP.
        let alice = async || world.writer("alice").await.without_audit_trails();
        let ada = row(json!({"name": "Ada"}));
        let object = alice().await.create(Place::PEOPLE, &ada).await.unwrap();
        alice()
            .await
            .put(&object, &row(json!({"name": "Eve"})))
            .await
            .unwrap();
        alice().await.lock(&object, 60).await.unwrap();
        alice().await.unlock(&object).await.unwrap();
        alice().await.soft_delete(&object).await.unwrap();
        alice().await.restore(&object).await.unwrap();
        let bodies = world.received(|received| received.len() == 6).await;
        let told: Vec<_> = bodies
            .iter()
            .map(|body| format!("{} {}", class(body), body["user"]["uid"]))
            .collect();
        let expected = [
            "ObjectCreatedEvent \"alice\"",
            "ObjectUpdatedEvent \"alice\"",
            "ObjectLockedEvent \"alice\"",
            "ObjectUnlockedEvent \"alice\"",
            "ObjectDeletedEvent \"alice\"",
            "ObjectUpdatedEvent null",
        ];
        assert_eq!(told, expected, "{generation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_activity_app_tells_who_changed_registers_and_schemas() {
    let event = r"OCA\OpenRegister\Event\*";
    let filter = json!({"user.uid": {"$in": ["admin", "alice"]}});
    let world = World::start(Generation::V0_2_13, event, filter).await;
    let (admin, alice) = (world.writer("admin").await, world.writer("alice").await);
    for kind in [EntityKind::Register, EntityKind::Schema] {
        let entity = alice.create_entity(kind, "First").await.unwrap();
        admin.update_entity(&entity, "Second").await.unwrap();
        alice.update_entity(&entity, "Third").await.unwrap();
        admin.delete_entity(&entity).await.unwrap();
    }
    let bodies = world.received(|received| received.len() >= 8).await;
    let mut told: Vec<_> = bodies
        .iter()
        .map(|body| {
            let event = &body["event"];
            let entity = if event["register"].is_object() {
                &event["register"]
            } else {
                &event["schema"]
            };
            (
                class(body),
                entity["title"].as_str().unwrap(),
                body["user"]["uid"].as_str().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    let mut expected = Vec::new();
    for kind in ["Register", "Schema"] {
        for (action, title, user) in [
            ("Created", "First", "alice"),
            ("Deleted", "Third", "admin"),
            ("Updated", "Second", "admin"),
            ("Updated", "Third", "alice"),
        ] {
            expected.push((format!("{kind}{action}Event"), title, user));
        }
    }
    assert_eq!(
        told,
        expected
            .iter()
            .map(|(class, t, u)| (class.as_str(), *t, *u))
            .collect::<Vec<_>>()
    );
}

/// Where the activity app is not installed, nobody is named, and nothing waits any longer for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_activity_app_nobody_is_named() {
    let world = World::start(Generation::V0_2_9, r"OCA\OpenRegister\Event\Register*", json!([])).await;
    world
        .db
        .client()
        .await
        .batch_execute("DROP TABLE oc_activity")
        .await
        .unwrap();
    let alice = world.writer("alice").await;
    let entity = alice.create_entity(EntityKind::Register, "First").await.unwrap();
    alice.delete_entity(&entity).await.unwrap();
    let bodies = world.received(has("RegisterDeletedEvent")).await;
    assert!(bodies.iter().all(|body| body["user"].is_null()), "{bodies:#?}");
}

#[tokio::test]
async fn registration_says_where_nobody_can_tell() {
    let world = World::start(Generation::V0_2_13, r"OCA\OpenRegister\Event\Object*", json!([])).await;
    let path = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks?format=json";
    let webhook = json!({"httpMethod": "POST", "uri": world.receiver.url("/x"),
        "event": r"OCA\OpenRegister\Event\SourceUpdatedEvent", "eventFilter": {"user.uid": "alice"}});
    let reply = world.sidecar.api("POST", path, webhook).await;
    assert_eq!(reply.status, 200);
    let message = reply.json()["ocs"]["meta"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        message,
        "OK; warning: OpenRegister does not record who caused SourceUpdatedEvent: no such event matches a filter by user"
    );
}

/// An owner that the caller may choose is not who did it; what says who did it is told with every request, also by a replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_says_where_the_user_comes_from() {
    let world = World::start(Generation::V0_2_13, r"OCA\OpenRegister\Event\*", json!([])).await;
    let alice = world.writer("alice").await;
    alice.create_entity(EntityKind::Register, "Books").await.unwrap();
    let object = alice
        .create(Place::PEOPLE, &row(json!({"name": "Ada"})))
        .await
        .unwrap();
    alice.create_entity(EntityKind::Agent, "Helper").await.unwrap();
    let client = world.db.client().await;
    for statement in [
        // As an import with an owner writes them.
        "INSERT INTO oc_openregister_configurations (title, type, owner, app, uuid, created, updated) \
         VALUES ('imp', 'imported', 'tour', 'openregister', gen_random_uuid(), now(), now())",
        "INSERT INTO oc_openregister_applications (uuid, name, owner, created, updated) VALUES (gen_random_uuid(), 'app', 'tour', now(), now())",
        "INSERT INTO oc_openregister_sources (uuid, title, type, database_url, created, updated) VALUES (gen_random_uuid(), 'src', 'internal', '', now(), now())",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let bob = world.writer("admin").await.without_audit_trails();
    bob.soft_delete(&object).await.unwrap();
    let told = |received: &[Received]| -> Vec<String> {
        let mut told: Vec<_> = received
            .iter()
            .map(|request| {
                let body = request.json();
                let source = request.header("orw-actor-source").to_owned();
                format!("{} {} {source}", class(&body), body["user"]["uid"])
            })
            .collect();
        told.sort();
        told
    };
    let expected = [
        "AgentCreatedEvent \"alice\" owner",
        "ApplicationCreatedEvent null none",
        "ConfigurationCreatedEvent null none",
        "ObjectCreatedEvent \"alice\" audit",
        "ObjectDeletedEvent \"admin\" row",
        "RegisterCreatedEvent \"alice\" activity",
        "SourceCreatedEvent null none",
    ];
    let received = world.receiver.wait_for(expected.len(), PATIENCE).await.unwrap();
    assert_eq!(told(&received), expected);
    let webhooks = world.sidecar.json(&["webhook", "list", "--json"]).await;
    world.sidecar.replay(webhooks[0]["id"].as_i64().unwrap()).await;
    let received = world
        .receiver
        .wait_for(2 * expected.len(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(told(&received[expected.len()..]), expected);
}
