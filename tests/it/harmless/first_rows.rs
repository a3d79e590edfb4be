//! Tables that appear while the system runs: captured from their first row.

use openregister_webhooks::capture::{Op, Origin};
use orw_testkit::Generation;
use orw_testkit::writer::{Place, Writer};
use serde_json::json;
use tokio_postgres::Client;

use crate::support::capture::{Scene, of, ops};
use crate::support::postgres::NEXTCLOUD;

const fn place(register: i64) -> Place {
    Place { register, schema: 1 }
}

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_first_row_of_two_hundred_tables_in_a_row() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        // Objects go to tables of their own in either generation, where a register asks for it.
        let writer = Writer::connect(&scene.db.url(NEXTCLOUD), Generation::V0_2_13)
            .await
            .unwrap();
        let properties = json!({"name": "first"});
        for register in 1000..1200 {
            writer
                .create_first(place(register), "name text", properties.as_object().unwrap())
                .await
                .unwrap();
        }
        let changes = scene.capture.all().await;
        for register in 1000..1200 {
            let table = place(register).table();
            let of_table = of(&changes, &table);
            assert_eq!(ops(&changes, &table), [Op::Insert], "{table}");
            assert_eq!(of_table[0].origin, Origin::Live, "{table}");
        }
        let gaps = count(&scene.client, "SELECT count(*) FROM openregister_webhooks.gap").await;
        assert_eq!(gaps, 0);
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn a_table_that_is_not_announced_is_discovered() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let table = place(2000).table();
    let writer = Writer::connect(&scene.db.url(NEXTCLOUD), Generation::V0_2_13)
        .await
        .unwrap();
    // In one transaction, so that discovery cannot come between the table and its first row.
    writer.client().batch_execute("BEGIN").await.unwrap();
    writer.create_table(place(2000), "name text").await.unwrap();
    let properties = json!({"name": "first"});
    let object = writer
        .create(place(2000), properties.as_object().unwrap())
        .await
        .unwrap();
    writer.client().batch_execute("COMMIT").await.unwrap();
    // Written all the while; whatever comes before the discovery is in what it finds, whatever comes after is live.
    let update = format!(
        "UPDATE {table} SET name = name || '.' WHERE _uuid = '{}'",
        object.uuid
    );
    let mut updates = 0;
    while of(&scene.capture.seen(), &table).is_empty() {
        scene.client.batch_execute(&update).await.unwrap();
        updates += 1;
        assert!(updates < 100_000, "not discovered");
    }
    scene.client.batch_execute(&update).await.unwrap();
    updates += 1;
    let changes = scene.capture.all().await;
    let of_table = of(&changes, &table);
    assert_eq!(
        (of_table[0].op, of_table[0].origin),
        (Op::Insert, Origin::Discovered)
    );
    for pair in of_table.windows(2) {
        assert_eq!((pair[1].op, pair[1].origin), (Op::Update, Origin::Live));
        assert_eq!(pair[0].new, pair[1].old, "nothing lies between");
    }
    let last = of_table.last().unwrap().new.as_ref().unwrap();
    assert!(
        last.contains(&format!("\"first{}\"", ".".repeat(updates))),
        "{updates}: {last}"
    );
    scene.capture.stop().await;
}

#[tokio::test]
async fn many_rows_in_a_table_that_appears_are_a_gap() {
    let scene = Scene::new(Generation::V0_2_13).await;
    for (name, rows) in [
        ("oc_openregister_table_2001_1", 300),
        ("oc_openregister_table_2002_1", 10_001),
    ] {
        let create = format!(
            "BEGIN; CREATE TABLE {name} (_id bigserial PRIMARY KEY, _uuid text); \
             INSERT INTO {name} (_uuid) SELECT 'u' || i FROM generate_series(1, {rows}) i; COMMIT"
        );
        scene.client.batch_execute(&create).await.unwrap();
    }
    let known = "SELECT count(*) FROM openregister_webhooks.captured_table WHERE tbl LIKE 'oc_openregister_table_200_\\_1'";
    while count(&scene.client, known).await < 2 {
        tokio::task::yield_now().await;
    }
    let changes = scene.capture.all().await;
    assert_eq!(of(&changes, "oc_openregister_table_2001_1").len(), 300);
    assert_eq!(of(&changes, "oc_openregister_table_2002_1").len(), 0);
    let gaps = scene
        .client
        .query("SELECT tbl, reason, remedy FROM openregister_webhooks.gap", &[])
        .await
        .unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].get::<_, &str>(0), "oc_openregister_table_2002_1");
    assert!(gaps[0].get::<_, &str>(1).contains("10000"));
    assert!(gaps[0].get::<_, &str>(2).contains("backfill"));
    // And from now on it is captured.
    scene
        .client
        .batch_execute("DELETE FROM oc_openregister_table_2002_1 WHERE _uuid = 'u1'")
        .await
        .unwrap();
    let changes = scene.capture.all().await;
    assert_eq!(ops(&changes, "oc_openregister_table_2002_1"), [Op::Delete]);
    scene.capture.stop().await;
}

#[tokio::test]
async fn what_is_there_at_install_is_known_and_what_replaces_it_is_new() {
    let db = crate::support::postgres::Db::openregister_0_2_13().await;
    let client = db.client().await;
    let table = "oc_openregister_table_2003_1";
    let create = format!(
        "CREATE TABLE {table} (_id bigserial PRIMARY KEY, _uuid text); INSERT INTO {table} (_uuid) VALUES ('old')"
    );
    client.batch_execute(&create).await.unwrap();
    let scene = Scene::on(db).await;
    assert_eq!(scene.capture.all().await.len(), 0);
    assert_eq!(
        count(&client, "SELECT count(*) FROM openregister_webhooks.gap").await,
        0
    );

    let again = format!(
        "BEGIN; DROP TABLE {table}; {}; COMMIT",
        create.replace("'old'", "'new'")
    );
    client.batch_execute(&again).await.unwrap();
    let changes = scene
        .capture
        .until("the row of the new table", |seen| !of(seen, table).is_empty())
        .await;
    let of_table = of(&changes, table);
    assert_eq!(
        (of_table[0].op, of_table[0].origin),
        (Op::Insert, Origin::Discovered)
    );
    assert!(of_table[0].new.as_ref().unwrap().contains("\"new\""));
    scene.capture.stop().await;
}
