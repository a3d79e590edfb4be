//! Every lock that was announced is announced to end, and nothing else is: in the recorded tour, after restarts and upgrades.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use openregister_webhooks::database::Database;
use openregister_webhooks::lifecycle::{Event, HostConnection, Lifecycle, LifecycleSettings, locks, store};
use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use orw_testkit::writer::{Object, Place, Writer};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::database::{Tour, write};
use super::recording::recording;
use super::rig::{Reading, Rig, install};
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::{PATIENCE, Scene};

/// An event of a lock: its class and the uuid of its object.
type LockEvent = (String, String);

/// What must come of the recorded tour, from its audit rows alone: a lock is announced, an unlock only where a lock
/// was announced; a deleted object is not locked.
fn expected() -> Vec<LockEvent> {
    let text = include_str!("../../fixtures/recorded-0.2.13.80.jsonl");
    let (mut locked, mut told) = (HashSet::new(), Vec::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let row = &line["new"];
        if line["table"] == "oc_openregister_audit_trails" {
            let uuid = row["object_uuid"].as_str().unwrap().to_owned();
            let ends = matches!(row["action"].as_str(), Some("unlock" | "delete")) && locked.remove(&uuid);
            if row["action"] == "lock" {
                locked.insert(uuid.clone());
                told.push(("ObjectLockedEvent".to_owned(), uuid));
            } else if ends && row["action"] == "unlock" {
                told.push(("ObjectUnlockedEvent".to_owned(), uuid));
            }
        }
    }
    told
}

fn is_of_a_lock(class: &str) -> bool {
    matches!(class, "ObjectLockedEvent" | "ObjectUnlockedEvent")
}

/// Reads what is captured in `db` and asserts that exactly these events come of it, by the names of their classes.
async fn assert_events(db: Db, reading: Reading, expected: &[&str]) {
    let client = db.client().await;
    let mut rig = Rig::start(db, reading);
    let events = rig.settled(&client).await;
    let classes: Vec<String> = events.iter().map(|event| event.class.to_string()).collect();
    assert_eq!(classes, expected, "{:?}", reading);
    drop(rig.stop().await);
}

/// The class without its namespace.
pub(super) fn class(request: &Received) -> String {
    let body = request.json();
    let name = body["event"].as_str().unwrap();
    name.strip_prefix(r"OCA\OpenRegister\Event\").unwrap().to_owned()
}

/// The recording is written row by row into a database that the program reads. The program is killed while a lock is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_tour_announces_every_lock_and_its_end_and_nothing_else() {
    let expected = expected();
    assert_eq!(expected.len(), 7, "{expected:?}");
    let recorded = recording("0.2.13.80");
    let mut scene = Scene::on(Tour::V0_2_13_80.database(&recorded).await)
        .running()
        .await;
    scene.register(r"OCA\OpenRegister\Event\*", json!({})).await;
    let mut backends: HashMap<i32, Client> = HashMap::new();
    let mut killed = false;
    for r in &recorded {
        if let Entry::Vacant(backend) = backends.entry(r.change.pid) {
            backend.insert(scene.db.client().await);
        }
        write(&backends[&r.change.pid], r).await;
        let new = r.change.new.as_deref().unwrap_or_default();
        if !killed && new.contains(r#""action":"lock""#) {
            killed = true;
            let locked = |received: &[Received]| received.iter().any(|r| class(r) == "ObjectLockedEvent");
            scene.receiver.wait_until(locked, PATIENCE).await.unwrap();
            scene.sidecar.kill().await;
        }
    }
    assert!(killed);
    scene.sidecar.start().await;
    let client = scene.db.client().await;
    let last = "INSERT INTO oc_openregister_applications (uuid, name, created, updated) VALUES (gen_random_uuid(), 'the end', now(), now())";
    client.execute(last, &[]).await.unwrap();
    let end = |received: &[Received]| {
        received
            .iter()
            .any(|r| r.json()["data"]["application"]["name"] == "the end")
    };
    scene.receiver.wait_until(end, PATIENCE).await.unwrap();
    let received = scene.received(0).await;

    // In the order of the audit rows.
    let rows = client
        .query("SELECT class, substr(lane, 8) FROM openregister_webhooks.event WHERE class ~ 'ocked' ORDER BY day, seq", &[])
        .await
        .unwrap();
    let stored: Vec<LockEvent> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(stored, expected);
    // And each object's in that order at the receiver; a repeat after the kill has the same id.
    let mut seen = HashSet::new();
    let mut by_object: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in received.iter().filter(|r| is_of_a_lock(&class(r))) {
        if seen.insert(request.header("webhook-id").to_owned()) {
            let object = request.json()["data"]["object"].clone();
            assert_eq!(
                object["locked"],
                json!(class(request) == "ObjectLockedEvent"),
                "{object}"
            );
            let uuid = object["uuid"].as_str().unwrap().to_owned();
            by_object.entry(uuid).or_default().push(class(request));
        }
    }
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (class, uuid) in expected {
        wanted.entry(uuid).or_default().push(class);
    }
    assert_eq!(by_object, wanted);
}

