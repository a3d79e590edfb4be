//! Every command, by its effect: as psql sends it, and as drivers do. What changes something is refused to a reader and is in the audit
//! table.

use serde_json::json;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::scene::{OPERATOR, READER, process, url};
use crate::operations::delivered::Delivered;
use crate::support::postgres::connect;
use crate::support::receiver::Answer;
use crate::support::scene::uuid;
use crate::support::wait::until;

/// The rows of a command of the simple protocol, as texts.
async fn simple(client: &Client, command: &str) -> Vec<Vec<Option<String>>> {
    let all = client.simple_query(command).await;
    let all = all.unwrap_or_else(|error| panic!("{command}: {error:?}"));
    let rows = all.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    });
    rows.collect()
}

async fn refused(client: &Client, command: &str) -> (String, String) {
    let error = client.simple_query(command).await.unwrap_err();
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{command}: {error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_does_what_it_says() {
    let (scene, address) = process().await;
    let this = Delivered::on(scene).await;
    let (operator, reader) = (
        connect(&url(address, OPERATOR)).await,
        connect(&url(address, READER)).await,
    );
    shows(&this, &reader).await;
    types(&reader, this.good).await;
    protocol(&reader).await;
    for command in [
        "PAUSE",
        "RESUME",
        "ENABLE",
        "DISABLE",
        "TEST",
        "RETRY",
        "CANCEL JOB",
    ] {
        assert_eq!(
            refused(&reader, &format!("{command} {}", this.good)).await.0,
            "42501",
            "{command}"
        );
    }
    assert_eq!(
        refused(&reader, &format!("REPLAY {} SINCE 1h", this.good))
            .await
            .0,
        "42501"
    );
    changes(&this, &operator).await;
    audited(&this).await;
}

/// The reader sees everything, and no secret.
async fn shows(this: &Delivered, reader: &Client) {
    let (good, bad) = (this.good.to_string(), this.bad.to_string());
    let rows = simple(reader, "SHOW WEBHOOKS").await;
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0][0].as_deref(), rows[0][1].as_deref()),
        (Some(&*good), Some("enabled"))
    );
    assert_eq!(simple(reader, "SHOW DELIVERIES").await.len(), 8);
    let given_up = simple(
        reader,
        &format!("SHOW DELIVERIES WEBHOOK {bad} STATE GIVEN_UP CLASS ObjectUpdatedEvent SINCE 1h LIMIT 9"),
    )
    .await;
    assert_eq!(given_up.len(), 1);
    assert_eq!(
        (given_up[0][8].as_deref(), given_up[0][9].as_deref()),
        (Some("507"), Some("status"))
    );
    let delivery = given_up[0][0].clone().unwrap();
    let attempts = simple(reader, &format!("SHOW ATTEMPTS {delivery}")).await;
    assert_eq!(attempts.len(), 1);
    // What the receiver answered cannot act on a terminal.
    assert_eq!(attempts[0][6].as_deref(), Some(r"no room \u{1b}[2J"));
    let lag = simple(reader, "SHOW LAG").await;
    let stages: Vec<_> = lag.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(
        stages,
        ["outbox", "awaiting_user", "pending", "leased", "retrying"]
    );
    until("the outbox is read", async || {
        simple(reader, "SHOW LAG").await[0][1].as_deref() == Some("0")
    })
    .await;
    until("the figures are written", async || {
        let stats = simple(reader, &format!("SHOW STATS {good}")).await;
        stats[0][5].as_deref() == Some("4")
    })
    .await;
    assert_eq!(simple(reader, "SHOW STATS").await.len(), 2);
    let tables = simple(reader, "SHOW TABLES").await;
    let objects = tables
        .iter()
        .find(|row| row[0].as_deref() == Some("oc_openregister_table_1_1"))
        .unwrap();
    assert_eq!(objects[1].as_deref(), Some("t"));
    let workers = simple(reader, "SHOW WORKERS").await;
    assert!(
        workers.iter().any(|row| row[2].as_deref() == Some("t")),
        "{workers:?}"
    );
    this.scene.client.batch_execute("INSERT INTO openregister_webhooks.gap (tbl, reason, remedy, told_at) VALUES ('oc_openregister_registers', 'a reason', 'a remedy', now())").await.unwrap();
    let gaps = simple(reader, "SHOW GAPS").await;
    assert_eq!((gaps.len(), gaps[0][5].as_deref()), (1, Some("a reason")));
    let settings = simple(reader, "SHOW CONFIG").await;
    let value = |name: &str| {
        settings
            .iter()
            .find(|row| row[0].as_deref() == Some(name))
            .unwrap()[1]
            .clone()
            .unwrap_or_default()
    };
    assert_eq!(
        (value("master_key"), value("admins"), value("rate_burst")),
        ("***".to_owned(), "***".to_owned(), "10000".to_owned())
    );
    assert!(value("database_url").starts_with("postgres://nextcloud@"));
    let version = simple(reader, "SHOW VERSION").await;
    assert_eq!(version[0][0].as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(simple(reader, "SHOW HELP").await.len() > 20);
    assert_eq!(simple(reader, "SHOW JOBS").await.len(), 0);
}

