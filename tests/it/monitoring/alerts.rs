//! A real Prometheus scrapes two running sidecars. All alerts are silent while all is well; twelve of them are broken here, and fire. The
//! other eight are tested by `promtool` alone (`deploy/monitoring/alerts.test.yaml`).

use std::path::PathBuf;

use orw_testkit::Generation;
use serde_json::json;
use tokio_postgres::Client;

use super::dashboard;
use super::files::impatient_rules;
use crate::support::postgres::Db;
use crate::support::prometheus::Prometheus;
use crate::support::receiver::Answer;
use crate::support::scene::Scene;
use crate::support::sidecar::Sidecar;
use crate::support::wait::{until, until_true};

/// The leader's advisory lock: "ORW-LEAD".
const LEADER: i64 = 5_715_726_729_151_332_676;
const TABLE: &str = "oc_openregister_table_1_1";

/// Puts a certificate that ends in so many days, and its key, into these two files.
fn certificate([file, key_file]: &[PathBuf; 2], days: u64) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let (now, length) = (
        std::time::SystemTime::now(),
        std::time::Duration::from_secs(days * 86_400),
    );
    parameters.not_before = (now - std::time::Duration::from_secs(86_400)).into();
    parameters.not_after = (now + length).into();
    std::fs::write(key_file, key.serialize_pem()).unwrap();
    std::fs::write(file, parameters.self_signed(&key).unwrap().pem()).unwrap();
}

fn certificate_files(scene: &Scene) -> [PathBuf; 2] {
    [scene.path("listener.pem"), scene.path("listener.key")]
}

/// Two processes, one that leads and one that stands by and has a certificate, and a Prometheus that scrapes both.
struct Watched {
    scene: Scene,
    standby: Sidecar,
    /// A connection as the owner of everything.
    owner: Client,
    prometheus: Prometheus,
}

