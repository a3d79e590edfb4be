//! A loss that a writer could say by a notification only: what was heard becomes a gap, whatever happens before it is stored.

use std::time::{Duration, Instant};

use orw_testkit::Generation;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::support::capture::{Capture, PATIENCE, install, options};
use crate::support::postgres::{DBA, Db};

const TABLE: &str = "oc_openregister_table_1_1";
const OTHER: &str = "oc_openregister_registers";

struct Scene {
    db: Db,
    client: Client,
    capture: Capture,
}

impl Scene {
    async fn new() -> Self {
        let db = Db::openregister(Generation::V0_2_13).await;
        install(&db, &options()).await;
        let scene = Self {
            client: db.client().await,
            capture: Capture::start(&db).await,
            db,
        };
        scene.session("'LISTEN openregister_webhooks'").await;
        scene
    }

    /// A session of the reader whose last statement is one of these, once there is one.
    async fn session(&self, statements: &str) -> i32 {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'openregister-webhooks' AND query IN ({statements}) ORDER BY query DESC"
        );
        let began = Instant::now();
        loop {
            if let Some(row) = self.client.query(&sql, &[]).await.unwrap().first() {
                return row.get(0);
            }
            assert!(began.elapsed() < PATIENCE, "nobody listens");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Says what a writer says that finds everything locked, and leaves a moment in which it is heard.
    async fn say(&self, table: &str) {
        let sql = format!("NOTIFY openregister_webhooks, 'missed {table}'");
        self.client.batch_execute(&sql).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }

    async fn gaps(&self, table: &str) -> i64 {
        let sql =
            "SELECT count(*) FROM openregister_webhooks.gap WHERE tbl = $1 AND reason LIKE '%missed, too%'";
        self.client.query_one(sql, &[&table]).await.unwrap().get(0)
    }

    async fn until_gap(&self, table: &str) {
        let began = Instant::now();
        while self.gaps(table).await == 0 {
            assert!(began.elapsed() < PATIENCE, "no gap of {table}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn gaps(client: &Client, table: &str) -> i64 {
    let sql = "SELECT count(*) FROM openregister_webhooks.gap WHERE tbl = $1 AND reason LIKE '%missed, too%'";
    client.query_one(sql, &[&table]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_loss_that_was_heard_outlives_the_connection_that_it_came_over() {
    let scene = Scene::new().await;
    let mut dba = scene.db.client_as(DBA).await;
    let locked = dba.transaction().await.unwrap();
    locked
        .batch_execute("LOCK TABLE openregister_webhooks.gap")
        .await
        .unwrap();
    // That one is heard before its connection breaks is all but sure; that one of several is, is sure.
    for _ in 0..5 {
        // It looks from time to time whether its connection still lives, by an empty statement.
        let session = scene.session("'LISTEN openregister_webhooks', ''").await;
        scene.say(TABLE).await;
        locked
            .execute("SELECT pg_terminate_backend($1)", &[&session])
            .await
            .unwrap();
    }
    locked.rollback().await.unwrap();
    scene.until_gap(TABLE).await;
    scene.capture.stop().await;
}

#[tokio::test]
async fn a_loss_that_was_heard_is_stored_before_the_process_ends() {
    let scene = Scene::new().await;
    // After one gap the next is not stored for a while: every role could say it.
    scene.say(TABLE).await;
    scene.until_gap(TABLE).await;
    for _ in 0..10 {
        scene.say(OTHER).await;
    }
    scene.capture.stop().await;
    // Two where the while was over in between.
    assert!(gaps(&scene.client, OTHER).await > 0, "forgotten with the process");
}
