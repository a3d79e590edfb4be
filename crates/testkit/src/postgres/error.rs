//! Why there is no private server.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// The environment variable with the directory of the server programs.
pub const BIN_VARIABLE: &str = "ORW_TEST_PG_BIN";
/// How long the server may take to start or to stop.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The private server could not be started, or not be stopped.
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

pub(super) fn io_error(path: &Path, source: io::Error) -> PostgresError {
    PostgresError::Io {
        path: path.to_owned(),
        source,
    }
}
