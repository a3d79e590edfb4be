//! Reverts. No version of OpenRegister gets through one; this is what a repaired one would write.

use orw_testkit::Generation;
use orw_testkit::writer::{Object, Place};
use serde_json::{Value, json};

use super::rig::{Reading, Rig, install};
use crate::support::postgres::{Db, NEXTCLOUD};
use orw_testkit::writer::Writer;

/// The statements of one request.
async fn request(db: &Db, statements: &[String]) {
    let client = db.client().await;
    for statement in statements {
        client.batch_execute(statement).await.unwrap();
    }
}

fn set(name: &str, version: &str) -> String {
    format!("UPDATE oc_openregister_table_1_1 SET name = '{name}', _version = '{version}'")
}

fn audit(action: &str, object: &Object) -> String {
    format!(
        "INSERT INTO oc_openregister_audit_trails (uuid, action, object_uuid, register, schema, \"user\", created, changed) \
         VALUES (gen_random_uuid()::text, '{action}', '{}', 1, 1, 'alice', now(), '[]')",
        object.uuid
    )
}

/// Told by the audit row, or by properties that the object had before; not by the version alone, which every save of 2.x raises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revert_is_told_by_its_audit_row_or_by_an_earlier_state_and_once() {
    for reading in [Reading::NORMAL, Reading::FORGETFUL] {
        let db = Db::openregister(Generation::V2_1).await;
        install(&db).await;
        let php = async || {
            Writer::connect(&db.url(NEXTCLOUD), Generation::V2_1)
                .await
                .unwrap()
        };
        let person = |name: &str| json!({"name": name}).as_object().unwrap().clone();
        let ada = php().await.create(Place::PEOPLE, &person("Ada")).await.unwrap();
        // Saves within one second.
        for name in ["Eve", "Mae"] {
            request(&db, &[set(name, "0.0.2"), audit("update", &ada)]).await;
        }
        // Only the version.
        request(&db, &[set("Mae", "0.0.3")]).await;
        // To the state at the creation, without an audit row and with one.
        request(&db, &[set("Ada", "0.0.4")]).await;
        request(&db, &[set("Eve", "0.0.5"), audit("revert", &ada)]).await;
        // To a state of which nothing is known any more.
        request(&db, &[set("Joy", "0.0.6"), audit("revert", &ada)]).await;
        // Nothing to revert: the state is the same. The audit row says that somebody did.
        request(&db, &[audit("revert", &ada)]).await;
        let client = db.client().await;
        let mut rig = Rig::start(db, reading);
        let events = rig.settled(&client).await;
        let found: Vec<Value> = events
            .iter()
            .map(|event| {
                let name = &event.states.current().fields()["data"]["name"];
                json!([
                    event.class.to_string(),
                    name,
                    event.actor.actor().map(|actor| &actor.uid)
                ])
            })
            .collect();
        assert_eq!(
            Value::from(found),
            json!([
                ["ObjectCreatedEvent", "Ada", "admin"],
                ["ObjectUpdatedEvent", "Eve", "alice"],
                ["ObjectUpdatedEvent", "Mae", "alice"],
                ["ObjectUpdatedEvent", "Ada", null],
                ["ObjectRevertedEvent", "Ada", null],
                ["ObjectUpdatedEvent", "Eve", "alice"],
                ["ObjectRevertedEvent", "Eve", "alice"],
                ["ObjectUpdatedEvent", "Joy", "alice"],
                ["ObjectRevertedEvent", "Joy", "alice"],
                ["ObjectRevertedEvent", "Joy", "alice"],
            ]),
            "{reading:?}"
        );
        drop(rig.stop().await);
    }
}
