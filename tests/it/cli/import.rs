//! `import`: ten rows of every shape in the tables of two versions of OpenRegister.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::cli::{Cli, install};
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::MASTER_KEY;
use crate::support::wait::number;

/// The table, where the version's fixture has none.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS oc_openregister_webhooks (id bigint NOT NULL, uuid varchar(255) NOT NULL, \
    name varchar(255) NOT NULL, url varchar(1024) NOT NULL, method varchar(10) DEFAULT 'POST' NOT NULL, events text NOT NULL, headers text, \
    secret varchar(255), enabled boolean DEFAULT true NOT NULL, organisation varchar(255), filters text, \
    retry_policy varchar(50) DEFAULT 'exponential' NOT NULL, max_retries integer DEFAULT 3 NOT NULL, timeout integer DEFAULT 30 NOT NULL, \
    last_triggered_at timestamp(0), last_success_at timestamp(0), last_failure_at timestamp(0), total_deliveries integer DEFAULT 0 NOT NULL, \
    successful_deliveries integer DEFAULT 0 NOT NULL, failed_deliveries integer DEFAULT 0 NOT NULL, created timestamp(0) NOT NULL, \
    updated timestamp(0) NOT NULL, configuration text, mapping integer)";

const ROWS: &str = r#"INSERT INTO oc_openregister_webhooks
    (id, uuid, name, url, method, events, headers, secret, enabled, organisation, filters, retry_policy, max_retries, timeout, created, updated, configuration, mapping) VALUES
    (1, 'u1', 'everything', 'https://hooks.example/1', 'POST', '[]', NULL, NULL, true, NULL, NULL, 'exponential', 3, 30, now(), now(), NULL, NULL),
    (2, 'u2', 'short names', 'https://hooks.example/2', 'post', '["ObjectCreatedEvent","ObjectUpdatedEvent"]', '{"X-Key":"k3y"}', 's3cret', true, NULL, '[]', 'linear', 2, 10, now(), now(), '{}', NULL),
    (3, 'u3', 'a pattern', 'https://hooks.example/3', 'PUT', '["OCA\\OpenRegister\\Event\\Object*"]', '[]', NULL, false, NULL, '{}', 'fixed', 0, 900, now(), now(), NULL, NULL),
    (4, 'u4', 'filtered', 'https://hooks.example/4', 'POST', '[]', NULL, NULL, true, 'org-1', '{"objectType":"object","action":["created"],"register":"1"}', 'exponential', 3, 30, now(), now(), NULL, NULL),
    (5, 'u5', 'CloudEvents inside', 'https://10.0.0.5/5', 'POST', '["*CreatedEvent"]', NULL, NULL, true, NULL, NULL, 'exponential', 3, 30, now(), now(), '{"useCloudEvents":true,"cloudEventSource":"x","allowPrivateTargets":true}', NULL),
    (6, 'u6', 'mapped', 'https://hooks.example/6', 'POST', '[]', NULL, NULL, true, NULL, NULL, 'exponential', 3, 30, now(), now(), NULL, 4),
    (7, 'u7', 'or-notif-7-rule', 'https://hooks.example/7', 'POST', '["ObjectUpdatedEvent","NoSuchEvent"]', NULL, NULL, true, NULL, NULL, 'exponential', 3, 30, now(), now(), NULL, NULL),
    (8, 'u8', 'before', 'https://hooks.example/8', 'POST', '["ObjectCreatingEvent"]', NULL, NULL, true, NULL, NULL, 'exponential', 3, 30, now(), now(), '{"interceptRequests":true}', NULL),
    (9, 'u9', E'strange \u001b[2J', 'https://hooks.example/9', 'POST', '["SchemaCreatedEvent"]', NULL, NULL, true, NULL, '{"timestamp":"x"}', 'exponential', 3, 30, now(), now(), NULL, NULL),
    (10, 'u10', 'no TLS', 'http://hooks.example/10', 'POST', '["SchemaCreatedEvent"]', NULL, 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=', true, NULL, NULL, 'exponential', 3, 30, now(), now(), NULL, NULL)"#;

/// What the rows say, to see that nothing of them is changed.
async fn fingerprint(client: &Client) -> String {
    let sql = "SELECT md5(string_agg(w::text, '|' ORDER BY id)) FROM oc_openregister_webhooks w";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn taken_over(db: Db) {
    install(&db).await;
    let client = db.client().await;
    client.batch_execute(TABLE).await.unwrap();
    client.batch_execute(ROWS).await.unwrap();
    let before = fingerprint(&client).await;
    let cli = Cli::new(&db.url(NEXTCLOUD)).with("ORW_MASTER_KEY", MASTER_KEY);
    let webhooks = "SELECT count(*) FROM openregister_webhooks.webhook";

    let said = cli.run(&["import", "--dry-run"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for part in [
        "1  everything\n    OCA\\OpenRegister\\Event\\*  would be registered",
        "    OCA\\OpenRegister\\Event\\ObjectCreatedEvent  would be registered\n        filter: {\"event.object.register\":\"1\",\"event.object.organisation\":\"org-1\"}",
        "left out: its body is made by the mapping 4 (Twig)",
        "note: NoSuchEvent has no counterpart",
        "note: a schema manages this row",
        "left out: none of its events has a counterpart",
        "9  strange \\u{1b}[2J\n    left out: the filter \"timestamp\" has no counterpart",
        "ORW_TARGETS_ALLOW needs 10.0.0.5",
        "refused: uri:",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(
        !said.out.contains("s3cret") && !said.out.contains("k3y"),
        "{}",
        said.out
    );
    assert_eq!(number(&client, webhooks).await, 0);

    // What is refused is named, and the rest is done.
    let said = cli.run(&["import", "--json"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let told = said.json();
    let done = |row: usize| told["rows"][row]["done"].as_array().unwrap().clone();
    assert_eq!(told["rows"].as_array().unwrap().len(), 10);
    assert_eq!((done(0).len(), done(1).len(), done(5).len()), (1, 2, 0));
    assert_eq!(
        (&done(4)[0]["done"], &done(9)[0]["done"]),
        (&json!("refused"), &json!("refused"))
    );
    let secret = done(1)[0]["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(number(&client, webhooks).await, 6);
    let id = done(1)[0]["webhook"].as_i64().unwrap().to_string();
    let shown = cli.run(&["webhook", "show", &id, "--json"]).await.json();
    let expected = json!({"uri": "https://hooks.example/2", "httpMethod": "post", "format": "openregister", "legacySignature": true,
        "timeoutSeconds": 10, "retry": {"maxAttempts": 3, "schedule": [300, 600]}, "userId": "import:u2"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}: {shown}");
    }
    let id = done(2)[0]["webhook"].as_i64().unwrap().to_string();
    let shown = cli.run(&["webhook", "show", &id, "--json"]).await.json();
    assert_eq!(
        (
            &shown["enabled"],
            &shown["retry"]["maxAttempts"],
            &shown["timeoutSeconds"]
        ),
        (&json!(false), &json!(1), &json!(300))
    );

    // Twice makes nothing twice, also of what was removed or changed meanwhile; what is allowed now comes.
    let first = done(0)[0]["webhook"].as_i64().unwrap().to_string();
    assert_eq!(cli.run(&["webhook", "remove", &first]).await.code, 0);
    let second = done(3)[0]["webhook"].as_i64().unwrap().to_string();
    assert_eq!(
        cli.run(&[
            "webhook",
            "update",
            &second,
            "--uri",
            "https://elsewhere.example/"
        ])
        .await
        .code,
        0
    );
    let cli = cli
        .with("ORW_TARGETS_ALLOW", "10.0.0.5/32")
        .with("ORW_TARGETS_ALLOW_HTTP", "true");
    let again = cli.run(&["import", "--json"]).await.json();
    let all: Vec<&Value> = again["rows"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row["done"].as_array().unwrap())
        .collect();
    let count = |word: &str| all.iter().filter(|done| done["done"] == word).count();
    assert_eq!(
        (count("before"), count("registered"), count("refused")),
        (6, 2, 0),
        "{again}"
    );
    assert_eq!(number(&client, webhooks).await, 7);
    // Without the audit table's memory, the same address, event and filter are recognised.
    client
        .batch_execute("DELETE FROM openregister_webhooks.audit")
        .await
        .unwrap();
    let third = cli.run(&["import", "--dry-run", "--json"]).await.json();
    assert_eq!(third["rows"][1]["done"][0]["done"], "there", "{third}");
    assert_eq!(fingerprint(&client).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_0_2_13_is_taken_over_once() {
    taken_over(Db::openregister_0_2_13().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_0_2_13_80_is_taken_over_once() {
    taken_over(Db::tour_0_2_13_80().await).await;
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let db = Db::openregister_0_2_9().await;
    install(&db).await;
    let cli = Cli::new(&db.url(NEXTCLOUD)).with("ORW_MASTER_KEY", MASTER_KEY);
    let said = cli.run(&["import"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("no table for webhooks here (oc_openregister_webhooks)"),
        "{said:?}"
    );
}
