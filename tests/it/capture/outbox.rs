//! The limit of the outbox: the host's writes are not affected, a loss is reported once, and capture goes on when all is read.

use std::time::Duration;

use openregister_webhooks::capture::outbox::{self, Level};
use openregister_webhooks::capture::{CaptureSettings, InstallOptions};
use openregister_webhooks::capture::{OutboxLimits, OutboxPolicy};
use openregister_webhooks::delivery::partitions::{Retention, maintain};
use orw_testkit::Generation;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::support::capture::{Capture, PATIENCE, SENTINEL, install, options, settings};
use crate::support::cli::Cli;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::wait::until_true;

const TABLE: &str = "oc_openregister_table_1_1";
const LIMIT: u64 = 5 * 1024 * 1024;

fn stopping() -> CaptureSettings {
    CaptureSettings {
        outbox: OutboxLimits {
            policy: OutboxPolicy::Stop,
            max_bytes: LIMIT,
            max_age: Duration::from_secs(3600),
        },
        ..settings()
    }
}

/// Nothing reads, and the limit is set.
async fn unread() -> (Db, Client) {
    let db = Db::openregister(Generation::V0_2_13).await;
    let client = db.client().await;
    let sentinel = format!("CREATE TABLE {SENTINEL} (_id bigserial PRIMARY KEY, _uuid text)");
    client.batch_execute(&sentinel).await.unwrap();
    install(&db, &options()).await;
    client
        .execute(
            "SELECT openregister_webhooks.set_outbox_limit($1)",
            &[&i64::try_from(LIMIT).unwrap()],
        )
        .await
        .unwrap();
    // A write that had to wait would fail.
    client
        .batch_execute("SET lock_timeout = '1s'; SET statement_timeout = '20s'")
        .await
        .unwrap();
    (db, client)
}

/// One transaction of 20 objects with 32 kB each that do not compress well.
async fn import(client: &Client, name: &str) {
    let sql = format!(
        "INSERT INTO {TABLE} (_uuid, _register, _schema, _name) SELECT '{name}-' || n, '1', '1', \
             (SELECT left(string_agg(md5(random()::text || i || n), ''), 250) FROM generate_series(1, 10) i) FROM generate_series(1, 20) n; \
         UPDATE {TABLE} SET _description = (SELECT string_agg(md5(random()::text || i || _uuid), '') FROM generate_series(1, 1000) i) \
         WHERE _uuid LIKE '{name}-%'"
    );
    client.batch_execute(&sql).await.unwrap();
}

