//! What a step of a job is given, and why it fails.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::database::DatabaseError;
use crate::lifecycle::{HostConnection, HostError, LookupError};
use crate::pipeline::metrics::Metrics;
use crate::registry::{InvalidField, RegistryError};

/// Why a step was not made. Nothing of it was committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Connection(#[from] DatabaseError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("a table of Nextcloud cannot be read")]
    HostConnection(#[from] HostError),
    #[error("a query failed: {0}")]
    Query(#[from] tokio_postgres::Error),
    #[error(
        "the sidecar's role has no SELECT on {0}: run `openregister-webhooks install --runtime-role NAME` as the owner of Nextcloud's tables"
    )]
    NoSelect(String),
    #[error("it panicked: {0}; this is a bug, please report it with the lines of the log")]
    Panicked(String),
    #[error("the stored job cannot be read: {0}; cancel it and start another")]
    Stored(serde_json::Error),
    #[error("the stored filter cannot be read: {0}; cancel the job and start another")]
    Filter(InvalidField),
}

impl From<deadpool_postgres::PoolError> for StepError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Connection(error.into())
    }
}

impl StepError {
    /// Parses what is stored with the job.
    pub(super) fn stored<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Self> {
        serde_json::from_value(value).map_err(Self::Stored)
    }
}

/// What a step of a job uses.
pub(super) struct StepContext<'a> {
    pub(super) host: &'a Mutex<HostConnection>,
    pub(super) metrics: &'a Metrics,
    pub(super) table_prefix: &'a str,
    pub(super) actor_wait: Duration,
    /// How many rows the step reads at most.
    pub(super) rows: i64,
}
