//! The server: set up, started, stopped and removed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::directory::{RunAs, command_as, make_directory};
use super::error::{PATIENCE, PostgresError, io_error};
use super::programs::Programs;
use crate::guardian::Guardian;
use crate::mutex::lock;
use crate::port::HeldPort;

/// The superuser of the private server. Over the socket nobody needs a password; over TCP every role does.
pub const SUPERUSER: &str = "postgres";
/// The signals for a `fast` and an `immediate` shutdown.
#[cfg(feature = "faults")]
const SHUTDOWN: &str = "INT";
const CRASH: &str = "QUIT";
/// How often to look whether the server has started or stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How the private server runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Turns `fsync` on, which is slow: only for tests of what a crash of the operating system would do.
    pub durable: bool,
    /// Listens on loopback, too, with passwords (SCRAM): for tests of passwords, poolers and broken connections.
    pub tcp: bool,
    /// Further settings, as in `postgres -c name=value`.
    pub settings: Vec<(String, String)>,
}

/// A private server; it is stopped and removed when it is dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: Programs,
    options: Options,
    run_as: Option<RunAs>,
    /// Holds `data/`, `s/` (the socket) and `log`.
    dir: PathBuf,
    port: u16,
    /// Keeps the port while the server is stopped; none without TCP.
    _held: Option<HeldPort>,
    server: Mutex<Option<Child>>,
    guardian: Option<Guardian>,
}

impl PrivatePostgres {
    /// Sets up a cluster and starts its server. This blocks for about a second.
    ///
    /// # Errors
    /// If the programs fail.
    pub fn start(programs: Programs, options: Options) -> Result<Self, PostgresError> {
        let (dir, run_as) = make_directory()?;
        let held = options.tcp.then(HeldPort::take).transpose();
        let held = held.map_err(|e| io_error(&dir, e))?;
        let port = held.as_ref().map_or(5432, |held| held.address().port());
        // From here on the guardian removes the directory, whatever happens.
        let guardian = spawn_guardian(&programs, &dir, run_as)?;
        let this = Self {
            programs,
            options,
            run_as,
            dir,
            port,
            _held: held,
            server: Mutex::new(None),
            guardian: Some(guardian),
        };
        this.init()?;
        this.run()?;
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

    /// The port, which is part of the socket's name, too.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The programs that run it.
    #[must_use]
    pub const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The end of the server's log, at most 4,000 bytes.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let start = log.len().saturating_sub(4000);
        log.get(log.ceil_char_boundary(start)..)
            .unwrap_or_default()
            .to_owned()
    }

    /// Starts the server; returns when it accepts connections.
    fn run(&self) -> Result<(), PostgresError> {
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
        let mut slot = lock(&self.server);
        let mut child = command.spawn().map_err(|e| self.io(e))?;
        let waited = self.wait_until_ready(&mut child);
        *slot = Some(child);
        waited
    }

    /// Sends the signal and waits until the server has ended.
    fn end(&self, signal: &str) -> Result<(), PostgresError> {
        let Some(mut child) = lock(&self.server).take() else {
            return Ok(());
        };
        // `kill` is built into the shell, so no program of that name needs to be installed.
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
                    *lock(&self.server) = Some(child);
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

    /// The last line of `postmaster.pid` says `ready` once connections are accepted.
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

#[cfg(feature = "faults")]
impl PrivatePostgres {
    /// Stops the server as an administrator does: sessions are ended, a checkpoint is written.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn stop(&self) -> Result<(), PostgresError> {
        self.end(SHUTDOWN)
    }

    /// Stops the server as a crash does: the next start recovers from the write-ahead log.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn kill(&self) -> Result<(), PostgresError> {
        self.end(CRASH)
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`]; returns when it accepts connections.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&self) -> Result<(), PostgresError> {
        self.run()
    }

    /// Stops the server and starts it again.
    ///
    /// # Errors
    /// If either fails.
    pub fn restart(&self) -> Result<(), PostgresError> {
        self.stop()?;
        self.run()
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // A throw-away cluster needs no checkpoint.
        let _ = self.end(CRASH);
        drop(self.guardian.take());
    }
}

/// Starts the process that stops the server and removes its directory when this process has ended.
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
