//! An upgrade of what an earlier version installed: its triggers and its change tables get their form of today, and nothing is lost.

use openregister_webhooks::capture::Op;
use orw_testkit::Generation;

use crate::support::capture::{Scene, install, of, ops, options};
use crate::support::rows;
use crate::support::wait::{number, until_true};

const OBJECTS: &str = "oc_openregister_table_1_1";
const AUDIT: &str = "oc_openregister_audit_trails";
const DISABLED: &str = "oc_openregister_objects";

/// The triggers and the change tables as version 0.1 made them.
const OLDER: &str = "
    CREATE OR REPLACE TRIGGER openregister_webhooks_capture AFTER INSERT OR UPDATE OR DELETE ON oc_openregister_table_1_1
        FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.capture(1, object);
    CREATE OR REPLACE TRIGGER openregister_webhooks_capture AFTER INSERT OR UPDATE OR DELETE ON oc_openregister_objects
        FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.capture(1, object);
    ALTER TABLE oc_openregister_objects DISABLE TRIGGER openregister_webhooks_capture;
    CREATE OR REPLACE TRIGGER openregister_webhooks_capture AFTER INSERT ON oc_openregister_audit_trails
        FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.capture(1, audit);
    ALTER TABLE openregister_webhooks.change_0 RESET (toast_tuple_target), ADD CONSTRAINT older CHECK (op IN ('I', 'U', 'N', 'D'));
    ALTER TABLE openregister_webhooks.change_1 RESET (toast_tuple_target), ADD CONSTRAINT older CHECK (op IN ('I', 'U', 'N', 'D'));
    ALTER TABLE openregister_webhooks.change_2 RESET (toast_tuple_target), ADD CONSTRAINT older CHECK (op IN ('I', 'U', 'N', 'D'))";

/// The function and the state of a table's trigger.
async fn trigger(scene: &Scene, table: &str) -> (String, String) {
    let query = "SELECT t.tgfoid::regproc::text, t.tgenabled::text FROM pg_trigger t \
                 WHERE t.tgrelid = $1::text::regclass AND t.tgname = 'openregister_webhooks_capture'";
    let row = scene.client.query_one(query, &[&table]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn an_upgrade_replaces_triggers_and_the_form_of_the_change_tables() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let client = &scene.client;
    client.batch_execute(OLDER).await.unwrap();
    // Before the upgrade what is there works.
    let id = rows::insert(client, OBJECTS).await;
    rows::update(client, OBJECTS, id).await;
    client
        .batch_execute("UPDATE oc_openregister_table_1_1 SET age = age")
        .await
        .unwrap();
    rows::insert(client, AUDIT).await;
    let source = rows::insert(client, "oc_openregister_sources").await;
    let changes = scene.capture.all().await;
    assert_eq!(ops(&changes, OBJECTS), [Op::Insert, Op::Update, Op::Unchanged]);
    assert_eq!(ops(&changes, AUDIT), [Op::Insert]);

    // A writer is at work meanwhile: the installation waits for no change table.
    let writer = scene.db.client().await;
    writer.batch_execute("BEGIN").await.unwrap();
    rows::update(&writer, "oc_openregister_sources", source).await;
    let change_tables = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'openregister_webhooks' \
                         AND c.relname ~ '^change_[012]$' AND c.reloptions @> ARRAY['toast_tuple_target=8160'] \
                         AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c')";
    let gaps = "SELECT count(*) FROM openregister_webhooks.gap";
    install(&scene.db, &options()).await;
    writer.batch_execute("COMMIT").await.unwrap();
    let short = |name: &str| (format!("openregister_webhooks.{name}"), "O".to_owned());
    assert_eq!(trigger(&scene, OBJECTS).await, short("capture_object"));
    assert_eq!(trigger(&scene, AUDIT).await, short("capture_audit"));
    assert_eq!(trigger(&scene, "oc_openregister_sources").await, short("capture"));
    let disabled = ("openregister_webhooks.capture".to_owned(), "D".to_owned());
    assert_eq!(
        trigger(&scene, DISABLED).await,
        disabled,
        "what somebody disabled stays so"
    );
    assert_eq!(number(client, gaps).await, 0);
    let before = of(&scene.capture.all().await, OBJECTS).len();

    // Each change table has its turn; the leader gives it the new form when it has emptied it.
    for _ in 0..3 {
        let many = "UPDATE oc_openregister_table_1_1 SET _description = \
                    (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 300000))";
        client.batch_execute(many).await.unwrap();
        client
            .batch_execute("UPDATE oc_openregister_table_1_1 SET _description = NULL")
            .await
            .unwrap();
        scene.capture.all().await;
        let formed = number(client, change_tables).await;
        if formed == 3 {
            break;
        }
        let more = format!("SELECT ({change_tables}) > {formed}");
        until_true(client, "another change table has its new form", &more).await;
    }
    assert_eq!(number(client, change_tables).await, 3);
    let changes = scene.capture.all().await;
    let after = &of(&changes, OBJECTS)[before..];
    assert!(
        after.len() >= 4 && after.iter().all(|c| c.op == Op::Update),
        "{} changes",
        after.len()
    );
    assert_eq!(number(client, gaps).await, 0);
    scene.capture.stop().await;
}
