//! After a restore into another cluster: what becomes of what had not been delivered. `capture` decides about the outbox and the
//! position; if nothing is to be delivered, this cancels what the pipeline had made of earlier changes, in the same transaction.

use std::time::Duration;

use tokio_postgres::Client;

use super::jobs;
use crate::capture::{self, AdoptError, Adopted, Decision};
use crate::delivery::queue;

/// What the log says of the deliveries, and the jobs of themselves.
const CAUSE: &str = "the database was restored and adopted with --discard";

/// Decides; see [`capture::adopt`].
///
/// # Errors
/// See [`AdoptError`]; run it again after the cause is gone.
pub async fn adopt(
    client: &mut Client,
    decision: Decision,
    patience: Duration,
) -> Result<Adopted, AdoptError> {
    capture::adopt(client, decision, patience, async |tx| {
        // A replay or backfill that was under way would go on posting to the receivers of the original.
        jobs::cancel_all(tx, CAUSE).await?;
        queue::cancel_all(tx, CAUSE).await
    })
    .await
}
