//! The advisory lock under which one installation at a time works.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::InstallError;
use crate::capture::locks;

/// The error to report after the lock could not be taken: it names the session that holds it.
pub(super) async fn refused(client: &Client, error: tokio_postgres::Error) -> InstallError {
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return error.into();
    }
    match locks::holders(client, locks::INSTALL).await {
        Ok(holders) => InstallError::AtWork(
            holders
                .first()
                .map_or_else(String::new, |holder| format!(", or {holder} holds its lock")),
        ),
        Err(error) => error.into(),
    }
}
