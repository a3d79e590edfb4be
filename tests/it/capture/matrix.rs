//! What `make test-matrix` runs on every supported PostgreSQL: install, capture, uninstall, in both generations.

use std::time::Duration;

use openregister_webhooks::capture::{Change, Decision, InstallOptions, Op, install, uninstall};
use openregister_webhooks::config::Settings;
use openregister_webhooks::database::Database;
use openregister_webhooks::doctor::{self, Level};
use openregister_webhooks::pipeline::adopt;
use orw_model::EntityKind;
use orw_testkit::Generation;
use orw_testkit::writer::{Place, Row, Writer};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::recorder::{Capture, Plan};

/// The catalogs without what concerns the whole server; equal before and after if nothing is left behind.
const CATALOGS: &str = "
    SELECT 'table ' || schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
              WHERE nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 'rights ' || oid::regclass || coalesce(relacl::text, '') FROM pg_class
              WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'type ' || typname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
              WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1";

async fn catalogs(client: &Client) -> Vec<String> {
    client
        .query(CATALOGS, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn ada(age: i64) -> Row {
    json!({"name": "Ada", "age": age}).as_object().unwrap().clone()
}

#[tokio::test]
async fn matrix_install_capture_uninstall() {
    for generation in Generation::ALL {
        let db = Db::openregister(generation).await;
        let mut client = db.client().await;
        let before = catalogs(&client).await;
        let options = InstallOptions {
            table_prefix: "oc_".to_owned(),
            runtime_role: None,
            capture_all: true,
        };
        let installed = install(&mut client, &options, |_, _| {}).await.unwrap();
        assert!(installed.busy.is_empty(), "{installed:?}");

        let writer = Writer::connect(&db.url(NEXTCLOUD), generation).await.unwrap();
        let object = writer.create(Place::PEOPLE, &ada(36)).await.unwrap();
        writer.put(&object, &ada(37)).await.unwrap();
        writer.soft_delete(&object).await.unwrap();
        writer.purge(&object).await.unwrap();
        let agent = writer.create_entity(EntityKind::Agent, "First").await.unwrap();
        writer.update_entity(&agent, "Second").await.unwrap();
        writer.delete_entity(&agent).await.unwrap();
        let captured = "SELECT string_agg(c.op::text, '' ORDER BY c.lsn, c.xid, c.ordinal) \
                        FROM openregister_webhooks.change c WHERE c.tbl LIKE $1";
        for (table, expected) in [
            (
                if generation == Generation::V0_2_13 {
                    "%table_1_1"
                } else {
                    "%objects"
                },
                5,
            ),
            ("%agents", 3),
        ] {
            let ops: String = client.query_one(captured, &[&table]).await.unwrap().get(0);
            assert_eq!(ops.len(), expected, "{generation} {table}: {ops}");
        }
        if generation == Generation::V0_2_13 {
            let place = Place {
                register: 7,
                schema: 9,
            };
            writer
                .create_first(place, "name text, age integer", &ada(1))
                .await
                .unwrap();
            let first: String = client.query_one(captured, &[&"%table_7_9"]).await.unwrap().get(0);
            assert_eq!(first.len(), 1);
            client
                .batch_execute("DROP TABLE oc_openregister_table_7_9")
                .await
                .unwrap();
        }

        uninstall(&client, |_, _| {}).await.unwrap();
        assert_eq!(catalogs(&client).await, before, "{generation}");
        writer.create(Place::PEOPLE, &ada(38)).await.unwrap();
    }
}

/// Installs everything; the sidecar is to run as `role`.
async fn prepare(db: &Db, role: Option<&str>) {
    let options = InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: role.map(str::to_owned),
        capture_all: true,
    };
    install(&mut db.client().await, &options, |_, _| {})
        .await
        .unwrap();
}

/// The operations on a table, in the order in which they were read.
fn operations(changes: &[Change], table: &str) -> Vec<Op> {
    let of_table = changes.iter().filter(|change| change.table.name() == table);
    of_table.map(|change| change.op).collect()
}

#[tokio::test]
async fn matrix_a_role_with_few_rights_reads_every_commit() {
    let db = Db::openregister_0_2_13().await;
    let role = db.role("sidecar").await;
    prepare(&db, Some(&role)).await;
    let capture = Capture::start(&db.url(&role), Plan::default());
    let (first, second) = (db.client().await, db.client().await);

    // The one that writes first commits last; a savepoint is rolled back, and so is a whole transaction.
    first
        .batch_execute("BEGIN; INSERT INTO oc_openregister_registers (uuid, title) VALUES ('r', 'one'); SAVEPOINT s; \
                        UPDATE oc_openregister_registers SET title = 'undone' WHERE title = 'one'; ROLLBACK TO s")
        .await
        .unwrap();
    second
        .batch_execute("INSERT INTO oc_openregister_agents (uuid, name, created, updated) VALUES ('a', 'two', now(), now())")
        .await
        .unwrap();
    capture
        .until(|seen| operations(seen, "openregister_agents") == [Op::Insert])
        .await;
    first.batch_execute("COMMIT").await.unwrap();
    second
        .batch_execute("BEGIN; DELETE FROM oc_openregister_agents; ROLLBACK")
        .await
        .unwrap();
    // An UPDATE that changes nothing is kept for objects alone, where it may be a lock.
    second
        .batch_execute("UPDATE oc_openregister_registers SET title = title; \
                        INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) VALUES ('o', '1', '1', 'Ada'); \
                        UPDATE oc_openregister_table_1_1 SET name = name WHERE _uuid = 'o'; \
                        DELETE FROM oc_openregister_table_1_1 WHERE _uuid = 'o'")
        .await
        .unwrap();
    let seen = capture
        .until(|seen| operations(seen, "openregister_table_1_1").len() == 3)
        .await;
    assert_eq!(
        operations(&seen, "openregister_table_1_1"),
        [Op::Insert, Op::Unchanged, Op::Delete]
    );
    assert_eq!(operations(&seen, "openregister_registers"), [Op::Insert]);
    assert_eq!(operations(&seen, "openregister_agents"), [Op::Insert]);

    // A table that appears: its first row, written at once.
    let writer = Writer::connect(&db.url(NEXTCLOUD), Generation::V0_2_13)
        .await
        .unwrap();
    let place = Place {
        register: 7,
        schema: 9,
    };
    writer
        .create_first(place, "name text, age integer", &ada(1))
        .await
        .unwrap();
    let seen = capture
        .until(|seen| !operations(seen, "openregister_table_7_9").is_empty())
        .await;
    assert_eq!(operations(&seen, "openregister_table_7_9"), [Op::Insert]);
    let settings = Settings::new(db.url(&role));
    let database = Database::new(&settings.database_url, orw_egress::client_config(None).unwrap()).unwrap();
    let report = doctor::examine(&database, &settings).await;
    assert!(report.worst() <= Level::Note, "{report:#?}");
}

#[tokio::test]
async fn matrix_the_outbox_is_emptied() {
    let db = Db::openregister_0_2_13().await;
    let role = db.role("sidecar").await;
    prepare(&db, Some(&role)).await;
    let capture = Capture::start(&db.url(&role), Plan::default());
    let client = db.client().await;
    // More than one table is allowed to grow to.
    let many = "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, name) \
                SELECT g::text, '1', '1', repeat(md5(g::text), 20) FROM generate_series(1, 10000) g";
    client.batch_execute(many).await.unwrap();
    capture.until(|seen| seen.len() == 10_000).await;
    let sizes = "SELECT pg_relation_size('openregister_webhooks.change_0') + pg_relation_size('openregister_webhooks.change_1') \
                 + pg_relation_size('openregister_webhooks.change_2'), openregister_webhooks.slot()";
    loop {
        let row = client.query_one(sizes, &[]).await.unwrap();
        if row.get::<_, i64>(0) == 0 {
            assert_eq!(row.get::<_, i32>(1), 1, "writers use the next table");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let after = "UPDATE oc_openregister_table_1_1 SET name = 'after' WHERE _uuid = '1'";
    client.batch_execute(after).await.unwrap();
    let seen = capture.until(|seen| seen.len() > 10_000).await;
    assert_eq!(seen.last().unwrap().op, Op::Update);
}

#[tokio::test]
async fn matrix_a_role_with_few_rights_adopts() {
    let db = Db::openregister_0_2_13().await;
    let role = db.role("sidecar").await;
    prepare(&db, Some(&role)).await;
    let client = db.client().await;
    client
        .batch_execute(
            "UPDATE oc_openregister_registers SET title = 'before'; \
             INSERT INTO openregister_webhooks.position_0 (n, snapshot, system_identifier, database_oid) VALUES (1, '9:9:', 1, 1)",
        )
        .await
        .unwrap();
    let mut runner = db.client_as(&role).await;
    let adopted = adopt(&mut runner, Decision::Deliver, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(adopted.changes, 1);
    client
        .batch_execute("UPDATE oc_openregister_registers SET title = 'after'")
        .await
        .unwrap();
    let capture = Capture::start(&db.url(&role), Plan::default());
    let seen = capture.until(|seen| seen.len() == 2).await;
    assert!(seen[0].new.as_deref().unwrap().contains("before"), "{seen:?}");
    assert!(seen[1].new.as_deref().unwrap().contains("after"), "{seen:?}");
}
