//! A table that is not Nextcloud's own is never read with the sidecar's rights, whatever its name is and whatever happened to the
//! table that had the name before.

use openregister_webhooks::capture;
use orw_testkit::Generation;
use tokio_postgres::Client;

use super::rig::{Reading, Rig, install};
use crate::support::capture::options;
use crate::support::cli::Cli;
use crate::support::postgres::{DBA, Db, NEXTCLOUD};

const TABLE: &str = "oc_openregister_table_1_1";
const TRAP: &str = "oc_openregister_table_66_66";
/// The key of the lock that the stranger's function takes. A session keeps it, also where its transaction only reads or fails.
const CAUGHT: i32 = 666_001;

/// What a stranger may give the name of a magic table. Each runs `traps.spring` with the rights of whoever reads it.
const TRAPS: [(&str, &str); 4] = [
    (
        "a table with row security",
        "CREATE TABLE {name} (LIKE oc_openregister_table_1_1 INCLUDING ALL); \
         INSERT INTO {name} (_id, _uuid, _register, _schema, _owner, _name) VALUES (1, 'one', '66', '66', 'eve', 'A'); \
         ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY trap ON {name} USING (traps.spring())",
    ),
    (
        "a view",
        "CREATE TABLE {name}_rows AS SELECT * FROM oc_openregister_table_1_1 WITH NO DATA; \
         INSERT INTO {name}_rows DEFAULT VALUES; \
         CREATE VIEW {name} AS SELECT * FROM {name}_rows WHERE traps.spring()",
    ),
    (
        "a partitioned table",
        "CREATE TABLE {name} (LIKE oc_openregister_table_1_1) PARTITION BY LIST (_uuid); \
         CREATE TABLE {name}_x PARTITION OF {name} DEFAULT; \
         INSERT INTO {name} (_id, _uuid, _register, _schema, _owner, _name) VALUES (1, 'one', '66', '66', 'eve', 'A'); \
         ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY trap ON {name} USING (traps.spring())",
    ),
    (
        "a table whose index has a condition that is computed when a query is planned",
        "CREATE TABLE {name} (LIKE oc_openregister_table_1_1 INCLUDING ALL); \
         CREATE INDEX ON {name} (_uuid) WHERE traps.spring_at_once()",
    ),
];

/// A role that may create in the schema of Nextcloud's tables, as every role may on PostgreSQL 14, and its connection.
async fn eve(db: &Db) -> (String, Client) {
    let role = db.role("eve").await;
    let dba = db.client_as(DBA).await;
    dba.batch_execute(&format!(
        "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"; \
         GRANT SELECT ON {TABLE} TO \"{role}\"",
        db.name()
    ))
    .await
    .unwrap();
    let client = db.client_as(&role).await;
    client
        .batch_execute(&format!(
            "CREATE SCHEMA traps; GRANT USAGE ON SCHEMA traps TO PUBLIC; \
             CREATE FUNCTION traps.spring() RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS \
                 'BEGIN IF current_user <> ''{role}'' THEN PERFORM pg_catalog.pg_advisory_lock({CAUGHT}); END IF; RETURN true; END'; \
             CREATE FUNCTION traps.spring_at_once() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \
                 'BEGIN IF current_user <> ''{role}'' THEN PERFORM pg_catalog.pg_advisory_lock({CAUGHT}); END IF; RETURN true; END'"
        ))
        .await
        .unwrap();
    (role, client)
}

async fn set(eve: &Client, trap: &str, name: &str) {
    let sql = format!(
        "{}; GRANT SELECT ON {name} TO PUBLIC",
        trap.replace("{name}", name)
    );
    eve.batch_execute(&sql).await.unwrap();
}

