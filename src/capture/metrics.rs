//! What capture shows: whether this process leads, whether deliveries are held, and what the quarantine had no room for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::quarantine::discarded;
use super::status::CaptureStatus;

/// Puts capture's metrics into a registry; `status` is that of this process.
pub(crate) fn register(registry: &mut Registry, status: watch::Receiver<CaptureStatus>) {
    registry.register_collector(Box::new(Status(status)));
    registry.register_collector(Box::new(Discarded));
}

#[derive(Debug)]
struct Status(watch::Receiver<CaptureStatus>);

impl Collector for Status {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (leads, held) = {
            let status = self.0.borrow();
            (
                *status == CaptureStatus::Leading,
                matches!(*status, CaptureStatus::Held { .. }),
            )
        };
        let mut gauge = |name, help, holds| {
            let gauge = ConstGauge::new(i64::from(holds));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("leading", "1 while this process reads the outbox.", leads)?;
        gauge(
            "held",
            "1 while nothing is delivered because the database was restored from another cluster; adopt decides.",
            held,
        )
    }
}

/// The quarantine counts these by itself, for the whole process.
#[derive(Debug)]
struct Discarded;

impl Collector for Discarded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(discarded());
        let encoder = encoder.encode_descriptor(
            "quarantine_discarded",
            "Changes that could not be read and that the quarantine had no room for.",
            None,
            counter.metric_type(),
        )?;
        counter.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_leads_says_so() {
        let status = watch::Sender::new(CaptureStatus::Standby);
        let mut registry = Registry::with_prefix("orw");
        register(&mut registry, status.subscribe());
        let shown = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        assert!(shown().contains("orw_leading 0\n"), "{}", shown());
        status.send_replace(CaptureStatus::Leading);
        assert!(shown().contains("orw_leading 1\n"), "{}", shown());
        assert!(
            shown().contains("\norw_quarantine_discarded_total "),
            "{}",
            shown()
        );
    }
}
