//! A private PgBouncer on a loopback port; it ends when it is dropped.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::{Db, NEXTCLOUD, PASSWORD, Server};
use crate::support::sidecar::free_port;
use crate::support::wait::PATIENCE;

/// Where Debian puts it, which is not in every PATH.
const PLACES: [&str; 3] = [
    "/usr/sbin/pgbouncer",
    "/usr/bin/pgbouncer",
    "/usr/local/bin/pgbouncer",
];

/// A running pooler before one database of a server that listens on TCP.
pub(crate) struct Bouncer {
    process: Child,
    port: u16,
    database: String,
    _dir: TempDir,
}

/// Whether there is one to be had.
pub(crate) enum Found {
    Running(Bouncer),
    /// Not installed, and how to change that.
    Missing(String),
}

impl Bouncer {
    pub(crate) async fn start(server: &Server, db: &Db, mode: &str) -> Found {
        let Some(program) = PLACES.iter().map(Path::new).find(|p| p.is_file()) else {
            let why = "pgbouncer is not installed; run: sudo apt-get install -y pgbouncer".to_owned();
            // Where `make test` could install it, it must be there.
            assert!(
                std::env::var_os("ORW_TEST_PGBOUNCER").is_none_or(|v| v != "required"),
                "{why}"
            );
            return Found::Missing(why);
        };
        let dir = tempfile::tempdir().unwrap();
        let (upstream, database) = (server.postgres.port(), db.name());
        let port = free_port().port();
        let users = dir.path().join("users");
        std::fs::write(&users, format!("\"{NEXTCLOUD}\" \"{PASSWORD}\"\n")).unwrap();
        let file = dir.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n{database} = host=127.0.0.1 port={upstream} dbname={database}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 5\n",
            users.display()
        );
        std::fs::write(&file, settings).unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        if std::fs::metadata(dir.path()).unwrap().uid() == 0 {
            // It refuses to run as root; the user it runs as must get at its files.
            for path in [dir.path(), &users, &file] {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            command.args(["-u", "nobody"]);
        }
        let mut this = Self {
            process: command.arg(&file).spawn().unwrap(),
            port,
            database: database.to_owned(),
            _dir: dir,
        };
        this.wait(&log).await;
        Found::Running(this)
    }

    /// Until it accepts connections.
    async fn wait(&mut self, log: &PathBuf) {
        let began = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .is_err()
        {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(ended) = self.process.try_wait().unwrap() {
                panic!("pgbouncer ended: {ended}: {said}");
            }
            assert!(began.elapsed() < PATIENCE, "pgbouncer does not listen: {said}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self, role: &str, password: &str) -> String {
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{}",
            self.port, self.database
        )
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
