//! Why a command failed: what is printed, and the exit code.

use std::process::ExitCode;

use tokio_postgres::error::SqlState;

use crate::capture::{AdoptError, InstallError};
use crate::config::ConfigError;
use crate::database::DatabaseError;
use crate::doctor::Finding;
use crate::registry::{RegistryError, VaultError};
use crate::run::RunError;
use orw_egress::TlsError;

/// Why a command did not do what was asked; the text names the thing, the reason and the next step.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    /// Something that `doctor` would say.
    #[error("{0}")]
    Explained(Box<Finding>),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The sidecar did not start, or ended by itself.
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the database refused: {0}")]
    Query(#[from] tokio_postgres::Error),
}

impl Failure {
    /// The lines that are printed. Text that comes from others cannot start a line.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Settings(error) => {
                let problems = error.problems.iter().map(|problem| format!("  {problem}"));
                std::iter::once("the settings cannot be used:".to_owned())
                    .chain(problems)
                    .collect()
            }
            Self::Explained(finding) => {
                let more = [("cause: ", &finding.cause), ("remedy:", &finding.remedy)];
                let more = more.iter().filter_map(|(name, text)| {
                    let text = text.as_ref()?;
                    Some(format!("  {name} {text}"))
                });
                std::iter::once(finding.what.clone()).chain(more).collect()
            }
            other => {
                let remedy = other
                    .sqlstate()
                    .and_then(remedy)
                    .map(|remedy| format!("  remedy: {remedy}"));
                std::iter::once(crate::error_text::chain(other))
                    .chain(remedy)
                    .collect()
            }
        }
    }

    /// What the database said, if a query failed.
    fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Query(error)
            | Self::Registry(RegistryError::Database(error))
            | Self::Run(RunError::Registry(RegistryError::Database(error))) => error.code(),
            _ => None,
        }
    }

    /// 2 if the settings or the command line are wrong, 3 if a part of the sidecar kept failing, else 1.
    pub(super) fn code(&self) -> ExitCode {
        let wrong_setting = match self {
            Self::Settings(_) | Self::Usage(_) | Self::Tls(_) => true,
            Self::Database(error) => is_setting(error),
            Self::Registry(error) => is_master_key(error),
            Self::Run(error) => match error {
                RunError::KeepsFailing(_) => return ExitCode::from(3),
                RunError::Database(error) => is_setting(error),
                RunError::Registry(error) => is_master_key(error),
                RunError::Tls(_)
                | RunError::Auth(_)
                | RunError::Nextcloud(_)
                | RunError::ListenerTls(_)
                | RunError::Traces(_)
                | RunError::Pooled
                | RunError::PooledStatements
                | RunError::PooledInstall => true,
                RunError::Install(_)
                | RunError::NoRandom(_)
                | RunError::Listen { .. }
                | RunError::Routes(_) => false,
            },
            Self::Failed(_) | Self::Explained(_) | Self::Install(_) | Self::Adopt(_) | Self::Query(_) => {
                false
            }
        };
        ExitCode::from(if wrong_setting { 2 } else { 1 })
    }
}

/// The next step, where the database's answer makes it plain.
fn remedy(code: &SqlState) -> Option<&'static str> {
    if [
        &SqlState::UNDEFINED_TABLE,
        &SqlState::INVALID_SCHEMA_NAME,
        &SqlState::UNDEFINED_FUNCTION,
        &SqlState::UNDEFINED_COLUMN,
    ]
    .contains(&code)
    {
        Some(
            "openregister-webhooks is not installed in this database, or an older version is: run `openregister-webhooks install`, or mend ORW_DATABASE_URL",
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        Some(
            "this role lacks a right: run `openregister-webhooks install --runtime-role NAME` as the owner of Nextcloud's tables",
        )
    } else {
        None
    }
}

/// Whether `ORW_DATABASE_URL` is at fault.
const fn is_setting(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Url(_) | DatabaseError::Away(_))
}

/// Whether `ORW_MASTER_KEY` is at fault.
const fn is_master_key(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Vault(VaultError::NoKey | VaultError::BadKey | VaultError::WrongKey { .. })
    )
}
