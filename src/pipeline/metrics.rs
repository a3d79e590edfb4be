//! What the pipeline counts.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use orw_model::EventClass;

type Labels = Vec<(&'static str, String)>;

/// The pipeline's metrics in this process; cheap to clone, every clone counts the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Changes read from the outbox.
    pub(super) changes: Counter,
    /// Changes that could not be read.
    pub(super) quarantined: Counter,
    /// Filters that could not be evaluated; each counts as no match.
    pub(super) filter_errors: Counter,
    /// Deliveries put into the queue.
    pub(super) enqueued: Counter,
    /// Gaps in what was captured.
    pub(super) gaps: Counter,
    events: Family<Labels, Counter>,
    /// Seconds from a change to its deliveries in the queue.
    pub(super) lag: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            changes: Counter::default(),
            quarantined: Counter::default(),
            filter_errors: Counter::default(),
            enqueued: Counter::default(),
            gaps: Counter::default(),
            events: Family::default(),
            lag: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
        }
    }
}

impl Metrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("changes", "Changes read from the outbox", self.changes.clone());
        registry.register(
            "quarantined",
            "Changes that could not be read",
            self.quarantined.clone(),
        );
        registry.register(
            "filter_errors",
            "Filters that could not be evaluated",
            self.filter_errors.clone(),
        );
        registry.register("enqueued", "Deliveries put into the queue", self.enqueued.clone());
        registry.register("gaps", "Gaps in what was captured", self.gaps.clone());
        registry.register("events", "Lifecycle events by class", self.events.clone());
        registry.register(
            "capture_lag_seconds",
            "From the change to the queue",
            self.lag.clone(),
        );
        registry.register_collector(Box::new(RegexRunaways));
    }

    /// Counts one event of `class`.
    pub(super) fn event(&self, class: EventClass) {
        self.events
            .get_or_create(&vec![("class", class.to_string())])
            .inc();
    }
}

/// The filters count these by themselves, for the whole process.
#[derive(Debug)]
struct RegexRunaways;

impl Collector for RegexRunaways {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = ConstCounter::new(orw_filter::regex_runaways());
        let encoder = encoder.encode_descriptor(
            "filter_regex_runaways",
            "Regular expressions of filters that were stopped because they ran away",
            None,
            counter.metric_type(),
        )?;
        counter.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orw_model::Action;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.changes.inc_by(3);
        metrics.event(EventClass::object(Action::Locked));
        let text = crate::telemetry::MetricRegistry::with(|registry| metrics.register(registry)).render();
        assert!(text.contains("orw_changes_total 3\n"), "{text}");
        assert!(
            text.contains("orw_events_total{class=\"ObjectLockedEvent\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("\norw_filter_regex_runaways_total "), "{text}");
    }
}
