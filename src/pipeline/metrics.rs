//! What the pipeline counts.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use orw_model::EventClass;

type Labels = [(&'static str, String); 1];

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
    /// Webhooks that this process disabled.
    pub(super) disabled: Counter,
    /// Gaps in what was captured.
    pub(super) gaps: Counter,
    events: Family<Labels, Counter>,
    /// Those of `events`, by [`EventClass::index`]: counting looks up no label.
    by_class: Vec<Counter>,
    /// Seconds from a change to the beginning of the batch that it is in.
    pub(super) wait: Histogram,
    /// Seconds from the beginning of the batch to the deliveries in the queue.
    pub(super) lifecycle: Histogram,
    /// Seconds from a change to its deliveries in the queue.
    pub(super) lag: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let events = Family::<Labels, Counter>::default();
        Self {
            changes: Counter::default(),
            quarantined: Counter::default(),
            filter_errors: Counter::default(),
            enqueued: Counter::default(),
            disabled: Counter::default(),
            gaps: Counter::default(),
            by_class: EventClass::all()
                .map(|class| events.get_or_create_owned(&[("class", class.to_string())]))
                .collect(),
            events,
            // From half a millisecond on: to 2 h 20 min, 16 s and 2 min 11 s.
            wait: Histogram::new(exponential_buckets(0.0005, 2.0, 25)),
            lifecycle: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            lag: Histogram::new(exponential_buckets(0.0005, 2.0, 19)),
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
        registry.register(
            "webhooks_disabled",
            "Webhooks that were disabled because their receiver answered 410 or had failed for days",
            self.disabled.clone(),
        );
        registry.register("gaps", "Gaps in what was captured", self.gaps.clone());
        registry.register("events", "Lifecycle events by class", self.events.clone());
        registry.register_with_unit(
            "capture_wait",
            "From the change to the beginning of the batch that turns it into events",
            Unit::Seconds,
            self.wait.clone(),
        );
        registry.register_with_unit(
            "lifecycle",
            "From the beginning of a batch to its deliveries in the queue, for each event",
            Unit::Seconds,
            self.lifecycle.clone(),
        );
        registry.register_with_unit(
            "capture_lag",
            "From the change to its deliveries in the queue",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register_collector(Box::new(RegexRunaways));
    }

    /// Counts one event of `class`.
    pub(super) fn event(&self, class: EventClass) {
        if let Some(counter) = self.by_class.get(class.index()) {
            counter.inc();
        }
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
            "Regular expressions of filters that were stopped because they ran away.",
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
