//! Finds the server programs that are installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{BIN_VARIABLE, PostgresError};

/// The installed server programs.
#[derive(Debug, Clone)]
pub struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// Looks in the directory named by `ORW_TEST_PG_BIN`; if it is not set, in `/usr/lib/postgresql/*/bin` (newest version first)
    /// and then in `PATH`.
    ///
    /// # Errors
    /// [`PostgresError::NotInstalled`].
    pub fn find() -> Result<Self, PostgresError> {
        if let Some(bin) = std::env::var_os(BIN_VARIABLE).filter(|v| !v.is_empty()) {
            return Self::at(PathBuf::from(bin));
        }
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                Some((
                    entry.file_name().to_str()?.parse().ok()?,
                    entry.path().join("bin"),
                ))
            })
            .collect();
        versions.sort_by(|a, b| b.cmp(a));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = versions
            .into_iter()
            .map(|(_, bin)| bin)
            .chain(std::env::split_paths(&path));
        candidates
            .find(|bin| has_programs(bin))
            .map(|bin| Self { bin })
            .ok_or(PostgresError::NotInstalled)
    }

    /// The programs in one directory.
    ///
    /// # Errors
    /// If they are missing.
    pub fn at(bin: PathBuf) -> Result<Self, PostgresError> {
        if has_programs(&bin) {
            return Ok(Self { bin });
        }
        Err(PostgresError::Program {
            bin,
            program: "initdb and postgres",
            reason: "not found".to_owned(),
        })
    }

    /// The directory of the programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The version, such as `15.18`; a packager may have added to it.
    ///
    /// # Errors
    /// If the program does not run.
    pub fn version(&self) -> Result<String, PostgresError> {
        let run = Command::new(self.bin.join("postgres")).arg("--version").output();
        match run {
            Ok(out) if out.status.success() => {
                let text = String::from_utf8_lossy(&out.stdout);
                let version = text
                    .rsplit_once("(PostgreSQL)")
                    .map_or(&*text, |(_, version)| version);
                Ok(version.trim().to_owned())
            }
            Ok(out) => Err(self.broken(String::from_utf8_lossy(&out.stderr).into_owned())),
            Err(error) => Err(self.broken(error.to_string())),
        }
    }

    fn broken(&self, reason: String) -> PostgresError {
        PostgresError::Program {
            bin: self.bin.clone(),
            program: "postgres",
            reason,
        }
    }
}

fn has_programs(bin: &Path) -> bool {
    bin.join("initdb").is_file() && bin.join("postgres").is_file()
}
