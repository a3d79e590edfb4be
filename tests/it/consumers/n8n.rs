//! The workflow of `examples/n8n` in n8n itself.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use openregister_webhooks::delivery::signatures;
use orw_testkit::Generation;
use secrecy::SecretString;
use serde_json::json;
use tokio::process::Command;

use super::program::{example, installed};
use crate::support::foreign::script;
use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::scene::Scene;
use crate::support::sidecar::{free_port, get, send};
use crate::support::skipped::skipped;
use crate::support::wait::{number, until, until_number};

/// The text of the key, and the same as a signing secret.
const KEY: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

struct N8n {
    db: Db,
    address: SocketAddr,
    folder: tempfile::TempDir,
    program: String,
    settings: Vec<(String, String)>,
    _child: tokio::process::Child,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-n8n installs it"]
async fn the_workflow_verifies_stores_once_and_shows_executions() {
    let Some(program) = installed("ORW_N8N") else {
        return skipped(
            "the workflow of examples/n8n",
            "n8n is not installed: make test-n8n",
        );
    };
    let n8n = N8n::start(program).await;
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .with("ORW_TARGETS_ALLOW_HTTP", "true")
        .running()
        .await;
    n8n.set_up(KEY).await;
    n8n.refuses_what_is_not_genuine().await;

    let uri = format!("http://{}/webhook/openregister", n8n.address);
    let webhook = json!({"uri": uri, "event": r"OCA\OpenRegister\Event\Object*", "secret": SECRET});
    let webhook = scene.sidecar.register(webhook).await;
    scene.objects(1, 20).await;
    scene
        .client
        .batch_execute("UPDATE oc_openregister_table_1_1 SET name = 'Löwe 🦁'")
        .await
        .unwrap();
    scene.delivered().await;
    n8n.answered("Answer: stored", 40).await;
    assert_eq!(n8n.remembered().await, 40);

    // The same ids once more.
    scene.sidecar.replay(webhook).await;
    scene.settled().await;
    n8n.answered("Answer: repeat", 40).await;
    assert_eq!(n8n.remembered().await, 40);
    n8n.answered("Answer: stored", 40).await;

    let id = webhook.to_string();
    let (code, said, _) = scene.sidecar.cli(&["webhook", "test", &id]).await;
    assert_eq!(code, 0, "{said}");
    n8n.answered("Answer: test", 1).await;
    assert_eq!(n8n.remembered().await, 40);
    let given_up = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state <> 'succeeded'";
    assert_eq!(scene.count(given_up).await, 0);
    println!("n8n: 40 events verified and stored, 40 repeats recognised, a test answered");
}

/// Without a key anybody could sign: n8n then refuses to run the workflow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-n8n installs it"]
async fn the_workflow_does_not_run_without_a_key() {
    let Some(program) = installed("ORW_N8N") else {
        return skipped(
            "the workflow of examples/n8n",
            "n8n is not installed: make test-n8n",
        );
    };
    let n8n = N8n::start(program).await;
    n8n.set_up("").await;
    let now = chrono::Utc::now().timestamp();
    let forged = signatures(&[SecretString::from("")], "evt_forged", now, b"{}").unwrap();
    let status = n8n.post("evt_forged", now, &forged, b"{}").await;
    assert!(status >= 400, "{status}");
    println!("n8n: without a key the answer is {status}");
}

impl N8n {
    async fn start(program: String) -> Self {
        let db = Db::empty().await;
        let folder = tempfile::tempdir().unwrap();
        let address = free_port();
        let postgres = &db.server().postgres;
        let settings = [
            ("DB_TYPE", "postgresdb"),
            ("DB_POSTGRESDB_HOST", &postgres.socket_dir().display().to_string()),
            ("DB_POSTGRESDB_PORT", &postgres.port().to_string()),
            ("DB_POSTGRESDB_USER", NEXTCLOUD),
            ("DB_POSTGRESDB_DATABASE", db.name()),
            ("N8N_USER_FOLDER", &folder.path().display().to_string()),
            ("N8N_LISTEN_ADDRESS", "127.0.0.1"),
            ("N8N_PORT", &address.port().to_string()),
            // The other engine is a native module, which `npm install --ignore-scripts` does not build.
            ("N8N_EXPRESSION_ENGINE", "legacy"),
            ("N8N_SECURE_COOKIE", "false"),
            ("N8N_DIAGNOSTICS_ENABLED", "false"),
            ("N8N_VERSION_NOTIFICATIONS_ENABLED", "false"),
            ("N8N_TEMPLATES_ENABLED", "false"),
            ("N8N_PERSONALIZATION_ENABLED", "false"),
            ("EXECUTIONS_DATA_SAVE_ON_SUCCESS", "all"),
        ];
        let settings = settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut words = program.split(' ');
        let child = Command::new(words.next().unwrap())
            .args(words)
            .arg("start")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let this = Self {
            db,
            address,
            folder,
            program,
            settings,
            _child: child,
        };
        until("n8n is ready", async || {
            get(address, "/healthz/readiness")
                .await
                .is_ok_and(|reply| reply.status == 200)
        })
        .await;
        this
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn set_up(&self, key: &str) {
        let workflow = example("n8n/openregister.json");
        let mut python = Command::new("python3");
        python
            .arg(script("n8n.py"))
            .args([&self.address.to_string(), &self.program, &workflow, key]);
        let done = python
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}\n{}", self.log());
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "active", "{errors}");
    }

