//! A bulk retry: what failed of a webhook and matches a filter goes back into the queue.
//!
//! Guarantees: what had failed when it was asked for is put back once, oldest first, each at the end of its lane, so that the deliveries
//! of a lane keep their order among themselves; what fails again is not put back again. The log is looked at before the lock of the
//! queue is taken; under it only the deliveries that were found are looked up once more. `queue::retry_many` has the statements.

use std::time::Instant;

use tokio_postgres::Transaction;

use super::job::{Job, JobState};
use super::progress::{RetryPlace, StoredRetry, to_json};
use super::step::{StepContext, StepError};
use crate::delivery::queue;
use crate::registry::{Ordering, Webhook};

/// Makes one step. Returns since when it holds the lock of the queue.
pub(super) async fn step(
    context: &StepContext<'_>,
    tx: &Transaction<'_>,
    webhook: &Webhook,
    job: &mut Job,
) -> Result<Option<Instant>, StepError> {
    let request: StoredRetry = StepError::stored(job.request.clone())?;
    let mut place: RetryPlace = StepError::stored(job.place.clone())?;
    let filter = request
        .filter()
        .map_err(StepError::Filter)?
        .for_webhook(webhook.id);
    let look = queue::look(tx, &filter, request.bounds(), place.after, context.rows).await?;
    let mut locked = None;
    if !look.found.is_empty() {
        queue::lock(tx).await?;
        locked = Some(Instant::now());
        let ordered = webhook.ordering == Ordering::Object;
        let count = queue::put_back(tx, webhook.id, &look.found, ordered).await?;
        job.enqueued += i64::try_from(count).unwrap_or_default();
    }
    job.seen += look.seen;
    place.after = look.last;
    job.place = to_json(&place);
    if look.complete {
        job.state = JobState::Done;
    }
    Ok(locked)
}
