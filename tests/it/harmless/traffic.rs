//! Under traffic, our schema is dropped, our tables are locked, capture is uninstalled. No writer gets an error, and none
//! waits longer than a second.

use std::sync::Arc;
use std::time::Duration;

use openregister_webhooks::capture;
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{Scene, is_audit, of};
use crate::support::postgres::DBA;
use crate::support::rows;
use crate::support::traffic::{Report, Traffic, inserts};

const WRITERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(2);
const OURS: &str = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'openregister\\_webhooks%'";

/// Tables without a unique column but the key, so that one INSERT may be repeated.
const TABLES: [&str; 5] = [
    "oc_openregister_applications",
    "oc_openregister_sources",
    "oc_openregister_configurations",
    "oc_openregister_view",
    "oc_openregister_audit_trails",
];

async fn traffic(scene: &Scene) -> Traffic {
    let mut insertions = Vec::new();
    for table in TABLES {
        insertions.push(rows::insertion(&scene.client, table, &rows::token()).await);
    }
    Traffic::start(&scene.db, WRITERS, PAUSE, inserts(Arc::new(insertions))).await
}

async fn written(client: &Client) -> u64 {
    let counts = TABLES
        .map(|table| format!("(SELECT count(*) FROM {table})"))
        .join(" + ");
    let count: i64 = client
        .query_one(&format!("SELECT {counts}"), &[])
        .await
        .unwrap()
        .get(0);
    count.cast_unsigned()
}

fn unharmed(report: &Report) {
    assert_eq!(report.errors, Vec::<String>::new());
    assert!(report.committed > 100, "{} writes", report.committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_schema_in_the_middle_of_traffic() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let dba = scene.db.client_as(DBA).await;
        let traffic = traffic(&scene).await;
        traffic.more(300).await;
        let before = written(&scene.client).await;
        assert!(before > 0);
        dba.batch_execute("DROP SCHEMA openregister_webhooks CASCADE")
            .await
            .unwrap();
        traffic.more(300).await;
        let report = traffic.stop().await;
        unharmed(&report);
        assert_eq!(written(&scene.client).await, report.committed);
        assert_eq!(dba.query_one(OURS, &[]).await.unwrap().get::<_, i64>(0), 0);
        scene.capture.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_tables_locked_by_somebody_else() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let dba = scene.db.client_as(DBA).await;
    let traffic = traffic(&scene).await;
    let locks = [vec![0], vec![1], vec![2], vec![0, 1], vec![1, 2], vec![2, 0]];
    for locked in locks {
        for table in &locked {
            let lock = format!("LOCK TABLE openregister_webhooks.change_{table} IN ACCESS EXCLUSIVE MODE");
            let begin = if Some(table) == locked.first() {
                "BEGIN; "
            } else {
                ""
            };
            dba.batch_execute(&format!("{begin}{lock}")).await.unwrap();
        }
        let waited = std::time::Instant::now();
        while waited.elapsed() < Duration::from_millis(500) {
            traffic.more(50).await;
        }
        traffic.more_of_each(2).await;
        dba.batch_execute("COMMIT").await.unwrap();
        traffic.more(50).await;
    }
    for statement in [
        "VACUUM FULL openregister_webhooks.change_0",
        "VACUUM FULL openregister_webhooks.change_1",
        "REINDEX TABLE openregister_webhooks.change_2",
        "REINDEX INDEX openregister_webhooks.change_0_key",
        "CLUSTER openregister_webhooks.change_1 USING change_1_key",
        "ANALYZE openregister_webhooks.change_0",
        "VACUUM openregister_webhooks.change_0",
    ] {
        dba.batch_execute(statement).await.unwrap();
        traffic.more(20).await;
    }
    let report = traffic.stop().await;
    unharmed(&report);
    let changes = scene.capture.all().await;
    let told = "SELECT coalesce(string_agg(t::text, '; '), 'none') \
                FROM (SELECT tbl, reason FROM openregister_webhooks.gap UNION ALL SELECT tbl, 'missed' FROM openregister_webhooks.missed) t";
    let gaps: String = scene.client.query_one(told, &[]).await.unwrap().get(0);
    assert_eq!(
        changes.len() as u64,
        report.committed,
        "changes were lost; gaps: {gaps}"
    );
    scene.capture.stop().await;
}

/// If all three are locked, changes cannot be written anywhere; the writers go on nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_change_tables_locked_by_somebody_else() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let dba = scene.db.client_as(DBA).await;
    let traffic = traffic(&scene).await;
    traffic.more(100).await;
    dba.batch_execute(
        "BEGIN; LOCK TABLE openregister_webhooks.change_0, openregister_webhooks.change_1, openregister_webhooks.change_2 \
         IN ACCESS EXCLUSIVE MODE",
    )
    .await
    .unwrap();
    let waited = std::time::Instant::now();
    while waited.elapsed() < Duration::from_secs(2) {
        traffic.more(100).await;
    }
    traffic.more_of_each(2).await;
    dba.batch_execute("COMMIT").await.unwrap();
    traffic.more(100).await;
    let report = traffic.stop().await;
    unharmed(&report);
    let captured = scene.capture.all().await.len() as u64;
    assert!(
        captured >= 200 && captured < report.committed,
        "{captured} of {}",
        report.committed
    );
    scene.capture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstall_under_traffic() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let traffic = traffic(&scene).await;
        traffic.more(300).await;
        let leaving = scene.db.client().await;
        capture::uninstall(&leaving, |_, _| {}).await.unwrap();
        traffic.more(300).await;
        let report = traffic.stop().await;
        unharmed(&report);
        assert_eq!(written(&scene.client).await, report.committed);
        assert_eq!(
            scene.client.query_one(OURS, &[]).await.unwrap().get::<_, i64>(0),
            0
        );
        let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'openregister_webhooks'";
        assert_eq!(
            scene
                .client
                .query_one(schema, &[])
                .await
                .unwrap()
                .get::<_, i64>(0),
            0
        );
        scene.capture.stop().await;
    }
}

