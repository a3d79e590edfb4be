//! A sidecar on a database with OpenRegister's tables, and a receiver.

use orw_testkit::Generation;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::receiver::{Receiver, https};
use crate::support::sidecar::Sidecar;
pub(crate) use crate::support::wait::PATIENCE;
use crate::support::wait::{number, until_number};

pub(crate) const API: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";

pub(crate) struct Scene {
    pub(crate) db: Db,
    pub(crate) client: Client,
    pub(crate) receiver: Receiver,
    pub(crate) sidecar: Sidecar,
    _ca: tempfile::NamedTempFile,
}

impl Scene {
    /// Installed; the sidecar does not run yet.
    pub(crate) async fn new(generation: Generation) -> Self {
        Self::on(Db::openregister(generation).await).await
    }

    pub(crate) async fn on(db: Db) -> Self {
        let receiver = https().await;
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), receiver.ca_pem()).unwrap();
        let sidecar = Sidecar::new(&db.url(NEXTCLOUD), ca.path())
            .with("ORW_RATE_PER_SECOND", "10000")
            .with("ORW_RATE_BURST", "10000")
            .with("ORW_MAX_IN_FLIGHT_PER_WEBHOOK", "64");
        let (code, _, errors) = sidecar.cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        Self {
            client: db.client().await,
            db,
            receiver,
            sidecar,
            _ca: ca,
        }
    }

    /// Registers a webhook for events that match.
    pub(crate) async fn register(&self, event: &str, more: Value) -> i64 {
        let mut fields = json!({"uri": self.receiver.url("/hook"), "event": event});
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.sidecar.register(fields).await
    }

    /// Objects of the magic table, numbered from `from`; their uuids end with the number, their age is 0.
    pub(crate) async fn objects(&self, from: i32, to: i32) {
        self.client
            .execute(
                "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) \
                 SELECT format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0')), '1', '1', now(), now(), 'n' || g, 0 \
                 FROM generate_series($1::int, $2::int) g",
                &[&from, &to],
            )
            .await
            .unwrap();
    }

    /// One number from one query.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        number(&self.client, sql).await
    }

    /// Waits until a query gives this number.
    pub(crate) async fn until(&self, sql: &str, expected: i64) {
        until_number(&self.client, sql, expected, PATIENCE).await;
    }

    /// Waits until every job has ended and everything is delivered.
    pub(crate) async fn settled(&self) {
        self.until(
            "SELECT count(*) FROM openregister_webhooks.job WHERE state IN ('running', 'cancelling')",
            0,
        )
        .await;
        self.until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
            .await;
    }

    /// A command that must succeed; its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.sidecar.json(arguments).await
    }
}

/// The number of an object by its uuid.
pub(crate) fn uuid(number: i32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}
