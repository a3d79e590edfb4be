//! Transactions of every kind: what is committed is captured once, what is rolled back never, and cached plans follow.

use openregister_webhooks::capture::Op;
use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{Scene, is_audit, of, ops};
use crate::support::rows;

const OBJECTS: &str = "oc_openregister_table_1_1";

async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

#[tokio::test]
async fn savepoints_that_are_rolled_back_leave_nothing_and_the_rest_is_captured() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let client = &scene.client;
        for table in &scene.tables {
            // The first change of the transaction is in a savepoint that goes: with it goes the lock that it took.
            run(client, "BEGIN; SAVEPOINT a").await;
            rows::insert(client, table).await;
            run(client, "ROLLBACK TO SAVEPOINT a").await;
            let kept = rows::insert(client, table).await;
            run(client, "SAVEPOINT b").await;
            rows::update(client, table, kept).await;
            run(client, "SAVEPOINT c").await;
            rows::insert(client, table).await;
            run(
                client,
                "RELEASE SAVEPOINT c; ROLLBACK TO SAVEPOINT b; SAVEPOINT d",
            )
            .await;
            let token = rows::update(client, table, kept).await;
            run(client, "RELEASE SAVEPOINT d; COMMIT").await;

            run(client, "BEGIN").await;
            rows::insert(client, table).await;
            run(client, "ROLLBACK").await;

            let changes = scene.capture.all().await;
            let of_table = of(&changes, table);
            if is_audit(table) {
                assert_eq!(ops(&changes, table), [Op::Insert], "{table}");
                continue;
            }
            assert_eq!(ops(&changes, table), [Op::Insert, Op::Update], "{table}");
            assert!(of_table[1].new.as_ref().unwrap().contains(&token), "{table}");
            assert_eq!(of_table[0].key.xid, of_table[1].key.xid, "{table}");
        }
        scene.capture.stop().await;
    }
}

#[tokio::test]
async fn every_isolation_level_writes_and_is_captured() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation).await;
        let client = &scene.client;
        for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            let before = scene.capture.all().await.len();
            run(client, &format!("BEGIN ISOLATION LEVEL {isolation}")).await;
            let mut expected = 0;
            for table in &scene.tables {
                let id = rows::insert(client, table).await;
                rows::update(client, table, id).await;
                rows::delete(client, table, id).await;
                expected += if is_audit(table) { 1 } else { 3 };
            }
            run(client, "COMMIT").await;
            let changes = scene.capture.all().await;
            assert_eq!(changes.len() - before, expected, "{isolation}");
        }
        scene.capture.stop().await;
    }
}

/// The tables are turned and emptied between a transaction's snapshot and its first write.
#[tokio::test]
async fn a_repeatable_read_writer_outlives_the_rotation() {
    let scene = Scene::new(Generation::V0_2_13).await;
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let before = of(&scene.capture.all().await, OBJECTS).len();
        let late = scene.db.client().await;
        run(
            &late,
            &format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM oc_users"),
        )
        .await;
        let mut emptied = 0;
        while emptied < 4 {
            rows::insert(&scene.client, OBJECTS).await;
            scene.capture.all().await;
            let turn = "SELECT openregister_webhooks.turn()";
            let slot: i32 = scene.client.query_one(turn, &[]).await.unwrap().get(0);
            for table in (0..3).filter(|table| *table != slot) {
                // As the reader does, which has read all of it.
                let truncate = format!(
                    "BEGIN; SET LOCAL lock_timeout = '5s'; TRUNCATE openregister_webhooks.change_{table}; COMMIT"
                );
                run(&scene.client, &truncate).await;
            }
            emptied += 1;
        }
        let id = rows::insert(&late, OBJECTS).await;
        rows::update(&late, OBJECTS, id).await;
        run(&late, "COMMIT").await;
        let after = of(&scene.capture.all().await, OBJECTS).len();
        assert_eq!(after - before, 4 + 2, "{isolation}");
    }
    scene.capture.stop().await;
}

