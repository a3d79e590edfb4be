//! What caused a batch to fail.
//!
//! A change may be quarantined only if its data is the cause. Failures of the database, the network or the installation (a lost
//! connection, a lock, a deadlock, no space, no right, a missing table, a shutdown) are waited for instead.

use std::error::Error;
use std::io;

use tokio_postgres::error::DbError;

/// The cause of a failure, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A change of the batch, which would fail again: find it and quarantine it.
    Data,
    /// The batch may be too large (time, memory): try a smaller one. A single change is never quarantined for it.
    Weight,
    /// Something else: try the same batch again later.
    Elsewhere,
}

impl Fault {
    /// The cause of `error`: that of the first PostgreSQL error among its sources.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
                return Self::of_query(error);
            }
            // A transparent error does not list the error that it wraps among its sources.
            if let Some(error) = error.downcast_ref::<DbError>() {
                return Self::of_state(error.code().code());
            }
            next = error.source();
        }
        Self::Elsewhere
    }

    fn of_query(error: &tokio_postgres::Error) -> Self {
        if let Some(code) = error.code() {
            return Self::of_state(code.code());
        }
        if error.is_closed() {
            return Self::Elsewhere;
        }
        // The driver has no accessor for its own kinds of error. If a parameter or a message cannot be sent, or a value cannot be
        // read, the data is the cause: it is too long, or a text holds a NUL. Everything else is the connection's fault.
        let text = error.to_string();
        let encoding = text.starts_with("error encoding message")
            && error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>())
                .is_none_or(|source| source.kind() == io::ErrorKind::InvalidInput);
        if encoding
            || text.starts_with("error serializing parameter")
            || text.starts_with("error deserializing column")
        {
            Self::Data
        } else {
            Self::Elsewhere
        }
    }

    /// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn of_state(code: &str) -> Self {
        match code {
            // Internal error, canceled (statement_timeout), out of memory, idle in a transaction for too long.
            "XX000" | "57014" | "53200" | "25P03" => Self::Weight,
            _ => match code.get(..2) {
                // Cardinality, data exception, integrity constraint, program limit (too large, too deep).
                Some("21" | "22" | "23" | "54") => Self::Data,
                _ => Self::Elsewhere,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_data_causes_is_its_fault() {
        for data in [
            "22P05", "22021", "22P02", "22003", "22001", "23505", "23514", "54000", "54001", "21000",
        ] {
            assert_eq!(Fault::of_state(data), Fault::Data, "{data}");
        }
        for weight in ["57014", "53200", "XX000", "25P03"] {
            assert_eq!(Fault::of_state(weight), Fault::Weight, "{weight}");
        }
        for elsewhere in [
            "08006", "40001", "40P01", "55P03", "53100", "53300", "53000", "57P01", "57P02", "57P03",
            "42P01", "42501", "42703", "25006", "25P02", "26000", "28000", "3F000", "58030", "XX001",
            "XX002", "0A000", "P0001", "F0000", "", "2",
        ] {
            assert_eq!(Fault::of_state(elsewhere), Fault::Elsewhere, "{elsewhere}");
        }
        let gone = io::Error::new(io::ErrorKind::ConnectionReset, "gone");
        assert_eq!(Fault::of(&gone), Fault::Elsewhere);
    }
}
