//! One scene: a database with OpenRegister's tables, an HTTPS receiver, and the built program that delivers from one to the
//! other. Tests that need more wrap it.

use std::path::PathBuf;

use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::postgres::{Db, NEXTCLOUD};
use super::receiver::{Receiver, https};
use super::sidecar::Sidecar;
pub(crate) use super::wait::PATIENCE;
use super::wait::{number, until_number};

/// The path of our own API.
pub(crate) const API: &str = "/ocs/v2.php/apps/openregister_webhooks/api/v1";

/// The account that may look only, in a scene that has one, and its password.
pub(crate) const READER: (&str, &str) = ("rita", "rita-password");

/// Deliveries that are not done.
const QUEUED: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

/// The scene. The program is installed; it may or may not run.
pub(crate) struct Scene {
    pub(crate) db: Db,
    /// A connection as Nextcloud.
    pub(crate) client: Client,
    pub(crate) receiver: Receiver,
    pub(crate) sidecar: Sidecar,
    /// Holds the certificate of the receiver's authority, the log, and what a test puts there.
    folder: tempfile::TempDir,
}

/// A scene that is being set up.
pub(crate) struct Setup {
    db: Db,
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    logs: bool,
}

impl Setup {
    /// Another value of a setting.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Rate limits and limits of requests in flight that no test reaches.
    pub(crate) fn fast(self) -> Self {
        self.with("ORW_RATE_PER_SECOND", "10000")
            .with("ORW_RATE_BURST", "10000")
            .with("ORW_MAX_IN_FLIGHT_PER_WEBHOOK", "64")
    }

    /// The log is kept; see [`Scene::log`].
    pub(crate) fn logging(mut self) -> Self {
        self.logs = true;
        self
    }

    /// A file or directory in the scene's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Installs; the program does not run yet.
    pub(crate) async fn installed(self) -> Scene {
        let receiver = https().await;
        let (ca, log) = (self.path("ca.pem"), self.path("log"));
        std::fs::write(&ca, receiver.ca_pem()).unwrap();
        let mut sidecar = Sidecar::new(&self.db.url(NEXTCLOUD), &ca);
        for (name, value) in &self.settings {
            sidecar = sidecar.with(name, value);
        }
        if self.logs {
            sidecar = sidecar.logging_to(&log);
        }
        let (code, _, errors) = sidecar.cli(&["install"]).await;
        assert_eq!(code, 0, "{errors}");
        Scene {
            client: self.db.client().await,
            db: self.db,
            receiver,
            sidecar,
            folder: self.folder,
        }
    }

    /// Installs, and starts the program.
    pub(crate) async fn running(self) -> Scene {
        let mut scene = self.installed().await;
        scene.sidecar.start().await;
        scene
    }
}

impl Scene {
    /// A scene on this database, to be set up.
    pub(crate) fn on(db: Db) -> Setup {
        Setup {
            db,
            folder: tempfile::tempdir().unwrap(),
            settings: Vec::new(),
            logs: false,
        }
    }

    /// Installed and [`Setup::fast`]; the program does not run yet.
    pub(crate) async fn new(generation: Generation) -> Self {
        Self::on(Db::openregister(generation).await)
            .fast()
            .installed()
            .await
    }

    /// Running, with the account [`READER`] that may look only; and the id of a webhook for created objects.
    pub(crate) async fn with_a_reader() -> (Self, i64) {
        let scene = Self::on(Db::openregister(Generation::V0_2_13).await)
            .with("ORW_READERS", &format!("{}:{}", READER.0, READER.1))
            .running()
            .await;
        let id = scene
            .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
            .await;
        (scene, id)
    }

    /// One more process with the usual settings, on the same database; it does not run yet.
    pub(crate) fn another(&self) -> Sidecar {
        self.another_at(&self.db.url(NEXTCLOUD))
    }

    /// The same, with this connection string.
    pub(crate) fn another_at(&self, database_url: &str) -> Sidecar {
        Sidecar::new(database_url, &self.path("ca.pem"))
    }

    /// A file or directory in the scene's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the program has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Registers a webhook for events that match, at the path `/hook` unless `more` has another `uri`; gives its id.
    pub(crate) async fn register(&self, event: &str, more: Value) -> i64 {
        let mut fields = json!({"uri": self.receiver.url("/hook"), "event": event});
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        self.sidecar.register(fields).await
    }

    /// Inserts objects into the table of 0.2.13 by one statement: those numbered `from..=to`, with [`uuid`]s and the age 0.
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

    /// Waits until everything that was enqueued is delivered or given up.
    pub(crate) async fn delivered(&self) {
        self.until(QUEUED, 0).await;
    }

    /// Waits until `count` requests have arrived and everything is delivered; gives all requests.
    pub(crate) async fn received(&self, count: usize) -> Vec<Received> {
        self.receiver.wait_for(count, PATIENCE).await.unwrap();
        self.delivered().await;
        self.receiver.received()
    }

    /// Waits until every job has ended and everything is delivered.
    pub(crate) async fn settled(&self) {
        let jobs = "SELECT count(*) FROM openregister_webhooks.job WHERE state IN ('running', 'cancelling')";
        self.until(jobs, 0).await;
        self.delivered().await;
    }

    /// The JSON that a command prints, which must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.sidecar.json(arguments).await
    }
}

/// The uuid of an object by its number.
pub(crate) fn uuid(number: i32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}