pub(super) fn person(name: &str) -> serde_json::Map<String, Value> {
    json!({"name": name}).as_object().unwrap().clone()
}

pub(super) async fn writer(db: &Db, generation: Generation) -> Writer {
    Writer::connect(&db.url(NEXTCLOUD), generation).await.unwrap()
}

/// An update ends a lock, whoever wrote it, and unlocking what is not locked is no event; if the row holds the lock, the
/// row decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_lock_is_told_once_whatever_is_forgotten_in_between() {
    for reading in [Reading::NORMAL, Reading::FORGETFUL] {
        for generation in [Generation::V0_2_13, Generation::V0_2_9, Generation::V2_1] {
            let db = Db::openregister(generation).await;
            install(&db).await;
            // Every request has a connection of its own, as in PHP.
            let url = db.url(NEXTCLOUD);
            let php = async || Writer::connect(&url, generation).await.unwrap();
            let ada = php().await.create(Place::PEOPLE, &person("Ada")).await.unwrap();
            php().await.put(&ada, &person("Eve")).await.unwrap();
            php().await.unlock(&ada).await.unwrap();
            php().await.lock(&ada, 60).await.unwrap();
            php().await.lock(&ada, 90).await.unwrap();
            php().await.put(&ada, &person("Mae")).await.unwrap();
            php().await.unlock(&ada).await.unwrap();
            php().await.unlock(&ada).await.unwrap();
            php().await.put(&ada, &person("Joy")).await.unwrap();
            php().await.lock(&ada, 60).await.unwrap();
            php().await.soft_delete(&ada).await.unwrap();
            php().await.restore(&ada).await.unwrap();
            php().await.put(&ada, &person("Zoe")).await.unwrap();
            // In 0.2.13 and 2.1 the update ends the lock; in 0.2.9, where it writes back the lock that it has read, the unlock does.
            let mut expected = vec![
                "ObjectCreatedEvent",
                "ObjectUpdatedEvent",
                "ObjectLockedEvent",
                "ObjectLockedEvent",
                "ObjectUpdatedEvent",
                "ObjectUnlockedEvent",
                "ObjectUpdatedEvent",
                "ObjectLockedEvent",
                "ObjectDeletedEvent",
                "ObjectUpdatedEvent",
                "ObjectUpdatedEvent",
            ];
            // Its row kept the lock while the object was deleted.
            if generation == Generation::V2_1 {
                expected.push("ObjectUnlockedEvent");
            }
            assert_events(db, reading, &expected).await;
        }
    }
}

/// One request that sets or removes the lock in the row, as 0.2.9 and 2.x do.
async fn row_lock(db: &Db, object: &Object, lock: Option<&str>) {
    let client = db.client().await;
    let sql = "UPDATE oc_openregister_table_1_1 SET _locked = $2::text::jsonb WHERE _uuid = $1";
    client.execute(sql, &[&object.uuid, &lock]).await.unwrap();
    let action = if lock.is_some() { "lock" } else { "unlock" };
    audit(&client, object, action).await;
}

