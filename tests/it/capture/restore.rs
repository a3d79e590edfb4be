//! A database that is dumped and restored into another cluster: nothing is delivered until `adopt`, then everything that was
//! unread, what was written before the decision, and what comes later, in order per object.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openregister_webhooks::capture::DoorbellMode;
use openregister_webhooks::capture::{AdoptError, CaptureStatus, Change, Decision, Origin};
use openregister_webhooks::config::Settings;
use openregister_webhooks::database::Database;
use openregister_webhooks::doctor::{self, Level};
use openregister_webhooks::pipeline::adopt;
use orw_testkit::Generation;
use orw_testkit::postgres::Options;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::cli::{Cli, install};
use crate::support::postgres::{DBA, Db, NEXTCLOUD, Server};
use crate::support::recorder::{Capture, Plan};

const OBJECTS: i32 = 20;
const TABLE: &str = "oc_openregister_table_1_1";

/// The objects, at age 0.
async fn create_objects(client: &Client) {
    let sql = format!(
        "INSERT INTO {TABLE} (_uuid, _register, _schema, _created, _updated, name, age) \
         SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'restored', 0 \
         FROM generate_series(1, $1::int) g"
    );
    client.execute(&sql, &[&OBJECTS]).await.unwrap();
}

/// Every object is a year older, each in a transaction of its own.
async fn age_all(client: &Client) {
    for n in 1..=OBJECTS {
        age_one(client, n).await;
    }
}

async fn age_one(client: &Client, n: i32) {
    let sql = format!(
        "UPDATE {TABLE} SET age = age + 1 WHERE _uuid = format('00000000-0000-4000-8000-%s', lpad($1::int::text, 12, '0'))"
    );
    assert_eq!(client.execute(&sql, &[&n]).await.unwrap(), 1);
}

/// The ages of every object, in the order in which they were seen.
fn ages(changes: &[Change]) -> BTreeMap<String, Vec<i64>> {
    let mut ages: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|c| c.table.name() == "openregister_table_1_1")
    {
        let row: Value = serde_json::from_str(change.new.as_deref().unwrap()).unwrap();
        let age = row["age"].as_i64().unwrap();
        ages.entry(row["_uuid"].as_str().unwrap().to_owned())
            .or_default()
            .push(age);
    }
    ages
}

