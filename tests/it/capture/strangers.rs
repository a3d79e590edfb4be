//! What other roles of the same database may try: create our schema first, add to it, take our locks; and what a lock on all
//! of our tables leads to. Nextcloud's writes are not affected, and nothing is lost without a report.

use openregister_webhooks::capture::{self, InstallError};
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{Capture, Scene, install, options, settings};
use crate::support::cli::Cli;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};
use crate::support::sidecar::Sidecar;
use crate::support::wait::{until_contains, until_true};

const LEADER: i64 = 5_715_726_729_151_332_676;
const GATE: i64 = 5_715_726_729_067_189_317;
const TABLE: &str = "oc_openregister_table_1_1";

async fn create_object(client: &Client, uuid: &str) {
    let sql =
        format!("INSERT INTO {TABLE} (_uuid, _register, _schema, _name) VALUES ('{uuid}', '1', '1', 'A')");
    client.batch_execute(&sql).await.unwrap();
}

/// A role that may connect, and create in the database.
async fn evil(db: &Db) -> (String, Client) {
    let role = db.role("evil").await;
    let dba = db.client_as(DBA).await;
    dba.batch_execute(&format!(
        "GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"",
        db.name()
    ))
    .await
    .unwrap();
    let client = db.client_as(&role).await;
    (role, client)
}

#[tokio::test]
async fn a_schema_that_somebody_else_made_first_is_refused_and_nothing_in_it_is_run() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, evil) = evil(&db).await;
    evil.batch_execute(
        "CREATE SCHEMA openregister_webhooks; GRANT ALL ON SCHEMA openregister_webhooks TO PUBLIC; \
         CREATE TABLE openregister_webhooks.caught (who text); GRANT ALL ON openregister_webhooks.caught TO PUBLIC; \
         CREATE TABLE openregister_webhooks.migration (version integer, name text, applied_at timestamptz DEFAULT now()); \
         GRANT ALL ON openregister_webhooks.migration TO PUBLIC; \
         CREATE FUNCTION openregister_webhooks.trap() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO openregister_webhooks.caught VALUES (current_user); RETURN NEW; END'; \
         CREATE TRIGGER trap BEFORE INSERT ON openregister_webhooks.migration FOR EACH ROW EXECUTE FUNCTION openregister_webhooks.trap(); \
         CREATE FUNCTION openregister_webhooks.slot() RETURNS integer LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO openregister_webhooks.caught VALUES (current_user); RETURN 0; END'",
    )
    .await
    .unwrap();
    let mut client = db.client().await;
    for attempt in 0..2 {
        let refused = capture::install(&mut client, &options(), |_, _| {}).await;
        let Err(InstallError::Foreign { what, remedy }) = refused else {
            panic!("{attempt}: {refused:?}");
        };
        assert!(what.contains(&format!("the schema itself of {role}")), "{what}");
        assert!(
            remedy.contains("DROP SCHEMA openregister_webhooks CASCADE"),
            "{remedy}"
        );
    }
    for command in [["doctor"], ["install"]] {
        let said = Cli::new(&db.url(NEXTCLOUD)).run(&command).await;
        assert_eq!(said.code, 1, "{said:?}");
        let text = format!("{}{}", said.out, said.err);
        assert!(text.contains(&format!("the schema itself of {role}")), "{text}");
    }
    let caught: i64 = evil
        .query_one("SELECT count(*) FROM openregister_webhooks.caught", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(caught, 0);
    evil.batch_execute("DROP SCHEMA openregister_webhooks CASCADE")
        .await
        .unwrap();
    install(&db, &options()).await;
}

#[tokio::test]
async fn a_stranger_in_our_schema_is_named() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, evil) = evil(&db).await;
    install(&db, &options()).await;
    let client = db.client().await;
    let grant = format!(
        "GRANT USAGE ON SCHEMA openregister_webhooks TO \"{role}\"; GRANT TRIGGER ON openregister_webhooks.change_0 TO \"{role}\""
    );
    client.batch_execute(&grant).await.unwrap();
    evil.batch_execute(
        "CREATE SCHEMA traps; GRANT USAGE ON SCHEMA traps TO PUBLIC; \
         CREATE FUNCTION traps.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER trap BEFORE INSERT ON openregister_webhooks.change_0 FOR EACH ROW EXECUTE FUNCTION traps.trap()",
    )
    .await
    .unwrap();
    let expected = format!("the trigger trap on change_0 of {role}");
    let refused = capture::install(&mut db.client().await, &options(), |_, _| {}).await;
    assert!(refused.unwrap_err().to_string().contains(&expected));
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert!(said.code == 1 && said.out.contains(&expected), "{said:?}");

    client
        .batch_execute("DROP TRIGGER trap ON openregister_webhooks.change_0")
        .await
        .unwrap();
    let create = format!("GRANT CREATE ON SCHEMA openregister_webhooks TO \"{role}\"");
    client.batch_execute(&create).await.unwrap();
    evil.batch_execute("CREATE VIEW openregister_webhooks.mine AS SELECT 1")
        .await
        .unwrap();
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    for expected in [
        format!("the right to create in it of {role}"),
        format!("the relation mine of {role}"),
    ] {
        assert!(said.code == 1 && said.out.contains(&expected), "{said:?}");
    }
}

