//! The host is never harmed: its writes succeed and answer as they would without us, and every one is captured.

use openregister_webhooks::capture::{Op, Origin};
use orw_testkit::Generation;

use crate::support::capture::{Scene, is_audit, is_object, of, ops};
use crate::support::postgres::connect;
use crate::support::rows;

#[tokio::test]
async fn lastval_gives_the_id_of_the_row_and_every_write_is_captured() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let client = &scene.client;
        for table in &scene.tables {
            let id = rows::insert(client, table).await;
            let last: i64 = client.query_one("SELECT lastval()", &[]).await.unwrap().get(0);
            assert_eq!(last, id, "{table}");
            let token = rows::update(client, table, id).await;
            rows::delete(client, table, id).await;
            let changes = scene.capture.all().await;
            let of_table = of(&changes, table);
            if is_audit(table) {
                assert_eq!(ops(&changes, table), [Op::Insert], "{table}");
                continue;
            }
            assert_eq!(
                ops(&changes, table),
                [Op::Insert, Op::Update, Op::Delete],
                "{table}"
            );
            assert_eq!(of_table[0].new, of_table[1].old, "{table}");
            assert_eq!(of_table[1].new, of_table[2].old, "{table}");
            assert!(of_table[1].new.as_ref().unwrap().contains(&token), "{table}");
            assert!(of_table.iter().all(|c| c.origin == Origin::Live), "{table}");
            assert!(of_table.windows(2).all(|w| w[0].key < w[1].key), "{table}");
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn a_role_without_any_right_on_our_schema_writes_as_before() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let role = scene.db.role("writer").await;
        let rights = format!(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
        );
        scene.client.batch_execute(&rights).await.unwrap();
        let stranger = connect(&scene.db.url(&role)).await;
        let refused = stranger.query("SELECT openregister_webhooks.kinds()", &[]).await;
        assert!(refused.is_err(), "it has a right on our schema");
        for table in &scene.tables {
            let id = rows::insert(&stranger, table).await;
            rows::update(&stranger, table, id).await;
            rows::delete(&stranger, table, id).await;
        }
        let changes = scene.capture.all().await;
        for table in &scene.tables {
            let expected = if is_audit(table) { 1 } else { 3 };
            assert_eq!(of(&changes, table).len(), expected, "{table}");
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn json_with_a_nul_is_written_and_captured_byte_for_byte() {
    // White space, order, repeated names and NUL: `json` keeps all of them.
    let document = r#"{ "b":1,  "a" : "x\u0000y\u0000", "b" : 2 , "action":"read"}"#;
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let client = &scene.client;
        let mut tried = 0;
        for table in &scene.tables {
            let columns = rows::columns(client, table).await;
            let key = rows::key(client, table).await;
            for column in columns.iter().filter(|c| c.kind == "json") {
                let id = rows::insert(client, table).await;
                let name = column.quoted();
                if is_audit(table) {
                    // Only its INSERTs are captured.
                    let copied: Vec<String> = columns
                        .iter()
                        .filter(|c| !c.serial)
                        .map(rows::Column::quoted)
                        .collect();
                    let values: Vec<String> = copied
                        .iter()
                        .map(|c| {
                            if *c == name {
                                "$1::text::json".to_owned()
                            } else {
                                c.clone()
                            }
                        })
                        .collect();
                    let insert = format!(
                        "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {key} = {id}",
                        copied.join(", "),
                        values.join(", ")
                    );
                    client.execute(&insert, &[&document]).await.unwrap();
                } else {
                    let update = format!("UPDATE {table} SET {name} = $1::text::json WHERE {key} = {id}");
                    client.execute(&update, &[&document]).await.unwrap();
                }
                let changes = scene.capture.all().await;
                let last = of(&changes, table).last().unwrap().new.clone().unwrap();
                let expected = format!("\"{}\":{document}", column.name);
                assert!(last.contains(&expected), "{table}.{}: {last}", column.name);
                tried += 1;
            }
        }
        assert!(tried > 20, "{tried} json columns");
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn an_audit_row_of_a_read_is_not_captured() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let insert = "INSERT INTO oc_openregister_audit_trails (uuid, object, action, changed, \"user\", user_name, session, created) \
                  VALUES ($1, 1, $2, $3::text::json, 'u', 'u', 's', now()::timestamp)";
    let rows = [
        ("read-1", "read", r#"{"a":"\u0000"}"#),
        ("lock-1", "lock", r#"{"a":"\u0000"}"#),
        // Everything but the decisive column looks like a read.
        (
            "\"action\":\"read\"",
            "update",
            r#"{"action":"read","changed":{}}"#,
        ),
    ];
    for (uuid, action, changed) in rows {
        scene
            .client
            .execute(insert, &[&uuid, &action, &changed])
            .await
            .unwrap();
    }
    let changes = scene.capture.all().await;
    let audits = of(&changes, "oc_openregister_audit_trails");
    assert_eq!(audits.len(), 2, "{audits:?}");
    assert!(audits[0].new.as_ref().unwrap().contains("\"action\":\"lock\""));
    assert!(audits[0].new.as_ref().unwrap().contains(r#"{"a":"\u0000"}"#));
    assert!(audits[1].new.as_ref().unwrap().contains("\"action\":\"update\""));
    scene.capture.stop().await;
}

#[tokio::test]
async fn an_update_without_a_difference_is_captured_for_objects_alone() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        for table in &scene.tables {
            let id = rows::insert(&scene.client, table).await;
            let (key, column) = (
                rows::key(&scene.client, table).await,
                rows::text_column(&scene.client, table).await,
            );
            let update = format!("UPDATE {table} SET {column} = {column} WHERE {key} = {id}");
            assert_eq!(scene.client.execute(&update, &[]).await.unwrap(), 1);
            let changes = scene.capture.all().await;
            if is_object(table) {
                assert_eq!(ops(&changes, table), [Op::Insert, Op::Unchanged], "{table}");
                let of_table = of(&changes, table);
                assert_eq!(of_table[1].new, of_table[0].new, "{table}");
                assert_eq!(of_table[1].old, None, "{table}");
            } else {
                assert_eq!(ops(&changes, table), [Op::Insert], "{table}");
            }
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn every_row_of_a_statement_is_captured_with_a_key_of_its_own() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let table = "oc_openregister_table_1_1";
    let client = &scene.client;
    let statements = [
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, age) \
         SELECT 'u' || i, '1', '1', i FROM generate_series(1, 3000) i",
        "UPDATE oc_openregister_table_1_1 SET age = age + 1",
        "INSERT INTO oc_openregister_table_1_1 AS t (_uuid, _register, _schema, age) \
         SELECT 'u' || i, '1', '1', 0 FROM generate_series(2001, 4000) i \
         ON CONFLICT (_uuid) DO UPDATE SET age = t.age + 1",
        "WITH gone AS (DELETE FROM oc_openregister_table_1_1 WHERE age > 2000 RETURNING _uuid) \
         UPDATE oc_openregister_table_1_1 SET age = -1 WHERE _uuid = 'u1' AND (SELECT count(*) FROM gone) > 0",
    ];
    for statement in &statements {
        client.execute(*statement, &[]).await.unwrap();
    }
    let changes = scene.capture.all().await;
    let changes = of(&changes, table);
    let count = |op: Op| changes.iter().filter(|c| c.op == op).count();
    assert_eq!(count(Op::Insert), 3000 + 1000);
    assert_eq!(count(Op::Update), 3000 + 1000 + 1);
    // 2001..=3000 were raised twice, hence above 2000; so was 2000 once.
    assert_eq!(count(Op::Delete), 1001);
    let mut keys: Vec<_> = changes.iter().map(|c| c.key).collect();
    assert!(keys.is_sorted());
    keys.dedup();
    assert_eq!(keys.len(), changes.len());
    scene.capture.stop().await;
}

#[tokio::test]
async fn replication_roles_write_without_us() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let dba = scene.db.client_as(crate::support::postgres::DBA).await;
    dba.batch_execute("SET session_replication_role = replica")
        .await
        .unwrap();
    for table in &scene.tables {
        let id = rows::insert(&dba, table).await;
        rows::update(&dba, table, id).await;
        rows::delete(&dba, table, id).await;
    }
    // Changes that replication applies were events where they were written, not here.
    assert_eq!(scene.capture.all().await.len(), 0);
    scene.capture.stop().await;
}
