//! A program of `examples/` as a process: started as its page says, killed, and asked what it has stored.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::support::postgres::{Db, NEXTCLOUD};
use crate::support::sidecar::{free_port, get};
use crate::support::skipped::skipped;
use crate::support::wait::until;

/// 32 bytes in base64.
pub(super) const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// Prints the bodies in the journal of a SQLite file, one on a line, in the order in which they were stored.
const PYTHON_READS: &str = "import sqlite3, sys\n\
    for (body,) in sqlite3.connect(sys.argv[1]).execute('SELECT body FROM journal ORDER BY id'): print(body)";
const PHP_READS: &str = r#"
    $file = new PDO("sqlite:$argv[1]");
    if ($file->query("SELECT 1 FROM sqlite_master WHERE name = 'journal'")->fetch()) {
        foreach ($file->query('SELECT body FROM journal ORDER BY id') as $row) { echo $row[0], "\n"; }
    }"#;

/// Where it stores what it receives.
enum Store {
    /// In a file. The command prints the journal.
    Sqlite(Vec<String>),
    Postgres(Db),
}

pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    command: Vec<String>,
    store: Store,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

/// A file below `examples/`.
pub(super) fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("examples").join(name).display().to_string()
}

/// What `scripts/test_consumers.sh` has found or installed.
pub(super) fn installed(what: &str) -> Option<String> {
    std::env::var(what).ok().filter(|value| !value.is_empty())
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// All consumers that can run here, none of them started.
pub(super) async fn consumers() -> Vec<Program> {
    let python = installed("ORW_CONSUMERS_PYTHON");
    let mut all = Vec::new();
    if let Some(python) = &python {
        let reads = words([python, "-c", PYTHON_READS]);
        let command = [python.clone(), example("python/consumer.py")].to_vec();
        all.push(Program::new("python", free_port(), command, Store::Sqlite(reads)));
    }
    if let Some(folder) = installed("ORW_CONSUMERS_NODE") {
        let command = words(["node", &format!("{folder}/consumer.mjs")]);
        let store = Store::Postgres(Db::empty().await);
        all.push(Program::new("node", free_port(), command, store));
    }
    if let Some(php) = installed("ORW_CONSUMERS_PHP") {
        let address = free_port();
        let at = address.to_string();
        let script = example("php/webhook.php");
        let command = words([&php, "-d", "post_max_size=17M", "-S", &at, &script]);
        let reads = words([&php, "-r", PHP_READS, "--"]);
        all.push(Program::new("php", address, command, Store::Sqlite(reads)));
    }
    if let Some(program) = installed("ORW_CONSUMERS_RUST") {
        let store = Store::Postgres(Db::empty().await);
        all.push(Program::new("rust", free_port(), vec![program], store));
    }
    if let Some(python) = &python {
        let script = crate::support::foreign::script("windmill.py")
            .display()
            .to_string();
        let receive = example("windmill/f/openregister/receive.py");
        let store = Store::Postgres(Db::empty().await);
        all.push(Program::new(
            "windmill",
            free_port(),
            words([python, &script, &receive]),
            store,
        ));
    }
    assert!(
        !all.is_empty(),
        "no consumer is installed: run scripts/test_consumers.sh"
    );
    for name in ["python", "node", "php", "rust", "windmill"] {
        if !all.iter().any(|program| program.name == name) {
            skipped(
                &format!("the consumer examples/{name}"),
                "its runtime or its packages are not installed",
            );
        }
    }
    all
}

impl Program {
    fn new(name: &'static str, address: SocketAddr, command: Vec<String>, store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        Self {
            name,
            address,
            command,
            store,
            folder,
            child: None,
        }
    }

    /// The copy of `examples/sync`, with a database of its own.
    pub(super) async fn sync(python: &str) -> Self {
        let store = Store::Postgres(Db::empty().await);
        Self::new(
            "sync",
            free_port(),
            words([python, &example("sync/sync.py")]),
            store,
        )
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The connection string of its database.
    pub(super) fn database(&self) -> String {
        match &self.store {
            Store::Postgres(db) => db.url(NEXTCLOUD),
            Store::Sqlite(_) => self.file().display().to_string(),
        }
    }

    pub(super) async fn client(&self) -> tokio_postgres::Client {
        match &self.store {
            Store::Postgres(db) => db.client().await,
            Store::Sqlite(_) => panic!("{} stores in a file", self.name),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("webhooks.sqlite")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has printed since its first start.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(super) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .env("PORT", self.address.port().to_string())
            .env("WEBHOOK_SECRET_FILE", self.folder.path().join("secret"))
            .env("DATABASE", self.file())
            .env("DATABASE_URL", self.database())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", self.name)),
        );
    }

    /// Starts it, and waits until it answers.
    pub(super) async fn start(&mut self) {
        self.spawn();
        until(self.name, async || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}\n{}", self.name, self.log());
            get(self.address, "/").await.is_ok()
        })
        .await;
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.start_kill().unwrap();
            child.wait().await.unwrap();
        }
    }

    pub(super) const fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// The bodies that it has stored, in that order. Some make the journal when they store the first.
    pub(super) async fn journal(&self) -> Vec<serde_json::Value> {
        let lines: Vec<String> = match &self.store {
            Store::Postgres(_) => {
                let client = self.client().await;
                let exists = "SELECT to_regclass('journal') IS NOT NULL";
                let mut bodies = Vec::new();
                if client.query_one(exists, &[]).await.unwrap().get(0) {
                    let sql = "SELECT body::text FROM journal ORDER BY id";
                    bodies = client.query(sql, &[]).await.unwrap();
                }
                bodies.iter().map(|row| row.get(0)).collect()
            }
            Store::Sqlite(reads) => {
                let read = Command::new(&reads[0])
                    .args(&reads[1..])
                    .arg(self.file())
                    .output();
                let read = read.await.unwrap();
                let errors = String::from_utf8_lossy(&read.stderr);
                assert!(read.status.success(), "{}: {errors}", self.name);
                String::from_utf8(read.stdout)
                    .unwrap()
                    .lines()
                    .map(str::to_owned)
                    .collect()
            }
        };
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
