//! The program itself, as a process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orw_testkit::port::HeldPort;

use crate::server::Database;

const PROGRAM: &str = env!("CARGO_BIN_EXE_openregister-webhooks");
const LOCAL: [&str; 3] = ["localhost", "127.0.0.0/8", "::1"];

/// The program at work on a database; it ends with this value.
pub(crate) struct Sidecar(Child);

/// How the program reaches a database and a receiver.
#[derive(Clone)]
pub(crate) struct Environment {
    url: String,
    ca_file: Option<String>,
}

impl Environment {
    /// `ca_file`: the certificate of the receiver's authority.
    pub(crate) fn new(database: &Database, ca_file: Option<&Path>) -> Self {
        Self {
            url: database.url.clone(),
            ca_file: ca_file.map(|path| path.display().to_string()),
        }
    }

    /// A command of the program.
    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("ORW_DATABASE_URL", &self.url)
            .env("ORW_ADMINS", "admin:bench")
            .env("ORW_MASTER_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
            .env("ORW_TARGETS_ALLOW", LOCAL.join(","))
            .stdin(Stdio::null());
        if let Some(file) = &self.ca_file {
            command.env("ORW_CA_FILE", file);
        }
        command
    }

    /// Starts the program; returns when it listens.
    pub(crate) async fn run(&self) -> Sidecar {
        let port = HeldPort::take().unwrap();
        let address = port.address();
        let child = self
            .command()
            .arg("run")
            .env("ORW_LISTEN", address.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sidecar = Sidecar(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "the sidecar does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sidecar
    }

    /// Registers a webhook for `event` at `uri`; its id.
    pub(crate) fn add_webhook(&self, event: &str, uri: &str, more: &[&str]) -> String {
        let mut add = self.command();
        add.args(["webhook", "add", "--event", event, "--uri", uri, "--json"])
            .args(more);
        let add = add.stderr(Stdio::inherit()).output().unwrap();
        assert!(add.status.success());
        let made: serde_json::Value = serde_json::from_slice(&add.stdout).unwrap();
        made["id"].to_string()
    }

    pub(crate) fn remove_webhook(&self, webhook: &str) {
        self.webhook("remove", webhook);
    }

    pub(crate) fn pause_webhook(&self, webhook: &str) {
        self.webhook("pause", webhook);
    }

    fn webhook(&self, verb: &str, webhook: &str) {
        let mut command = self.command();
        command.args(["webhook", verb, webhook]).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
    }
}

impl Sidecar {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
