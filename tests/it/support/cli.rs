//! The program's commands, run to their end.

use std::io::Write as _;
use std::process::Stdio;

use openregister_webhooks::capture::{self, InstallOptions, Installed};
use tokio::process::Command;

use super::postgres::Db;
use crate::support::wait::PATIENCE;

/// The program with a database and no other setting.
#[derive(Debug)]
pub(crate) struct Cli {
    settings: Vec<(String, String)>,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Cli {
    pub(crate) fn new(database_url: &str) -> Self {
        Self {
            settings: vec![("ORW_DATABASE_URL".to_owned(), database_url.to_owned())],
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        let done = Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"))
            .args(arguments)
            .env_clear()
            .envs(self.settings.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let done = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
        Said {
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8(done.stdout).unwrap(),
            err: String::from_utf8(done.stderr).unwrap(),
        }
    }
}

/// What `hash-password` prints for this standard input, and its exit code.
pub(crate) fn hash_password(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"))
        .arg("hash-password")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that it refuses is refused before anything is read.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// Installs as the owner, with the library; registers, schemas and every other kind are captured.
pub(crate) async fn install(db: &Db) -> Installed {
    let options = InstallOptions {
        table_prefix: "oc_".to_owned(),
        runtime_role: None,
        capture_all: true,
    };
    capture::install(&mut db.client().await, &options, |_, _| {})
        .await
        .unwrap()
}