impl Watched {
    async fn start() -> Option<Self> {
        let mut scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
            .fast()
            .with("ORW_METRICS_INTERVAL_SECONDS", "1")
            .with("ORW_DISCOVERY_INTERVAL_SECONDS", "1")
            .with("ORW_RETRY_SCHEDULE", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s")
            .installed()
            .await;
        let [file, key] = certificate_files(&scene);
        certificate(&[file.clone(), key.clone()], 90);
        let mut standby = scene
            .another()
            .with("ORW_METRICS_INTERVAL_SECONDS", "1")
            .with("ORW_OUTBOX_MAX_BYTES", "67108864")
            .with("ORW_TLS_CERT_FILE", &file.display().to_string())
            .with("ORW_TLS_KEY_FILE", &key.display().to_string());
        scene.sidecar.start().await;
        until("the first process leads", async || scene.sidecar.leads().await).await;
        standby.start().await;
        let targets = [scene.sidecar.metrics, standby.metrics];
        let prometheus =
            Prometheus::start("the alerts and the dashboard", &targets, Some(&impatient_rules())).await?;
        Some(Self {
            owner: scene.db.client().await,
            scene,
            standby,
            prometheus,
        })
    }

    /// Waits until nothing fires although every rule was evaluated some times with both processes scraped and measured.
    async fn silent(&self) {
        until("both processes are scraped and have measured", async || {
            self.prometheus.query("up == 1").await.len() == 2
                && self
                    .prometheus
                    .query("orw_measured_timestamp_seconds > 0")
                    .await
                    .len()
                    == 2
        })
        .await;
        let before = self.prometheus.evaluations().await;
        until("no alert fires while all is well", async || {
            self.prometheus.evaluations().await >= before + 6.0 && self.prometheus.firing().await.is_empty()
        })
        .await;
    }

    async fn fires(&self, name: &str, labels: &[(&str, &str)]) {
        self.prometheus.until_fires(name, labels).await;
    }

    async fn execute(&self, sql: &str) {
        self.owner.batch_execute(sql).await.unwrap();
    }

    /// A receiver that is gone for good, a change that cannot be read, and a registration that cannot be read.
    async fn webhooks_that_get_nothing(&self, webhook: &str) {
        let gone = json!({"uri": self.scene.receiver.url("/gone")});
        self.scene.register(r"OCA\OpenRegister\Event\Object*", gone).await;
        self.scene.objects(60, 60).await;
        self.fires("OrwWebhookDisabled", &[]).await;
        self.execute(&format!(
            "BEGIN; INSERT INTO {TABLE} (_uuid, _register, _schema) VALUES ('spoilt', '1', '1'); \
             UPDATE openregister_webhooks.change_0 SET new = '{{' WHERE xid = pg_current_xact_id(); \
             UPDATE openregister_webhooks.change_1 SET new = '{{' WHERE xid = pg_current_xact_id(); \
             UPDATE openregister_webhooks.change_2 SET new = '{{' WHERE xid = pg_current_xact_id(); COMMIT"
        ))
        .await;
        self.fires("OrwQuarantine", &[]).await;
        self.execute(&format!(
            "UPDATE openregister_webhooks.webhook SET secrets = '\\x0200' WHERE id = {webhook}; \
             UPDATE openregister_webhooks.registry SET revision = revision + 1, state = gen_random_uuid()"
        ))
        .await;
        self.scene.objects(61, 61).await;
        self.fires("OrwWebhookUnreadable", &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_when_what_they_watch_breaks_and_are_silent_before() {
    let Some(mut watched) = Watched::start().await else {
        return;
    };
    let webhook = watched
        .scene
        .register(r"OCA\OpenRegister\Event\Object*", json!({}))
        .await
        .to_string();
    watched.scene.objects(1, 5).await;
    watched.scene.received(5).await;
    watched.silent().await;

    // A certificate that ends.
    certificate(&certificate_files(&watched.scene), 3);
    // A receiver that is down; and one whose deliveries are given up at once.
    watched.scene.receiver.always(Answer::Status(503));
    let hopeless =
        json!({"uri": watched.scene.receiver.url("/hopeless"), "retry": {"maxAttempts": 1, "schedule": [1]}});
    watched
        .scene
        .register(r"OCA\OpenRegister\Event\Object*", hopeless)
        .await;
    watched.scene.objects(6, 25).await;
    watched.fires("OrwReceiverFails", &[("webhook", &webhook)]).await;
    watched
        .fires("OrwDeliveriesGivenUp", &[("cause", "status")])
        .await;
    watched
        .fires("OrwCertificateEnds", &[("certificate", "of the API")])
        .await;
    // By now there is something to see in every panel.
    dashboard::every_query_shows_something(&watched.prometheus).await;
    watched.scene.receiver.always(Answer::Status(410));

    // A trigger that was dropped is back at once, and what was written meanwhile is a gap.
    watched
        .execute(&format!("DROP TRIGGER openregister_webhooks_capture ON {TABLE}"))
        .await;
    watched.fires("OrwGap", &[]).await;
    // One that was disabled stays so.
    watched
        .execute(&format!(
            "ALTER TABLE {TABLE} DISABLE TRIGGER openregister_webhooks_capture"
        ))
        .await;
    watched
        .fires("OrwTableNotCaptured", &[("state", "disabled")])
        .await;
    watched
        .execute(&format!(
            "ALTER TABLE {TABLE} ENABLE TRIGGER openregister_webhooks_capture"
        ))
        .await;
    watched.webhooks_that_get_nothing(&webhook).await;

    // The leader is killed while somebody else waits for its lock: the other process cannot take over.
    let stranger = watched.scene.db.client().await;
    let took = tokio::spawn(async move {
        stranger
            .execute("SELECT pg_advisory_lock($1)", &[&LEADER])
            .await
            .unwrap();
        stranger
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database()))";
    until_true(&watched.owner, "the stranger waits for the lock", waits).await;
    let stopped = watched.scene.sidecar.metrics.to_string();
    watched.scene.sidecar.kill().await;
    let _stranger = took.await.unwrap();
    watched.fires("OrwDown", &[("instance", &stopped)]).await;
    watched.fires("OrwNoLeader", &[]).await;
    // Without a leader a dropped trigger stays dropped, and the outbox grows: what is in it has been there for two minutes.
    watched.scene.objects(26, 26).await;
    watched
        .execute(&format!("DROP TRIGGER openregister_webhooks_capture ON {TABLE}"))
        .await;
    for table in 0..3 {
        let sql = format!("UPDATE openregister_webhooks.change_{table} SET at = at - interval '2 minutes'");
        watched.execute(&sql).await;
    }
    watched
        .fires("OrwTableNotCaptured", &[("state", "missing")])
        .await;
    watched.fires("OrwOutboxUnread", &[]).await;
    // Twenty changes of a MiB each are more than a quarter of the limit.
    watched
        .execute(
            "INSERT INTO openregister_webhooks.change_0 SELECT c.lsn, c.xid, n, c.tbl, c.op, c.found, c.old, \
                 (SELECT string_agg(md5(n::text || i), '') FROM generate_series(1, 32768) i), c.fault, c.pid, c.at \
             FROM (SELECT * FROM openregister_webhooks.change LIMIT 1) c, generate_series(1, 20) n",
        )
        .await;
    watched.fires("OrwOutboxGrows", &[]).await;
    watched.standby.kill().await;
}
