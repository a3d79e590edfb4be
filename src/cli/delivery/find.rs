//! A delivery by its id.

use tokio_postgres::Client;

use crate::cli::failure::Failure;
use crate::delivery::queue::listing::{self, AttemptEntry, Entry};

/// The delivery and its attempts.
///
/// # Errors
/// If it does not exist, or a query fails.
pub(super) async fn find(client: &Client, id: i64) -> Result<(Entry, Vec<AttemptEntry>), Failure> {
    listing::show(client, id).await?.ok_or_else(|| {
        Failure::Failed(format!(
            "delivery {id} does not exist; `delivery list` shows those that do"
        ))
    })
}
