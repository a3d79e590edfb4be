//! A private, throw-away PostgreSQL server, from the server programs that are installed.
//!
//! Guarantees: reachable over a unix socket in a directory of its own (TCP on loopback only if asked for); nothing of
//! it outlives this process, however the process ends: a guardian process waits for the end of a pipe that only we
//! hold open, then stops the server and removes its directory. As root the server runs as `postgres` or `nobody`,
//! because PostgreSQL refuses to run as root.

mod directory;
mod programs;

pub use programs::Programs;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use self::directory::{RunAs, command_as, free_port, make_directory};
use crate::guardian::Guardian;

/// Where the server programs are looked for first.
pub const BIN_VARIABLE: &str = "ORW_TEST_PG_BIN";
/// The superuser of the private server. Over the socket nobody needs a password; over TCP every role does.
pub const SUPERUSER: &str = "postgres";
/// How long the server may take to come up, or to go.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "no PostgreSQL server programs (initdb, postgres) in {BIN_VARIABLE}, /usr/lib/postgresql/*/bin or PATH; \
         on Debian or Ubuntu install them with: sudo apt-get install -y postgresql"
    )]
    NotInstalled,
    #[error("{bin} has no working {program}: {reason}", bin = .bin.display())]
    Program {
        bin: PathBuf,
        program: &'static str,
        reason: String,
    },
    #[error("a private PostgreSQL cannot be set up in {path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{step} failed ({status}): {log}")]
    Failed {
        step: &'static str,
        status: ExitStatus,
        log: String,
    },
    #[error("PostgreSQL was not {state} after {PATIENCE:?}; its log ends with: {log}")]
    Timeout { state: &'static str, log: String },
}

/// How the private server is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `fsync` on: only for tests of what an operating system's crash would do; slow.
    pub durable: bool,
    /// Listen on loopback too, with passwords (SCRAM): for tests of passwords, poolers and broken connections.
    pub tcp: bool,
    /// More settings for `postgres -c name=value`.
    pub settings: Vec<(String, String)>,
}

