//! How the deliveries of one webhook are ordered, read without the rest of the registration.

use tokio_postgres::GenericClient;

use super::RegistryError;
use super::webhook::{Ordering, WebhookId};

/// The stored ordering of a webhook; `None` if there is no such webhook. It needs no master key.
///
/// # Errors
/// If the query fails, or what is stored is no ordering.
pub(crate) async fn ordering_of(
    client: &impl GenericClient,
    id: WebhookId,
) -> Result<Option<Ordering>, RegistryError> {
    let sql = "SELECT ordering FROM openregister_webhooks.webhook WHERE id = $1";
    let Some(row) = client.query_opt(sql, &[&id.0]).await? else {
        return Ok(None);
    };
    let stored: &str = row.try_get(0)?;
    match Ordering::parse(stored) {
        Some(ordering) => Ok(Some(ordering)),
        None => Err(RegistryError::Unreadable {
            id,
            reason: format!("its ordering is {stored:?}"),
        }),
    }
}
