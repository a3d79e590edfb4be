//! Why a batch could not be turned into deliveries.

use crate::capture::Fault;
use crate::lifecycle::LookupError;
use crate::registry::RegistryError;

/// Why a batch could not be turned into deliveries; it is tried again as a whole.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("the registrations cannot be read: {0}")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Lifecycle(#[from] LookupError),
    #[error(transparent)]
    Query(#[from] tokio_postgres::Error),
    #[error("the tables registry and settings are empty: run `openregister-webhooks install`")]
    NotInstalled,
}

impl PipelineError {
    /// What caused the error.
    pub(super) fn fault(&self) -> Fault {
        match self {
            // Registrations are not part of any change.
            Self::Registry(_) | Self::NotInstalled => Fault::Elsewhere,
            Self::Lifecycle(error) => error.fault(),
            Self::Query(error) => Fault::of(error),
        }
    }
}
