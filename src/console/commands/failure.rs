//! What the parts below say, as a client of the console reads it. Details that the operator has to mend go to the log.

use tokio_postgres::error::SqlState;

use crate::console::error::{ConsoleError, code};
use crate::pipeline::jobs::StartError;
use crate::random::NoRandom;
use crate::registry::RegistryError;

impl From<RegistryError> for ConsoleError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotFound(id) => no_webhook(id.0),
            RegistryError::Refused(refused) => Self::new(code::BAD_PARAMETER, refused.to_string()),
            RegistryError::Unreadable { .. } | RegistryError::Changed(_) => {
                Self::new(code::NOT_IN_STATE, error.to_string())
            }
            RegistryError::Vault(_) => internal(&error),
            RegistryError::Database(error) => error.into(),
            RegistryError::Pool(error) => error.into(),
        }
    }
}

impl From<tokio_postgres::Error> for ConsoleError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if !is_transient(code) => internal(&error),
            _ => away(&error),
        }
    }
}

impl From<deadpool_postgres::PoolError> for ConsoleError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        away(&error)
    }
}

impl From<NoRandom> for ConsoleError {
    fn from(error: NoRandom) -> Self {
        internal(&error)
    }
}

impl From<StartError> for ConsoleError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Query(error) => error.into(),
            StartError::Refused(text) => Self::new(code::BAD_PARAMETER, text),
            StartError::AtWork { .. } | StartError::Disabled(_) | StartError::NotSubscribed(..) => {
                Self::new(code::NOT_IN_STATE, error.to_string())
            }
        }
    }
}

/// There is no such webhook.
pub(super) fn no_webhook(id: i64) -> ConsoleError {
    ConsoleError::new(code::UNDEFINED, format!("webhook {id} does not exist"))
        .with_hint("SHOW WEBHOOKS lists those that do")
}

fn internal(error: &(dyn std::error::Error + 'static)) -> ConsoleError {
    tracing::error!(error = %crate::error_text::chain(error), "a command of the console failed");
    ConsoleError::new(code::INTERNAL, "an internal error occurred")
        .with_hint("the log of openregister-webhooks says more")
}

fn away(error: &(dyn std::error::Error + 'static)) -> ConsoleError {
    tracing::warn!(error = %crate::error_text::chain(error), "a command of the console failed");
    ConsoleError::new(
        code::AWAY,
        "the database cannot be reached, or is busy; try again in a moment",
    )
}

/// Whether an error can pass by itself: connection, resources, operator's intervention, a transaction that was rolled back, an object in
/// use.
fn is_transient(code: &SqlState) -> bool {
    ["08", "53", "57", "40", "55"]
        .iter()
        .any(|class| code.code().starts_with(class))
}