async fn figure(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

const SIZE: &str = "SELECT (pg_table_size('openregister_webhooks.change_0') + pg_table_size('openregister_webhooks.change_1') \
                    + pg_table_size('openregister_webhooks.change_2'))::bigint";
const MISSED: &str = "SELECT count(*) FROM openregister_webhooks.missed";

/// Imports until the outbox stops growing; returns the number of imports.
async fn fill(client: &Client) -> i64 {
    for n in 0..100 {
        import(client, &format!("fill{n}")).await;
        if figure(client, MISSED).await > 0 {
            return n + 1;
        }
    }
    panic!("it grows beyond its limit: {}", figure(client, SIZE).await);
}

#[tokio::test]
async fn beyond_its_limit_the_outbox_stops_and_goes_on_when_it_is_read() {
    let (db, client) = unread().await;
    let imports = fill(&client).await;
    let full = figure(&client, SIZE).await;
    // A transaction whose first change was captured before the limit was reached is captured completely.
    assert!(full < 2 * i64::try_from(LIMIT).unwrap(), "{full}");
    for n in 0..10 {
        import(&client, &format!("lost{n}")).await;
    }
    // Rolling back a savepoint affects nothing else.
    client
        .batch_execute(&format!(
            "BEGIN; SAVEPOINT a; UPDATE oc_openregister_registers SET title = 'x'; ROLLBACK TO a; \
             UPDATE oc_openregister_schemas SET title = 'lost'; UPDATE {TABLE} SET _name = 'lost' WHERE _uuid = 'fill0-1'; COMMIT"
        ))
        .await
        .unwrap();
    assert_eq!(figure(&client, SIZE).await, full, "nothing more is captured");
    assert_eq!(
        figure(&client, "SELECT count(*) FROM oc_openregister_table_1_1").await,
        20 * (imports + 10),
        "every write of the host succeeded"
    );
    assert_eq!(figure(&client, MISSED).await, 2, "once a table of Nextcloud");
    let outbox = outbox::measure(&client).await.unwrap();
    assert!(outbox.stopped && outbox.bytes >= LIMIT, "{outbox:?}");
    assert_eq!(outbox.level(&stopping().outbox), Level::Critical);
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert!(said.out.contains("changes are not captured"), "{said:?}");

    let capture = Capture::start_as(&db, NEXTCLOUD, stopping()).await;
    until_true(
        &client,
        "the gaps end",
        "SELECT count(*) = 2 FROM openregister_webhooks.gap",
    )
    .await;
    let gaps = client
        .query(
            "SELECT tbl, remedy, since < until AND until <= clock_timestamp(), reason FROM openregister_webhooks.gap ORDER BY tbl",
            &[],
        )
        .await
        .unwrap();
    let tables: Vec<&str> = gaps.iter().map(|gap| gap.get(0)).collect();
    assert_eq!(tables, ["oc_openregister_schemas", TABLE]);
    assert!(gaps.iter().all(|gap| gap.get::<_, bool>(2)));
    assert_eq!(
        gaps[1].get::<_, &str>(1),
        "openregister-webhooks backfill --table oc_openregister_table_1_1"
    );
    assert!(gaps[1].get::<_, &str>(3).starts_with("the outbox was full"));
    assert_eq!(figure(&client, MISSED).await, 0);

    import(&client, "after").await;
    let changes = capture.all().await;
    let named = |name: &str| {
        changes
            .iter()
            .filter(|c| c.new.as_ref().is_some_and(|new| new.contains(name)))
            .count()
    };
    assert_eq!(named("\"_uuid\":\"after-"), 40);
    assert_eq!(named("\"_uuid\":\"lost"), 0);
    assert!(named("\"_uuid\":\"fill0-") == 40);
    let outbox = outbox::measure(&client).await.unwrap();
    assert!(!outbox.stopped, "{outbox:?}");
    capture.stop().await;
}

#[tokio::test]
async fn a_write_waits_for_nothing_while_the_outbox_is_full() {
    let (db, client) = unread().await;
    fill(&client).await;
    let mut dba = db.client_as(DBA).await;
    // Nobody can write to "missed".
    let lock = dba.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE openregister_webhooks.missed")
        .await
        .unwrap();
    client
        .batch_execute("UPDATE oc_openregister_registers SET title = 'while missed is locked'")
        .await
        .unwrap();
    lock.rollback().await.unwrap();
    // Many at once, each in a transaction of its own, also with old snapshots.
    let mut writers = Vec::new();
    for n in 0..4 {
        let writer = db.client().await;
        writers.push(tokio::spawn(async move {
            for k in 0..20 {
                let isolation = if k % 2 == 0 { "READ COMMITTED" } else { "REPEATABLE READ" };
                let sql = format!(
                    "BEGIN ISOLATION LEVEL {isolation}; INSERT INTO {TABLE} (_uuid, _register, _schema) VALUES ('w{n}-{k}', '1', '1'); COMMIT"
                );
                writer.batch_execute(&sql).await.unwrap();
            }
        }));
    }
    for writer in writers {
        timeout(PATIENCE, writer).await.unwrap().unwrap();
    }
    // And with no right to anything: the functions are replaced by one that fails.
    client
        .batch_execute(
            "CREATE OR REPLACE FUNCTION openregister_webhooks.outbox_full(target integer) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 > target'",
        )
        .await
        .unwrap();
    let before = figure(&client, "SELECT count(*) FROM openregister_webhooks.change").await;
    import(&client, "in doubt").await;
    assert_eq!(
        figure(&client, "SELECT count(*) FROM openregister_webhooks.change").await,
        before + 40,
        "in doubt it is captured"
    );
}

#[tokio::test]
async fn a_role_with_rights_on_our_schema_alone_does_all_of_it() {
    let (db, client) = unread().await;
    let role = db.role("sidecar").await;
    let runner = InstallOptions {
        runtime_role: Some(role.clone()),
        ..options()
    };
    install(&db, &runner).await;
    let limit = "SELECT openregister_webhooks.outbox_limit()";
    assert_eq!(
        figure(&client, limit).await,
        i64::try_from(LIMIT).unwrap(),
        "installing again keeps it"
    );
    fill(&client).await;
    let capture = Capture::start_as(&db, &role, stopping()).await;
    until_true(
        &client,
        "the gap ends",
        "SELECT count(*) = 1 FROM openregister_webhooks.gap",
    )
    .await;
    let mut session = db.client_as(&role).await;
    assert!(!outbox::measure(&session).await.unwrap().stopped);
    let none = Retention {
        log_bytes: 1,
        event_bytes: 1,
        ..Retention::default()
    };
    maintain(&mut session, none).await.unwrap();
    capture.stop().await;
    // Without a policy, installing removes the limit.
    let capture = Capture::start_as(&db, &role, settings()).await;
    assert_eq!(figure(&client, limit).await, 0);
    capture.stop().await;
}

#[tokio::test]
async fn doctor_looks_at_an_older_schema_too() {
    let (db, client) = unread().await;
    client
        .batch_execute(
            "ALTER TABLE openregister_webhooks.missed DROP COLUMN filled; DELETE FROM openregister_webhooks.migration WHERE version >= 9",
        )
        .await
        .unwrap();
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert!(!said.out.contains("could not be checked"), "{said:?}");
    assert!(
        said.out.contains("every captured change has been read"),
        "{said:?}"
    );
}

#[tokio::test]
async fn without_the_policy_nothing_is_left_out() {
    let (db, client) = unread().await;
    fill(&client).await;
    // The leader's setting decides.
    let capture = Capture::start(&db).await;
    assert_eq!(
        figure(&client, "SELECT openregister_webhooks.outbox_limit()").await,
        0
    );
    import(&client, "kept").await;
    capture
        .until("what was written after it", |seen| {
            seen.iter().any(|c| {
                c.new
                    .as_ref()
                    .is_some_and(|new| new.contains("\"_uuid\":\"kept-20\""))
            })
        })
        .await;
    capture.stop().await;
}
