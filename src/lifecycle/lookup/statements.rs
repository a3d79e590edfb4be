//! How statements of look-ups are run, and why they fail.
//!
//! In statements that name a magic table, its rows are called `"orw row"`: a column of a magic table has the name of a property,
//! which may be any short alias, but never holds a space.

use tokio_postgres::GenericClient;

use crate::capture::Fault;
use crate::lifecycle::host_connection::{HostConnection, HostError, HostTables, Parameter};
use orw_model::{Row, parse_row};

/// Why something could not be looked up; nothing of the batch may be committed.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("cannot look up {what}: {source}")]
    Query {
        what: &'static str,
        #[source]
        source: tokio_postgres::Error,
    },
    #[error(
        "cannot look up {what} in Nextcloud's tables: {source}; does the sidecar's role have SELECT on them? `doctor` says"
    )]
    Host {
        what: &'static str,
        #[source]
        source: HostError,
    },
}

impl LookupError {
    /// What caused the error.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Query { source, .. }
            | Self::Host {
                source: HostError::Query(source),
                ..
            } => Fault::of(source),
            Self::Host { .. } => Fault::Elsewhere,
        }
    }
}

/// Queries Nextcloud's tables. A table or column that does not exist holds nothing.
pub(super) async fn query_host(
    host: &mut HostConnection,
    what: &'static str,
    tables: &HostTables,
    statements: &[&str],
    parameters: &[Parameter<'_>],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    match host.query(tables, statements, parameters).await {
        Err(error) if error.is_gone() => {
            tracing::warn!(what, error = %crate::error_text::chain(&error), "what is to be looked up does not exist");
            Ok(Vec::new())
        }
        done => done.map_err(|source| LookupError::Host { what, source }),
    }
}

/// Prepares to name tables of Nextcloud in a statement.
pub(super) async fn tables_of(host: &mut HostConnection) -> Result<HostTables, LookupError> {
    host.tables().await.map_err(|source| LookupError::Host {
        what: "anything",
        source,
    })
}

/// Queries our own tables, within the batch's transaction.
pub(super) async fn query_own(
    tx: &impl GenericClient,
    what: &'static str,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<tokio_postgres::Row>, LookupError> {
    tx.query_typed(sql, parameters)
        .await
        .map_err(|source| LookupError::Query { what, source })
}

/// A row image from the database. One that cannot be parsed counts as missing.
pub(super) fn image(text: Option<&str>) -> Option<Row> {
    text.and_then(|text| parse_row(text).ok())
}
