//! Gaps in capture become notices for the registrations that asked for them.
//!
//! A registration is told where it is registered for events of the kind that the table holds. Neither its filter nor its
//! `userIdFilter` is asked: what is missing cannot be looked into.

use tokio_postgres::Transaction;

use super::{Batch, Pipeline, PipelineError, jobs};
use crate::capture::Gap;
use crate::delivery::{EventRef, NewDelivery, Reason, enqueue, queue};
use crate::lifecycle::{GapNotice, gap};
use crate::registry::Ordering;

/// Stores the notices and puts their deliveries into the queue.
pub(super) async fn tell(
    pipeline: &mut Pipeline,
    tx: &Transaction<'_>,
    gaps: &[Gap],
) -> Result<(), PipelineError> {
    pipeline.batch = Batch::default();
    let snapshot = pipeline.registry.refresh_in(tx).await?;
    let notices: Vec<GapNotice> = gaps.iter().map(GapNotice::of).collect();
    let day = queue::lock(tx).await?;
    let replaying = jobs::replaying(tx).await?;
    let stored = gap::insert(tx, day, &notices).await?;
    let mut deliveries = Vec::new();
    for (notice, (day, seq)) in notices.iter().zip(stored) {
        let hearing = snapshot
            .all()
            .iter()
            .filter(|webhook| webhook.collects() && webhook.hears_of_gaps(notice.kind));
        // A replay comes to it by itself, as to every event that is stored meanwhile.
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
    pipeline.batch.gaps = notices.len() as u64;
    pipeline.batch.enqueued = deliveries.len() as u64;
    pipeline.batch.webhooks = deliveries.iter().map(|delivery| delivery.webhook).collect();
    Ok(())
}
