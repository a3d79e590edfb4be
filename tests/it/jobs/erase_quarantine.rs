//! Erasing an object also removes changes of it that could not be read, even if they are read only afterwards.

use openregister_webhooks::capture::{self, BatchTransaction, CaptureStatus, Change, Consumer, Fault};
use orw_testkit::Generation;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::capture::{database, settings};
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::{Scene, uuid};

const TABLE: &str = "oc_openregister_table_9_9";
const QUARANTINED: &str = "SELECT count(*) FROM openregister_webhooks.quarantine";

/// With a table of objects that may hold JSON of any depth.
async fn scene() -> Scene {
    let db = Db::openregister(Generation::V0_2_13).await;
    let create = format!(
        "CREATE TABLE {TABLE} (_id bigserial PRIMARY KEY, _uuid text UNIQUE, friend text, extra json)"
    );
    db.client().await.batch_execute(&create).await.unwrap();
    Scene::on(db).fast().installed().await
}

/// A row that PostgreSQL takes and nobody can read: nested too deeply.
fn write(object: i32, friend: i32) -> String {
    format!(
        "INSERT INTO {TABLE} (_uuid, friend, extra) \
         VALUES ('{}', '{}', (repeat('[', 1500) || repeat(']', 1500))::json) \
         ON CONFLICT (_uuid) DO UPDATE SET friend = {TABLE}.friend || '+'",
        uuid(object),
        uuid(friend)
    )
}

async fn of(scene: &Scene, object: i32) -> i64 {
    let sql = format!(
        "{QUARANTINED} WHERE coalesce(old, '') || new LIKE '%\"_uuid\":\"{}\"%'",
        uuid(object)
    );
    scene.count(&sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_of_an_erased_object_stays_out_of_the_quarantine() {
    let mut scene = scene().await;
    scene.sidecar.start().await;
    scene.register(r"OCA\OpenRegister\Event\Object*", json!({})).await;
    // The second only mentions the first.
    for sql in [write(1, 3), write(2, 1)] {
        scene.client.batch_execute(&sql).await.unwrap();
    }
    scene.until(QUARANTINED, 2).await;
    assert_eq!((of(&scene, 1).await, of(&scene, 2).await), (1, 1));
    // A transaction that ends only after the object was erased.
    let late = scene.db.client().await;
    late.batch_execute(&format!("BEGIN; {}; {}", write(1, 3), write(2, 1)))
        .await
        .unwrap();

    let done = scene.json(&["erase", &uuid(1), "--json"]).await;
    assert_eq!(done["quarantined"], 1, "{done}");
    assert_eq!((of(&scene, 1).await, of(&scene, 2).await), (0, 1));
    late.batch_execute("COMMIT").await.unwrap();
    scene.until(QUARANTINED, 2).await;
    assert_eq!((of(&scene, 1).await, of(&scene, 2).await), (0, 2));
    assert_eq!(scene.sidecar.metric("orw_quarantined_total").await, 3.0);

    // One from before the object was erased (a backup that was put back) does not come back, nor is it sent.
    let back = format!(
        "INSERT INTO openregister_webhooks.quarantine (lsn, xid, ordinal, tbl, op, found, old, new, pid, at, reason) \
         SELECT lsn, xid, ordinal, tbl, op, found, old, replace(new, '{}', '{}'), pid, at, reason \
         FROM openregister_webhooks.quarantine ORDER BY id LIMIT 1",
        uuid(2),
        uuid(1)
    );
    scene.client.batch_execute(&back).await.unwrap();
    assert_eq!(of(&scene, 1).await, 1);
    let again = "SELECT openregister_webhooks.retry_quarantined()";
    assert_eq!(scene.count(again).await, 3);
    scene.until(QUARANTINED, 2).await;
    assert_eq!((of(&scene, 1).await, of(&scene, 2).await), (0, 2));

    // What happens to it afterwards is new.
    scene.client.batch_execute(&write(1, 3)).await.unwrap();
    scene.until(QUARANTINED, 3).await;
    assert_eq!(of(&scene, 1).await, 1);
    assert_eq!(scene.receiver.count(), 0);
}

/// Fails at everything.
struct Failing;

#[derive(Debug, thiserror::Error)]
#[error("fails")]
struct Fails;

impl Consumer for Failing {
    type Error = Fails;

    async fn consume(&mut self, _: &BatchTransaction<'_>, changes: Vec<Change>) -> Result<(), Fails> {
        assert!(changes.is_empty(), "cannot bear it");
        Ok(())
    }

    fn committed(&mut self) {}

    fn fault(_: &Fails) -> Fault {
        Fault::Data
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pipeline_fails_at_is_not_kept_raw_once_its_object_is_erased() {
    let scene = scene().await;
    let kinds = "UPDATE openregister_webhooks.settings SET capture_all = true; SELECT openregister_webhooks.set_kinds()";
    scene.client.batch_execute(kinds).await.unwrap();
    let late = scene.db.client().await;
    late.batch_execute(&format!("BEGIN; {}; {}", write(1, 3), write(2, 1)))
        .await
        .unwrap();
    // The audit row names the object behind a column of any size.
    late.batch_execute(&format!(
        "INSERT INTO oc_openregister_audit_trails (uuid, schema, register, object, action, changed, \"user\", user_name, session, \
            object_uuid, created) \
         VALUES ('a', 1, 1, 1, 'update', json_build_object('x', repeat('y', 2000000)), 'u', 'u', 's', '{}', now())",
        uuid(1)
    ))
    .await
    .unwrap();
    let (code, none, _) = scene.sidecar.cli(&["erase", &uuid(1), "--json"]).await;
    let none: serde_json::Value = serde_json::from_str(&none).unwrap();
    assert_eq!(code, 1, "{none}");
    assert_eq!((&none["changes"], &none["quarantined"]), (&json!(0), &json!(0)));
    late.batch_execute("COMMIT").await.unwrap();
    let audits =
        "SELECT count(*) FROM openregister_webhooks.change WHERE tbl = 'oc_openregister_audit_trails'";
    assert_eq!(scene.count(audits).await, 1);
    let (status, _) = watch::channel(CaptureStatus::Standby);
    let stop = CancellationToken::new();
    let reader = tokio::spawn(capture::run(
        database(&scene.db, NEXTCLOUD),
        settings(),
        Failing,
        status,
        capture::LossNotices::default(),
        stop.clone(),
    ));
    // The last one: what comes before it has been decided when it is there.
    scene.client.batch_execute(&write(4, 3)).await.unwrap();
    let sql = format!("{QUARANTINED} WHERE new LIKE '%\"_uuid\":\"{}\"%'", uuid(4));
    scene.until(&sql, 1).await;
    assert_eq!((of(&scene, 1).await, of(&scene, 2).await), (0, 1));
    assert_eq!(scene.count(QUARANTINED).await, 2);
    stop.cancel();
    reader.await.unwrap();
}