/// A private server; stopped and removed when dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: Programs,
    options: Options,
    run_as: Option<RunAs>,
    /// Holds `data/`, `s/` (the socket) and `log`.
    dir: PathBuf,
    port: u16,
    server: Mutex<Option<Child>>,
    guardian: Option<Guardian>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts it. Blocks for about a second.
    ///
    /// # Errors
    /// Where there are no programs, or they fail.
    pub fn start(programs: Programs, options: Options) -> Result<Self, PostgresError> {
        let (dir, run_as) = make_directory()?;
        let port = if options.tcp { free_port(&dir)? } else { 5432 };
        // From here on whatever happens the guardian removes the directory.
        let guardian = spawn_guardian(&programs, &dir, run_as)?;
        let this = Self {
            programs,
            options,
            run_as,
            dir,
            port,
            server: Mutex::new(None),
            guardian: Some(guardian),
        };
        this.init()?;
        this.resume()?;
        Ok(this)
    }

    /// A connection string for `role` and `database`, over the socket.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        let port = self.port;
        format!(
            "postgres://{role}@/{database}?host={}&port={port}",
            self.socket_dir().display()
        )
    }

    /// A connection string over loopback TCP; needs [`Options::tcp`].
    #[must_use]
    pub fn tcp_url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The directory of the socket, for `psql -h`.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The port: of TCP, and in the socket's name.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The programs it runs with.
    #[must_use]
    pub const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let start = log.len().saturating_sub(4000);
        log.get(log.ceil_char_boundary(start)..)
            .unwrap_or_default()
            .to_owned()
    }

    /// Stops it as an administrator does (`fast`: sessions are ended, a checkpoint is written).
    ///
    /// # Errors
    /// Where it does not stop.
    pub fn stop(&self) -> Result<(), PostgresError> {
        self.end("INT")
    }

    /// Stops it as a crash does (`immediate`: the next start recovers from the log).
    ///
    /// # Errors
    /// Where it does not stop.
    pub fn kill(&self) -> Result<(), PostgresError> {
        self.end("QUIT")
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`]; returns when it accepts connections.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn resume(&self) -> Result<(), PostgresError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .map_err(|e| self.io(e))?;
        let errors = log.try_clone().map_err(|e| self.io(e))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).stdout(log).stderr(errors);
        let listen = if self.options.tcp { "127.0.0.1" } else { "" };
        let fsync = if self.options.durable { "on" } else { "off" };
        let socket = self.socket_dir().display().to_string();
        let port = self.port.to_string();
        let settings = [
            ("unix_socket_directories", socket.as_str()),
            ("listen_addresses", listen),
            ("port", &port),
            ("fsync", fsync),
            ("full_page_writes", fsync),
            ("shared_buffers", "64MB"),
            ("max_connections", "300"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let more = self
            .options
            .settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()));
        for (name, value) in settings.into_iter().chain(more) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut slot = self.slot();
        let mut child = command.spawn().map_err(|e| self.io(e))?;
        let waited = self.wait_until_ready(&mut child);
        *slot = Some(child);
        waited
    }

    /// [`Self::stop`] and [`Self::resume`].
    ///
    /// # Errors
    /// Where either fails.
    pub fn restart(&self) -> Result<(), PostgresError> {
        self.stop()?;
        self.resume()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end(&self, signal: &str) -> Result<(), PostgresError> {
        let Some(mut child) = self.slot().take() else {
            return Ok(());
        };
        // The shell's own `kill`: no program of that name need be installed.
        let script = format!("kill -{signal} {}", child.id());
        let status = self
            .plain("sh")
            .arg("-c")
            .arg(script)
            .status()
            .map_err(|e| self.io(e))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if Instant::now() < deadline && status.success() => std::thread::sleep(LOOK_AGAIN),
                Ok(None) => {
                    *self.slot() = Some(child);
                    return Err(PostgresError::Timeout {
                        state: "stopped",
                        log: self.log(),
                    });
                }
                Err(error) => return Err(self.io(error)),
            }
        }
    }

    fn init(&self) -> Result<(), PostgresError> {
        let mut initdb = self.command("initdb");
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "-E",
            "UTF8",
            "--locale=C",
            "-A",
            "trust",
        ]);
        initdb.args(["-U", SUPERUSER]).arg("-D").arg(self.data());
        let out = initdb.output().map_err(|e| self.io(e))?;
        if !out.status.success() {
            return Err(PostgresError::Failed {
                step: "initdb",
                status: out.status,
                log: String::from_utf8_lossy(&out.stderr).into_owned(),
            });
        }
        let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.data().join("pg_hba.conf"), rules).map_err(|e| self.io(e))
    }

    /// The last line of `postmaster.pid` says when connections are accepted.
    fn wait_until_ready(&self, child: &mut Child) -> Result<(), PostgresError> {
        let deadline = Instant::now() + PATIENCE;
        let file = self.data().join("postmaster.pid");
        let pid = child.id().to_string();
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines();
            if lines.next() == Some(pid.as_str()) && lines.next_back().map(str::trim_end) == Some("ready") {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(PostgresError::Failed {
                    step: "postgres",
                    status,
                    log: self.log(),
                });
            }
            if Instant::now() >= deadline {
                return Err(PostgresError::Timeout {
                    state: "ready",
                    log: self.log(),
                });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.plain(self.programs.bin().join(program))
    }

    fn plain(&self, program: impl AsRef<OsStr>) -> Command {
        command_as(program, &self.dir, self.run_as)
    }

    fn io(&self, source: io::Error) -> PostgresError {
        io_error(&self.dir, source)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // A throw-away cluster needs no checkpoint.
        let _ = self.kill();
        drop(self.guardian.take());
    }
}

fn io_error(path: &Path, source: io::Error) -> PostgresError {
    PostgresError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Stops the server and removes its directory when we are gone.
fn spawn_guardian(programs: &Programs, dir: &Path, run_as: Option<RunAs>) -> Result<Guardian, PostgresError> {
    let script = r#"trap '' INT TERM HUP
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate -w stop
i=0
while [ -f "$2/data/postmaster.pid" ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i + 1)); done
cd / && rm -rf "$2""#;
    let mut command = command_as("sh", dir, run_as);
    command
        .args(["-c", script, "orw-guardian"])
        .arg(programs.bin())
        .arg(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Guardian::spawn(command).map_err(|e| io_error(dir, e))
}
