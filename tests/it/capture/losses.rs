//! A loss that a writer could report by a notification only: what was heard becomes a gap, whatever happens before it is
//! stored.

use orw_testkit::Generation;
use tokio_postgres::Client;

use crate::support::capture::{Capture, install, options};
use crate::support::postgres::{DBA, Db};
use crate::support::wait::{until, until_some};

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
        scene.session(&["LISTEN openregister_webhooks"]).await;
        scene
    }

    /// A session of the reader whose last statement was one of these, once there is one.
    async fn session(&self, statements: &[&str]) -> i32 {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'openregister-webhooks' AND query = ANY($1) ORDER BY query DESC";
        until_some("a session that listens", async || {
            let rows = self.client.query(sql, &[&statements]).await.unwrap();
            rows.first().map(|row| row.get(0))
        })
        .await
    }

    /// Says what a writer says that finds everything locked.
    async fn say(&self, table: &str) {
        let sql = format!("NOTIFY openregister_webhooks, 'missed {table}'");
        self.client.batch_execute(&sql).await.unwrap();
    }

    /// Says it until the reader has heard it once more: while its connection is being replaced, nobody listens.
    async fn say_until_heard(&self, table: &str) {
        let before = self.heard(table);
        until("it is heard", async || {
            self.say(table).await;
            self.heard(table) > before
        })
        .await;
    }

    /// How often the reader has heard of the table since it last stored a gap.
    fn heard(&self, table: &str) -> u64 {
        let notices = format!("{:?}", self.capture.notices);
        let count = notices.split_once(&format!("\"{table}\": "));
        count.map_or(0, |(_, rest)| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
            rest[..digits].parse().unwrap()
        })
    }

    async fn gaps(&self, table: &str) -> i64 {
        gaps(&self.client, table).await
    }

    async fn until_gap(&self, table: &str) {
        until("a gap", async || self.gaps(table).await > 0).await;
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
    for _ in 0..5 {
        scene.say_until_heard(TABLE).await;
        // The reader checks its connection from time to time with an empty statement.
        let session = scene.session(&["LISTEN openregister_webhooks", ""]).await;
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
    // After one gap the next one is not stored for a while, because every role can send such notifications.
    scene.say(TABLE).await;
    scene.until_gap(TABLE).await;
    for _ in 0..10 {
        scene.say(OTHER).await;
    }
    let heard = async || scene.heard(OTHER) > 0 || scene.gaps(OTHER).await > 0;
    until("it is heard", heard).await;
    scene.capture.stop().await;
    // Two gaps if the pause ended in between.
    assert!(gaps(&scene.client, OTHER).await > 0, "forgotten with the process");
}
