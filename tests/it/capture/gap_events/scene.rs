//! A database with OpenRegister's tables, a receiver, and the built sidecar with `ORW_OUTBOX_POLICY=stop`.

use orw_testkit::Generation;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::receiver::{Receiver, https};
use crate::support::sidecar::Sidecar;
pub(super) use crate::support::wait::PATIENCE;
use crate::support::wait::{number, until_number};

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) struct Scene {
    pub(super) db: Db,
    pub(super) client: Client,
    pub(super) receiver: Receiver,
    pub(super) sidecar: Sidecar,
    ca: tempfile::NamedTempFile,
}

impl Scene {
    /// Installed, and the sidecar runs.
    pub(super) async fn new() -> Self {
        let db = Db::openregister(Generation::V0_2_13).await;
        let receiver = https().await;
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
        let mut sidecar = Sidecar::new(&db.url(NEXTCLOUD), ca.path())
            .with("ORW_OUTBOX_POLICY", "stop")
            .with("ORW_DISCOVERY_INTERVAL_SECONDS", "1");
        let (code, _, errors) = sidecar.cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        sidecar.start().await;
        Self {
            client: db.client().await,
            db,
            receiver,
            sidecar,
            ca,
        }
    }

    /// One more process, not running yet, that polls.
    pub(super) fn another(&self) -> Sidecar {
        Sidecar::new(&self.db.url(NEXTCLOUD), self.ca.path()).with("ORW_DOORBELL", "poll")
    }

    pub(super) async fn register(&self, path: &str, event: &str, more: Value) -> i64 {
        let mut fields = json!({"uri": self.receiver.url(path), "event": event, "secret": SECRET});
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.sidecar.register(fields).await
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        number(&self.client, sql).await
    }

    pub(super) async fn until(&self, sql: &str, expected: i64) {
        until_number(&self.client, sql, expected, PATIENCE).await;
    }

    /// Everything that was enqueued is delivered.
    pub(super) async fn delivered(&self) {
        self.until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
            .await;
    }

    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        self.sidecar.json(arguments).await
    }

    /// Nobody reads: writes objects until the outbox takes no more, and then as much again of objects and registers.
    pub(super) async fn lose(&self) {
        self.client
            .batch_execute("SELECT openregister_webhooks.set_outbox_limit(5242880)")
            .await
            .unwrap();
        let mut written = 0;
        while self
            .count("SELECT count(*) FROM openregister_webhooks.missed")
            .await
            == 0
        {
            assert!(written < 100, "it grows beyond its limit");
            written += 1;
            self.import(&format!("fill{written}")).await;
        }
        self.import("lost").await;
        self.client
            .batch_execute("UPDATE oc_openregister_registers SET title = title || ' lost'")
            .await
            .unwrap();
    }

    /// One transaction of ten objects with texts that do not compress well.
    pub(super) async fn import(&self, name: &str) {
        let sql = format!(
            "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name) \
             SELECT '{name}-' || n, '1', '1', now(), now(), \
                 (SELECT string_agg(md5(random()::text || i || n), '') FROM generate_series(1, 1000) i) FROM generate_series(1, 10) n"
        );
        self.client.batch_execute(&sql).await.unwrap();
    }
}
