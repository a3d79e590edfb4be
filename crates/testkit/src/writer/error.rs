//! Why a write fails.

/// A write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("OpenRegister's write to {table} failed: {source}")]
    Write {
        table: String,
        source: tokio_postgres::Error,
    },
    #[error("cannot connect as OpenRegister does: {0}")]
    Connect(#[source] tokio_postgres::Error),
    /// The row that is to be changed does not exist (any more).
    #[error("{table} has no row with {column} = {value}")]
    Missing {
        table: String,
        column: &'static str,
        value: String,
    },
    #[error("a row of {table} is not the JSON object that it should be: {source}")]
    Row {
        table: String,
        source: serde_json::Error,
    },
}

pub(super) fn failed(table: &str, source: tokio_postgres::Error) -> WriterError {
    WriterError::Write {
        table: table.to_owned(),
        source,
    }
}

pub(super) fn missing(table: &str, column: &'static str, value: &str) -> WriterError {
    WriterError::Missing {
        table: table.to_owned(),
        column,
        value: value.to_owned(),
    }
}

/// One row was changed; otherwise the one that was looked for is missing.
pub(super) fn expect_row(
    count: u64,
    table: &str,
    column: &'static str,
    value: &str,
) -> Result<(), WriterError> {
    if count == 1 {
        Ok(())
    } else {
        Err(missing(table, column, value))
    }
}