/// Makes LSNs and transaction ids larger than those of any young cluster.
async fn grow_old(dba: &Client) {
    dba.batch_execute(
        "DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    )
    .await
    .unwrap();
    for _ in 0..4 {
        dba.batch_execute(
            "SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000)); SELECT pg_switch_wal()",
        )
        .await
        .unwrap();
    }
}

/// The next transaction id and the insert position.
async fn age_of_cluster(client: &Client) -> (i64, i64) {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// `pg_dump` from one database into an empty one of another server.
async fn copy(from: &Db, to: &Db) {
    let bin = from.server().postgres.programs().bin().to_owned();
    let (from, to) = (from.url(DBA), to.url(DBA));
    tokio::task::spawn_blocking(move || {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dump");
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(bin.join(program)).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{program}: {said}");
        };
        let file = file.to_str().unwrap();
        run("pg_dump", &["--format=custom", "--file", file, "--dbname", &from]);
        run("pg_restore", &["--exit-on-error", "--dbname", &to, file]);
    })
    .await
    .unwrap();
}

/// Dumped with changes unread, restored into a younger cluster.
struct Restored {
    db: Db,
    _old: Db,
}

async fn restored() -> Restored {
    let server = Server::dedicated(Options::default()).await;
    let old = server.openregister(Generation::V0_2_13).await;
    install(&old).await;
    let dba = old.client_as(DBA).await;
    grow_old(&dba).await;
    let client = old.client().await;
    let capture = Capture::start(&old.url(NEXTCLOUD), Plan::default());
    create_objects(&client).await;
    age_all(&client).await;
    let objects = usize::try_from(OBJECTS).unwrap();
    capture.until(|seen| seen.len() >= 2 * objects).await;
    capture.stop().await;
    for _ in 0..5 {
        age_all(&client).await; // unread: ages 2 to 6
    }
    let young = Server::dedicated(Options::default()).await;
    let db = young.empty().await;
    copy(&old, &db).await;
    let (was, is) = (
        age_of_cluster(&client).await,
        age_of_cluster(&db.client().await).await,
    );
    assert!(is.0 < was.0 && is.1 < was.1, "{is:?} is not below {was:?}");
    Restored { db, _old: old }
}

async fn examine(db: &Db) -> doctor::Report {
    let settings = Settings::new(db.url(NEXTCLOUD));
    let database = Database::new(&settings.database_url, orw_egress::client_config(None).unwrap()).unwrap();
    doctor::examine(&database, &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_unread_arrives_after_a_restore_and_adopt_deliver() {
    let restored = restored().await;
    let db = &restored.db;
    let client = db.client().await;
    age_all(&client).await; // 7, in the new cluster, before anybody decides
    // Small batches, some of them refused once: each is taken whole or not at all.
    let plan = Plan {
        batch_size: 7,
        refuse: 3,
        ..Plan::default()
    };
    let mut capture = Capture::start(&db.url(NEXTCLOUD), plan);
    let held = capture.status(|s| matches!(s, CaptureStatus::Held { .. })).await;
    let CaptureStatus::Held { stored, current } = held else {
        unreachable!()
    };
    assert_ne!(stored.system_identifier, current.system_identifier);
    let report = examine(db).await;
    let finding = report.findings.iter().find(|f| f.check == "identity").unwrap();
    assert_eq!(finding.level, Level::Error);
    let remedy = finding.remedy.as_deref().unwrap();
    assert!(
        remedy.contains("adopt --deliver") && remedy.contains("adopt --discard"),
        "{finding}"
    );

    // Writers go on while it is decided.
    let end = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (url, end) = (db.url(NEXTCLOUD), Arc::clone(&end));
            tokio::spawn(async move {
                let client = crate::support::postgres::connect(&url).await;
                let mut n = writer;
                while !end.load(Ordering::Relaxed) {
                    age_one(&client, n % OBJECTS + 1).await;
                    n += 1;
                }
            })
        })
        .collect();
    assert_eq!(capture.count(), 0, "nothing may be read before the decision");
    let said = Cli::new(&db.url(NEXTCLOUD))
        .run(&["adopt", "--deliver", "--json"])
        .await;
    assert_eq!(said.code, 0, "{said:?}");
    let moved = said.json()["changes"].as_i64().unwrap();
    assert!(moved >= i64::from(OBJECTS) * 6, "{said:?}");
    capture.status(|s| *s == CaptureStatus::Leading).await;
    end.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    age_all(&client).await; // and later ones

    let last: BTreeMap<String, i64> = client
        .query(
            &format!("SELECT _uuid, age::bigint FROM {TABLE} WHERE name = 'restored'"),
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let complete = |seen: &[Change]| {
        let seen = ages(seen);
        last.iter()
            .all(|(uuid, age)| seen.get(uuid).is_some_and(|ages| ages.contains(age)))
    };
    capture.until(complete).await;
    // Discovery has seen every table under its new oid, and reported nothing new.
    let unknown = "SELECT count(*) FROM openregister_webhooks.capturable() WHERE NOT (attached AND known)";
    while client.query_one(unknown, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    age_one(&client, 1).await;
    let object = last.keys().next().unwrap().clone();
    let seen = capture
        .until(|seen| ages(seen)[&object].last() == Some(&(last[&object] + 1)))
        .await;
    assert!(seen.iter().all(|change| change.origin == Origin::Live));
    for (uuid, ages) in ages(&seen) {
        // What was delivered before the dump may come again; from the first unread age on, each once and in order.
        assert!(ages[0] <= 2, "{uuid}: {ages:?}");
        let gapless = ages.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(gapless, "{uuid}: {ages:?}");
    }

    let left = "SELECT count(*) FROM openregister_webhooks.change_adopted";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    capture.stop().await;
    let again = Cli::new(&db.url(NEXTCLOUD)).run(&["adopt", "--deliver"]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("nothing is to be adopted"), "{again:?}");
    // The position is kept: a new leader does not start over.
    let mut capture = Capture::start(&db.url(NEXTCLOUD), Plan::default());
    capture.status(|s| *s == CaptureStatus::Leading).await;
    age_one(&client, 2).await;
    let seen = capture.until(|seen| !seen.is_empty()).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_that_discards_delivers_only_what_comes_later() {
    let restored = restored().await;
    let db = &restored.db;
    let client = db.client().await;
    age_all(&client).await;
    client
        .batch_execute(
            "INSERT INTO openregister_webhooks.delivery (webhook, event_day, event_seq, lane, head, state, due_at, reason, deadline_at) \
             VALUES (1000000000, current_date, 1, 'object:x', true, 'retrying', now(), 'live', now() + interval '1 day'), \
                    (1000000000, current_date, 2, 'object:x', false, 'pending', now(), 'live', now() + interval '1 day'); \
             INSERT INTO openregister_webhooks.gap (tbl, reason, remedy) VALUES ('oc_openregister_table_1_1', 'of the original', 'none'); \
             INSERT INTO openregister_webhooks.missed VALUES ('oc_openregister_table_1_1', pg_current_xact_id(), now(), 1)",
        )
        .await
        .unwrap();
    // Through polling, as behind a transaction pooler, where leadership is by the transaction.
    let plan = Plan {
        doorbell: DoorbellMode::Poll,
        ..Plan::default()
    };
    let mut capture = Capture::start(&db.url(NEXTCLOUD), plan);
    capture.status(|s| matches!(s, CaptureStatus::Held { .. })).await;
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["adopt", "--discard"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("2 unfinished deliveries were cancelled"),
        "{said:?}"
    );
    // The receivers hear nothing of what the original did not capture.
    let untold = "SELECT (SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL) + (SELECT count(*) FROM openregister_webhooks.missed)";
    assert_eq!(client.query_one(untold, &[]).await.unwrap().get::<_, i64>(0), 0);
    capture.status(|s| *s == CaptureStatus::Leading).await;
    age_one(&client, 3).await;
    let seen = capture.until(|seen| !seen.is_empty()).await;
    assert_eq!(
        ages(&seen).into_values().collect::<Vec<_>>(),
        [vec![8]],
        "{seen:?}"
    );
    let cancelled = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'cancelled'";
    assert_eq!(
        client.query_one(cancelled, &[]).await.unwrap().get::<_, i64>(0),
        2
    );
}

/// Makes the stored position one of another cluster, the last before the tables of positions change.
async fn make_foreign(client: &Client) {
    client
        .batch_execute(
            "INSERT INTO openregister_webhooks.position_0 (n, snapshot, system_identifier, database_oid) VALUES (4095, '9:9:', 1, 1)",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_that_stays_in_use_is_named_with_who_uses_it() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let (mut client, user) = (db.client().await, db.client().await);
    make_foreign(&client).await;
    user.batch_execute("BEGIN; UPDATE oc_openregister_registers SET title = 'open'")
        .await
        .unwrap();
    let pid: i32 = user
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let error = adopt(&mut client, Decision::Deliver, Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, AdoptError::Busy { table: 0, .. }), "{error}");
    assert!(error.to_string().contains(&format!("pid {pid}")), "{error}");
    // Nothing is decided: it is run again when the transaction has ended.
    user.batch_execute("COMMIT").await.unwrap();
    let adopted = adopt(&mut client, Decision::Deliver, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(adopted.changes, 1);
    // 4096 is the first of the other table of positions, and the newest of both.
    let sql = "SELECT n, snapshot FROM openregister_webhooks.position_1";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (4096, "3:3:"));
    let error = adopt(&mut client, Decision::Discard, Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, AdoptError::Nothing), "{error}");
}

#[tokio::test]
async fn an_installation_at_work_is_not_disturbed() {
    let db = Db::openregister_0_2_13().await;
    install(&db).await;
    let (mut client, installer) = (db.client().await, db.client().await);
    make_foreign(&client).await;
    installer
        .batch_execute("SELECT pg_advisory_lock(5715726729101595476)")
        .await
        .unwrap();
    let error = adopt(&mut client, Decision::Deliver, Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, AdoptError::AtWork), "{error}");
}