#[tokio::test]
async fn whoever_takes_our_locks_is_named_and_stops_no_write() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, evil) = evil(&db).await;
    let client = db.client().await;
    install(&db, &options()).await;
    for lock in [LEADER, GATE] {
        evil.execute("SELECT pg_advisory_lock($1)", &[&lock])
            .await
            .unwrap();
    }
    create_object(&client, "written").await;
    let pid: i32 = evil
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    for expected in [
        format!("nobody reads the outbox: {role} (backend {pid},"),
        "holds the doorbell's lock and is not a sidecar".to_owned(),
        format!("SELECT pg_terminate_backend({pid})"),
    ] {
        assert!(said.out.contains(&expected), "{expected}: {said:?}");
    }
    // If another role holds the doorbell's lock, the reader never sleeps and misses nothing.
    evil.execute("SELECT pg_advisory_unlock($1)", &[&LEADER])
        .await
        .unwrap();
    let capture = Capture::start_as(&db, NEXTCLOUD, settings()).await;
    create_object(&client, "another").await;
    capture.until("both", |seen| seen.len() >= 2).await;
    capture.stop().await;
}

/// The log of a running sidecar reports it, too: before the sidecar leads, and while it does.
#[tokio::test]
async fn the_log_names_whoever_takes_our_locks() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, evil) = evil(&db).await;
    install(&db, &options()).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), std::path::Path::new(""))
        .without("ORW_CA_FILE")
        .with("ORW_DISCOVERY_INTERVAL_SECONDS", "1")
        .with("ORW_TARGETS_ALLOW", "0.0.0.0/0")
        .with("ORW_TRUSTED_PROXIES", "::/0")
        .logging_to(&log);
    let pid: i32 = evil
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let told = async |expected: &str| drop(until_contains(&log, expected).await);
    let take = "SELECT pg_advisory_lock($1)";
    evil.execute(take, &[&LEADER]).await.unwrap();
    sidecar.spawn();
    told(&format!("{role} (backend {pid}, ")).await;
    told("holds the leader's lock and is no sidecar").await;
    evil.execute("SELECT pg_advisory_unlock($1)", &[&LEADER])
        .await
        .unwrap();
    sidecar.wait_ready().await;
    evil.execute(
        "SELECT pg_advisory_lock(hashtextextended('openregister_webhooks.enqueue', 0))",
        &[],
    )
    .await
    .unwrap();
    told("holds the queue's lock and is no sidecar").await;
    told(&format!("SELECT pg_terminate_backend({pid})")).await;
    // And settings that let everybody in.
    told("ORW_TARGETS_ALLOW has 0.0.0.0/0").await;
    told("ORW_TRUSTED_PROXIES has ::/0").await;
    sidecar.terminate().await;
}

const LOCKED: &str = "LOCK TABLE openregister_webhooks.change_0, openregister_webhooks.change_1, openregister_webhooks.change_2";

#[tokio::test]
async fn what_is_written_while_every_change_table_is_locked_becomes_a_gap() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let mut dba = scene.db.client_as(DBA).await;
    let lock = dba.transaction().await.unwrap();
    lock.batch_execute(LOCKED).await.unwrap();
    // Nobody waits, and `lastval()` of the session is still its own.
    let sql =
        format!("INSERT INTO {TABLE} (_uuid, _register, _schema) VALUES ('lost', '1', '1') RETURNING _id");
    let id: i64 = scene.client.query_one(&sql, &[]).await.unwrap().get(0);
    let last: i64 = scene
        .client
        .query_one("SELECT lastval()", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(id, last);
    // One transaction of many rows, and one that is rolled back.
    scene
        .client
        .batch_execute(&format!(
            "BEGIN; UPDATE {TABLE} SET _name = 'B'; UPDATE {TABLE} SET _name = 'C'; COMMIT; \
             BEGIN; UPDATE oc_openregister_registers SET title = 'never'; ROLLBACK"
        ))
        .await
        .unwrap();
    lock.rollback().await.unwrap();
    let gaps = "SELECT count(*) = 1 AND bool_and(tbl = 'oc_openregister_table_1_1' AND reason LIKE '2 transactions wrote to it%') \
                FROM openregister_webhooks.gap";
    until_true(&scene.client, "a gap", gaps).await;
    until_true(
        &scene.client,
        "nothing is left of it",
        "SELECT NOT EXISTS (SELECT FROM openregister_webhooks.missed)",
    )
    .await;
    let said = Cli::new(&scene.db.url(NEXTCLOUD)).run(&["doctor"]).await;
    assert!(
        said.out
            .contains("events of oc_openregister_table_1_1 may be missing"),
        "{said:?}"
    );
    assert!(said.out.contains("openregister-webhooks backfill"), "{said:?}");
    // What comes later is captured.
    create_object(&scene.client, "kept").await;
    let changes = scene.capture.all().await;
    assert!(
        changes
            .iter()
            .any(|c| c.new.as_ref().is_some_and(|n| n.contains("kept")))
    );
    scene.capture.stop().await;
}

