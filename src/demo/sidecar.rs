//! The program itself, as a child process.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::error::DemoError;
use orw_testkit::guardian::Guardian;
use orw_testkit::port::HeldPort;

/// How long the sidecar may take to shut down.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Settings, as environment variables.
pub(super) type Environment = Vec<(&'static str, String)>;

/// A running sidecar; it ends with this process, however this process ends.
#[derive(Debug)]
pub(super) struct Sidecar {
    child: Child,
    guardian: Option<Guardian>,
    port: HeldPort,
    log: PathBuf,
}

impl Sidecar {
    /// Runs `install`, then starts `run`.
    pub(super) fn start(dir: &Path, name: &str, environment: &Environment) -> Result<Self, DemoError> {
        let log = dir.join(format!("sidecar-{name}.log"));
        let io = |source| DemoError::Io {
            what: log.display().to_string(),
            source,
        };
        let port = HeldPort::take().map_err(io)?;
        let mut install = command("install", environment, &log).map_err(io)?;
        let status = install.status().map_err(io)?;
        if !status.success() {
            return Err(DemoError::Sidecar {
                command: "install",
                status: status.to_string(),
                log: tail(&log),
            });
        }
        let mut run = command("run", environment, &log).map_err(io)?;
        let child = run
            .env("ORW_LISTEN", port.address().to_string())
            .spawn()
            .map_err(io)?;
        let guardian = Guardian::of_process(child.id()).map_err(io)?;
        Ok(Self {
            child,
            guardian: Some(guardian),
            port,
            log,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The file that it logs to.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Fails if the sidecar has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(DemoError::Sidecar {
                command: "run",
                status: status.to_string(),
                log: tail(&self.log),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for Sidecar {
    /// Asks the sidecar to stop, as `systemctl stop` does, and waits until it has.
    fn drop(&mut self) {
        let script = format!("kill -TERM {}", self.child.id());
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("sh").args(["-c", &script]).status();
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
    }
}

/// This program with another command and no settings but these.
fn command(name: &str, environment: &Environment, log: &Path) -> io::Result<Command> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"ORW_") {
            command.env_remove(variable);
        }
    }
    command
        .arg(name)
        .envs(environment.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    Ok(command)
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
