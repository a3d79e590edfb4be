//! Upgrades of OpenRegister work while triggers are installed: ALTER, TRUNCATE, DROP and CREATE; later writes are captured.

use openregister_webhooks::capture::Op;
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{Scene, is_audit, of, ops};
use crate::support::rows;

async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Inserts a row and expects that this alone was captured since `before`; gives its image.
async fn captured_insert(scene: &Scene, client: &Client, table: &str) -> String {
    let before = of(&scene.capture.all().await, table).len();
    let insertion = rows::insertion(client, table, &rows::token()).await;
    run(client, &insertion).await;
    let changes = scene.capture.all().await;
    let new = &of(&changes, table)[before..];
    assert_eq!(new.len(), 1, "{insertion}");
    assert_eq!(new[0].op, Op::Insert);
    new[0].new.clone().unwrap()
}

#[tokio::test]
async fn every_column_of_every_table_may_be_added_retyped_renamed_and_dropped() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        // Its plans and its compiled trigger are warm throughout.
        let writer = scene.db.client().await;
        for table in &scene.tables {
            captured_insert(&scene, &writer, table).await;
            run(&scene.client, &format!("ALTER TABLE {table} ADD added_one text, ADD added_two json DEFAULT '{{\"d\":1}}' NOT NULL")).await;
            let image = captured_insert(&scene, &writer, table).await;
            assert!(
                image.contains("\"added_one\":\"t") && image.contains("\"added_two\":{\"is\":"),
                "{image}"
            );

            run(
                &scene.client,
                &format!("ALTER TABLE {table} RENAME added_one TO renamed"),
            )
            .await;
            let image = captured_insert(&scene, &writer, table).await;
            assert!(
                image.contains("\"renamed\":\"t") && !image.contains("added_one"),
                "{image}"
            );

            // Text has no place in an index of JSON.
            let gin = "SELECT string_agg('DROP INDEX ' || indexrelid::regclass, '; ') FROM pg_index i \
                       JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam \
                       WHERE indrelid = $1::text::regclass AND amname = 'gin'";
            let gin: Option<String> = scene.client.query_one(gin, &[table]).await.unwrap().get(0);
            run(&scene.client, &gin.unwrap_or_default()).await;
            for column in rows::columns(&scene.client, table).await {
                let name = column.quoted();
                // The rest of the row may depend on the key.
                if !column.serial {
                    let retype = format!(
                        "ALTER TABLE {table} ALTER {name} DROP DEFAULT, ALTER {name} TYPE text USING {name}::text"
                    );
                    run(&scene.client, &retype).await;
                }
            }
            let image = captured_insert(&scene, &writer, table).await;
            assert!(image.contains("\"added_two\":\"t"), "{image}");

            let before = of(&scene.capture.all().await, table).len();
            let mut columns = rows::columns(&scene.client, table).await;
            columns.retain(|column| !column.serial);
            for column in &columns {
                let name = column.quoted();
                run(
                    &scene.client,
                    &format!("ALTER TABLE {table} ALTER {name} DROP NOT NULL"),
                )
                .await;
            }
            for column in &columns {
                let name = column.quoted();
                run(&scene.client, &format!("ALTER TABLE {table} DROP {name}")).await;
                run(&writer, &format!("INSERT INTO {table} DEFAULT VALUES")).await;
            }
            let dropped = scene.capture.all().await;
            assert_eq!(of(&dropped, table).len() - before, columns.len(), "{table}");
            let last = of(&dropped, table).last().unwrap().new.clone().unwrap();
            assert!(!last.contains(','), "only the key is left: {last}");
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn an_upgrade_in_one_transaction_with_its_writes_is_captured() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        for table in &scene.tables {
            let id = rows::insert(&scene.client, table).await;
            let key = rows::key(&scene.client, table).await;
            let upgrade = format!(
                "BEGIN; UPDATE {table} SET {key} = {key} + 1000 WHERE {key} = {id}; SET CONSTRAINTS ALL IMMEDIATE; \
                 ALTER TABLE {table} ADD extra integer DEFAULT 5; ALTER TABLE {table} ALTER extra TYPE text; \
                 UPDATE {table} SET extra = 'six' WHERE {key} = {id} + 1000; \
                 ALTER TABLE {table} DROP extra; DELETE FROM {table} WHERE {key} = {id} + 1000; COMMIT"
            );
            run(&scene.client, &upgrade).await;
            let changes = scene.capture.all().await;
            let expected: &[Op] = if is_audit(table) {
                &[Op::Insert]
            } else {
                &[Op::Insert, Op::Update, Op::Update, Op::Delete]
            };
            assert_eq!(ops(&changes, table), expected, "{table}");
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn truncate_drop_and_create_again() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let writer = scene.db.client().await;
        for table in &scene.tables {
            captured_insert(&scene, &writer, table).await;
            run(&scene.client, &format!("TRUNCATE {table}")).await;
            captured_insert(&scene, &writer, table).await;

            let copy = format!(
                "CREATE TABLE made_again (LIKE {table} INCLUDING ALL); DROP TABLE {table} CASCADE; \
                 ALTER TABLE made_again RENAME TO {table}"
            );
            let key = rows::key(&scene.client, table).await;
            run(
                &scene.client,
                &copy.replace(
                    "DROP TABLE",
                    &format!("ALTER TABLE made_again ALTER {key} DROP DEFAULT; DROP TABLE"),
                ),
            )
            .await;
            run(&scene.client, &format!(
                "CREATE SEQUENCE {table}_again; ALTER TABLE {table} ALTER {key} SET DEFAULT nextval('{table}_again')"
            ))
            .await;
            // New under its old name: discovered, and what is in it by then is new as well.
            let before = of(&scene.capture.all().await, table).len();
            let id = rows::insert(&writer, table).await;
            let expected = if is_audit(table) { before } else { before + 1 };
            let changes = scene
                .capture
                .until("the first row of the new table", |seen| {
                    of(seen, table).len() >= expected
                })
                .await;
            if !is_audit(table) {
                let found = of(&changes, table)[before];
                assert_eq!(found.op, Op::Insert, "{table}");
                assert!(
                    found.new.as_ref().unwrap().contains(&format!("{id},")),
                    "{found:?}"
                );
            }
            let attached =
                format!("SELECT attached FROM openregister_webhooks.capturable() WHERE tbl = '{table}'");
            while !scene
                .client
                .query_one(&attached, &[])
                .await
                .unwrap()
                .get::<_, bool>(0)
            {
                tokio::task::yield_now().await;
            }
            captured_insert(&scene, &writer, table).await;
        }
        scene.capture.stop().await;
    }
}