/// A `DROP SCHEMA` that is taken back: not even the table for losses can be written to.
#[tokio::test]
async fn what_is_written_while_everything_is_locked_is_told_to_the_reader() {
    let scene = Scene::new(Generation::V0_2_13).await;
    // It listens once it sleeps.
    until_true(
        &scene.client,
        "the reader sleeps",
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%')",
    )
    .await;
    let mut dba = scene.db.client_as(DBA).await;
    let drop = dba.transaction().await.unwrap();
    let everything = format!("{LOCKED}, openregister_webhooks.missed");
    drop.batch_execute(&everything).await.unwrap();
    create_object(&scene.client, "lost").await;
    // Long enough for the reader to fail at the locks.
    let refused = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation IN (SELECT oid FROM pg_class WHERE relname LIKE 'change\\__'))";
    until_true(&scene.client, "the reader meets a lock", refused).await;
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation IN (SELECT oid FROM pg_class WHERE relname LIKE 'change\\__'))";
    until_true(&scene.client, "the reader gives up", gone).await;
    create_object(&scene.client, "lost, too").await;
    drop.rollback().await.unwrap();
    until_true(
        &scene.client,
        "a gap",
        "SELECT count(*) >= 1 AND bool_and(tbl = 'oc_openregister_table_1_1' AND reason LIKE '%missed, too%') FROM openregister_webhooks.gap",
    )
    .await;
    scene.capture.stop().await;
}

/// Every role can send any notification: tables that are not captured get no gap for it.
#[tokio::test]
async fn a_stranger_invents_no_tables() {
    let scene = Scene::new(Generation::V0_2_13).await;
    until_true(
        &scene.client,
        "the reader sleeps",
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%')",
    )
    .await;
    let said = "SELECT pg_notify('openregister_webhooks', 'missed oc_openregister_table_9_' || n) FROM generate_series(1, 50) n; \
                SELECT pg_notify('openregister_webhooks', 'missed oc_openregister_table_1_1')";
    scene.client.batch_execute(said).await.unwrap();
    until_true(
        &scene.client,
        "a gap",
        "SELECT EXISTS (SELECT FROM openregister_webhooks.gap)",
    )
    .await;
    let only =
        "SELECT count(*) = 1 AND bool_and(tbl = 'oc_openregister_table_1_1') FROM openregister_webhooks.gap";
    until_true(&scene.client, "that of the table that there is", only).await;
    scene.capture.stop().await;
}

/// The hook puts a trigger back in a session of Nextcloud, and records a gap there: without touching a sequence.
#[tokio::test]
async fn a_gap_that_the_hook_records_leaves_lastval_alone() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db, &options()).await;
    let client = db.client().await;
    client
        .batch_execute(&format!("DROP TRIGGER openregister_webhooks_capture ON {TABLE}"))
        .await
        .unwrap();
    create_object(&client, "x").await;
    let before: i64 = client.query_one("SELECT lastval()", &[]).await.unwrap().get(0);
    // Otherwise a wrong value could be right by chance.
    let moved = format!("SELECT setval(pg_get_serial_sequence('{TABLE}', '_id'), 777)");
    client.batch_execute(&moved).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO oc_appconfig (appid, configkey, configvalue) VALUES ('openregister', 'table_version_1_1', 'x') \
             ON CONFLICT (appid, configkey) DO UPDATE SET configvalue = 'x'",
        )
        .await
        .unwrap();
    let gaps: i64 = client
        .query_one("SELECT count(*) FROM openregister_webhooks.gap", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!((before, gaps), (1, 1));
    let last: i64 = client.query_one("SELECT lastval()", &[]).await.unwrap().get(0);
    assert_eq!(last, 777, "a sequence was touched in the host's session");
}