async fn audit(client: &Client, object: &Object, action: &str) {
    let sql = "INSERT INTO oc_openregister_audit_trails (uuid, action, object, object_uuid, register, schema, \"user\", user_name, session, request, created, changed) \
               VALUES (gen_random_uuid()::text, $1, 1, $2, 1, 1, 'admin', 'Admin', 's', gen_random_uuid()::text, now(), '[]')";
    client.execute(sql, &[&action, &object.uuid]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_seen_to_end_also_where_openregister_was_upgraded_meanwhile() {
    const LOCK: &str = r#"{"user": "admin", "created": "2026-11-28T10:00:00+00:00", "expiration": "2026-11-28T11:00:00+00:00"}"#;
    for reading in [Reading::NORMAL, Reading::FORGETFUL] {
        let db = Db::openregister(Generation::V0_2_13).await;
        install(&db).await;
        let php = async || writer(&db, Generation::V0_2_13).await;
        let ada = php().await.create(Place::PEOPLE, &person("Ada")).await.unwrap();
        // 0.2.13 locks; then it is 2.x that renews the lock and ends it, in the row.
        php().await.lock(&ada, 60).await.unwrap();
        row_lock(&db, &ada, Some(LOCK)).await;
        row_lock(&db, &ada, None).await;
        php().await.put(&ada, &person("Eve")).await.unwrap();
        // The row holds the lock: the unlock that follows an update does not end it.
        // Renewing the lock with the same value does not make the audit row decide, either.
        row_lock(&db, &ada, Some(LOCK)).await;
        row_lock(&db, &ada, Some(LOCK)).await;
        php().await.put(&ada, &person("Mae")).await.unwrap();
        row_lock(&db, &ada, None).await;
        // 0.2.13 locks, and the first thing that 2.x does is an update.
        php().await.lock(&ada, 60).await.unwrap();
        php().await.put(&ada, &person("Joy")).await.unwrap();
        // The other way round: the blob table held the lock, and the copy in the magic table does not.
        let client = db.client().await;
        for statement in [
            "INSERT INTO oc_openregister_objects (uuid, register, schema, object, created, updated) VALUES ('moved', '1', '1', '{}', now(), now())",
            "UPDATE oc_openregister_objects SET locked = '{\"userId\": \"admin\"}'",
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _name) VALUES ('moved', '1', '1', 'B')",
            "DELETE FROM oc_openregister_objects",
        ] {
            client.batch_execute(statement).await.unwrap();
        }
        let moved = Object {
            uuid: "moved".to_owned(),
            ..ada.clone()
        };
        php().await.put(&moved, &person("Bea")).await.unwrap();
        let expected = [
            "ObjectCreatedEvent",
            "ObjectLockedEvent",
            "ObjectLockedEvent",
            "ObjectUnlockedEvent",
            "ObjectUpdatedEvent",
            "ObjectLockedEvent",
            "ObjectUpdatedEvent",
            "ObjectUnlockedEvent",
            "ObjectLockedEvent",
            "ObjectUpdatedEvent",
            "ObjectUnlockedEvent",
            "ObjectCreatedEvent",
            "ObjectLockedEvent",
            "ObjectUpdatedEvent",
            "ObjectUnlockedEvent",
        ];
        assert_events(db, reading, &expected).await;
    }
}

/// A batch that was rolled back is processed again and gives the same events as the first time: in order, with the same ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_worked_on_again_gives_the_same_events_with_the_same_ids() {
    let recorded = recording("0.2.13.80");
    let db = Tour::V0_2_13_80.database(&recorded).await;
    let database = Database::new(
        &db.url(NEXTCLOUD).into(),
        orw_egress::client_config(None).unwrap(),
    )
    .unwrap();
    let mut lifecycle = Lifecycle::new(
        LifecycleSettings::new("oc_"),
        HostConnection::new(database, false),
    );
    let mut client = db.client().await;
    let changes: Vec<_> = recorded
        .iter()
        .filter(|r| r.captured)
        .map(|r| r.change.clone())
        .collect();
    let mut events = Vec::new();
    for batch in changes.chunks(3) {
        let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        let tx = client.transaction().await.unwrap();
        let first = lifecycle.process(&tx, batch.to_vec()).await.unwrap();
        locks::store(&tx, &first.locks).await.unwrap();
        tx.rollback().await.unwrap();
        let tx = client.transaction().await.unwrap();
        let second = lifecycle.process(&tx, batch.to_vec()).await.unwrap();
        store::insert(&tx, "2026-11-28".parse().unwrap(), &second.events)
            .await
            .unwrap();
        locks::store(&tx, &second.locks).await.unwrap();
        tx.commit().await.unwrap();
        lifecycle.committed();
        assert_eq!(
            (ids(&second.events), &second.locks),
            (ids(&first.events), &first.locks)
        );
        events.extend(second.events);
    }
    let told: Vec<LockEvent> = events
        .iter()
        .filter(|event| is_of_a_lock(&event.class.to_string()))
        .map(|event| {
            (
                event.class.to_string(),
                event.lane.as_str().replace("object:", ""),
            )
        })
        .collect();
    assert_eq!(told, expected());
}

/// An unlock that is read again, after a restore or out of the quarantine, does not end the lock that came after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_unlock_that_is_read_again_ends_no_newer_lock() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db).await;
    let ada = writer(&db, Generation::V0_2_13).await;
    let ada = ada.create(Place::PEOPLE, &person("Ada")).await.unwrap();
    let client = db.client().await;
    audit(&client, &ada, "unlock").await;
    let again =
        "CREATE TEMP TABLE again AS SELECT * FROM openregister_webhooks.change WHERE new LIKE '%\"unlock\"%'";
    client.batch_execute(again).await.unwrap();
    writer(&db, Generation::V0_2_13)
        .await
        .lock(&ada, 60)
        .await
        .unwrap();
    let again = "INSERT INTO openregister_webhooks.change_0 SELECT pg_current_wal_insert_lsn(), pg_current_xact_id(), ordinal, tbl, op, \
                 found, old, new, fault, pid, at FROM again";
    assert_eq!(client.execute(again, &[]).await.unwrap(), 1);
    writer(&db, Generation::V0_2_13)
        .await
        .put(&ada, &person("Eve"))
        .await
        .unwrap();
    let expected = [
        "ObjectCreatedEvent",
        "ObjectLockedEvent",
        "ObjectUpdatedEvent",
        "ObjectUnlockedEvent",
    ];
    assert_events(db, Reading::NORMAL, &expected).await;
}
