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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};

    use super::super::batches::StoredIn;
    use super::*;

    #[test]
    fn a_full_queue_drops_counts_and_never_waits() {
        let metrics = TraceMetrics::default();
        let (traces, mut records) = Traces::on(metrics.clone());
        let batch = Batch {
            stored: StoredIn {
                day: NaiveDate::default(),
                seq: 1,
            },
            began: DateTime::UNIX_EPOCH,
            ended: DateTime::UNIX_EPOCH,
            changes: 1,
            events: 1,
            deliveries: 1,
        };
        for _ in 0..MOST + 3 {
            traces.batch(batch.clone());
        }
        let mut registry = prometheus_client::registry::Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("trace_spans_total{result=\"dropped\"} 3\n"),
            "{text}"
        );
        let mut kept = 0;
        while records.try_recv().is_ok() {
            kept += 1;
        }
        assert_eq!(kept, MOST);
        // Off, there is nothing to ask for.
        assert!(Traces::default().delivery("evt_1", 1, 1).is_none());
    }
}