/// Who ran the stranger's function; each such session is still there.
async fn caught(client: &Client) -> Vec<String> {
    let sql = format!(
        "SELECT a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database \
         WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = {CAUGHT}"
    );
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn create_object(client: &Client, uuid: &str) {
    let sql = format!(
        "INSERT INTO {TABLE} (_uuid, _register, _schema, _owner, _name) VALUES ('{uuid}', '1', '1', 'admin', 'A')"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_magic_table_of_a_stranger_is_not_read() {
    for (what, trap) in TRAPS {
        let db = Db::openregister(Generation::V0_2_13).await;
        install(&db).await;
        let (_, eve) = eve(&db).await;
        let client = db.client().await;
        set(&eve, trap, TRAP).await;
        // Proof that the trap works: the test sees it when it is sprung.
        let proof = db.client().await;
        proof
            .query(&format!("SELECT FROM {TRAP} WHERE _uuid = 'one'"), &[])
            .await
            .unwrap();
        assert_eq!(caught(&client).await.len(), 1, "{what}");
        proof
            .execute("SELECT pg_advisory_unlock_all()", &[])
            .await
            .unwrap();

        let mut rig = Rig::start(db, Reading::NORMAL);
        create_object(&client, "one").await;
        let events = rig.wait(|events| !events.is_empty()).await;
        assert_eq!(events[0].class.to_string(), "ObjectCreatedEvent", "{what}");
        assert_eq!(caught(&client).await, Vec::<String>::new(), "{what}");
        drop(rig.stop().await);
    }
}

/// Tables that Nextcloud has for sure, that its owner drops, as an app that is removed does, and a stranger makes anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_table_of_a_stranger_is_read() {
    for name in [
        "oc_accounts",
        "oc_group_user",
        "oc_users",
        "oc_openregister_registers",
        "oc_openregister_schemas",
        "oc_openregister_objects",
        "oc_openregister_audit_trails",
    ] {
        let db = Db::openregister(Generation::V0_2_13).await;
        install(&db).await;
        let (_, eve) = eve(&db).await;
        let client = db.client().await;
        // A row of nothing, which the stranger's function sees before any other condition is looked at.
        client
            .batch_execute(&format!("GRANT SELECT ON {name} TO PUBLIC"))
            .await
            .unwrap();
        eve.batch_execute(&format!(
            "CREATE TABLE traps.rows AS SELECT * FROM {name} WITH NO DATA; INSERT INTO traps.rows DEFAULT VALUES"
        ))
        .await
        .unwrap();
        client.batch_execute(&format!("DROP TABLE {name}")).await.unwrap();
        set(
            &eve,
            "CREATE VIEW {name} AS SELECT * FROM traps.rows WHERE traps.spring()",
            name,
        )
        .await;

        let mut rig = Rig::start(db, Reading::NORMAL);
        create_object(&client, "one").await;
        client
            .batch_execute(&format!("UPDATE {TABLE} SET _name = 'B'"))
            .await
            .unwrap();
        let events = rig.wait(|events| events.len() == 2).await;
        assert_eq!(events[0].class.to_string(), "ObjectCreatedEvent", "{name}");
        assert_eq!(caught(&client).await, Vec::<String>::new(), "{name}");
        drop(rig.stop().await);
    }
}

/// The name goes from Nextcloud's table to a stranger's and back while objects are created: there is no moment between the
/// check and the read at which the stranger's could be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_replaced_by_a_strangers_is_not_read() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db).await;
    let (_, eve) = eve(&db).await;
    let client = db.client().await;
    let (owner, maker) = (db.client().await, db.client().await);
    let mut rig = Rig::start(db, Reading::NORMAL);
    let mut objects = 0;
    for round in 0..40 {
        let create = format!("CREATE TABLE {TRAP} (LIKE {TABLE} INCLUDING ALL)");
        owner.batch_execute(&create).await.unwrap();
        create_object(&maker, &format!("a{round}")).await;
        owner.batch_execute(&format!("DROP TABLE {TRAP}")).await.unwrap();
        // Not waited for: what is looked up for the object meets any of the steps.
        create_object(&maker, &format!("b{round}")).await;
        let (_, trap) = TRAPS[round % TRAPS.len()];
        set(&eve, trap, TRAP).await;
        create_object(&maker, &format!("c{round}")).await;
        objects += 3;
        if round % 2 == 0 {
            rig.wait(|events| events.len() >= objects).await;
        }
        let kind = if trap.contains("CREATE VIEW") {
            "VIEW"
        } else {
            "TABLE"
        };
        eve.batch_execute(&format!("DROP {kind} {TRAP}; DROP TABLE IF EXISTS {TRAP}_rows"))
            .await
            .unwrap();
    }
    let events = rig.wait(|events| events.len() >= objects).await;
    let created = |class: &str| class == "ObjectCreatedEvent";
    assert!(events.iter().all(|event| created(&event.class.to_string())));
    assert_eq!(caught(&client).await, Vec::<String>::new());
    drop(rig.stop().await);
}

/// A table that is held keeps its name until the transaction ends.
#[tokio::test]
async fn the_name_of_a_table_that_is_held_cannot_be_given_to_another() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db).await;
    let (_, eve) = eve(&db).await;
    set(&eve, TRAPS[0].1, TRAP).await;
    let mut reader = db.client().await;
    let hold = "SELECT openregister_webhooks.hold($1)";
    for (name, why) in [
        (TRAP, "no table of Nextcloud's own"),
        ("oc_openregister_table_9_9", "does not exist"),
        ("pg_authid", "does not exist"),
    ] {
        let tx = reader.transaction().await.unwrap();
        let refused = tx.query(hold, &[&vec![name]]).await.unwrap_err();
        let refused = refused.as_db_error().unwrap();
        assert_eq!(refused.code().code(), "42P01", "{refused:?}");
        assert!(refused.message().contains(why), "{refused:?}");
    }
    let tx = reader.transaction().await.unwrap();
    tx.query(hold, &[&vec![TABLE]]).await.unwrap();
    let owner = db.client().await;
    owner.batch_execute("SET lock_timeout = '100ms'").await.unwrap();
    for change in [
        format!("DROP TABLE {TABLE}"),
        format!("ALTER TABLE {TABLE} RENAME TO other"),
        format!("ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY"),
    ] {
        let refused = owner.batch_execute(&change).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55P03", "{change}");
    }
    // Writers are not affected.
    create_object(&owner, "written").await;
}

