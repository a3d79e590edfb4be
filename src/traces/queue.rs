//! The queue between those who record spans and the exporter.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::ids::DeliveryIds;
use super::metrics::TraceMetrics;
use super::span::{Attempt, Batch, Record};

/// Most records that wait. Each has at most two spans, and some hundred bytes.
pub(super) const MOST: usize = 8192;

/// Where spans are recorded; cheap to clone. The default is off.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Sender>>);

#[derive(Debug)]
struct Sender {
    records: mpsc::Sender<Record>,
    metrics: TraceMetrics,
}

impl Traces {
    /// On: records go to the receiver.
    pub(super) fn on(metrics: TraceMetrics) -> (Self, mpsc::Receiver<Record>) {
        let (records, receiver) = mpsc::channel(MOST);
        (Self(Some(Arc::new(Sender { records, metrics }))), receiver)
    }

    /// The ids of an attempt; `None` if traces are off.
    #[must_use]
    pub fn delivery(&self, event: &str, delivery: i64, fence: i64) -> Option<DeliveryIds> {
        self.0.as_ref().map(|_| DeliveryIds::of(event, delivery, fence))
    }

    #[must_use]
    pub const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records an attempt, and the delivery if it ended with it.
    pub fn attempt(&self, attempt: Attempt) {
        self.record(Record::Attempt(Box::new(attempt)));
    }

    /// Records a batch.
    pub fn batch(&self, batch: Batch) {
        self.record(Record::Batch(batch));
    }

    fn record(&self, record: Record) {
        if let Some(sender) = &self.0
            && sender.records.try_send(record).is_err()
        {
            sender.metrics.queue_full();
        }
    }
}