/// The columns have PostgreSQL's types, in binary as well, and the views in the database have the same.
async fn types(reader: &Client, good: i64) {
    let statement = reader.prepare("SHOW WEBHOOKS").await.unwrap();
    let types: Vec<_> = statement
        .columns()
        .iter()
        .map(|column| (column.name(), column.type_().clone()))
        .collect();
    assert_eq!(types[0], ("id", Type::INT8));
    assert_eq!(types[15], ("created_at", Type::TIMESTAMPTZ));
    assert_eq!(types[12], ("timeout_seconds", Type::FLOAT8));
    let rows = reader.query(&statement, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>("id"), good);
    let created: chrono::DateTime<chrono::Utc> = rows[0].get("created_at");
    assert!((chrono::Utc::now() - created).num_hours().abs() < 2);
    assert!((rows[0].get::<_, f64>("timeout_seconds") - 15.0).abs() < f64::EPSILON);
    let text = &simple(reader, "SHOW WEBHOOKS").await[0][15];
    assert_eq!(
        text.as_deref(),
        Some(&*format!("{}+00", created.format("%F %T%.6f")))
    );
    let row = reader.query_one("SHOW WORKERS", &[]).await.unwrap();
    assert!(row.get::<_, bool>("alive"));
    // Values for placeholders, and a portal that is read in pieces.
    let limited = reader
        .query(
            "SHOW DELIVERIES WEBHOOK $1 STATE $2 LIMIT $3",
            &[&good, &"succeeded", &2_i64],
        )
        .await
        .unwrap();
    assert_eq!(limited.len(), 2);
}