    async fn post(&self, id: &str, timestamp: i64, signature: &str, body: &[u8]) -> u16 {
        let request = Request::post("/webhook/openregister")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        send(self.address, request).await.unwrap().status
    }

    async fn refuses_what_is_not_genuine(&self) {
        let now = chrono::Utc::now().timestamp();
        let body = r#"{"event":"x","data":{"object":{"uuid":"ü"}}}"#.as_bytes();
        let sign =
            |secret: &str, at: i64| signatures(&[SecretString::from(secret)], "evt_1", at, body).unwrap();
        let another = "whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA==";
        for (what, timestamp, signature, body) in [
            ("another secret", now, sign(another, now), body),
            ("an old one", now - 3600, sign(SECRET, now - 3600), body),
            ("another body", now, sign(SECRET, now), b"{}".as_slice()),
            ("no signature", now, String::new(), body),
            ("a longer one", now, sign(SECRET, now) + "x", body),
        ] {
            let status = self.post("evt_1", timestamp, &signature, body).await;
            assert_eq!(status, 401, "{what}\n{}", self.log());
        }
        self.answered("Answer: refused", 5).await;
        assert_eq!(self.remembered().await, 0);
        // The good one among others, as during a rotation.
        let rotated = format!("{} {}", sign(another, now), sign(SECRET, now));
        assert_eq!(
            self.post("evt_1", now, &rotated, body).await,
            200,
            "{}",
            self.log()
        );
        let forget = "DELETE FROM execution_entity";
        self.answered("Answer: stored", 1).await;
        let client = self.db.client().await;
        client.batch_execute(forget).await.unwrap();
        client
            .batch_execute(&format!("DELETE FROM {}", self.table().await))
            .await
            .unwrap();
    }

    /// Waits until so many executions were successful and went through this node.
    async fn answered(&self, node: &str, expected: i64) {
        let client = self.db.client().await;
        let sql = format!(
            "SELECT count(*) FROM execution_entity e JOIN execution_data d ON d.\"executionId\" = e.id \
             WHERE e.status = 'success' AND d.data LIKE '%\"{node}\":%'"
        );
        until_number(&client, &sql, expected, crate::support::wait::PATIENCE).await;
    }

    /// The table of PostgreSQL in which n8n keeps the data table.
    async fn table(&self) -> String {
        let sql = "SELECT quote_ident(tablename) FROM pg_tables WHERE tablename LIKE 'data_table_user_%'";
        self.db.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// How many ids it has remembered.
    async fn remembered(&self) -> i64 {
        number(
            &self.db.client().await,
            &format!("SELECT count(*) FROM {}", self.table().await),
        )
        .await
    }
}
