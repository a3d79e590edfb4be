//! A database that is not UTF-8 is refused with the reason, and values that are not UTF-8 never end capture.

use orw_testkit::Generation;
use serde_json::json;

use crate::support::cli::Cli;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::scene::{PATIENCE, Scene};
use crate::support::wait::until_number;

/// Sets the encoding that the catalog claims; sessions that begin later believe it.
async fn encode(db: &Db, encoding: &str) {
    let sql = format!(
        "UPDATE pg_database SET encoding = pg_char_to_encoding('{encoding}') WHERE datname = current_database()"
    );
    db.client_as(DBA).await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_and_named() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let db = Db::openregister(Generation::V0_2_13).await;
        encode(&db, encoding).await;
        let cli = Cli::new(&db.url(NEXTCLOUD));
        let refused = cli.run(&["install"]).await;
        assert_ne!(refused.code, 0, "{refused:?}");
        for said in [encoding, db.name(), "UTF-8", "ENCODING 'UTF8'"] {
            assert!(refused.err.contains(said), "{said}: {refused:?}");
        }
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'openregister_webhooks'";
        until_number(&db.client().await, there, 0, PATIENCE).await;
        let report = cli.run(&["doctor"]).await;
        assert!(
            report.out.contains(&format!("encoded in {encoding}")),
            "{report:?}"
        );
        // By hand, too.
        let sql = std::process::Command::new("psql")
            .args([
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                "sql/install.sql",
                &db.url(NEXTCLOUD),
            ])
            .env("PGCLIENTENCODING", "UTF8")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&sql.stderr);
        assert!(!sql.status.success() && said.contains("is encoded in"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_no_utf8_never_ends_capture() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    encode(&scene.db, "SQL_ASCII").await;
    let client = scene.db.client_as(NEXTCLOUD).await;
    client
        .batch_execute("SET client_encoding = SQL_ASCII")
        .await
        .unwrap();
    scene.sidecar.start().await;
    scene
        .sidecar
        .register(json!({"uri": scene.receiver.url("/hook"), "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent"}))
        .await;
    let insert = |name: &str, value: &str| {
        format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) VALUES ('{name}', '1', '1', {value})"
        )
    };
    // One batch: good ones before, between and behind.
    let mut batch = String::from("BEGIN;");
    for n in 0..20 {
        let bad = n % 7 == 3;
        let value = if bad {
            "E'caf\\xe9'".to_owned()
        } else {
            format!("'fine {n}'")
        };
        batch.push_str(&insert(&format!("o{n}"), &value));
        batch.push(';');
    }
    batch.push_str("COMMIT");
    client.batch_execute(&batch).await.unwrap();
    until_number(
        &client,
        "SELECT count(*) FROM openregister_webhooks.quarantine",
        3,
        PATIENCE,
    )
    .await;
    let done = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    until_number(&client, done, 17, PATIENCE).await;
    client.batch_execute(&insert("last", "'fine'")).await.unwrap();
    until_number(&client, done, 18, PATIENCE).await;
    let gap = "SELECT sum(changes)::bigint FROM openregister_webhooks.gap WHERE cause = 'quarantine'";
    until_number(&client, gap, 3, PATIENCE).await;
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}
