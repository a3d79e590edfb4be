//! Why a handler did not do what was asked, as the caller reads it.

use super::super::reply::Reply;
use crate::random::NoRandom;
use crate::registry::{InvalidField, Refused, RegistryError};

/// What every handler returns.
pub(crate) type Answer = Result<Reply, HandlerError>;

/// Why a handler did not do what was asked.
#[derive(Debug)]
pub(crate) enum HandlerError {
    /// The answer itself, such as 404.
    Reply(Reply),
    /// What the registry or the database says; [`HandlerError::into_reply`] turns it into an answer.
    Registry(RegistryError),
}

impl HandlerError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self::Reply(Reply::failure(status, message))
    }

    /// A field of the request that cannot be used.
    pub(super) fn field(name: &str, reason: impl Into<String>) -> Self {
        InvalidField {
            field: name.to_owned(),
            reason: reason.into(),
        }
        .into()
    }

    /// The answer. Details of an error that the operator has to mend go to the log, not to the caller.
    pub(crate) fn into_reply(self) -> Reply {
        let error = match self {
            Self::Reply(reply) => return reply,
            Self::Registry(error) => error,
        };
        match error {
            RegistryError::Refused(refused) => Reply::failure(400, refused.to_string()),
            RegistryError::NotFound(id) => Reply::failure(404, format!("Webhook {id} does not exist")),
            RegistryError::Unreadable { .. } | RegistryError::Changed(_) => {
                Reply::failure(409, error.to_string())
            }
            RegistryError::Vault(_) => internal(&error),
            RegistryError::Database(ref cause) if cause.code().is_some_and(|code| !is_transient(code)) => {
                internal(&error)
            }
            RegistryError::Database(_) | RegistryError::Pool(_) => {
                log(&error);
                Reply::failure(503, "The database cannot be reached; try again in a moment")
            }
        }
    }
}

fn internal(error: &RegistryError) -> Reply {
    log(error);
    Reply::failure(500, "An internal error occurred")
}

fn log(error: &RegistryError) {
    tracing::error!(error = %crate::error_text::chain(error), "a request to the API failed");
}

/// Whether an error can pass by itself: connection, resources, operator's intervention, a transaction that was rolled back,
/// an object in use.
fn is_transient(code: &tokio_postgres::error::SqlState) -> bool {
    ["08", "53", "57", "40", "55"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

impl From<RegistryError> for HandlerError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<Refused> for HandlerError {
    fn from(error: Refused) -> Self {
        Self::Registry(error.into())
    }
}

impl From<InvalidField> for HandlerError {
    fn from(error: InvalidField) -> Self {
        Refused::Field(error).into()
    }
}

impl From<NoRandom> for HandlerError {
    fn from(error: NoRandom) -> Self {
        Self::Registry(error.into())
    }
}

impl From<tokio_postgres::Error> for HandlerError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Registry(error.into())
    }
}

impl From<deadpool_postgres::PoolError> for HandlerError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Registry(error.into())
    }
}
