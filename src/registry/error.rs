//! Why registrations cannot be read or changed.

use super::fields::InvalidField;
use super::vault::VaultError;
use super::webhook::WebhookId;
use crate::random::NoRandom;

/// Why a registration is refused: always the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there are {0} webhooks, and no more may be; remove one that is not needed first")]
    TooMany(i64),
    #[error(transparent)]
    Field(#[from] InvalidField),
    #[error("{0} is not an event class compatible with webhooks{hint}", hint = did_you_mean(.0))]
    Event(String),
    #[error("This auth method does not exist")]
    AuthMethod,
    #[error("Header auth method needs an associative array of headers as auth data")]
    NoAuthData,
}

/// What follows Nextcloud's message if the name is nearly that of an event, or its short name.
fn did_you_mean(event: &str) -> String {
    orw_model::similar_class(event)
        .map_or_else(String::new, |class| format!("; did you mean {}?", class.name()))
}

/// Why registrations could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("Webhook {0} does not exist")]
    NotFound(WebhookId),
    /// It no longer is what was to be changed.
    #[error("webhook {0} was changed meanwhile: look at it again")]
    Changed(WebhookId),
    #[error("webhook {id} is stored but cannot be read: {reason}")]
    Unreadable { id: WebhookId, reason: String },
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the registrations cannot be read or written: {0}")]
    Database(#[from] tokio_postgres::Error),
    #[error("the registrations cannot be read or written, no connection: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
}

impl From<NoRandom> for RegistryError {
    fn from(error: NoRandom) -> Self {
        Self::Vault(error.into())
    }
}