#[tokio::test]
async fn a_stranger_s_table_is_neither_captured_nor_granted_and_doctor_names_it() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let (role, eve) = eve(&db).await;
    for (n, (_, trap)) in TRAPS.iter().enumerate() {
        set(&eve, trap, &format!("oc_openregister_table_66_{n}")).await;
    }
    let (runtime, client) = (db.role("runtime").await, db.client().await);
    let mut options = options();
    options.runtime_role = Some(runtime);
    let installed = capture::install(&mut db.client().await, &options, |_, _| {})
        .await
        .unwrap();
    let strange = |table: &String| table.contains("_66_");
    assert!(!installed.captured.iter().chain(&installed.busy).any(strange));
    for sql in [
        "SELECT openregister_webhooks.attach('oc_openregister_table_66_0')::text",
        "SELECT openregister_webhooks.grant_lookup('oc_openregister_table_66_0')::text",
    ] {
        client.query(sql, &[]).await.unwrap();
    }
    let left: i64 = client
        .query_one(
            "SELECT (SELECT count(*) FROM openregister_webhooks.captured_table WHERE tbl LIKE '%\\_66\\_%') \
                  + (SELECT count(*) FROM openregister_webhooks.granted WHERE tbl LIKE '%\\_66\\_%')",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
    assert_eq!(caught(&client).await, Vec::<String>::new());

    // The name of another role's trigger does not keep us from uninstalling.
    eve.batch_execute(
        "CREATE FUNCTION traps.trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER openregister_webhooks_capture BEFORE INSERT ON oc_openregister_table_66_0 FOR EACH ROW EXECUTE FUNCTION traps.trigger()",
    )
    .await
    .unwrap();
    let said = Cli::new(&db.url(NEXTCLOUD)).run(&["doctor"]).await;
    for n in 0..TRAPS.len() {
        let expected =
            format!("public.oc_openregister_table_66_{n} is not Nextcloud's: it belongs to {role}");
        assert!(said.out.contains(&expected), "{expected}: {said:?}");
    }
    assert!(!said.out.contains("OWNER TO"), "{said:?}");
    assert!(!said.out.contains("ENABLE TRIGGER"), "{said:?}");
    let gone = Cli::new(&db.url(NEXTCLOUD)).run(&["uninstall", "--yes"]).await;
    assert_eq!(gone.code, 0, "{gone:?}");
}
