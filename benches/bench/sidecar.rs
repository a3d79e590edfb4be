//! The program itself, as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orw_testkit::port::HeldPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    /// Starts the program; returns when it is ready, and how long that took.
    pub(crate) async fn run_until_ready(&self) -> (Sidecar, Duration) {
        let (port, health) = (HeldPort::take().unwrap(), HeldPort::take().unwrap());
        let began = Instant::now();
        let sidecar = self.spawn(&[
            ("ORW_LISTEN", port.address().to_string()),
            ("ORW_METRICS_LISTEN", health.address().to_string()),
        ]);
        while !is_ready(health.address()).await {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the sidecar is not ready"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (sidecar, began.elapsed())
    }

    fn spawn(&self, settings: &[(&str, String)]) -> Sidecar {
        let mut command = self.command();
        command.arg("run").stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Sidecar(command.spawn().unwrap())
    }

    /// Starts the program; returns when it listens.
    pub(crate) async fn run(&self) -> Sidecar {
        let port = HeldPort::take().unwrap();
        let address = port.address();
        let sidecar = self.spawn(&[("ORW_LISTEN", address.to_string())]);
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

/// Whether `/readyz` at this address answers 200.
async fn is_ready(health: SocketAddr) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(health).await?;
        let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
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