/// What psql, pools and drivers expect besides commands.
async fn protocol(reader: &Client) {
    // Several commands in one text stop at the first that fails.
    let error = reader
        .simple_query("SHOW VERSION; SHOW NOTHING; SHOW LAG")
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42601");
    assert_eq!(simple(reader, "").await.len(), 0);
    reader.batch_execute("SET client_encoding TO 'UTF8'; RESET ALL; BEGIN; COMMIT; SELECT 1; SHOW server_version; DISCARD ALL").await.unwrap();
    reader.batch_execute("BEGIN").await.unwrap();
    assert_eq!(refused(reader, "SHOW DELIVERIES LIMIT 501").await.0, "22023");
    assert_eq!(refused(reader, "SHOW VERSION").await.0, "25P02");
    reader.batch_execute("ROLLBACK").await.unwrap();
    for (command, code) in [
        ("SHOW STATS 7", "42704"),
        ("SHOW ATTEMPTS 0", "42704"),
        ("SHOW DELIVERIES STATE lost", "22023"),
        ("SHOW DELIVERIES SINCE yesterday", "22023"),
        ("SELECT * FROM pg_class", "42601"),
        ("SHOW 'open", "42601"),
        ("PAUSE $1", "42601"),
    ] {
        assert_eq!(refused(reader, command).await.0, code, "{command}");
    }
    let error = reader.query("SHOW ATTEMPTS $1", &[&0_i64]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704");
    // The session goes on after an error in either protocol.
    assert_eq!(reader.query("SHOW VERSION", &[]).await.unwrap().len(), 1);
}

/// The operator changes what the API and the command line change.
async fn changes(this: &Delivered, operator: &Client) {
    let (good, bad) = (this.good, this.bad);
    let status = async || {
        let shown = this
            .scene
            .json(&["webhook", "show", &good.to_string(), "--json"])
            .await;
        (
            shown["status"]["state"].as_str().unwrap().to_owned(),
            shown["status"]["reason"].clone(),
        )
    };
    for (command, state) in [
        ("PAUSE", "paused"),
        ("RESUME", "enabled"),
        ("DISABLE", "disabled"),
        ("ENABLE", "enabled"),
    ] {
        operator
            .batch_execute(&format!("{command} {good}"))
            .await
            .unwrap();
        assert_eq!(status().await.0, state, "{command}");
    }
    operator
        .execute("DISABLE $1 $2", &[&good, &"it's being moved"])
        .await
        .unwrap();
    assert_eq!(status().await, ("disabled".to_owned(), json!("it's being moved")));
    operator.batch_execute(&format!("ENABLE {good}")).await.unwrap();
    let test = operator.query_one("TEST $1", &[&good]).await.unwrap();
    assert_eq!(
        (test.get::<_, bool>("succeeded"), test.get::<_, i64>("status")),
        (true, 200)
    );
    let test = operator
        .query_one(&format!("TEST {bad} ObjectDeletedEvent"), &[])
        .await
        .unwrap();
    assert_eq!(
        (
            test.get::<_, bool>("succeeded"),
            test.get::<_, Option<&str>>("cause")
        ),
        (false, Some("status"))
    );

    // The receiver is back, or its circuit breaker would make the next deliveries wait for minutes.
    this.scene.receiver.decide(|_| Answer::Status(200));
    let row = operator
        .query("SHOW DELIVERIES WEBHOOK $1 LIMIT 1", &[&bad])
        .await
        .unwrap();
    let delivery: i64 = row[0].get("id");
    let retried = operator.query_one("RETRY $1", &[&delivery]).await.unwrap();
    assert_eq!(retried.get::<_, i64>("retried"), 1);
    this.logged(9).await;
    assert_eq!(refused(operator, &format!("RETRY {delivery}")).await.0, "55000");
    let retried = operator.query_one("RETRY WEBHOOK $1", &[&bad]).await.unwrap();
    assert_eq!(retried.get::<_, i64>("retried"), 3);
    this.logged(12).await;

    let before = this.scene.receiver.received().len();
    let job = operator
        .query_one("REPLAY $1 SINCE '1h' OBJECT $2", &[&good, &uuid(1)])
        .await
        .unwrap();
    assert_eq!(job.get::<_, &str>("kind"), "replay");
    this.scene.settled().await;
    this.scene
        .receiver
        .wait_for(before + 2, crate::support::wait::PATIENCE)
        .await
        .unwrap();
    let jobs = operator.query("SHOW JOBS", &[]).await.unwrap();
    assert_eq!(
        (jobs.len(), jobs[0].get::<_, &str>("started_by")),
        (1, "console:op")
    );
    let job: i64 = job.get("id");
    let cancelled = operator.query_one("CANCEL JOB $1", &[&job]).await.unwrap();
    assert_eq!(cancelled.get::<_, &str>("state"), "done");
    for command in [
        "PAUSE 7",
        "TEST 7",
        "RETRY WEBHOOK 7",
        "REPLAY 7 SINCE 1h",
        "CANCEL JOB 7",
        "RETRY 0",
    ] {
        assert_eq!(refused(operator, command).await.0, "42704", "{command}");
    }
    assert_eq!(
        refused(operator, &format!("REPLAY {good} SINCE '2100-01-01'"))
            .await
            .0,
        "22023"
    );
}

/// The audit table has every change, who made it, and from where.
async fn audited(this: &Delivered) {
    let rows = this
        .scene
        .client
        .query("SELECT action, who, client FROM openregister_webhooks.audit WHERE who LIKE 'console:%' ORDER BY id", &[])
        .await
        .unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        "pause", "enable", "disable", "enable", "disable", "enable", "retry", "retry", "replay",
    ];
    assert_eq!(actions, expected);
    assert!(
        rows.iter()
            .all(|row| row.get::<_, &str>(1) == "console:op" && row.get::<_, &str>(2) == "127.0.0.1")
    );
}