/// A dump holds every table, shared, for as long as it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_holds_every_table_stops_nothing() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let dba = scene.db.client_as(DBA).await;
    // The next position is the first of the other table.
    let table = "oc_openregister_sources";
    rows::insert(&scene.client, table).await;
    scene.capture.all().await;
    scene.capture.stop().await;
    let near = "INSERT INTO openregister_webhooks.position_0 (n, snapshot, system_identifier, database_oid) \
                SELECT 8190, snapshot, system_identifier, database_oid FROM openregister_webhooks.position_0 ORDER BY n DESC LIMIT 1";
    scene.client.batch_execute(near).await.unwrap();
    let everything = "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables \
                      WHERE schemaname IN ('public', 'openregister_webhooks')";
    let everything: String = dba.query_one(everything, &[]).await.unwrap().get(0);
    dba.batch_execute(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE {everything} IN ACCESS SHARE MODE"
    ))
    .await
    .unwrap();
    let capture = crate::support::capture::Capture::start(&scene.db).await;
    for _ in 0..6 {
        rows::insert(&scene.client, table).await;
        capture.all().await;
    }
    assert!(!is_audit(table));
    assert_eq!(of(&capture.all().await, table).len(), 6);
    let passed = "SELECT max(n) FROM openregister_webhooks.position_0";
    let passed: i64 = scene.client.query_one(passed, &[]).await.unwrap().get(0);
    assert!(passed > 8192, "{passed}");
    dba.batch_execute("COMMIT").await.unwrap();
    capture.stop().await;
}

/// A transaction that stays open keeps one change table; the other two take turns and are emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_stay_open_leave_tables_to_turn_to() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let held = scene.db.client().await;
    held.batch_execute("BEGIN").await.unwrap();
    rows::insert(&held, "oc_openregister_sources").await;
    let mut slots = Vec::new();
    for _ in 0..6 {
        rows::insert(&scene.client, "oc_openregister_sources").await;
        scene.capture.all().await;
        let turn = "SELECT openregister_webhooks.turn()";
        let slot: i32 = scene.client.query_one(turn, &[]).await.unwrap().get(0);
        // As the reader does; it cannot lock table 0.
        for table in [1, 2].into_iter().filter(|table| *table != slot) {
            let empty = format!("TRUNCATE openregister_webhooks.change_{table}");
            scene.client.batch_execute(&empty).await.unwrap();
        }
        slots.push(slot);
    }
    assert!(slots.windows(2).all(|w| w[0] != w[1]), "{slots:?}");
    held.batch_execute("COMMIT").await.unwrap();
    assert_eq!(of(&scene.capture.all().await, "oc_openregister_sources").len(), 7);
    scene.capture.stop().await;
}
