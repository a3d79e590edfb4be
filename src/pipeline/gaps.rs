//! Announces gaps in capture to the registrations that asked for it.
//!
//! A registration gets the notice if it is registered for events of the kind of entity that the table holds. Neither its filter
//! nor its `userIdFilter` applies, because nobody knows what is missing.

use tokio_postgres::Transaction;

use super::error::PipelineError;
use super::jobs;
use crate::capture::Gap;
use crate::delivery::{EventRef, NewDelivery, Reason, enqueue, queue};
use crate::lifecycle::{GapNotice, store};
use crate::registry::{Ordering, Snapshot};

/// Stores the notices and enqueues their deliveries. Returns the deliveries.
pub(super) async fn enqueue_notices(
    tx: &Transaction<'_>,
    snapshot: &Snapshot,
    gaps: &[Gap],
) -> Result<Vec<NewDelivery>, PipelineError> {
    let notices: Vec<GapNotice> = gaps.iter().map(GapNotice::of).collect();
    let day = queue::lock(tx).await?;
    let replaying = jobs::replaying(tx).await?;
    let stored = store::insert_notices(tx, day, &notices).await?;
    let mut deliveries = Vec::new();
    for (notice, (day, seq)) in notices.iter().zip(stored) {
        let hearing = snapshot
            .all()
            .iter()
            .filter(|webhook| webhook.collects() && webhook.hears_of_gaps(notice.kind));
        // A running replay delivers the notice itself, like every event that is stored meanwhile.
        for webhook in hearing.filter(|webhook| !replaying.contains(&webhook.id)) {
            deliveries.push(NewDelivery {
                webhook: webhook.id,
                event: EventRef { day, seq },
                lane: notice.lane.clone(),
                ordered: webhook.ordering == Ordering::Object,
                await_user: None,
                reason: Reason::Live,
            });
        }
    }
    enqueue(tx, &deliveries).await?;
    Ok(deliveries)
}