/// `kinds()` and `slot()` are folded into cached plans: a change of them must reach every session, however warm.
#[tokio::test]
async fn cached_plans_follow_a_change_of_kinds_and_of_the_table_in_use() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let table = "oc_openregister_sources";
    let writer = scene.db.client().await;
    let insert =
        "INSERT INTO oc_openregister_sources (uuid, title, database_url, type) VALUES ('u', $1, 'd', 'x')";
    let statement = writer.prepare(insert).await.unwrap();
    let warm = async |client: &Client, title: &str| {
        for _ in 0..12 {
            client.execute(&statement, &[&title]).await.unwrap();
        }
    };
    let titles = async |title: &str| {
        let changes = scene.capture.all().await;
        let quoted = format!("\"title\":\"{title}\"");
        let of_table = of(&changes, table);
        of_table
            .iter()
            .filter(|c| c.new.as_ref().unwrap().contains(&quoted))
            .count()
    };
    let set = async |all: bool| {
        let set = format!("SELECT openregister_webhooks.set_capture_all({all})");
        run(&scene.client, &set).await;
    };
    warm(&writer, "on").await;
    assert_eq!(titles("on").await, 12);

    set(false).await;
    warm(&writer, "off").await;
    assert_eq!(titles("off").await, 0);
    set(true).await;
    warm(&writer, "on again").await;
    assert_eq!(titles("on again").await, 12);

    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        set(false).await;
        run(&writer, &format!("BEGIN ISOLATION LEVEL {isolation}")).await;
        warm(&writer, &format!("{isolation} before")).await;
        set(true).await;
        warm(&writer, &format!("{isolation} after")).await;
        run(&writer, "COMMIT").await;
        assert_eq!(titles(&format!("{isolation} before")).await, 0);
        assert_eq!(titles(&format!("{isolation} after")).await, 12, "{isolation}");
    }

    // The next transaction of a warm session writes into the table that is in use then.
    for _ in 0..4 {
        let slot: i32 = scene
            .client
            .query_one("SELECT openregister_webhooks.turn()", &[])
            .await
            .unwrap()
            .get(0);
        run(&writer, "BEGIN").await;
        warm(&writer, "turned").await;
        let count = format!(
            "SELECT count(*) FROM openregister_webhooks.change_{slot} WHERE xid = pg_current_xact_id()"
        );
        let written: i64 = writer.query_one(&count, &[]).await.unwrap().get(0);
        assert_eq!(written, 12, "table {slot}");
        run(&writer, "COMMIT").await;
    }
    scene.capture.stop().await;
}

/// Two registrations at once: neither may switch the other's kind off.
#[tokio::test]
async fn registrations_at_the_same_time_switch_on_both_kinds() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let (one, two) = (scene.db.client().await, scene.db.client().await);
    run(
        &scene.client,
        "SELECT openregister_webhooks.set_capture_all(false)",
    )
    .await;
    let register = |class: &str| {
        format!(
            "BEGIN; INSERT INTO openregister_webhooks.webhook (revision, user_id, http_method, uri, event, classes) \
             VALUES (1, 'admin', 'POST', 'https://localhost/', '{class}', ARRAY['{class}'])"
        )
    };
    run(&one, &register("AgentCreatedEvent")).await;
    run(&two, &register("SourceCreatedEvent")).await;
    run(&one, "SELECT openregister_webhooks.set_kinds()").await;
    let waiting = tokio::spawn(async move {
        run(&two, "SELECT openregister_webhooks.set_kinds(); COMMIT").await;
    });
    let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while scene
        .client
        .query_one(blocked, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
        && !waiting.is_finished()
    {
        tokio::task::yield_now().await;
    }
    run(&one, "COMMIT").await;
    waiting.await.unwrap();
    for table in ["oc_openregister_agents", "oc_openregister_sources"] {
        rows::insert(&scene.client, table).await;
        assert_eq!(ops(&scene.capture.all().await, table), [Op::Insert], "{table}");
    }
    scene.capture.stop().await;
}

/// More than 64 subtransactions with an id would make every snapshot of the server slower. The trigger's block gets none: neither in the
/// usual way, nor where a change table is locked or the outbox has a limit.
#[tokio::test]
async fn what_is_captured_is_no_part_of_a_subtransaction() {
    let scene = Scene::new(Generation::V0_2_13).await;
    let (client, other) = (&scene.client, scene.db.client().await);
    let rows = "SELECT count(*), count(*) FILTER (WHERE xmin::text = (xid::text::numeric % 4294967296)::text) FROM (
        SELECT xmin, xid FROM openregister_webhooks.change_0 UNION ALL SELECT xmin, xid FROM openregister_webhooks.change_1
        UNION ALL SELECT xmin, xid FROM openregister_webhooks.change_2) c WHERE xid = pg_current_xact_id()";
    let slot = "SELECT openregister_webhooks.slot()";
    let in_use: i32 = client.query_one(slot, &[]).await.unwrap().get(0);
    let lock = format!("BEGIN; LOCK TABLE openregister_webhooks.change_{in_use} IN ACCESS EXCLUSIVE MODE");
    let limit = |bytes: i64| format!("SELECT openregister_webhooks.set_outbox_limit({bytes})");
    for (before, after) in [
        (String::new(), String::new()),
        (lock, "COMMIT".to_owned()),
        (limit(1 << 40), limit(0)),
    ] {
        run(&other, &before).await;
        run(client, "BEGIN").await;
        let id = rows::insert(client, OBJECTS).await;
        rows::update(client, OBJECTS, id).await;
        run(client, "UPDATE oc_openregister_table_1_1 SET age = age").await;
        rows::delete(client, OBJECTS, id).await;
        // The look needs a lock on each table.
        run(&other, &after).await;
        let row = client.query_one(rows, &[]).await.unwrap();
        run(client, "COMMIT").await;
        let (captured, at_the_top): (i64, i64) = (row.get(0), row.get(1));
        assert!(captured >= 4, "{captured} after {before:?}");
        assert_eq!(at_the_top, captured, "after {before:?}");
    }
    scene.capture.stop().await;
}
