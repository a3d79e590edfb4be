//! How a command ends that does not end well.

use std::process::ExitCode;

use crate::capture::{AdoptError, InstallError};
use crate::config::ConfigError;
use crate::database::DatabaseError;
use crate::doctor::Finding;
use crate::registry::{RegistryError, VaultError};
use crate::run::RunError;
use crate::supervise::KeepsFailing;
use orw_egress::TlsError;

/// Why a command did not do what was asked; the text names the thing, the reason and the next step.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The command line asks for something that cannot be.
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
    /// A part of the running sidecar failed again and again.
    #[error(transparent)]
    Part(#[from] KeepsFailing),
    #[error("the database says no: {0}")]
    Query(#[from] tokio_postgres::Error),
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Tls(error) => error.into(),
            RunError::Database(error) => error.into(),
            RunError::Registry(error) => error.into(),
            RunError::KeepsFailing(error) => error.into(),
            RunError::Auth(_)
            | RunError::Nextcloud(_)
            | RunError::ListenerTls(_)
            | RunError::Pooled
            | RunError::PooledStatements => Self::Usage(crate::error_text::chain(&error)),
            RunError::NoRandom(_) | RunError::Listen { .. } | RunError::Routes(_) => {
                Self::Failed(crate::error_text::chain(&error))
            }
        }
    }
}

impl Failure {
    /// What is said of it, line by line; what others put into it can begin no line.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Settings(error) => {
                let problems = error.problems.iter().map(|problem| format!("  {problem}"));
                std::iter::once("the settings are not usable:".to_owned())
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
            other => vec![crate::error_text::chain(other)],
        }
    }

    /// 2 where the settings or the command line are to blame, 3 where a part of the sidecar kept failing, else 1.
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Settings(_)
            | Self::Usage(_)
            | Self::Tls(_)
            | Self::Registry(RegistryError::Vault(
                VaultError::NoKey | VaultError::BadKey | VaultError::WrongKey { .. },
            ))
            | Self::Database(DatabaseError::Url(_) | DatabaseError::Away(_)) => ExitCode::from(2),
            Self::Part(_) => ExitCode::from(3),
            _ => ExitCode::from(1),
        }
    }
}
